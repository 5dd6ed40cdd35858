"""Objects of an image as the run log holds them: read with care, and how much they overlap.

The log may come from another program or be damaged: what cannot be read is counted and left out.
Nothing reaches pycocotools, which trusts what it is given, before it was checked here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.matching import Overlaps, box_iou

MOST_PIXELS = 1 << 28  # of one mask; a picture of 16,000 x 16,000
CHARACTER_BITS, MOST_CHARACTERS = 5, 6  # of one run length: 30 bits, enough for MOST_PIXELS


@dataclass(frozen=True)
class Item:
    """One object: class index, score (1 where true), box as corners in pixels of the image."""

    class_index: int
    score: float
    box: tuple[float, float, float, float]
    mask: dict[str, Any] | None  # {"size": [height, width], "counts": compressed run lengths}
    crowd: bool


@dataclass(frozen=True)
class Objects:
    """The objects of an image, best score first.

    Attributes:
        items: those that could be read.
        lost: how many could not.
        maskless: how many of the items have no mask that could be read.
    """

    items: tuple[Item, ...]
    lost: int
    maskless: int


def read_objects(entries: Any, *, width: int, height: int) -> Objects:
    """The objects in one json value of the run log, for an image of that size in pixels."""
    listed = entries if isinstance(entries, list) else [None]
    found = [item for entry in listed if (item := _item(entry, width, height)) is not None]
    found.sort(key=lambda item: -item.score)  # stable: the log's order among equals
    maskless = sum(item.mask is None for item in found)
    return Objects(tuple(found), len(listed) - len(found), maskless)


def _item(entry: Any, width: int, height: int) -> Item | None:
    if not isinstance(entry, Mapping):
        return None
    index, score, box = entry.get("class"), entry.get("score", 1.0), entry.get("box")
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        return None
    if not isinstance(box, list) or len(box) != 4:
        return None
    numbers = [score, *box]
    if not all(isinstance(x, int | float) and math.isfinite(x) for x in numbers):
        return None
    x1, y1, x2, y2 = (float(x) for x in box)
    mask = readable_mask(entry.get("mask"), width=width, height=height)
    return Item(index, float(score), (x1, y1, x2, y2), mask, bool(entry.get("crowd", 0)))


def readable_mask(mask: Any, *, width: int, height: int) -> dict[str, Any] | None:
    """The mask as {"size", "counts"} when it is one of an image of that size; else None."""
    if not isinstance(mask, Mapping) or mask.get("size") != [height, width]:
        return None
    counts = mask.get("counts")
    if not isinstance(counts, str) or not 0 < width * height <= MOST_PIXELS:
        return None
    lengths = run_lengths(counts)
    if lengths is None or len(lengths) == 0 or lengths.min() < 0:
        return None
    if int(lengths.sum()) != width * height:
        return None
    return {"size": [height, width], "counts": counts}


def run_lengths(counts: str) -> NDArray[np.int64] | None:
    """Lengths of the runs of 0, 1, 0, ... down the columns, from COCO's compressed text.

    Each number is written five bits a character, lowest first, with a sixth bit on all but its
    last character, the sign in the fifth bit of the last, and 48 added to get letters. From the
    fourth on it is the difference to the length two before. None for text that is none of this.
    """
    letters = np.frombuffer(counts.encode("utf-8", "replace"), np.uint8).astype(np.int64) - 48
    if not len(letters):
        return np.empty(0, np.int64)
    if letters.min() < 0 or letters.max() > 63 or letters[-1] & 32:
        return None
    ends = np.flatnonzero((letters & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    widths = ends - starts + 1
    if widths.max() > MOST_CHARACTERS:
        return None
    place = CHARACTER_BITS * (np.arange(len(letters)) - np.repeat(starts, widths))
    numbers = np.add.reduceat((letters & 31) << place, starts)
    negative = (letters[ends] & 16) != 0
    numbers = numbers - (negative.astype(np.int64) << (CHARACTER_BITS * widths))
    # A length is its number plus the length two before, but the second of all stands for itself
    # and so does the third.
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    lengths: NDArray[np.int64] = numbers
    return lengths


def overlaps(detected: Objects, true: Objects) -> Overlaps:
    """IoU of masks; of boxes where either of the two has no mask."""
    crowd = np.array([item.crowd for item in true.items], bool)
    iou = box_iou(_boxes(detected.items), _boxes(true.items), crowd)
    rows = [i for i, item in enumerate(detected.items) if item.mask is not None]
    columns = [i for i, item in enumerate(true.items) if item.mask is not None]
    if rows and columns:
        from pycocotools import mask as masks  # here: a page without a gallery does without it

        found = masks.iou([detected.items[i].mask for i in rows],
                          [true.items[i].mask for i in columns],
                          [bool(crowd[i]) for i in columns])  # fmt: skip
        iou[np.ix_(rows, columns)] = found
    return Overlaps(
        detected=np.array([item.class_index for item in detected.items], np.int64),
        scores=np.array([item.score for item in detected.items], np.float64),
        true=np.array([item.class_index for item in true.items], np.int64),
        crowd=crowd,
        iou=iou,
    )


def _boxes(items: Iterable[Item]) -> NDArray[np.float64]:
    return np.array([item.box for item in items], np.float64).reshape(-1, 4)
