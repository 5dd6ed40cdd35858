"""What predictions and true objects of a file from elsewhere must be, so that a page can draw them.

Shapes: H, W height and width of an image in pixels; C classes.
"""

import math
from typing import Any

_LARGEST_IMAGE = 2**28  # pixels
_OFFSET = 48  # of the characters of compressed run lengths, which carry six bits each
_LONGEST_NUMBER = 7  # characters


def check_size(width: int, height: int) -> None:
    """The size of an image in pixels; ValueError when no image has it."""
    if not (width > 0 and height > 0 and width * height <= _LARGEST_IMAGE):
        raise ValueError(f"an image has {width} x {height} pixels")


def check_objects(objects: Any, *, size: tuple[int, int], num_classes: int, more: str) -> None:
    """A list of true objects or of detections, as json holds it.

    Args:
        objects: the list.
        size: (H, W) of their image.
        num_classes: C.
        more: the key beside class, box and mask: score or crowd.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(objects, list):
        raise ValueError("its objects are no list")
    for entry in objects:
        if not isinstance(entry, dict) or entry.keys() != {"class", "box", "mask", more}:
            raise ValueError(f"an object has not just class, box, mask and {more}")
        label, box, value = entry["class"], entry["box"], entry[more]
        if type(label) is not int or not 0 <= label < num_classes:
            raise ValueError(f"a class index is not one of 0 to {num_classes - 1}")
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_finite, box)):
            raise ValueError("a box has not four numbers")
        if not _is_finite(value) or not 0 <= value <= 1:
            raise ValueError(f"a {more} is not within 0 and 1")
        _check_mask(entry["mask"], size)


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _check_mask(mask: Any, size: tuple[int, int]) -> None:
    if not isinstance(mask, dict) or mask.keys() != {"size", "counts"}:
        raise ValueError("a mask has not just size and counts")
    shape, counts = mask["size"], mask["counts"]
    if shape != list(size):
        raise ValueError("a mask has another size than its image")
    if not isinstance(counts, str) or sum(_run_lengths(counts)) != size[0] * size[1]:
        raise ValueError("the run lengths of a mask do not cover its image")


def _run_lengths(counts: str) -> list[int]:
    """The runs that COCO's compressed form stands for, outside and inside in turns.

    Each number is cut into pieces of five bits, the lowest first, with a sixth bit where more
    follow; the last piece carries the sign. From the fourth run on a number is the difference to
    the run before the last.
    """
    runs: list[int] = []
    number = length = 0
    for character in counts:
        piece = ord(character) - _OFFSET
        if not 0 <= piece < 64 or length >= _LONGEST_NUMBER:
            raise ValueError("the run lengths of a mask are no such code")
        number |= (piece & 31) << (5 * length)
        length += 1
        if piece & 32:
            continue
        if piece & 16:
            number -= 1 << (5 * length)
        run = number + (runs[-2] if len(runs) > 2 else 0)
        if run < 0:
            raise ValueError("a run of a mask is shorter than nothing")
        runs.append(run)
        number = length = 0
    if length:
        raise ValueError("the run lengths of a mask end in the middle")
    return runs
