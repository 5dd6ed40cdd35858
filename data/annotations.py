"""Annotation files in LVIS v1 or COCO form, read with one pass that refuses what cannot be used.

Every refusal is one sentence: where and what value, which rule, which remedy.
"""

import gc
import json
import math
import reprlib
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

from data.categories import is_frequency

Record = dict[str, Any]

# LVIS and COCO boxes are rounded outlines: a little past the edge is usual and is cut off.
BOX_OVERSHOOT = 2.0
_LARGEST_NUMBER = 1e12
_LARGEST_ID = 2**63 - 1
_LONGEST_SIDE = 100_000


class AnnotationError(ValueError):
    """An annotation file or an image it names can't be used: why, and what to do about it."""


def read_annotations(path: Path, *, drop_empty: bool = False) -> Record:
    """The json document at ``path``: a dict with lists ``images``, ``annotations``, ``categories``.

    Afterwards: ids are whole numbers and unique; each annotation names a listed image and category,
    its box [x, y, width, height] (pixels) has a positive size and lies in the image up to
    ``BOX_OVERSHOOT`` pixels, its mask is polygons or a run-length code of the image's size and is
    not empty. A polygon's outlines are ``array("d")`` where the json has lists: LVIS v1 takes 3 GiB
    to read in this way, and 6.5 GiB in plain lists. With ``drop_empty`` annotations with an empty
    box or mask are moved to the list ``dropped`` instead of refused (COCO's own files hold a few).
    Raises AnnotationError.
    """
    with without_collections():
        return _checked(_parse(path), path, drop_empty)


@contextmanager
def opened_json(path: Path) -> Iterator[BufferedReader]:
    """An annotation file open for reading; AnnotationError if it is not there or unreadable."""
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise AnnotationError(
            f"there is no annotation file {path}: check the path that was given"
        ) from None
    except OSError as error:
        raise AnnotationError(
            f"{path} can't be read ({error.strerror}): give a readable annotation file"
        ) from None


@contextmanager
def without_collections() -> Iterator[None]:
    """No search for garbage while millions of objects are made that stay: it doubles the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _checked(document: Record, path: Path, drop_empty: bool) -> Record:
    for key in ("images", "annotations", "categories"):
        records = document.get(key)
        if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
            raise AnnotationError(
                f"{path} has no list of objects called '{key}': "
                "give an annotation file in LVIS or COCO form"
            )
    category_ids = _check_categories(document["categories"], path)
    images = _check_images(document["images"], category_ids, path)
    document["annotations"], document["dropped"] = _check_annotations(
        document["annotations"], images, category_ids, path, drop_empty
    )
    return document


def _parse(path: Path) -> Record:
    try:
        with opened_json(path) as file:
            document = json.loads(file.read(), object_hook=_compact)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(
            f"{path} is not complete json ({error}): it is damaged or cut short, fetch it again"
        ) from None
    if not isinstance(document, dict):
        raise AnnotationError(
            f"{path} holds a json {type(document).__name__} where an object with 'images', "
            "'annotations' and 'categories' belongs: give an annotation file in LVIS or COCO form"
        )
    return document


def _compact(record: Record) -> Record:
    """An object of the json, its outlines as arrays, a third of a list's size, if they are any."""
    outlines = record.get("segmentation")
    if type(outlines) is list and all(type(outline) is list for outline in outlines):
        # Where these are no numbers, the check of the annotation says so.
        with suppress(TypeError, OverflowError):
            record["segmentation"] = [array("d", outline) for outline in outlines]
    return record


def _unique_ids(records: Iterable[Record], what: str, path: Path) -> dict[int, Record]:
    by_id: dict[int, Record] = {}
    for position, record in enumerate(records):
        number = record.get("id")
        if type(number) is not int or not 0 <= number <= _LARGEST_ID:
            raise AnnotationError(
                f"{what} number {position + 1} of {path} has the id {number!r}: "
                "ids are whole numbers from 0 to 2^63 - 1, correct it"
            )
        if number in by_id:
            raise AnnotationError(
                f"two {what} entries of {path} have the id {number}: give each its own id"
            )
        by_id[number] = record
    return by_id


