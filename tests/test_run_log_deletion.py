"""Deleting a run: undone while only marked; then for good, and the disk has its space back."""

import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from snapshot_builders import feature_values

from trainer.run_log.commands import (
    claim_run,
    delete_run,
    mark_deleted,
    queue_run,
    requeue_run,
    send_command,
    set_status,
)
from trainer.run_log.history import HISTORY
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import RunLogError, open_for_reading, open_for_writing
from trainer.run_log.writer import RunLogWriter

TABLES = (*HISTORY, "commands", "attempts", "checkpoints", "feature_probes", "categories",
          "prediction_images")  # fmt: skip
REPORT: dict[str, Any] = {
    "num_groups": 1,
    "groups": [
        {"group": 0, "members": [0], "noise_members": [], "with_data": [], "clamped": [],
         "factor": 1.0, "reason": "baseline"}
    ],
}  # fmt: skip
PROBE = {"object_index": 0, "class_index": 0, "split": "train", "image_id": 7, "x1": 0.0,
         "y1": 0.0, "x2": 1.0, "y2": 1.0, "picture": b"x" * 500_000}  # fmt: skip
IMAGE = {"index": 0, "image_id": 7, "width": 2, "height": 1, "truth": [], "judged": None,
         "picture": b"x" * 500_000}  # fmt: skip
