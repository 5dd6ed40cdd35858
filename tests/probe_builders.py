"""Small data sets of rectangles, written to disk, for the tests of the feature probe."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data.detection import DetectionDataset
from trainer.training_data import TrainingData

HEIGHT, WIDTH = 48, 64
CLASSES = 5

# Classes 0..3 in training; 4 is held out only, 3 has a single object, 0 and 1 many.
TRAIN = [[0, 1, 2], [0], [1, 1], [2], [3]]
HOLDOUT = [[0, 4], [1]]


def box_of(position: int, label: int) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 of an image's object number `position`: another one for each."""
    x, y = 3 + 11 * (position % 5), 2 + 15 * (position // 5)
    return x, y, x + 8 + label % 5, y + 12


def color_of(label: int) -> tuple[int, int, int]:
    return 40 + 40 * (label % 5), 200 - 30 * (label % 5), 90


def write_dataset(
    folder: Path, images: Sequence[Sequence[int]], *, first_id: int = 1, classes: int = CLASSES
) -> DetectionDataset:
    """A data set whose image number i has the id `first_id` + i and shows the labels images[i].

    Each object is a rectangle of its class's colour on noise; labels may repeat.
    """
    folder.mkdir(parents=True)
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    content["categories"] = [{"id": 7 * c + 2, "name": f"class {c}"} for c in range(classes)]
    for number, labels in enumerate(images, first_id):
        generator = np.random.default_rng(number)
        pixels = generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        for position, label in enumerate(labels):
            x1, y1, x2, y2 = box_of(position, label)
            pixels[y1:y2, x1:x2] = color_of(label)
            content["annotations"].append(
                {
                    "id": len(content["annotations"]),
                    "image_id": number,
                    "category_id": 7 * label + 2,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
                }
            )
        name = f"{number}.png"
        Image.fromarray(pixels).save(folder / name)
        content["images"].append(
            {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT}
        )
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return DetectionDataset(path, folder)


def training_data(
    folder: Path,
    train: Sequence[Sequence[int]],
    holdout: Sequence[Sequence[int]],
    *,
    classes: int = CLASSES,
) -> TrainingData:
    """Training images from id 1 on, held-out ones from id 101 on; no test set."""
    learned = write_dataset(folder / "train", train, classes=classes)
    held = write_dataset(folder / "holdout", holdout, first_id=101, classes=classes)
    return TrainingData("rectangles", learned.categories, learned, held, None, False)
