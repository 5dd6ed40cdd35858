"""Detections in a file of the published results format: the json that LVIS and COCO tools share."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.annotation_table import AnnotationTable
from trainer.detections import Detections

_LARGEST_ID = 2**63 - 1
_LARGEST_NUMBER = 1e12
# Packed run lengths: five bits a character, and one that says that more of the number follow.
_CHARACTERS = bytes(range(48, 112))
_LAST_OF_A_NUMBER = _CHARACTERS[:32]


def read_results(path: Path, truth: AnnotationTable) -> Detections:
    """The detections in a file, all of which may be compared with `truth`.

    Raises:
        ValueError: they are not in the format, or of other images; one sentence.
        OSError: the file cannot be opened.
    """
    with path.open(encoding="utf-8") as file:
        try:
            records = json.load(file)
        except (ValueError, RecursionError) as error:  # of json or of the text in it
            raise ValueError(
                f"{path} is not a whole json ({error}): write or fetch it again"
            ) from None
    if not isinstance(records, list):
        raise ValueError(
            f"{path} holds a json {type(records).__name__} where a list of detections belongs: "
            "give one in the results format of LVIS and COCO"
        )
    shapes = zip(truth.heights.tolist(), truth.widths.tolist(), strict=True)
    size_of = dict(zip(truth.image_ids.tolist(), map(list, shapes), strict=True))
    for number, record in enumerate(records, start=1):
        wrong = _wrong(record, size_of)
        if wrong:
            raise ValueError(f"detection {number} of {path} has {wrong}")
    found = Detections.of(records)
    if records and found.boxes is None and found.masks is None:
        raise ValueError(
            f"some detections of {path} have a bbox alone and others a segmentation alone: "
            "give all of them the same"
        )
    return found


def _wrong(record: Any, size_of: Mapping[int, list[int]]) -> str:
    """What is wrong with a detection and what it ought to be, or ""."""
    if not isinstance(record, dict):
        return f"the form {reprlib.repr(record)}: write an object with image_id, category_id, ..."
    image_id, category_id = record.get("image_id"), record.get("category_id")
    if type(image_id) is not int or image_id not in size_of:
        return (
            f"the image_id {reprlib.repr(image_id)}, which the annotation file does not list: "
            "give the file its images come from"
        )
    if type(category_id) is not int or not 0 <= category_id <= _LARGEST_ID:
        return f"the category_id {reprlib.repr(category_id)}: write a whole number from 0 on"
    if not _is_number(record.get("score")):
        return f"the score {reprlib.repr(record.get('score'))}: write a number"
    if "bbox" not in record and "segmentation" not in record:
        return "neither a bbox nor a segmentation: write one of them or both"
    if "bbox" in record and not _is_box(record["bbox"]):
        return (
            f"the bbox {reprlib.repr(record['bbox'])}: "
            "write the four numbers x, y, width and height in pixels"
        )
    size = size_of[image_id]
    if "segmentation" in record and not _is_mask(record["segmentation"], size):
        return (
            "a segmentation that is not a compressed run-length code of its image's "
            f"{size[0]} x {size[1]} pixels: encode it with pycocotools.mask"
        )
    return ""


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _LARGEST_NUMBER


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))


def _is_mask(mask: Any, size: list[int]) -> bool:
    """Whether pycocotools can read it: it trusts the text, and would read on behind its end."""
    if not isinstance(mask, dict) or mask.get("size") != size:
        return False
    counts = mask.get("counts")
    if not isinstance(counts, str) or not counts.isascii():
        return False
    text = counts.encode("ascii")
    is_whole = bool(text) and text[-1] in _LAST_OF_A_NUMBER
    return is_whole and not text.translate(None, _CHARACTERS)


def write_results(records: Sequence[dict[str, Any]], path: Path) -> None:
    """Detections in the results format of LVIS and COCO, one a line; all of them or no file.

    Raises:
        OSError: the file cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            for number, record in enumerate(records):
                file.write(("[" if number == 0 else ",\n") + json.dumps(record))
            file.write("]\n" if len(records) else "[]\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
