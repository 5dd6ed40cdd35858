"""A hand-made json of three images whose every mask is known, for the tests of the data room."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_tools
from PIL import Image

from data.detection import DetectionDataset

HEIGHT, WIDTH = 6, 8


def packed(mask: np.ndarray) -> dict[str, Any]:
    code = mask_tools.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": code["counts"].decode()}


def rectangle(x: int, y: int, width: int, height: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[y : y + height, x : x + width] = 1
    return mask


def annotation(number: int, image: int, category: int, box: list[float], mask: Any) -> dict:
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": box,
        "area": box[2] * box[3],
        "segmentation": mask,
        "iscrowd": 0,
    }


def document() -> dict[str, Any]:
    """Image 7 shows a cup (polygon), a fork (packed code) and a crowd; 9 a cup (plain code)."""
    # The plain code of a 3 x 2 rectangle at (1, 2) in columns of 6: 8 off, 2 on, 4 off, ...
    plain = {"size": [HEIGHT, WIDTH], "counts": [8, 2, 4, 2, 4, 2, 26]}
    crowd = annotation(4, 7, 20, [0, 0, 8, 1], {"size": [HEIGHT, WIDTH], "counts": [0, 1, 47]})
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
            {"id": 9, "file_name": "more/b.png", "width": WIDTH, "height": HEIGHT},
            {"id": 3, "file_name": "c.png", "width": WIDTH, "height": HEIGHT},
        ],
        "annotations": [
            annotation(1, 7, 30, [1, 2, 3, 2], [[1, 2, 4, 2, 4, 4, 1, 4]]),
            annotation(2, 9, 30, [1, 2, 3, 2], plain),
            annotation(3, 7, 20, [4, 0, 4, 5], packed(rectangle(4, 0, 4, 5))),
            {**crowd, "iscrowd": 1},
        ],
        "categories": [{"id": 30, "name": "cup"}, {"id": 20, "name": "fork"}],
    }


def write(folder: Path, content: dict[str, Any]) -> Path:
    (folder / "more").mkdir(exist_ok=True)
    for number, name in enumerate(["a.png", "more/b.png", "c.png"]):
        pixels = np.full((HEIGHT, WIDTH, 3), 10 * number, dtype=np.uint8)
        pixels[0, 0] = (1, 2, 3)
        Image.fromarray(pixels).save(folder / name)
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return path


def load(folder: Path, content: dict[str, Any], **options: Any) -> DetectionDataset:
    return DetectionDataset(write(folder, content), folder, **options)
