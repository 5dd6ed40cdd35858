"""Claim: measuring processor, memory and disk lengthens a training step by less than 0.2 %.

Steps of the demo set with two loader processes, in one process and on one thread: blocks with a
`ResourceMonitor` and blocks without take turns, so that a busy machine slows both. The monitor of
the benchmark measures every 0.2 s, 25 times as often as a trainer's: what its blocks take
longer, divided by 25, is what a trainer pays. Beside it, what one measurement takes of the
processor, and what the training thread pays to pick one up.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from trainer.config import RunConfig
from trainer.model import FASAMaskRCNN, build_model
from trainer.resources import EVERY, ResourceMonitor
from trainer.schedule import build_optimizers
from trainer.training_data import TrainingData, build_training_data, train_loader

BLOCKS, STEPS, THREADS, OFTEN = 8, 8, 1, 0.2  # blocks of each kind, steps a block, seconds
TARGET = 0.002


def steps(config: RunConfig, data: TrainingData, model: FASAMaskRCNN) -> Iterator[float]:
    """The seconds of one training step after the other, without its wait for the batch."""
    optimizers = build_optimizers(config, model, model.classifiers)
    model.train()
    for epoch in range(1, 1000):
        for images, targets in train_loader(config, data.train, epoch=epoch):
            started = time.perf_counter()
            total = torch.stack(list(model(images, targets).values())).sum()
            for optimizer in optimizers:
                optimizer.zero_grad()
            total.backward()
            for optimizer in optimizers:
                optimizer.step()
            yield time.perf_counter() - started


def compare(folder: Path, source: Iterator[float]) -> tuple[float, int]:
    """How much longer the steps are with the monitor, as a share; and how often it measured."""
    ratios, taken = [], 0
    for _ in range(BLOCKS):
        seconds = {}
        for watched in (False, True):
            with contextlib.ExitStack() as stack:
                monitor = ResourceMonitor(folder, seconds=OFTEN) if watched else None
                if monitor is not None:
                    stack.enter_context(monitor)
                block = []
                for _ in range(STEPS):
                    block.append(next(source))
                    taken += monitor is not None and monitor.take() is not None
            seconds[watched] = statistics.median(block)
        ratios.append(seconds[True] / seconds[False])
    return statistics.median(ratios) - 1, taken


def cost_of_one(folder: Path) -> tuple[float, float]:
    """Processor seconds of one measurement, and seconds of picking up what lies ready."""
    with ResourceMonitor(folder, seconds=0.01) as monitor:
        spent, begun, count = time.process_time(), time.monotonic(), 0
        while time.monotonic() - begun < 3:
            time.sleep(0.005)
            count += monitor.take() is not None
        spent = time.process_time() - spent
    started = time.perf_counter()
    for _ in range(100_000):
        monitor.take()
    return spent / max(1, count), (time.perf_counter() - started) / 100_000


def main() -> int:
    torch.set_num_threads(THREADS)
    config = RunConfig(workers=2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = build_training_data(config, datasets=folder)
        torch.manual_seed(config.seed)
        model = build_model(config, class_counts=data.class_counts)
        source = steps(config, data, model)
        next(source)
        longer, taken = compare(folder, source)
        processor, pick_up = cost_of_one(folder)
    share = max(longer / (EVERY / OFTEN), processor / EVERY)
    print(
        f"{2 * BLOCKS * STEPS} steps, {taken} measurements: every {OFTEN} s a step takes "
        f"{1 + longer:.4f} times as long; one measurement takes {1e3 * processor:.1f} ms of the "
        f"processor, picking it up {1e6 * pick_up:.2f} us\n"
        f"every {EVERY:.0f} s: {100 * share:.3f} % of a step (target {100 * TARGET} %)"
    )
    return 0 if share <= TARGET and taken >= BLOCKS else 1


if __name__ == "__main__":
    sys.exit(main())
