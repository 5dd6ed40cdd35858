"""Files of detections: what is refused, in one sentence that names the detection."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_builders import document
from pycocotools import mask as rle_masks

from data.annotation_table import AnnotationTable, open_annotations
from trainer.results_file import read_results, write_results


@pytest.fixture
def truth(tmp_path: Path) -> AnnotationTable:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(document()))
    return open_annotations(path)


def detection(truth: AnnotationTable, **changed: Any) -> dict[str, Any]:
    size = int(truth.heights[0]), int(truth.widths[0])
    code = rle_masks.encode(np.ones(size, dtype=np.uint8, order="F"))
    return {
        "image_id": int(truth.image_ids[0]),
        "category_id": 30,
        "bbox": [0, 0, 2.5, 1],
        "score": 0.5,
        "segmentation": {"size": list(size), "counts": code["counts"].decode()},
        **changed,
    }


def test_what_is_written_is_read(truth: AnnotationTable, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    for records in ([], [detection(truth), detection(truth, category_id=999, score=-1)]):
        write_results(records, path)
        assert list(read_results(path, truth)) == records


LARGE = 10**400
WRONG = [
    ({"image_id": 7.5}, "image_id 7.5"),
    ({"image_id": "7"}, "image_id '7'"),
    ({"image_id": True}, "image_id True"),
    ({"image_id": [7]}, r"image_id \[7\]"),
    ({"image_id": 123}, "image_id 123, which the annotation file does not list"),
    ({"category_id": LARGE}, "category_id 1000"),
    ({"category_id": float("nan")}, "category_id nan"),
    ({"category_id": None}, "category_id None"),
    ({"score": "high"}, "score 'high'"),
    ({"score": None}, "score None"),
    ({"score": LARGE}, "score 1000"),
    ({"score": float("nan")}, "score nan"),
    ({"bbox": [0, 0, 1]}, "four numbers"),
    ({"bbox": "abcd"}, "four numbers"),
    ({"bbox": [0, 0, LARGE, 1]}, "four numbers"),
    ({"bbox": [0, 0, float("inf"), 1]}, "four numbers"),
    ({"bbox": list(range(10_000))}, r"\.\.\."),
    ({"segmentation": [[0, 0, 5, 5, 3, 1]]}, "compressed run-length code of its image's 6 x 8"),
    ({"segmentation": {"size": [8, 6], "counts": "0`1"}}, "compressed run-length code"),
    ({"segmentation": {"size": [6, 8], "counts": [0, 48]}}, "compressed run-length code"),
    ({"segmentation": {"size": [6, 8], "counts": ""}}, "compressed run-length code"),
    ({"segmentation": {"size": [6, 8], "counts": "0`"}}, "compressed run-length code"),  # cut
    ({"segmentation": {"size": [6, 8], "counts": "0\x00"}}, "compressed run-length code"),
]


@pytest.mark.parametrize(("changed", "words"), WRONG)
def test_a_detection_that_is_none_is_refused(
    truth: AnnotationTable, tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps([detection(truth), detection(truth, **changed)]))
    with pytest.raises(ValueError, match=f"detection 2 of .*{words}") as refused:
        read_results(path, truth)
    assert len(str(refused.value)) < 400
    assert "\n" not in str(refused.value)


def test_a_detection_needs_a_geometry_that_all_have(truth: AnnotationTable, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    boxes, masks = detection(truth), detection(truth)
    del boxes["segmentation"], masks["bbox"]
    path.write_text(json.dumps([boxes, masks]))
    with pytest.raises(ValueError, match="give all of them the same"):
        read_results(path, truth)
    del boxes["bbox"]
    path.write_text(json.dumps([boxes]))
    with pytest.raises(ValueError, match="neither a bbox nor a segmentation"):
        read_results(path, truth)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a whole json"),
        ("[" * 100_000, "not a whole json"),
        ("\x00\x01", "not a whole json"),
        ("{}", "a list of detections belongs"),
        ("[3]", "detection 1 of .* has the form 3"),
    ],
)
def test_a_file_of_something_else_is_refused(
    truth: AnnotationTable, tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_results(path, truth)
