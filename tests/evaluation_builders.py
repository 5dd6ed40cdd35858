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
        "images": [
            {"height": SIDE, "width": SIDE, "file_name": f"{image['id']}.jpg", **image}
            for image in images
        ],
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


def random_case(
    seed: int, *, images: int, categories: int, federated: bool
) -> tuple[Table, list[Table]]:
    """A random annotation file and detections: near misses, false alarms, equal scores, slivers.

    Some objects are there twice, some are as large as the limit of a size, some are crowds, some
    have no area, and some images have nothing.
    """
    rng = np.random.default_rng(seed)
    entries, objects, records = [], [], []
    for number in range(1, images + 1):
        present = rng.choice(categories, size=rng.integers(0, 4), replace=False) + 1
        absent = set(rng.integers(1, categories + 1, size=2).tolist()) - set(present.tolist())
        partial = rng.integers(1, categories + 1, size=rng.integers(0, 3)).tolist()
        entries.append(
            image(number, tuple(absent), tuple(partial)) if federated else {"id": number}
        )
        for category in present.tolist():
            for _ in range(rng.integers(1, 4)):
                box = random_box(rng)
                objects += [(number, category, box)] * int(rng.integers(1, 3))
                records += near_misses(rng, number, category, box)
        for _ in range(rng.integers(0, 6)):
            box = [int(v) for v in (*rng.integers(0, 60, 2), *rng.integers(0, 60, 2))]
            category = int(rng.integers(1, categories + 1))
            records.append(found(number, category, box, score(rng)))
    letters = "".join(rng.choice(list("rcf"), size=categories))
    rng.shuffle(records)
    content = truth(entries, objects, letters)
    for annotation in content["annotations"]:
        annotation["iscrowd"] = int(annotation["area"] > 0 and rng.random() < 0.15)
    return content, records


def random_box(rng: np.random.Generator) -> list[int]:
    box = [int(v) for v in (*rng.integers(0, 24, 2), *rng.integers(3, 60, 2))]
    kind = rng.random()
    if kind < 0.2:  # as large as a size's limit
        box[2] = box[3] = 32 if kind < 0.1 else 96
    elif kind < 0.3:  # the lvis package skips empty objects
        box[3] = 0
    return box


def near_misses(
    rng: np.random.Generator, number: int, category: int, box: list[int]
) -> list[Table]:
    shifts = rng.integers(-6, 7, size=(rng.integers(0, 3), 4))
    boxes = [[max(0, int(a + b)) for a, b in zip(box, shift, strict=True)] for shift in shifts]
    if rng.random() < 0.2:
        boxes.append(box)
    return [found(number, category, shifted, score(rng)) for shifted in boxes]


def score(rng: np.random.Generator) -> float:
    """One of 20 values, so that many are equal."""
    return float(rng.integers(1, 21)) / 20


def without_masks(records: list[Table]) -> list[Table]:
    names = ("image_id", "category_id", "bbox", "score")
    return [{name: record[name] for name in names} for record in records]


def without_boxes(records: list[Table]) -> list[Table]:
    names = ("image_id", "category_id", "segmentation", "score")
    return [{name: record[name] for name in names} for record in records]
