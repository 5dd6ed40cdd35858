"""Claim: a feature snapshot of the demo set (60 classes) costs at most 1/10 of an epoch's training.

Snapshots of the probe objects and of the virtual features, with the defaults of `RunConfig`, in
between the training steps of two epochs: the same process, model, data and run log, one thread,
medians of both, so that a busy machine slows both. The first snapshot also chooses the objects and
makes their pictures; it is timed apart.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from trainer.config import RunConfig
from trainer.feature_probe import FeatureProbe
from trainer.model import FASAMaskRCNN, build_model
from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.writer import RunLogWriter
from trainer.schedule import build_optimizers
from trainer.training_data import TrainingData, build_training_data, train_loader

EPOCHS, STEPS_BETWEEN, THREADS = 2, 6, 1
TARGET = 10.0


def training_steps(
    config: RunConfig, data: TrainingData, model: FASAMaskRCNN, epoch: int
) -> Iterator[float]:
    """The seconds of each step of an epoch: loading its batch, losses, gradients, step."""
    optimizers = build_optimizers(config, model, model.classifier)
    model.train()
    model.fasa.set_epoch(epoch)
    started = time.perf_counter()
    for images, targets in train_loader(config, data.train, epoch=epoch):
        total = torch.stack(list(model(images, targets).values())).sum()
        for optimizer in optimizers:
            optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
        for optimizer in optimizers:
            optimizer.step()
        yield time.perf_counter() - started
        started = time.perf_counter()


def measure(
    config: RunConfig, data: TrainingData, path: Path, run: int
) -> tuple[list[float], list[float]]:
    """Seconds of every training step and of every snapshot."""
    torch.manual_seed(config.seed)
    model = build_model(config, class_counts=data.class_counts)
    steps: list[float] = []
    snapshots: list[float] = []
    with RunLogWriter(path, run) as writer:
        writer.register_categories([vars(category) for category in data.categories])
        device = torch.device("cpu")
        probe = FeatureProbe(config=config, data=data, model=model, writer=writer, device=device)
        for epoch in range(EPOCHS):
            for seconds in training_steps(config, data, model, epoch):
                steps.append(seconds)
                if len(steps) % STEPS_BETWEEN == 0:
                    started = time.perf_counter()
                    probe.take(step=len(steps), epoch=epoch)
                    snapshots.append(time.perf_counter() - started)
    return steps, snapshots


def bench(folder: Path) -> bool:
    config = RunConfig()
    data = build_training_data(config, datasets=folder)
    path = folder / "fasa.sqlite"
    run = queue_run(path, name="probe", config={}, dataset=data.title)
    steps, snapshots = measure(config, data, path, run)
    epoch = statistics.median(steps) * len(steps) / EPOCHS
    again = statistics.median(snapshots[1:])
    reader = RunLogReader(path)
    objects, stored = reader.feature_probes(run), reader.feature_snapshots(run)
    images = len({(row.split, row.image_id) for row in objects})
    kilobytes = sum(row.data.nbytes + row.subjects.nbytes for row in stored[-2:]) / 1e3
    pictures = sum(len(row.picture) for row in objects) / 1e3
    print(
        f"{len(objects)} objects of {len(data.categories)} classes on {images} images, "
        f"{len(data.train)} training images, {THREADS} thread, medians of {len(snapshots)} "
        f"snapshots and {len(steps)} steps\n"
        f"snapshot: {again:.2f} s (the first {snapshots[0]:.2f} s), an epoch's training: "
        f"{epoch:.1f} s, {epoch / again:.1f} times as long (target {TARGET:.0f}); "
        f"{kilobytes:.0f} kB a snapshot, {pictures:.0f} kB of pictures once"
    )
    return epoch / again >= TARGET


def main() -> int:
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as name:
        return 0 if bench(Path(name)) else 1


if __name__ == "__main__":
    sys.exit(main())