def _check_categories(categories: list[Record], path: Path) -> set[int]:
    by_id = _unique_ids(categories, "category", path)
    if not by_id:
        raise AnnotationError(f"{path} lists no category: list at least one under 'categories'")
    for number, category in by_id.items():
        name, letter = category.get("name"), category.get("frequency", "r")
        if not isinstance(name, str) or not name:
            raise AnnotationError(
                f"category {number} of {path} has the name {name!r}: give it a readable name"
            )
        if not isinstance(letter, str) or not is_frequency(letter):
            raise AnnotationError(
                f"category {number} of {path} has the frequency {letter!r}: "
                "use 'r', 'c' or 'f', or leave it out"
            )
    return set(by_id)


def _check_images(images: list[Record], category_ids: set[int], path: Path) -> dict[int, Record]:
    by_id = _unique_ids(images, "image", path)
    if not by_id:
        raise AnnotationError(f"{path} lists no image: list at least one under 'images'")
    for number, image in by_id.items():
        size = image.get("width"), image.get("height")
        if not all(type(side) is int and 0 < side <= _LONGEST_SIDE for side in size):
            raise AnnotationError(
                f"image {number} of {path} has the width and height {size}: "
                f"state both in whole pixels, 1 to {_LONGEST_SIDE}"
            )
        name = image.get("file_name", image.get("coco_url"))
        if not isinstance(name, str) or not name.isprintable() or not name:
            raise AnnotationError(
                f"image {number} of {path} has the 'file_name' or 'coco_url' {name!r}: "
                "name its file"
            )
        for key in ("neg_category_ids", "not_exhaustive_category_ids"):
            listed = image.get(key, [])
            if not isinstance(listed, list) or not all(
                type(c) is int and c in category_ids for c in listed
            ):
                raise AnnotationError(
                    f"image {number} of {path} lists an unknown category under '{key}': "
                    "list ids of 'categories' only"
                )
    return by_id


def _check_annotations(
    annotations: list[Record],
    images: dict[int, Record],
    category_ids: set[int],
    path: Path,
    drop_empty: bool,
) -> tuple[list[Record], list[Record]]:
    """Those with a box and a mask, and those without, if they may be dropped."""
    kept, dropped = [], []
    for number, annotation in _unique_ids(annotations, "annotation", path).items():
        where = f"annotation {number} of {path}"
        image_id, category_id = annotation.get("image_id"), annotation.get("category_id")
        if type(category_id) is not int or category_id not in category_ids:
            raise AnnotationError(
                f"{where} names the category {category_id!r}, which 'categories' does not list: "
                "list the category or remove the annotation"
            )
        if type(image_id) is not int or image_id not in images:
            raise AnnotationError(
                f"{where} names the image {image_id!r}, which 'images' does not list: "
                "list the image or remove the annotation"
            )
        if annotation.get("iscrowd", 0) not in (0, 1):
            raise AnnotationError(
                f"{where} has the 'iscrowd' {reprlib.repr(annotation['iscrowd'])}: "
                "write 1 for a region of many objects, 0 for a single one"
            )
        image = images[image_id]
        full = _box_has_area(annotation, image["width"], image["height"], where)
        full = _mask_has_area(annotation, image["width"], image["height"], where) and full
        if full:
            kept.append(annotation)
        elif drop_empty:
            dropped.append(annotation)
        else:
            raise AnnotationError(
                f"{where} has an empty mask or box (box {annotation['bbox']}, "
                f"area {annotation.get('area', 'not given')}): "
                "remove it, or read the file with drop_empty"
            )
    return kept, dropped


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < _LARGEST_NUMBER  # type: ignore[arg-type]


