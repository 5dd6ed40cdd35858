"""Feature values of any size, and a small run with them, for tests of what stores and reads it."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from trainer.run_log.rows import FeatureValues
from trainer.run_log.writer import RunLogWriter

RED, BLUE = (220, 30, 30), (30, 30, 220)
NAMES = ("tiger", "a\tb\nc\r\u2028d\x00", "caf\u00e9 \u867e", "=2+3", "<b>")


def feature_values(
    *, objects: Sequence[int] = (0, 1), classes: Sequence[int] = (1, 3), per_class: int = 2,
    feature_dim: int = 3, num_classes: int = 5, seed: int = 0, **changes: Any,
) -> FeatureValues:  # fmt: skip
    """Random features of some objects and of the priors of classes; `changes` replace arrays."""
    generator = np.random.default_rng(seed)
    drawn = len(classes) * per_class

    def features(count: int) -> Any:
        return generator.normal(size=(count, feature_dim)).astype(np.float16)

    def losses(count: int) -> Any:
        return generator.random(count, dtype=np.float32)

    def predictions(count: int) -> Any:
        return generator.integers(0, num_classes + 1, count).astype(np.int32)

    arrays: dict[str, Any] = {
        "objects": np.array(objects, np.int32),
        "real": np.abs(features(len(objects))),
        "real_predicted": predictions(len(objects)),
        "real_loss": losses(len(objects)),
        "classes": np.array(classes, np.int32),
        "mean": features(len(classes)),
        "deviation": np.abs(features(len(classes))),
        "prior_size": losses(len(classes)) * 9,
        "virtual": features(drawn),
        "virtual_predicted": predictions(drawn),
        "virtual_loss": losses(drawn),
    }
    return FeatureValues(**arrays | changes)


def jpeg(color: tuple[int, int, int], size: tuple[int, int] = (40, 20)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, format="JPEG", quality=95)
    return file.getvalue()


def add_features(writer: RunLogWriter, *values: FeatureValues) -> None:
    """Classes, two objects (of class 1 and 0, the second held out), and snapshots."""
    writer.register_categories(
        [
            {"index": i, "id": 3 * i, "name": name, "frequency": "rcf"[i % 3],
             "image_count": i, "instance_count": 2 * i} for i, name in enumerate(NAMES)
        ]
    )  # fmt: skip
    box = {"x1": 1.5, "y1": 2.0, "x2": 30.0, "y2": 40.25}
    writer.feature_probes(
        [
            {"object_index": 0, "class_index": 1, "split": "train", "image_id": 2**40,
             "picture": jpeg(RED)} | box,
            {"object_index": 1, "class_index": 0, "split": "holdout", "image_id": 7,
             "picture": jpeg(BLUE, (20, 40))} | box,
        ]
    )  # fmt: skip
    for place, snapshot in enumerate(values):
        writer.feature_snapshot(snapshot, step=10 * (place + 1), epoch=place)
    assert writer.flush()
