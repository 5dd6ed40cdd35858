"""Objects as the run log holds them: compressed run lengths, damaged entries, overlaps."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as masks

from app.detection_objects import overlaps, read_objects, readable_mask, run_lengths

HEIGHT, WIDTH = 40, 60


def compressed(mask: NDArray[Any]) -> dict[str, Any]:
    code = masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(code["size"]), "counts": code["counts"].decode("ascii")}


def square(x1: int, y1: int, x2: int, y2: int) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y1:y2, x1:x2] = True
    return mask


def entry(label: int, mask: NDArray[np.bool_], **others: Any) -> dict[str, Any]:
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    return {"class": label, "box": [float(x) for x in box], "mask": compressed(mask)} | others


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98, 1.0])
def test_run_lengths_are_those_pycocotools_wrote(share: float) -> None:
    random = np.random.default_rng(int(share * 100))
    mask = random.random((97, 61)) < share
    lengths = run_lengths(compressed(mask)["counts"])
    assert lengths is not None
    values = np.repeat(np.arange(len(lengths)) % 2, lengths)
    assert np.array_equal(values.reshape(61, 97).T, mask)


def test_long_runs_need_several_characters() -> None:
    mask = np.zeros((3000, 2000), bool)
    mask[1500:, 999] = True
    lengths = run_lengths(compressed(mask)["counts"])
    assert lengths is not None
    assert lengths.tolist() == [999 * 3000 + 1500, 1500, 1000 * 3000]


@pytest.mark.parametrize(
    "counts",
    ["", "o", "\x00", "é", "0" * 50, "oooooooo0", "5" * 9, "<script>", "PPPPPPPPPPPPPP0", "~~~"],
)
def test_other_text_is_no_mask(counts: str) -> None:
    mask = {"size": [HEIGHT, WIDTH], "counts": counts}
    assert readable_mask(mask, width=WIDTH, height=HEIGHT) is None


@pytest.mark.parametrize(
    "mask",
    [None, 7, "text", {}, {"size": [HEIGHT, WIDTH]}, {"size": [HEIGHT, WIDTH], "counts": [1, 2]},
     compressed(np.ones((WIDTH, HEIGHT)))],
)  # fmt: skip
def test_what_is_no_mask_of_this_image_is_none(mask: Any) -> None:
    assert readable_mask(mask, width=WIDTH, height=HEIGHT) is None


def test_what_cannot_be_read_is_counted() -> None:
    good = entry(3, square(0, 0, 9, 9), score=0.2)
    listed = [
        good,
        good | {"mask": None, "score": 0.9},
        good | {"class": -1},
        good | {"class": "tiger"},
        good | {"box": [1, 2, 3]},
        good | {"score": float("inf")},
        "nothing",
    ]
    read = read_objects(listed, width=WIDTH, height=HEIGHT)
    assert [item.score for item in read.items] == [0.9, 0.2]  # best first
    assert (read.lost, read.maskless) == (5, 1)
    assert read_objects({"class": 1}, width=WIDTH, height=HEIGHT).lost == 1


def test_overlaps_are_those_of_masks_and_of_boxes_without_one() -> None:
    triangle = np.tril(np.ones((20, 20), bool))
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:20, :20] = triangle
    whole = square(0, 0, 20, 20)
    detected = [entry(0, mask, score=0.9), entry(0, mask, score=0.8) | {"mask": None}]
    true = [entry(0, whole), entry(0, whole, crowd=1)]
    found = overlaps(*(read_objects(json.loads(json.dumps(x)), width=WIDTH, height=HEIGHT)
                       for x in (detected, true)))  # fmt: skip
    assert np.allclose(found.iou, [[210 / 400, 1.0], [1.0, 1.0]])
    assert found.crowd.tolist() == [False, True]
    assert found.scores.tolist() == [0.9, 0.8]


def test_no_detections_and_no_objects() -> None:
    nothing = read_objects([], width=WIDTH, height=HEIGHT)
    one = read_objects([entry(0, square(0, 0, 5, 5))], width=WIDTH, height=HEIGHT)
    assert overlaps(nothing, one).iou.shape == (0, 1)
    assert overlaps(one, nothing).iou.shape == (1, 0)