def _box_has_area(annotation: Record, width: int, height: int, where: str) -> bool:
    """Whether the box has a positive size; AnnotationError if it leaves the image or is no box."""
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise AnnotationError(
            f"{where} has the box {reprlib.repr(box)}: "
            "a box is the four numbers [x, y, width, height] in pixels"
        )
    x, y, box_width, box_height = box
    if (
        min(x, y) < -BOX_OVERSHOOT
        or x + box_width > width + BOX_OVERSHOOT
        or y + box_height > height + BOX_OVERSHOOT
    ):
        raise AnnotationError(
            f"{where} has the box {box} outside its image of {width} x {height} pixels "
            f"(up to {BOX_OVERSHOOT:g} pixels are tolerated): correct the box or remove it"
        )
    inside = min(x + box_width, width) > max(x, 0) and min(y + box_height, height) > max(y, 0)
    return bool(box_width > 0 and box_height > 0 and inside)


def _mask_has_area(annotation: Record, width: int, height: int, where: str) -> bool:
    """Whether the mask covers anything; AnnotationError if it can't be read as a mask."""
    area, mask = annotation.get("area", 1), annotation.get("segmentation")
    if not _is_number(area):
        raise AnnotationError(
            f"{where} has the area {reprlib.repr(area)}: give its mask's area in pixels"
        )
    if isinstance(mask, list):
        try:
            with_area = [_outline_has_area(part, width, height) for part in mask]
        except (TypeError, ValueError, OverflowError) as error:
            raise AnnotationError(
                f"{where} has an outline that is not x1, y1, x2, y2, ... in pixels ({error}): "
                "write its mask as polygons or as a run-length code"
            ) from None
        return bool(area > 0) and any(with_area)
    if isinstance(mask, dict) and mask.get("size") == [height, width]:
        runs = _run_lengths(mask.get("counts"))
        if min(runs, default=-1) >= 0 and sum(runs) == width * height:
            return bool(area > 0 and sum(runs[1::2]) > 0)
    raise AnnotationError(
        f"{where} has neither polygons nor a run-length code of its image's {height} x {width} "
        "pixels as 'segmentation': write its mask in one of the two forms"
    )


def _outline_has_area(outline: Any, width: int, height: int) -> bool:
    """Whether a polygon has three points or more, a width and a height.

    It may leave the image (drawing it cuts it off), but not by more than the image's own size:
    pycocotools walks along every pixel of the outline.
    """
    if not isinstance(outline, array):
        raise ValueError("no list of numbers")
    if len(outline) % 2:
        raise ValueError("no list of pairs")
    if not math.isfinite(math.fsum(outline)):
        raise ValueError("not finite")
    if len(outline) < 6:
        return False
    xs, ys = outline[0::2], outline[1::2]
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    if left < -width or right > 2 * width or top < -height or bottom > 2 * height:
        raise ValueError(f"far outside {width} x {height} pixels")
    return bool(right > left and bottom > top)


def _run_lengths(counts: Any) -> list[int]:
    """The run lengths of a COCO run-length code, plain or packed into a string; [] if it is none.

    Packed numbers are read here because pycocotools trusts them: a damaged string makes it write
    past its memory. Each character less 48 is five bits of a number, lowest first, a bit 32 if more
    follow, and in the last a bit 16 if the number is negative; from the fourth number on it is the
    difference to the one two before.
    """
    if isinstance(counts, list):
        return counts if all(type(n) is int for n in counts) else []
    if not isinstance(counts, str) or not counts.isascii():
        return []
    runs: list[int] = []
    number = shift = 0
    for character in counts.encode("ascii"):
        digit = character - 48
        if not 0 <= digit < 64:
            return []
        number |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            number -= (digit & 16) << (shift - 4)
            runs.append(number + runs[-2] if len(runs) > 2 else number)
            number = shift = 0
    return [] if shift else runs
