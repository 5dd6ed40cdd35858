"""Does a run survive being killed? It is, at random moments, and must end as if it never had been.

    python -m benchmarks.survival --kills 100

Two runs of one configuration on the CPU: one is left alone, the other is ended by SIGKILL again
and again, at random moments of training, validation, evaluation, checkpoints and restarts, and
resumed each time. Both get the same command before they start and another one at the same moment
of their course. After each kill the run log must pass SQLite's integrity check. In the end weights,
optimizer memory, FASA's state, random numbers and every row of the run log must be equal bit for
bit; left out are wall times, the measurements of speed and memory, and the attempts.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from trainer.checkpoint import read_checkpoint
from trainer.checkpoint_files import checkpoints
from trainer.config import load_config
from trainer.execute import execute
from trainer.feature_probe import FEATURE_COSTS
from trainer.resources import RESOURCES
from trainer.run_log.commands import queue_run, requeue_run, send_command, set_status
from trainer.run_log.history import HISTORY
from trainer.run_log.reader import RunLogReader
from trainer.runs_folder import RunsFolder

MEASURED = ("images_per_second", "loader_seconds", "step_seconds", *RESOURCES, *FEATURE_COSTS)
SMALL: dict[str, Any] = {  # all there is in a run, in a second or two an epoch
    "demo_classes": 6,
    "threads": 1,
    "image_min_size": 96,
    "image_max_size": 96,
    "fpn_channels": 16,
    "feature_dim": 64,
    "mask_layers": 1,
    "mask_channels": 16,
    "rois_per_image": 8,
    "rpn_batch": 16,
    "proposals_train": 16,
    "proposals_test": 8,
    "snapshot_every": 3,
    "initial_scale": 15.0,
    "feature_share": 1.0,  # a bound on measured time would not be the same twice
}
KEPT = {"keep_checkpoints": 2, "keep_every": 5}
LONGEST_RUN = 600.0  # s, of one attempt: more means that it hangs


@dataclass
class Result:
    """What was found.

    Attributes:
        kills: how often the run was killed while it trained.
        phases: what it was doing each time, as its row says.
        steps: training steps of the run.
        rows: rows compared.
        differences: one sentence each; none when it survived.
    """

    kills: int = 0
    phases: dict[str, int] = field(default_factory=dict)
    steps: int = 0
    rows: int = 0
    differences: list[str] = field(default_factory=list)


class Runs:
    """Starts, kills and resumes runs of one configuration in one folder."""

    def __init__(self, root: Path, epochs: int) -> None:
        self.folder = RunsFolder(root)
        self._config = load_config({**SMALL, **KEPT, "epochs": epochs}).model_dump(mode="json")
        # Attempts are forked from a process that has loaded everything and started no thread.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["trainer.execute"])
        first = self._context.Process(target=int)
        first.start()
        first.join()

    def queue(self) -> int:
        """A run with a command that waits for it."""
        run_id = queue_run(self.folder.run_log, name="a", config=self._config, dataset="demo")
        send_command(self.folder.run_log, run_id, "set", {"alpha": 1.3})
        return run_id

    def start(self, run_id: int) -> BaseProcess:
        """An attempt at a run, in a process of its own."""
        process = self._context.Process(target=_train, args=(str(self.folder.root), run_id))
        process.start()
        return process

    def is_in_epoch(self, run_id: int, epoch: int) -> bool:
        """Whether a run has come so far."""
        with RunLogReader(self.folder.run_log) as reader:
            return reader.run(run_id).epoch >= epoch

    def repeat_command(self, source: int, run_id: int) -> None:
        """Give a run the commands of another, to be taken at the same moments."""
        with closing(sqlite3.connect(self.folder.run_log)) as connection, connection:
            connection.execute(
                "INSERT INTO commands (run_id, kind, payload, created, answered, applied_step,"
                " applied_epoch, applied_phase) SELECT ?, kind, payload, created, answered,"
                " applied_step, applied_epoch, applied_phase FROM commands"
                " WHERE run_id = ? AND applied_step > 0 ORDER BY id",
                (run_id, source),
            )


def _train(root: str, run_id: int) -> None:
    """In the attempt's own process: `fasa execute`, its console in a file."""
    folder = RunsFolder(Path(root))
    console = os.open(folder.root / f"console-{run_id}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(console, 1)
    os.dup2(console, 2)
    sys.exit(0 if execute(folder, run_id) == "finished" else 1)


def survive(root: Path, *, epochs: int, kills: int, seed: int) -> Result:
    """Run the proof in `root`.

    Args:
        root: an empty folder.
        epochs: of both runs.
        kills: the second run is killed so often; it may need more epochs to last so long.
        seed: of the moments.
    """
    moments = random.Random(seed)
    runs = Runs(root, epochs)
    result = Result()
    whole = runs.queue()
    longest = _train_alone(runs, whole, epochs, moments)
    broken = runs.queue()
    runs.repeat_command(whole, broken)  # before the first step: later could be past its moment
    while True:
        process = runs.start(broken)
        if result.kills == 0:
            _wait_until_running(runs, broken)
        # A machine that was busier while the first run trained must not let this one slip through.
        last_epoch = math.ceil(epochs * (result.kills + 1) / (kills + 1))
        late = partial(runs.is_in_epoch, broken, last_epoch)
        killed = result.kills < kills and _kill(process, moments.uniform(0, longest), late)
        if not killed:
            process.join(LONGEST_RUN)
            break
        result.kills += 1
        _note_and_mark(runs, broken, result)
        requeue_run(runs.folder.run_log, broken)
    result.differences += _differences(runs.folder, whole, broken, result)
    return result


def _train_alone(runs: Runs, run_id: int, epochs: int, moments: random.Random) -> float:
    """The undisturbed run, with a command at some moment.

    Returns:
        Seconds to start and to train about two epochs: until then a broken run is killed.
    """
    begun = time.monotonic()
    process = runs.start(run_id)
    _wait_until_running(runs, run_id)
    started = time.monotonic()
    with RunLogReader(runs.folder.run_log) as reader:
        while reader.run(run_id).epoch < 1:
            time.sleep(0.02)
    # The first epoch is the slowest, so the command comes before the two or more after it are over.
    time.sleep(moments.uniform(0, time.monotonic() - started))
    values = {"beta": 0.8, "learning_rate_factor": 0.5}
    send_command(runs.folder.run_log, run_id, "set", values)
    process.join(LONGEST_RUN)
    if process.exitcode != 0:
        raise RuntimeError(f"the undisturbed run ended with exit code {process.exitcode}")
    return started - begun + 1.8 * (time.monotonic() - started) / epochs


def _wait_until_running(runs: Runs, run_id: int) -> None:
    deadline = time.monotonic() + LONGEST_RUN
    with RunLogReader(runs.folder.run_log) as reader:
        while reader.run(run_id).status != "running" and time.monotonic() < deadline:
            time.sleep(0.01)


def _kill(process: BaseProcess, seconds: float, late: Callable[[], bool]) -> bool:
    """SIGKILL after some seconds, or once it is late; False when the process was faster."""
    deadline = time.monotonic() + seconds
    while process.exitcode is None and time.monotonic() < deadline and not late():
        process.join(min(0.05, max(0.0, deadline - time.monotonic())))
    if process.exitcode is not None:
        return False
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return True


def _note_and_mark(runs: Runs, run_id: int, result: Result) -> None:
    """What a supervisor does with a dead trainer, and the look at the run log."""
    log = runs.folder.run_log
    with closing(sqlite3.connect(log)) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
        broken_keys = connection.execute("PRAGMA foreign_key_check").fetchall()
    if verdict != "ok" or broken_keys:
        result.differences.append(f"after kill {result.kills}: {verdict}, {broken_keys}")
    with RunLogReader(log) as reader:
        run = reader.run(run_id)
    phase = (run.status == "running" and run.phase) or "starting"
    result.phases[phase] = result.phases.get(phase, 0) + 1
    set_status(log, run_id, "crashed", error="killed on purpose")


def _differences(folder: RunsFolder, whole: int, broken: int, result: Result) -> Iterator[str]:
    with RunLogReader(folder.run_log) as reader:
        mine, theirs = reader.run(whole), reader.run(broken)
        steps = [row.step for row in reader.scalars(broken, ["loss/total"])]
    result.steps = theirs.step
    for name in ("status", "step", "total_steps", "epoch", "total_epochs", "phase", "error"):
        if getattr(mine, name) != getattr(theirs, name):
            yield f"{name}: {getattr(mine, name)!r} and {getattr(theirs, name)!r}"
    if steps != list(range(1, theirs.step + 1)):
        yield f"steps twice or missing: {len(steps)} rows for {theirs.step} steps"
    with closing(sqlite3.connect(folder.run_log)) as connection:
        for table in (*HISTORY, "checkpoints", "categories", "prediction_images"):
            rows = _comparable(connection, table, whole)
            others = _comparable(connection, table, broken)
            result.rows += len(rows)
            if rows != others:
                first = next((p for p in zip(rows, others, strict=False) if p[0] != p[1]), None)
                yield f"{table}: {len(rows)} and {len(others)} rows, first difference {first}"
    yield from _file_differences(folder, whole, broken)


def _comparable(connection: sqlite3.Connection, table: str, run_id: int) -> list[tuple[Any, ...]]:
    """A run's rows in order, without ids and wall times, and without what was measured."""
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    kept = [name for name in columns if name not in ("id", "run_id", "wall_time", "bytes")]
    if table == "events":  # their payload names the command's row, which has another id
        kept.remove("payload")
    measured = ", ".join(f"'{name}'" for name in MEASURED)
    condition = f" AND name NOT IN ({measured})" if table == "scalars" else ""
    order = "rowid" if "id" in columns else kept[0]
    return connection.execute(
        f"SELECT {', '.join(kept)} FROM {table} WHERE run_id = ?{condition} ORDER BY {order}",
        (run_id,),
    ).fetchall()


def _file_differences(folder: RunsFolder, whole: int, broken: int) -> Iterator[str]:
    files = [checkpoints(folder.checkpoints(run_id)) for run_id in (whole, broken)]
    names = [[file.name for file in of_run] for of_run in files]
    if names[0] != names[1]:
        yield f"checkpoints {names[0]} and {names[1]}"
    for mine, theirs in zip(*files, strict=False):
        states = [read_checkpoint(mine), read_checkpoint(theirs)]
        for state in states:
            for of_this_run in ("uid", "log", "commands"):
                del state[of_this_run]
        yield from (f"{mine.name}: {place}" for place in _unequal(*states))


def _unequal(mine: Any, theirs: Any, place: str = "") -> Iterator[str]:
    """Where two nested states differ in type or any bit."""
    if type(mine) is not type(theirs):
        yield f"{place}: {type(mine).__name__} and {type(theirs).__name__}"
    elif isinstance(mine, dict):
        if mine.keys() != theirs.keys():
            yield f"{place}: other keys"
        for key in mine.keys() & theirs.keys():
            yield from _unequal(mine[key], theirs[key], f"{place}/{key}")
    elif isinstance(mine, list | tuple):
        if len(mine) != len(theirs):
            yield f"{place}: other lengths"
        for index, (one, other) in enumerate(zip(mine, theirs, strict=False)):
            yield from _unequal(one, other, f"{place}/{index}")
    elif isinstance(mine, torch.Tensor):
        if mine.dtype != theirs.dtype or mine.numpy().tobytes() != theirs.numpy().tobytes():
            yield f"{place}: other values"
    elif mine != theirs:
        yield f"{place}: {mine!r} and {theirs!r}"


def main() -> int:
    """Run the proof and say what was found; exit code 1 when the run did not survive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--epochs", type=int, help="default: 4 for 5 kills")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    given = parser.parse_args()
    epochs = given.epochs or max(3, given.kills * 4 // 5)
    with tempfile.TemporaryDirectory() as root:
        result = survive(Path(root), epochs=epochs, kills=given.kills, seed=given.seed)
    shown = ", ".join(f"{name} {count}" for name, count in sorted(result.phases.items()))
    print(f"killed {result.kills} times ({shown}) in {result.steps} steps")
    print(f"{result.rows} rows and the last checkpoints compared bit for bit")
    for difference in result.differences:
        print(f"DIFFERENT {difference}")
    enough = result.kills >= given.kills
    if not enough:
        print(f"the run ended before kill {given.kills}: give it more --epochs")
    return 0 if enough and not result.differences else 1


if __name__ == "__main__":
    sys.exit(main())