CATEGORY = {"index": 0, "id": 1, "name": "tiger", "frequency": "r", "image_count": 3,
            "instance_count": 4}  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two runs with a bit of everything, and nothing else."""
    path = tmp_path / "fasa.sqlite"
    for name in ("first", "second"):
        write(path, queue_run(path, name=name, config={}, dataset="demo"))
    return path


def write(path: Path, run_id: int) -> None:
    """Rows in every table."""
    send_command(path, run_id, "stop")
    with RunLogWriter(path, run_id) as writer:
        writer.begin_attempt(from_step=0)
        writer.scalars({"loss/total": 1.0}, step=1, epoch=0)
        writer.adaptation(REPORT, step=1, epoch=0)
        writer.event("note", "x", step=1, epoch=0)
        writer.checkpoint_kept(step=1, epoch=0, batch=0, size=9)
        writer.feature_probes([PROBE])
        writer.prediction_images([IMAGE])
        writer.predictions([{"image_index": 0, "detections": []}], step=1, epoch=0)
        writer.register_categories([CATEGORY])
        features = feature_values(objects=range(50), feature_dim=1024)
        writer.feature_snapshot(features, step=1, epoch=0)
        writer.class_vectors({"score": np.zeros(1, np.float32)}, step=1, epoch=0)
        writer.status("crashed")


def fill(writer: RunLogWriter, megabytes: float) -> None:
    for step in range(int(megabytes * 1e6 / 50_000)):
        features = feature_values(objects=(0,), classes=(), feature_dim=25_000, seed=step)
        writer.feature_snapshot(features, step=step, epoch=0)
        writer.scalars({f"loss/{number}": step for number in range(20)}, step=step, epoch=0)


def rows(path: Path, run_id: int) -> dict[str, list[Any]]:
    with closing(open_for_reading(path)) as connection:
        return {
            table: connection.execute(
                f"SELECT * FROM {table} WHERE run_id = ?", (run_id,)
            ).fetchall()
            for table in TABLES
        }


def names(path: Path, *, include_deleted: bool = False) -> list[str]:
    with RunLogReader(path) as reader:
        return [run.name for run in reader.runs(include_deleted=include_deleted)]


# Marked, and undone.


def test_a_run_marked_deleted_is_out_of_sight_and_can_be_brought_back(path: Path) -> None:
    before = rows(path, 1)
    mark_deleted(path, 1, True)
    assert names(path) == ["second"]
    assert names(path, include_deleted=True) == ["first", "second"]
    with RunLogReader(path) as reader:
        assert reader.run(1).deleted is not None
    mark_deleted(path, 1, False)
    assert names(path) == ["first", "second"]
    assert rows(path, 1) == before


@pytest.mark.parametrize("status", ["starting", "running", "paused"])
def test_a_run_at_work_is_not_deleted(path: Path, status: str) -> None:
    set_status(path, 1, status)
    with pytest.raises(RunLogError, match=f"Run 1 is {status}: stop it before"):
        mark_deleted(path, 1, True)
    assert names(path) == ["first", "second"]


def test_a_queued_run_marked_deleted_is_not_started_until_that_is_undone(path: Path) -> None:
    requeue_run(path, 1)
    mark_deleted(path, 1, True)
    assert not claim_run(path, 1, process_id=42, process_identity="boot:1")
    mark_deleted(path, 1, False)
    assert claim_run(path, 1, process_id=42, process_identity="boot:1")


def test_a_deleted_run_has_no_children(path: Path) -> None:
    mark_deleted(path, 1, True)
    with pytest.raises(RunLogError, match="Run 1 is deleted: undo that first"):
        queue_run(path, name="restart", config={}, dataset="demo", parent_run=1)


# For good.


def test_only_what_is_marked_is_deleted_for_good(path: Path) -> None:
    before = rows(path, 1)
    with pytest.raises(RunLogError, match="Run 1 is not marked deleted"):
        delete_run(path, 1)
    with pytest.raises(RunLogError, match="no run 7"):
        delete_run(path, 7)
    with pytest.raises(RunLogError, match="no run 7"):
        mark_deleted(path, 7, True)
    assert rows(path, 1) == before


def test_all_rows_of_the_run_are_gone_and_no_others(path: Path) -> None:
    fork = queue_run(path, name="fork", config={}, dataset="demo", parent_run=1, parent_step=1)
    set_status(path, fork, "running")
    assert all(rows(path, 1).values())
    others = rows(path, 2)
    assert all(others.values())
    mark_deleted(path, 1, True)
    delete_run(path, 1)
    assert not any(rows(path, 1).values())
    assert rows(path, 2) == others
    assert names(path, include_deleted=True) == ["second", "fork"]
    with RunLogReader(path) as reader:
        assert (reader.run(fork).parent_run, reader.run(fork).parent_step) == (None, 1)
    assert queue_run(path, name="new", config={}, dataset="demo") == fork + 1


def test_the_file_is_as_small_again_as_without_the_run(path: Path) -> None:
    connection = open_for_writing(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    before = path.stat().st_size
    run_id = queue_run(path, name="large", config={}, dataset="demo")
    with RunLogWriter(path, run_id) as writer, RunLogWriter(path, 2) as neighbour:
        for _ in range(20):  # so that their pages lie mixed
            fill(writer, 1.0)
            neighbour.scalars({"loss/total": 1.0}, step=1, epoch=0)
            assert writer.flush()
            assert neighbour.flush()
    set_status(path, run_id, "finished")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert path.stat().st_size > before + 20e6
    mark_deleted(path, run_id, True)
    delete_run(path, run_id)
    assert path.stat().st_size <= before + 20_000
    assert Path(f"{path}-wal").stat().st_size == 0
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_the_smallest_run_gives_its_space_back_too(path: Path) -> None:
    large = path.stat().st_size
    mark_deleted(path, 1, True)
    delete_run(path, 1)
    assert path.stat().st_size < large - 500_000  # its probe's picture


def test_a_trainer_beside_commits_within_a_second_or_so(path: Path) -> None:
    """The lock is free again and again, for long enough to be taken; the run goes bit by bit."""
    run_id = queue_run(path, name="large", config={}, dataset="demo")
    with RunLogWriter(path, run_id) as writer:
        fill(writer, 60.0)
        writer.status("finished")
    mark_deleted(path, run_id, True)
    waits: list[float] = []
    left: set[int] = set()
    done = threading.Event()

    def beside() -> None:
        with RunLogWriter(path, 2, commit_interval=0.01) as neighbour:
            step = 0
            while not done.is_set():
                step += 1
                start = time.monotonic()
                neighbour.scalars({"beside": step}, step=step, epoch=0)
                assert neighbour.flush()
                waits.append(time.monotonic() - start)
                left.add(len(rows(path, run_id)["feature_snapshots"]))

    thread = threading.Thread(target=beside)
    thread.start()
    delete_run(path, run_id)
    done.set()
    thread.join()
    assert len(left) >= 5, left
    assert max(waits) < 2.0, waits
    with RunLogReader(path) as reader:
        assert [row.value for row in reader.scalars(2, ["beside"])] == [*range(1, len(waits) + 1)]


def test_a_reader_in_the_way_delays_the_end_only(path: Path) -> None:
    run_id = queue_run(path, name="large", config={}, dataset="demo")
    with RunLogWriter(path, run_id) as writer:
        fill(writer, 5.0)
        writer.status("finished")
    large = path.stat().st_size
    mark_deleted(path, run_id, True)
    with closing(open_for_reading(path)) as snapshot:
        snapshot.execute("BEGIN")
        before = snapshot.execute("SELECT count(*) FROM scalars").fetchone()
        delete_run(path, run_id)
        assert snapshot.execute("SELECT count(*) FROM scalars").fetchone() == before
    assert "large" not in names(path, include_deleted=True)
    with RunLogWriter(path, 2) as writer:
        writer.scalars({"loss/total": 1.0}, step=2, epoch=0)
        assert writer.flush()
    assert path.stat().st_size < large - 5e6


# What is in the way.


@pytest.mark.parametrize("status", ["queued", "starting"])
def test_a_run_stays_while_a_fork_is_about_to_copy_its_rows(path: Path, status: str) -> None:
    fork = queue_run(path, name="fork", config={}, dataset="demo", parent_run=1, parent_step=1)
    queue_run(path, name="restart", config={}, dataset="demo", parent_run=2)
    set_status(path, fork, status)
    for run_id in (1, 2):
        mark_deleted(path, run_id, True)
    delete_run(path, 2)  # a restart needs nothing of its parent
    with pytest.raises(RunLogError, match=rf"Run {fork} is about to be forked from run 1"):
        delete_run(path, 1)
    assert all(rows(path, 1).values())
    set_status(path, fork, "running")
    delete_run(path, 1)


def test_a_deletion_that_was_killed_goes_on_where_it_was(path: Path) -> None:
    run_id = queue_run(path, name="large", config={}, dataset="demo")
    with RunLogWriter(path, run_id) as writer:
        fill(writer, 60.0)
        writer.status("finished")
    mark_deleted(path, run_id, True)
    others = rows(path, 2)
    full = len(rows(path, run_id)["scalars"])
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=delete_run, args=(path, run_id))
    process.start()
    while len(rows(path, run_id)["scalars"]) == full:
        assert process.is_alive(), "the deletion was over too soon to tell"
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert any(rows(path, run_id).values()), "the deletion was over too soon to tell"
    with pytest.raises(RunLogError, match="being deleted for good"):
        mark_deleted(path, run_id, False)
    delete_run(path, run_id)
    assert not any(rows(path, run_id).values())
    assert rows(path, 2) == others
