"""Small data sets of rectangles and a probe on them, for the tests of feature snapshots."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from data.detection import DetectionDataset
from trainer.config import RunConfig, load_config
from trainer.feature_probe import FeatureProbe
from trainer.model import FASAMaskRCNN, build_model
from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import FeatureSnapshot
from trainer.run_log.writer import RunLogWriter
from trainer.training_data import TrainingData

HEIGHT, WIDTH = 48, 64
CLASSES = 5

# Classes 0..3 in training; 4 is held out only, 3 has a single object, 0 and 1 many.
TRAIN = [[0, 1, 2], [0], [1, 1], [2], [3]]
HOLDOUT = [[0, 4], [1]]


CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "image_min_size": 96,
    "image_max_size": 128,
    "batch_size": 2,
    "feature_dim": 16,
    "fpn_channels": 16,
    "start_epoch": 0,
    "initial_scale": 20.0,
    "epochs": 2,
}


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


def small_model(config: RunConfig, data: TrainingData) -> FASAMaskRCNN:
    torch.manual_seed(config.seed)
    return build_model(config, class_counts=data.class_counts)


class Bench:
    """A model, a probe and the run log they write to."""

    def __init__(self, folder: Path, data: TrainingData, **given: Any) -> None:
        self.config = load_config({**SMALL, **given})
        self.data = data
        self.model = small_model(self.config, data)
        self.path = folder / "fasa.sqlite"
        self.run = queue_run(self.path, name="probe", config={}, dataset="rectangles")
        self.writer = RunLogWriter(self.path, self.run)
        categories = [vars(c) for c in data.categories]
        self.writer.register_categories(categories)
        self.probe = self.new_probe()

    def new_probe(self, clock: Callable[[], float] = time.monotonic) -> FeatureProbe:
        """As a process makes it that takes the run up."""
        return FeatureProbe(
            config=self.config, data=self.data, model=self.model, writer=self.writer, device=CPU,
            clock=clock,
        )  # fmt: skip

    def objects(self) -> list[Any]:
        self.writer.flush()
        return RunLogReader(self.path).features.probes(self.run)

    def snapshots(self) -> list[FeatureSnapshot]:
        self.writer.flush()
        return RunLogReader(self.path).features.snapshots(self.run)

    def scalars(self) -> list[Any]:
        self.writer.flush()
        return RunLogReader(self.path).scalars(self.run)
