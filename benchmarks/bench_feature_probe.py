"""Claim: a feature snapshot of the demo set (60 classes) costs at most 1/10 of an epoch's training.

Snapshots of the probe objects and of the virtual features, with the defaults of `RunConfig`,
against the training steps of a whole epoch: the same process, model, data and run log, in turn,
so that a busy machine slows both. The first snapshot also chooses the objects and makes their
pictures; it is timed apart.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
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

ROUNDS, THREADS = 3, 2
TARGET = 10.0


def train_epoch(
    config: RunConfig,
    data: TrainingData,
    model: FASAMaskRCNN,
    optimizers: list[torch.optim.Optimizer],
    epoch: int,
) -> None:
    """What an epoch costs before its validation: batches, losses, gradients, steps."""
    model.train()
    model.fasa.set_epoch(epoch)
    for images, targets in train_loader(config, data.train, epoch=epoch):
        total = torch.stack(list(model(images, targets).values())).sum()
        for optimizer in optimizers:
            optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
        for optimizer in optimizers:
            optimizer.step()


def seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def bench(folder: Path) -> bool:
    config = RunConfig()
    torch.manual_seed(config.seed)
    data = build_training_data(config, datasets=folder)
    model = build_model(config, class_counts=data.class_counts)
    optimizers = build_optimizers(config, model, model.classifier)
    path = folder / "fasa.sqlite"
    run = queue_run(path, name="probe", config={}, dataset=data.title)
    epochs: list[float] = []
    takes: list[float] = []
    with RunLogWriter(path, run) as writer:
        writer.register_categories([vars(category) for category in data.categories])
        device = torch.device("cpu")
        probe = FeatureProbe(config=config, data=data, model=model, writer=writer, device=device)
        for epoch in range(ROUNDS):
            epochs.append(
                seconds(lambda epoch=epoch: train_epoch(config, data, model, optimizers, epoch))
            )
            takes.append(seconds(lambda epoch=epoch: probe.take(step=epoch, epoch=epoch)))
    first, again, epoch_time = takes[0], statistics.median(takes[1:]), statistics.median(epochs)
    reader = RunLogReader(path)
    objects, snapshots = reader.feature_probes(run), reader.feature_snapshots(run)
    images = len({(row.split, row.image_id) for row in objects})
    kilobytes = sum(row.data.nbytes + row.subjects.nbytes for row in snapshots) / ROUNDS / 1e3
    pictures = sum(len(row.picture) for row in objects) / 1e3
    ratio = epoch_time / again
    print(
        f"{len(objects)} objects of {len(data.categories)} classes on {images} images, "
        f"{len(data.train)} training images, {THREADS} threads, medians of {ROUNDS} rounds\n"
        f"snapshot: {again:.2f} s (the first {first:.2f} s), an epoch's training: "
        f"{epoch_time:.1f} s, {ratio:.1f} times as long (target {TARGET:.0f}); "
        f"{kilobytes:.0f} kB a snapshot, {pictures:.0f} kB of pictures once"
    )
    return ratio >= TARGET


def main() -> int:
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as name:
        return 0 if bench(Path(name)) else 1


if __name__ == "__main__":
    sys.exit(main())
