"""Small annotation files and detections of rectangles, for the tests of average precision."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle_masks

SIDE = 120
HERE, THERE = [10, 10, 40, 40], [70, 70, 40, 40]
Table = dict[str, Any]


def rectangle(x: float, y: float, width: float, height: float, side: int = SIDE) -> Table:
    """The integer-truncated rectangle as compressed run lengths."""
    mask = np.zeros((side, side), dtype=np.uint8, order="F")
    mask[int(y) : int(y) + int(height), int(x) : int(x) + int(width)] = 1
    code = rle_masks.encode(mask)
    return {"size": [side, side], "counts": code["counts"].decode()}


def truth(images: list[Table], objects: list[tuple[int, int, list[int]]], letters: str) -> Table:
    """A federated annotation file: `objects` are (image, category, box), categories 1, 2, ..."""
    return {
        "images": [{"height": SIDE, "width": SIDE, **image} for image in images],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "area": box[2] * box[3],
                "segmentation": rectangle(*box),
            }
            for number, (image, category, box) in enumerate(objects, start=1)
        ],
        "categories": [
            {"id": number, "name": f"c{number}", "frequency": letter}
            for number, letter in enumerate(letters, start=1)
        ],
    }


def image(number: int, negative: tuple[int, ...] = (), partial: tuple[int, ...] = ()) -> Table:
    return {
        "id": number,
        "neg_category_ids": list(negative),
        "not_exhaustive_category_ids": list(partial),
    }


def found(number: int, category: int, box: list[float], score: float) -> Table:
    return {
        "image_id": number,
        "category_id": category,
        "bbox": box,
        "score": score,
        "segmentation": rectangle(*box),
    }


def written(folder: Path, content: Table) -> Path:
    path = folder / "truth.json"
    path.write_text(json.dumps(content))
    return path
