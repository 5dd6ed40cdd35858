"""A run with probe objects, two feature snapshots, their pictures and measures, made by hand.

Classes 0, 1, 2. Objects 0 (class 0) and 1 (class 1) are trained on, 2 (class 1) is held out. At the
first snapshot (step 10, epoch 0) class 1 alone has a prior, at the second (step 20, epoch 1) 0 and
1 have one; K = 2.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.snapshot_builders import feature_values
from trainer.run_log.projections import store_measures, store_projection
from trainer.run_log.rows import FeatureValues
from trainer.run_log.writer import RunLogWriter

FEATURE_DIM, PER_CLASS = 6, 2
OBJECT_CLASSES, SPLITS = (0, 1, 1), ("train", "train", "holdout")
BOX = (1.0, 2.0, 21.04, 32.0)


def jpeg(number: int) -> bytes:
    """A picture of one colour, another one for each of the first 100 numbers."""
    out = io.BytesIO()
    Image.new("RGB", (40, 30), (50 + 2 * (number % 100), 120, 200)).save(out, "JPEG")
    return out.getvalue()


def probe_rows(classes: Sequence[int], splits: Sequence[str]) -> list[dict[str, Any]]:
    """One object a class named, each with a picture of its own."""
    return [
        {
            "object_index": index, "class_index": label, "split": split, "image_id": 100 + index,
            "x1": BOX[0], "y1": BOX[1], "x2": BOX[2], "y2": BOX[3],
            "picture": jpeg(index),
        }
        for index, (label, split) in enumerate(zip(classes, splits, strict=True))
    ]  # fmt: skip


def coordinates(values: FeatureValues, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Places and ellipses for features, at random."""
    random = np.random.default_rng(seed)
    sizes = {"real": (len(values.real), 2), "virtual": (len(values.virtual), 2),
             "ellipses": (len(values.classes), 5)}  # fmt: skip
    return {name: random.normal(0, 1, size).astype(np.float32) for name, size in sizes.items()}


def project(path: Path, run: int, snapshot: int, method: str, values: FeatureValues) -> None:
    assert store_projection(
        path, run, snapshot, method, seconds=1.5, parameters={"seed": 7},
        **coordinates(values, seed=snapshot),
    )  # fmt: skip


def small_features(writer: RunLogWriter, path: Path, run: int = 1) -> list[FeatureValues]:
    """Two snapshots with ids 1 and 2 in an empty log: both as PCA, the second measured too."""
    writer.feature_probes(probe_rows(OBJECT_CLASSES, SPLITS))
    moments = [
        feature_values(
            objects=range(3),
            classes=classes,
            per_class=PER_CLASS,
            feature_dim=FEATURE_DIM,
            num_classes=3,
            seed=seed,
        )
        for seed, classes in enumerate(([1], [0, 1]))
    ]
    for at, values in enumerate(moments, start=1):
        writer.feature_snapshot(values, step=10 * at, epoch=at - 1)
    assert writer.flush()
    for snapshot, values in enumerate(moments, start=1):
        project(path, run, snapshot, "pca", values)
    sizes = np.array([2.5, 3.0, np.nan], np.float32)  # below the bound, on it, not to be judged
    assert store_measures(path, run, 2, {"effective_sample_size": (sizes, {"all": 2.75})})
    return moments
