"""kill -9 at random moments: what is there is whole, with no step missing and none twice.

How much is lost at the end is measured by benchmarks/bench_run_log.py.
"""

import json
import multiprocessing
import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest

from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.writer import RunLogWriter

NUM_CLASSES = 1203
CHECKPOINT_EVERY = 20  # steps


def train(path: Path) -> None:
    """Go on from the last checkpoint, as a resumed run does, until somebody kills this."""
    checkpoint = path.with_name("checkpoint.json")
    step, position = json.loads(checkpoint.read_text()) if checkpoint.exists() else (0, {})
    writer = RunLogWriter(path, 1)
    writer.truncate_after(position, step=step)
    if step:  # the passes after the checkpoint's epoch are made once more
        writer.scalars({"segm/AP": step}, step=step, epoch=0)
    while True:
        step += 1
        values = np.full(NUM_CLASSES, step, dtype=np.float32)
        writer.class_vectors({"score": values, "probability": values}, step=step, epoch=0)
        writer.scalars({"loss/total": step, "loss/box": step}, step=step, epoch=0)
        writer.event("note", f"step {step}", step=step, epoch=0)
        time.sleep(0.001)
        if step % CHECKPOINT_EVERY == 0:
            # The passes after an epoch write more under the same step.
            writer.scalars({"validation/loss": step}, step=step, epoch=0)
            written = path.with_name("checkpoint.tmp")
            written.write_text(json.dumps((step, writer.position())))
            written.replace(checkpoint)
            writer.scalars({"segm/AP": step}, step=step, epoch=0)


def kill_and_check(path: Path, lifetime: float) -> None:
    """Let a writer live for that many seconds, kill it, and look at what it left."""
    with RunLogReader(path) as reader:
        rewinds = reader.run(1).rewinds
        process = multiprocessing.get_context("spawn").Process(target=train, args=(path,))
        process.start()
        while reader.run(1).rewinds == rewinds:
            assert process.is_alive(), "the writing process ended by itself"
            time.sleep(0.01)
    time.sleep(lifetime)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
    with RunLogReader(path) as reader:
        totals = reader.scalars(1, ["loss/total"])
        boxes = reader.scalars(1, ["loss/box"])
        rare = {name: reader.scalars(1, [name]) for name in ("validation/loss", "segm/AP")}
        vectors = reader.class_vectors(1, "score")
        events = reader.events(1)
    expected = list(range(1, len(totals) + 1))
    assert [row.step for row in totals] == [row.step for row in boxes] == expected
    # Three calls a step: the last step may be cut between them, in this order.
    assert vectors.steps.tolist() in (expected, [*expected, len(expected) + 1])
    assert (vectors.values == vectors.steps[:, None]).all()
    assert [row.step for row in events] in (expected, expected[:-1])
    for rows in rare.values():
        steps = [row.step for row in rows]
        assert steps in (every := expected[CHECKPOINT_EVERY - 1 :: CHECKPOINT_EVERY], every[:-1])


def survive(path: Path, kills: int) -> None:
    queue_run(path, name="first", config={}, dataset="demo")
    generator = random.Random(kills)
    for _ in range(kills):
        kill_and_check(path, generator.uniform(0.05, 0.8))
    with RunLogReader(path) as reader:
        assert reader.run(1).rewinds == kills
        assert len(reader.scalars(1, ["loss/total"])) > 10 * kills


def test_kill_9(tmp_path: Path) -> None:
    survive(tmp_path / "fasa.sqlite", kills=3)


@pytest.mark.slow
def test_kill_9_many_times(tmp_path: Path) -> None:
    survive(tmp_path / "fasa.sqlite", kills=25)
