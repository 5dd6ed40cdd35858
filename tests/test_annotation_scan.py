"""Annotation files counted in one pass: against json's own reading, damaged files, time, paths."""

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app import annotation_scan
from app.annotation_scan import MOST_NAMES, AnnotationScan, missing_images, scan_annotations


def document(images: int = 3, objects: int = 7, classes: int = 2) -> dict[str, Any]:
    return {
        "info": {"note": 'a "quoted" [bracket] {brace}', "years": [2017, 2026]},
        "images": [
            {"id": i, "width": 640, "height": 480, "file_name": f"train/{i:04d}.jpg"}
            for i in range(images)
        ],
        "annotations": [
            {"id": i, "image_id": i % images, "category_id": 1 if i else classes,
             "bbox": [1, 2, 3.5, 4e0], "segmentation": [[1, 2, 3, 4, 5, 6]]}
            for i in range(objects)
        ],
        "categories": [{"id": i + 1, "name": f"ünd {i}"} for i in range(classes)],
    }  # fmt: skip


def written(folder: Path, content: Any, **options: Any) -> Path:
    path = folder / "a.json"
    path.write_text(json.dumps(content, **options), encoding="utf-8")
    return path


@pytest.mark.parametrize("piece", [1, 2, 7, 64, 1 << 20])
@pytest.mark.parametrize("options", [{}, {"indent": 2}, {"ensure_ascii": False}])
def test_counts_are_those_of_the_file_however_it_is_cut(
    piece: int, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotation_scan, "PIECE", piece)
    path = written(tmp_path, document(), **options)
    assert scan_annotations(path, seconds=9) == AnnotationScan(
        images=3, annotations=7, classes=2, fewest=1, most=6,
        names=("train/0000.jpg", "train/0001.jpg", "train/0002.jpg"), share=1.0,
    )  # fmt: skip


def test_lvis_names_its_images_by_their_address(tmp_path: Path) -> None:
    content = document(images=1)
    content["images"] = [
        {"id": 9, "width": 1, "height": 1, "coco_url": "http://x.org/val2017/000000000009.jpg"}
    ]
    found = scan_annotations(written(tmp_path, content), seconds=9)
    assert found.names == ("val2017/000000000009.jpg",)


def test_some_names_are_kept_evenly(tmp_path: Path) -> None:
    names = scan_annotations(written(tmp_path, document(images=1000)), seconds=9).names
    numbers = [int(name[6:10]) for name in names]
    assert MOST_NAMES / 2 <= len(names) <= MOST_NAMES
    assert {b - a for a, b in pairwise(numbers)} == {16}
    assert numbers[0] == 0


def without(key: str, field: str) -> dict[str, Any]:
    content = document()
    del content[key][1][field]
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "it does not begin with an object"),
        ("", "it does not begin with an object"),
        ('{"images": [', "it is not complete json"),
        (json.dumps(document())[:-40], "it is not complete json"),
        (json.dumps(document()) + "x", "more follows after its last bracket"),
        ('{"images": [1 2]}', "entry 1 of its list 'images'"),
        ("{}", "it lists no images"),
        (json.dumps(document() | {"categories": []}), "it lists no categories"),
        (json.dumps(without("annotations", "bbox")), "entry 2 of its list 'annotations' has no"),
        (json.dumps(without("images", "file_name")), "image 1 names no file"),
        (
            json.dumps(document() | {"categories": [{"id": 5, "name": "x"}]}),
            "names the category 1,",
        ),
        ("[" * 100_000, "it does not begin with an object"),
        ('{"a": ' + "[" * 100_000, "it is not complete json"),
    ],
)
def test_what_is_no_annotation_file_is_said_in_a_sentence(
    content: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    found = scan_annotations(path, seconds=9)
    assert words in found.problem
    assert len(found.problem) < 300


def test_bytes_that_are_no_text_and_a_missing_file_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"images": "\xff\xfe"}')
    assert "not complete json" in scan_annotations(tmp_path / "a.json", seconds=9).problem
    assert "No such file" in scan_annotations(tmp_path / "none.json", seconds=9).problem
    assert "cannot be read" in scan_annotations(tmp_path / "a\0.json", seconds=9).problem
    assert "Is a directory" in scan_annotations(tmp_path, seconds=9).problem


def test_time_is_bounded_and_what_was_read_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, document(images=20_000, objects=40_000))
    started = time.monotonic()
    found = scan_annotations(path, seconds=0.0)
    assert time.monotonic() - started < 1
    assert found.problem == ""
    assert 0 < found.images < 20_000
    assert 0 < found.share < 1
    assert scan_annotations(path, seconds=60).annotations == 40_000


def test_a_file_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    path = written(tmp_path, document())
    first = scan_annotations(path, seconds=9)
    assert scan_annotations(path, seconds=9) is first
    written(tmp_path, document(images=4))
    assert scan_annotations(path, seconds=9).images == 4


def test_images_are_looked_for_inside_the_folder_only(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "1.jpg").touch()
    (tmp_path / "secret.jpg").touch()
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    names = ("train/1.jpg", "train/2.jpg", "../secret.jpg", str(tmp_path / "secret.jpg"),
             "link.jpg", "train")  # fmt: skip
    assert missing_images(folder, names) == list(names[1:])
