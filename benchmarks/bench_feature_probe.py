"""Claim: the feature snapshot of the demo set (60 classes) takes at most 2 % of an epoch.

An epoch as a run does it: training, the validation pass and the AP evaluation, with the defaults of
`RunConfig`. Snapshots are taken in between: the same process, model, data and run log, one thread,
medians of steps, batches and snapshots, so that a busy machine slows both. What an attempt prepares
once (choice, pictures, maps of the frozen backbone) is timed apart.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from trainer.config import RunConfig
from trainer.feature_probe import PREPARATION, SECONDS, FeatureProbe
from trainer.inference import evaluate_model
from trainer.model import FASAMaskRCNN, build_model
from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.writer import RunLogWriter
from trainer.schedule import build_optimizers
from trainer.training_data import TrainingData, adaptation_loader, build_training_data, train_loader
from trainer.training_step import TrainingStep

STEPS_BETWEEN, BATCHES_BETWEEN, THREADS = 6, 6, 1
TARGET = 0.02


class Bench:
    """One epoch in pieces, a snapshot after every few of them."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        self.config = RunConfig()
        self.device = torch.device("cpu")
        self.data: TrainingData = build_training_data(self.config, datasets=folder)
        self.model: FASAMaskRCNN = build_model(self.config, class_counts=self.data.class_counts)
        self.path = folder / "fasa.sqlite"
        self.run = queue_run(self.path, name="probe", config={}, dataset=self.data.title)
        self.writer = RunLogWriter(self.path, self.run)
        self.writer.register_categories([vars(category) for category in self.data.categories])
        self.probe = FeatureProbe(
            config=self.config, data=self.data, model=self.model, writer=self.writer,
            device=self.device,
        )  # fmt: skip
        self.snapshots = 0

    def train(self) -> float:
        """The seconds of an epoch's training: the median step, loading included."""
        step = TrainingStep(
            model=self.model,
            optimizers=build_optimizers(self.config, self.model, self.model.classifiers),
            gradient_clip=self.config.gradient_clip,
            device=self.device,
        )
        self.model.train()
        assert self.model.fasa is not None
        self.model.fasa.set_epoch(1)
        seconds = []
        started = time.perf_counter()
        for batch in train_loader(self.config, self.data.train, epoch=1):
            step(batch, step=0)
            seconds.append(time.perf_counter() - started)
            if len(seconds) % STEPS_BETWEEN == 0:
                self.snapshot()
            started = time.perf_counter()
        return statistics.median(seconds) * len(seconds)

    def validate(self) -> float:
        """The seconds of the validation pass: the median batch."""
        self.model.eval()
        seconds = []
        started = time.perf_counter()
        for images, targets in adaptation_loader(self.config, self.data.holdout, epoch=1):
            self.model.validation_losses(images, targets)
            seconds.append(time.perf_counter() - started)
            if len(seconds) % BATCHES_BETWEEN == 0:
                self.snapshot()
            started = time.perf_counter()
        return statistics.median(seconds) * len(seconds)

    def evaluate(self) -> float:
        """The seconds of the AP evaluation: the median batch, and AP itself."""
        times = [time.perf_counter()]

        def done(total: int) -> None:
            times.append(time.perf_counter())

        evaluate_model(self.model, self.data, self.config, device=self.device, batch_done=done)
        ap = time.perf_counter() - times[-1]
        batches = [after - before for before, after in itertools.pairwise(times)]
        return statistics.median(batches) * len(batches) + ap

    def snapshot(self) -> None:
        """One more; what it took is in the run log."""
        self.snapshots += 1
        self.probe.take(step=self.snapshots, epoch=1)


def bench(folder: Path) -> bool:
    bench = Bench(folder)
    bench.snapshot()
    parts = {name: getattr(bench, name)() for name in ("train", "validate", "evaluate")}
    bench.snapshot()
    bench.writer.close()
    reader = RunLogReader(bench.path)
    values = {
        name: [row.value for row in reader.scalars(bench.run, [name])]
        for name in (SECONDS, PREPARATION)
    }
    snapshot = statistics.median(values[SECONDS])
    epoch = sum(parts.values())
    objects, head = reader.features.probes(bench.run), reader.features.heads(bench.run)[-1]
    images = len({(row.split, row.image_id) for row in objects})
    held_out = sum(row.split == "holdout" for row in objects)
    pictures = sum(len(row.picture) for row in objects) / 1e3
    shown = ", ".join(f"{name} {seconds:.1f}" for name, seconds in parts.items())
    print(
        f"{len(objects)} objects ({held_out} held out) of {len(bench.data.categories)} classes on "
        f"{images} images, {head.num_virtual} virtual features, {THREADS} thread, medians of "
        f"{bench.snapshots} snapshots\n"
        f"snapshot: {snapshot:.2f} s ({values[PREPARATION][0]:.1f} s once an attempt before the "
        f"first), an epoch: {epoch:.1f} s ({shown}), {snapshot / epoch:.2%} of it "
        f"(target {TARGET:.0%}); {head.bytes / 1e3:.0f} kB a snapshot, {pictures:.0f} kB of "
        "pictures once"
    )
    return bool(snapshot / epoch <= TARGET)


def main() -> int:
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as name:
        return 0 if bench(Path(name)) else 1


if __name__ == "__main__":
    sys.exit(main())
