"""Claim: a training step of the demo takes at most 1.1 times as long while the projector works.

The real projector, as `fasa up` starts it, works through snapshots of 5,000 points, more of them
than it gets done; it is halted and let go on again every few steps of the same training. Medians of
both. How much of a processor it got while it was let is printed too, and how many pictures it made.

    python -m benchmarks.bench_projector_cost [THREADS]    of the training; default: all cores
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

from benchmarks.feature_cloud import FeatureCloud
from benchmarks.feature_run import FeatureRun
from trainer.config import RunConfig
from trainer.model import build_model
from trainer.run_log.reader import RunLogReader
from trainer.schedule import build_optimizers
from trainer.training_data import build_training_data, train_loader
from trainer.training_step import TrainingStep

SNAPSHOTS, STEPS_BETWEEN, EPOCHS = 15, 4, 2
TARGET = 1.1


def steps(folder: Path) -> Iterator[float]:
    """The seconds of each step of the demo's training, loading included."""
    torch.manual_seed(0)
    config = RunConfig()
    data = build_training_data(config, datasets=folder)
    model = build_model(config, class_counts=data.class_counts)
    step = TrainingStep(
        model=model,
        optimizers=build_optimizers(config, model, model.classifiers),
        gradient_clip=config.gradient_clip,
        device=torch.device("cpu"),
    )
    model.train()
    for epoch in range(EPOCHS):
        model.fasa.set_epoch(epoch)
        started = time.perf_counter()
        for batch in train_loader(config, data.train, epoch=epoch):
            step(batch, step=0)
            yield time.perf_counter() - started
            started = time.perf_counter()


def pictures(path: Path) -> int:
    with RunLogReader(path) as reader:
        return sum(len(found.states) for found in reader.features.states())


def busy_projector(path: Path) -> psutil.Process:
    """A projector that has its libraries loaded and compiled, and much to do."""
    cloud = FeatureCloud(real=2_500, virtual_per_class=40, classes=60, dim=1024)
    FeatureRun(path, cloud).add(*range(SNAPSHOTS))
    command = [sys.executable, "-m", "trainer.projector", f"--runs={path.parent}"]
    process = subprocess.Popen([*command, f"--parent={os.getpid()}"], start_new_session=True)
    while pictures(path) < SNAPSHOTS + 3:  # the first UMAPs are begun or made
        time.sleep(1)
    return psutil.Process(process.pid)


def bench(folder: Path) -> bool:
    projector = busy_projector(folder / "fasa.sqlite")
    before, had = pictures(folder / "fasa.sqlite"), sum(projector.cpu_times()[:2])
    seconds: dict[bool, list[float]] = {True: [], False: []}
    try:
        for number, taken in enumerate(steps(folder)):
            at_work = number // STEPS_BETWEEN % 2 == 0
            seconds[at_work].append(taken)
            if (number + 1) % STEPS_BETWEEN == 0:
                (projector.suspend if at_work else projector.resume)()
        share = (sum(projector.cpu_times()[:2]) - had) / sum(seconds[True])
        made = pictures(folder / "fasa.sqlite") - before
    finally:
        projector.kill()
    beside, alone = (statistics.median(seconds[kind]) for kind in (True, False))
    print(
        f"a step: {alone:.3f} s alone, {beside:.3f} s beside the projector: {beside / alone:.3f} "
        f"times as long (target {TARGET}); {len(seconds[True])} and {len(seconds[False])} steps on "
        f"{torch.get_num_threads()} threads\n"
        f"the projector had {share:.0%} of one core meanwhile and made {made} pictures"
    )
    return beside / alone <= TARGET


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave no halted projector behind
    if sys.argv[1:]:
        torch.set_num_threads(int(sys.argv[1]))
    with tempfile.TemporaryDirectory() as name:
        return 0 if bench(Path(name)) else 1


if __name__ == "__main__":
    sys.exit(main())
