"""Claim: streaming everything into the run log takes at most 0.5 % of a step at 1,203 classes.

Everything: the losses, rates and times of every step, how far the run is, what it takes of the
machine, and the state of all classes as often as the preset has it. Counted is the time of
the calls in the training thread and, as if nothing could run beside a step, all processor time
of the log's own thread and of the one that watches the machine. Whole steps with the log and
without are run in turns, too: their difference is smaller than what steps differ by anyhow.

    python -m benchmarks.bench_run_log_cost
    python -m benchmarks.bench_run_log_cost --height 800 --width 1333 --device cuda
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

from benchmarks.kept_results import hardware, keep
from benchmarks.lvis_step import (
    Size,
    build_lvis_model,
    lvis_config,
    make_batch,
    step_parser,
    training_step,
)
from trainer.recorder import Recorder
from trainer.resources import EVERY, ResourceMonitor
from trainer.run_log.commands import queue_run
from trainer.run_log.schema import open_for_writing
from trainer.run_log.writer import RunLogWriter
from trainer.training_step import TrainingStep

TARGET = 0.005
BATCHES, STEPS, SNAPSHOTS = 3, 400, 100
THREADS = ("run-log", "resources")


class Log:
    """What the engine does with the run log, step by step."""

    def __init__(self, recorder: Recorder, writer: RunLogWriter) -> None:
        self._recorder = recorder
        self._writer = writer
        self.step = 0

    def one_step(self, losses: dict[str, float]) -> None:
        """As after a training step."""
        self.step += 1
        self._recorder.step(
            losses,
            step=self.step,
            epoch=0,
            learning_rate=1e-3,
            images=2,
            loader_seconds=0.001,
            step_seconds=0.1,
        )
        self._recorder.progress("training", step=self.step, total_steps=10**6, epoch=0, epochs=24)
        self._recorder.wait_while_disk_full(lambda: False)

    def snapshot(self) -> None:
        """As every `snapshot_every`-th step."""
        self.step += 1
        self._recorder.snapshot(step=self.step, epoch=0)

    def cost(self, call: Callable[[], None], times: int) -> tuple[float, float]:
        """Seconds a call: the median in this thread, and the mean of the others' processor time."""
        self._writer.flush()
        spent, taken = _others_seconds(), []
        for _ in range(times):
            started = time.perf_counter()
            call()
            taken.append(time.perf_counter() - started)
            time.sleep(0.005)
        self._writer.flush()
        return statistics.median(taken), (_others_seconds() - spent) / times


def whole_steps(
    step: TrainingStep, log: Log, size: Size, rounds: int
) -> tuple[list[float], list[float], dict[str, float]]:
    """Seconds of steps with the log and without, in turns; and the losses of the last."""
    batches = [make_batch(size, seed=seed) for seed in range(BATCHES)]
    with_log: list[float] = []
    without: list[float] = []
    losses = step(batches[0], step=0)
    for number in range(rounds):
        for is_written, kept in ((True, with_log), (False, without)):
            started = time.perf_counter()
            losses = step(batches[number % BATCHES], step=1)
            if is_written:
                log.one_step(losses)
            kept.append(time.perf_counter() - started)
    return with_log, without, losses


def measure(options: argparse.Namespace, step: TrainingStep, log: Log) -> int:
    """Run it, print it, and say whether the claim holds."""
    size = Size(options.images, options.height, options.width)
    device = torch.device(options.device)
    every = lvis_config(size).snapshot_every
    with_log, without, losses = whole_steps(step, log, size, options.rounds)
    rows, rows_beside = log.cost(lambda: log.one_step(losses), STEPS)
    vectors, vectors_beside = log.cost(log.snapshot, SNAPSHOTS)
    spent = _others_seconds()
    time.sleep(3 * EVERY)  # nothing is written: what watching the machine takes
    watching = (_others_seconds() - spent) / (3 * EVERY)
    whole = statistics.median(without)
    of_step = (rows + rows_beside) / whole
    of_snapshot = (vectors + vectors_beside) / whole
    share = of_step + of_snapshot / every + watching
    text = (
        f"{size}, 1,203 classes, ResNet-50, {hardware(device)}; a step without the log: "
        f"{whole:.2f} s (median of {options.rounds})\n"
        f"rows of a step: {rows * 1e3:.2f} ms, and {rows_beside * 1e3:.2f} ms beside it; the state "
        f"of all classes, every {every} steps: {vectors * 1e3:.2f} ms, and "
        f"{vectors_beside * 1e3:.2f} ms beside it; watching the machine: {100 * watching:.3f} % of "
        f"a core\n"
        f"the run log's share of a step: {100 * share:.3f} % (target at most {100 * TARGET} %); "
        f"with the state of all classes after every step it would be "
        f"{100 * (of_step + of_snapshot + watching):.3f} %\n"
        f"whole steps: {statistics.median(with_log):.2f} s with the log, {whole:.2f} s without; "
        f"they range from {min(without):.2f} to {max(without):.2f} s"
    )
    print(text)
    if options.save:
        keep("bench_run_log_cost", text, device=device)
    return 0 if share <= TARGET else 1


def main() -> int:
    options = step_parser(__doc__).parse_args()
    device = torch.device(options.device)
    size = Size(options.images, options.height, options.width)
    config = lvis_config(size, learning_rate=1e-4, classifier_learning_rate=1e-4)
    model = build_lvis_model(config, device=device)
    assert model.fasa is not None
    model.fasa.set_epoch(config.start_epoch)
    step = training_step(config, model, device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fasa.sqlite"
        open_for_writing(path).close()
        run = queue_run(path, name="cost", config={}, dataset="none")
        with RunLogWriter(path, run) as writer, ResourceMonitor(Path(folder)) as resources:
            recorder = Recorder(writer=writer, model=model, resources=resources)
            return measure(options, step, Log(recorder, writer))


def _others_seconds() -> float:
    """Processor time that the log's and the watching thread have taken so far."""
    named = {thread.native_id for thread in threading.enumerate() if thread.name in THREADS}
    threads = psutil.Process().threads()
    return sum(t.user_time + t.system_time for t in threads if t.id in named)


if __name__ == "__main__":
    sys.exit(main())
