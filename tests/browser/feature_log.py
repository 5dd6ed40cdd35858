"""A made-up run with feature snapshots and their pictures, written as trainer and projector do.

    python -m tests.browser.feature_log RUNS --classes 1203 --epochs 12 [--live] [--no-fasa]

Classes start from one place and come apart; PCA is a real one of the made-up features, the two
UMAPs are laid out by hand, as real ones would take minutes.
"""

from __future__ import annotations

import argparse
import io
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from browser.synthetic_log import SyntheticRun
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from trainer.run_log.projections import (
    begin_projection,
    fail_projection,
    store_measures,
    store_projection,
)
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import FeatureValues

DIM = 24
WIDTH, HEIGHT = 56, 44
BATCH = 2048  # features whose distances to all classes are in memory at once
UMAP = {"seed": 0, "n_neighbors": 15, "min_dist": 0.1, "epochs": 200, "start": "pca",
        "pca_dimensions": DIM, "variance": [1.0]}  # fmt: skip


class FeatureRun(SyntheticRun):
    """A `SyntheticRun` that takes a snapshot after each epoch.

    Args:
        objects: probe objects of a class at most; a fifth of them held out.
        virtual: virtual features of a class.
        methods: pictures that are made of each snapshot, in this order.
        most_bytes: bound on the run's snapshots; older ones are thinned out.
    """

    def __init__(
        self, runs: Path, *, objects: int = 4, virtual: int = 8,
        methods: tuple[str, ...] = ("pca", "umap", "umap_real"), most_bytes: int | None = None,
        **values: Any,
    ) -> None:  # fmt: skip
        super().__init__(runs, **values)
        self.drawn = np.random.default_rng(5)
        self.virtual, self.methods, self.most_bytes = virtual, methods, most_bytes
        counts = np.minimum(objects, np.maximum(1, self.instances // 2))
        self.class_of = np.arange(self.classes).repeat(counts).astype(np.int32)
        self.held_out = self.drawn.random(len(self.class_of)) < 0.2
        self.centre = self.drawn.normal(0, 1, (self.classes, DIM))
        self.noise = self.drawn.normal(0, 0.35, (len(self.class_of), DIM))
        self.virtual_noise = self.drawn.normal(0, 1, (self.classes * virtual, DIM))
        angle = 2 * np.pi * np.arange(self.classes) * 0.618
        radius = 12 * np.sqrt((1 + np.arange(self.classes)) / self.classes)
        self.anchor = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
        self.spot = self.drawn.normal(0, 0.5, (len(self.class_of), 2))
        self.virtual_spot = self.drawn.normal(0, 0.6, (self.classes * virtual, 2))

    def start(self) -> Any:
        """Begin as any run, then name the probe objects."""
        writer = super().start()
        writer.feature_probes([
            {"object_index": index, "class_index": int(label),
             "split": "holdout" if held else "train", "image_id": 100 + index // 3,
             "x1": 10.0 + index % 3, "y1": 20.0, "x2": 66.0, "y2": 64.0,
             "picture": jpeg(int(label) % 97, index % 5)}
            for index, (label, held) in enumerate(zip(self.class_of, self.held_out, strict=True))
        ])  # fmt: skip
        assert writer.flush()
        return writer

    def end_epoch(self, epoch: int) -> None:
        """End it as any run, then take a snapshot and make its pictures."""
        super().end_epoch(epoch)
        self.snapshot_features(epoch)

    def snapshot_features(self, epoch: int) -> int:
        """Store a snapshot of now and its pictures; returns its id."""
        assert self.writer
        values = self.values()
        self.writer.scalars({"features/seconds": 0.6, "features/share": 0.018},
                            step=self.step, epoch=epoch)  # fmt: skip
        self.writer.feature_snapshot(values, step=self.step, epoch=epoch,
                                     most_bytes=self.most_bytes)  # fmt: skip
        assert self.writer.flush()
        found = RunLogReader(self.path).features.heads(self.id)[-1].id
        for method in self.methods:
            self.project(found, values, method)
        return found

    def values(self) -> FeatureValues:
        """The features of this step."""
        apart = 0.15 + 0.85 * self.step / self.total
        real = np.maximum(0, 0.6 + apart * self.centre[self.class_of] + self.noise)
        has_prior = np.arange(self.classes if self.fasa else 0, dtype=np.int32)
        mean = 0.6 + apart * self.centre[has_prior]
        deviation = np.full((len(has_prior), DIM), 0.3)
        spread = self.virtual_noise[: len(has_prior) * self.virtual]
        virtual = mean.repeat(self.virtual, 0) + deviation.repeat(self.virtual, 0) * spread
        drawn = has_prior.repeat(self.virtual)
        real_predicted, real_loss = self.classify(real, self.class_of, apart)
        virtual_predicted, virtual_loss = self.classify(virtual, drawn, apart)
        half = np.float16
        return FeatureValues(
            objects=np.arange(len(real), dtype=np.int32), real=real.astype(half),
            real_predicted=real_predicted, real_loss=real_loss,
            classes=has_prior, mean=mean.astype(half), deviation=deviation.astype(half),
            prior_size=(0.6 * self.instances[has_prior]).astype(np.float32),
            virtual=virtual.astype(half), virtual_predicted=virtual_predicted,
            virtual_loss=virtual_loss,
        )  # fmt: skip

    def classify(
        self, features: NDArray[Any], labels: NDArray[Any], apart: float
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Nearest class, and the loss of the softmax over negative squared distances."""
        means = 0.6 + apart * self.centre
        predicted = np.zeros(len(features), np.int32)
        loss = np.zeros(len(features), np.float32)
        for first in range(0, len(features), BATCH):
            part = slice(first, first + BATCH)
            logits = 2 * features[part] @ means.T - (means**2).sum(1)
            logits -= logits.max(1, keepdims=True)
            predicted[part] = logits.argmax(1)
            own = logits[np.arange(len(logits)), labels[part]]
            loss[part] = np.log(np.exp(logits).sum(1)) - own
        return predicted, loss

    def project(self, snapshot: int, values: FeatureValues, method: str) -> None:
        """Make one picture of a snapshot."""
        pictures = self.pca(values) if method == "pca" else self.laid_out(values, method)
        *places, parameters = pictures
        real, virtual, ellipses = (place.astype(np.float32) for place in places)
        assert begin_projection(self.path, self.id, snapshot, method)
        assert store_projection(
            self.path, self.id, snapshot, method, seconds=0.4, parameters=parameters,
            real=real, virtual=virtual, ellipses=ellipses,
        )  # fmt: skip
        size = np.full(self.classes, np.nan, np.float32)
        size[values.classes] = np.minimum(values.prior_size, self.instances[values.classes])
        measures = {"effective_sample_size": (size, {"all": None})}
        assert store_measures(self.path, self.id, snapshot, measures)

    def pca(self, values: FeatureValues) -> tuple[Any, ...]:
        real, virtual = values.real.astype(float), values.virtual.astype(float)
        centre = real.mean(0)
        _, sizes, axes = np.linalg.svd(real - centre, full_matrices=False)
        across = axes[:2] * np.sign(axes[:2] @ self.centre[0])[:, None]
        share = (sizes**2 / (sizes**2).sum())[:2]
        mean = (values.mean.astype(float) - centre) @ across.T
        spread, (x, y) = values.deviation.astype(float) ** 2, across
        ellipses = np.column_stack([mean, spread @ (x * x), spread @ (x * y), spread @ (y * y)])
        parameters = {"variance": share.tolist(), "rotation": [[1.0, 0.0], [0.0, 1.0]]}
        return (real - centre) @ across.T, (virtual - centre) @ across.T, ellipses, parameters

    def laid_out(self, values: FeatureValues, method: str) -> tuple[Any, ...]:
        apart = 0.2 + 0.8 * self.step / self.total
        turned = self.anchor if method == "umap" else self.anchor[:, ::-1]
        real = apart * turned[self.class_of[values.objects]] + self.spot[values.objects]
        drawn = values.classes.repeat(self.virtual)
        virtual = apart * turned[drawn] + self.virtual_spot[: len(drawn)]
        mean = apart * turned[values.classes]
        spread = np.tile([0.3, 0.1, 0.2], (len(mean), 1))
        return real, virtual, np.column_stack([mean, spread]), UMAP

    def fail(self, snapshot: int, method: str, error: str) -> None:
        """Say as the projector does that a picture could not be made."""
        assert fail_projection(self.path, self.id, snapshot, method, error)


@cache
def jpeg(tint: int, shape: int) -> bytes:
    """A small picture: its colour says the class, its shape changes from object to object."""
    color = (60 + tint * 7 % 180, 60 + tint * 31 % 180, 60 + tint * 53 % 180)
    picture = Image.new("RGB", (WIDTH, HEIGHT), (214, 220, 226))
    draw = ImageDraw.Draw(picture)
    box = (6 + 2 * shape, 6, WIDTH - 6, HEIGHT - 6 - 2 * shape)
    draw.ellipse(box, fill=color) if tint % 2 else draw.rectangle(box, fill=color)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=80)
    return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--name", default="demo")
    parser.add_argument("--classes", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--upto", type=int, default=12, help="epochs of history")
    parser.add_argument("--objects", type=int, default=4, help="probe objects of a class")
    parser.add_argument("--virtual", type=int, default=8, help="virtual features of a class")
    parser.add_argument("--methods", default="pca,umap,umap_real")
    parser.add_argument("--most-bytes", type=int, default=None)
    parser.add_argument("--no-fasa", action="store_true")
    parser.add_argument("--live", action="store_true", help="go on, a step a second")
    options = parser.parse_args()
    run = FeatureRun(
        options.runs, name=options.name, classes=options.classes, epochs=options.epochs,
        steps_per_epoch=20, fasa=not options.no_fasa, objects=options.objects,
        virtual=options.virtual, most_bytes=options.most_bytes,
        methods=tuple(filter(None, options.methods.split(","))),
    )  # fmt: skip
    writer = run.start()
    run.advance(20 * min(options.upto, options.epochs))
    while options.live and run.step < run.total:
        time.sleep(0.5)
        run.answer_commands()
        run.advance()
    if run.step >= run.total:
        writer.status("finished")
    writer.close()


if __name__ == "__main__":
    main()
