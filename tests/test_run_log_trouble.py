"""A locked file, a full disk, a deleted run, a forked process: it is said, and no row is lost."""

import multiprocessing
import os
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from supervised_runs import until

from trainer.run_log.commands import queue_run, send_command
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import RunLogError, open_for_writing
from trainer.run_log.writer import RunLogWriter


def test_commands_come_though_another_program_holds_the_write_lock(path: Path) -> None:
    with RunLogWriter(path, 1, commit_interval=0.5) as writer:
        time.sleep(0.1)
        sent = send_command(path, 1, "stop")
        holder = open_for_writing(path)
        holder.execute("BEGIN IMMEDIATE")
        came: list[Any] = []
        until(lambda: came.extend(writer.take_commands()) or came, seconds=5.0)
        assert [command.id for command in came] == [sent]
        holder.close()


def test_a_locked_file_delays_rows_and_loses_none(
    path: Path, writer: RunLogWriter, reader: RunLogReader
) -> None:
    holder = open_for_writing(path)
    holder.execute("BEGIN IMMEDIATE")
    for step in range(1, 101):
        writer.scalars({"loss/total": step}, step=step, epoch=0)  # returns: it does not wait
    assert not writer.flush(timeout=0.2)
    until(lambda: writer.problem is not None)
    assert "locked" in (writer.problem or "")
    assert writer.queued_bytes > 0
    assert writer.wait_while_disk_full() == 0.0  # a lock is no reason to stop training
    assert reader.scalars(1) == []
    holder.execute("ROLLBACK")
    holder.close()
    assert writer.flush()
    assert writer.problem is None
    assert writer.queued_bytes == 0
    assert [row.step for row in reader.scalars(1)] == list(range(1, 101))


def hold_lock(path: Path, locked: Any, released: Any) -> None:
    holder = open_for_writing(path)
    holder.execute("BEGIN IMMEDIATE")
    holder.execute("UPDATE runs SET phase = phase")
    locked.set()
    released.wait()
    holder.execute("COMMIT")
    holder.close()


def test_a_lock_of_a_minute_in_small(
    path: Path, reader: RunLogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process holds it for 60 of the writer's waits for it; the training never waits."""
    monkeypatch.setattr("trainer.run_log.committer.LOCK_WAIT_SECONDS", 0.05)
    monkeypatch.setattr("trainer.run_log.committer.RETRY_SECONDS", 0.025)
    context = multiprocessing.get_context("spawn")
    locked, released = context.Event(), context.Event()
    process = context.Process(target=hold_lock, args=(path, locked, released))
    process.start()
    assert locked.wait(60.0)
    with RunLogWriter(path, 1, commit_interval=0.0125) as writer:
        slowest, step = 0.0, 0
        end = time.monotonic() + 60 * 0.05
        while time.monotonic() < end:
            step += 1
            start = time.monotonic()
            writer.scalars({"loss/total": step}, step=step, epoch=0)
            writer.class_vectors({"score": np.full(1203, step, np.float32)}, step=step, epoch=0)
            slowest = max(slowest, time.monotonic() - start)
            time.sleep(0.001)
        assert "locked" in (writer.problem or "")
        assert reader.scalars(1) == []
        released.set()
        process.join()
        assert writer.flush()
        assert writer.problem is None
    assert slowest < 1.0  # a third of the lock: what a busy machine may cost, no wait for the lock
    assert [row.step for row in reader.scalars(1)] == list(range(1, step + 1))
    vectors = reader.class_vectors(1, "score")
    assert vectors.steps.tolist() == list(range(1, step + 1))
    assert (vectors.values == vectors.steps[:, None]).all()


def test_a_full_queue_makes_calls_wait_instead_of_dropping_rows(path: Path) -> None:
    holder = open_for_writing(path)
    holder.execute("BEGIN IMMEDIATE")
    limit = 100_000
    with RunLogWriter(path, 1, queue_limit=limit) as writer:
        written = 0

        def write() -> None:
            nonlocal written
            for step in range(1, 101):
                vector = np.full(1000, step, dtype=np.float32)
                writer.class_vectors({"score": vector}, step=step, epoch=0)
                written = step

        thread = threading.Thread(target=write)
        thread.start()
        until(lambda: writer.queued_bytes > limit)
        time.sleep(0.3)
        assert thread.is_alive()
        assert limit < writer.queued_bytes < limit + 5000
        assert written == 23  # the 24th call (of 4,300 bytes each) waits
        holder.execute("ROLLBACK")
        holder.close()
        thread.join(10.0)
        assert not thread.is_alive()
    with RunLogReader(path) as reader:
        assert reader.class_vectors(1, "score").steps.tolist() == list(range(1, 101))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, where a disk is full for real."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_and_nothing_is_lost(small_disk: Path) -> None:
    path = small_disk / "fasa.sqlite"
    queue_run(path, name="first", config={}, dataset="demo")
    ballast = small_disk / "ballast"
    with RunLogWriter(path, 1) as writer:
        writer.scalars({"loss/total": 0.0}, step=0, epoch=0)
        assert writer.flush()
        with pytest.raises(OSError, match="No space"):
            ballast.write_bytes(bytes(2**20))
        # The write-ahead log has allocated pages already: fill those too.
        step = 0
        while writer.problem is None:
            step += 1
            vector = np.full(1000, step, dtype=np.float32)
            writer.class_vectors({"score": vector}, step=step, epoch=0)
            time.sleep(0.02)
            assert step < 1000
        assert "disk" in writer.problem
        assert "full: free some space" in writer.problem
        assert not writer.flush(timeout=0.3)
        writer.wait_while_disk_full(lambda: True)  # returns at once though it is still full
        assert writer.problem is not None
        # Called while it waits: space is made, and it is to wait on until the rows are stored.
        assert writer.wait_while_disk_full(lambda: ballast.unlink(missing_ok=True) or False) > 0
        assert writer.problem is None
        assert writer.wait_while_disk_full() == 0.0
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    with RunLogReader(path) as reader:
        vectors = reader.class_vectors(1, "score")
    assert vectors.steps.tolist() == list(range(1, step + 1))
    assert (vectors.values == vectors.steps[:, None]).all()


def test_a_disk_that_stays_full_is_said_at_the_end(small_disk: Path) -> None:
    path = small_disk / "fasa.sqlite"
    queue_run(path, name="first", config={}, dataset="demo")
    writer = RunLogWriter(path, 1)
    assert writer.flush()
    with pytest.raises(OSError, match="No space"):
        (small_disk / "ballast").write_bytes(bytes(2**20))
    for step in range(20):
        writer.class_vectors({"score": np.ones(10_000, np.float32)}, step=step, epoch=0)
    with pytest.raises(RunLogError, match=r"changes could not be written.*is full"):
        writer.close(timeout=0.5)


LIMITED = """
import resource, sys
import numpy as np
from trainer.run_log.commands import queue_run
from trainer.run_log.writer import RunLogWriter

path = sys.argv[1]
queue_run(path, name="first", config={}, dataset="demo")
with RunLogWriter(path, 1) as writer:
    assert writer.flush()
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, unlimited[1]))
    for step in range(1, 101):
        writer.class_vectors({"score": np.full(1000, step, np.float32)}, step=step, epoch=0)
    assert not writer.flush(timeout=2.0)
    print(writer.problem)
    # Called while it waits: the limit goes, and it is to wait on until the rows are stored.
    waited = writer.wait_while_disk_full(
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    )
    print(waited > 0, writer.problem)
"""


def test_a_write_error_is_tried_again(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    path = tmp_path / "fasa.sqlite"
    process = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    problem, waited = process.stdout.splitlines()
    assert "cannot be read or written (disk I/O error)" in problem
    assert waited == "True None"
    with RunLogReader(path) as reader:
        assert reader.class_vectors(1, "score").steps.tolist() == list(range(1, 101))


def test_a_run_deleted_under_the_trainer_ends_it_with_a_sentence(
    path: Path, writer: RunLogWriter
) -> None:
    connection = open_for_writing(path)
    connection.execute("DELETE FROM runs")
    connection.close()
    until(lambda: writer.problem is not None)
    with pytest.raises(RunLogError, match=r"Run 1 was deleted.*start a new run"):
        writer.scalars({"loss/total": 1.0}, step=1, epoch=0)


def test_a_file_replaced_under_the_trainer_ends_it_with_a_sentence(path: Path) -> None:
    writer = RunLogWriter(path, 1)
    assert writer.flush()
    for file in path.parent.iterdir():
        file.unlink()
    writer.scalars({"loss/total": 1.0}, step=1, epoch=0)
    until(lambda: writer.problem is not None)
    with pytest.raises(RunLogError, match="moved, deleted or replaced"):
        writer.scalars({"loss/total": 1.0}, step=2, epoch=0)
    with pytest.raises(RunLogError, match="1 changes could not be written"):
        writer.close()


def test_a_run_that_is_not_there(path: Path, tmp_path: Path) -> None:
    with pytest.raises(RunLogError, match="no run 5"):
        RunLogWriter(path, 5)
    with pytest.raises(RunLogError, match="fasa train"):
        RunLogWriter(tmp_path / "nowhere.sqlite", 1)


# The end.


def test_close_commits_the_rest_and_ends_the_thread(path: Path) -> None:
    before = set(threading.enumerate())
    writer = RunLogWriter(path, 1, commit_interval=60.0)
    assert len(set(threading.enumerate()) - before) == 1
    writer.scalars({"loss/total": 1.0}, step=1, epoch=0)
    writer.close()
    assert set(threading.enumerate()) <= before
    with RunLogReader(path) as reader:
        assert len(reader.scalars(1)) == 1
    writer.close()  # twice does no harm
    with pytest.raises(RunLogError, match="closed"):
        writer.scalars({"loss/total": 1.0}, step=2, epoch=0)


EXITING = """
import sys
from trainer.run_log.writer import RunLogWriter
writer = RunLogWriter(sys.argv[1], 1, commit_interval=60.0)
writer.scalars({"loss/total": 1.0}, step=1, epoch=0)
"""


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise ValueError"])
def test_a_program_that_just_ends_loses_nothing(path: Path, ending: str) -> None:
    subprocess.run(
        [sys.executable, "-c", EXITING + ending, str(path)], capture_output=True, check=False
    )
    with RunLogReader(path) as reader:
        assert len(reader.scalars(1)) == 1


def test_an_error_in_the_training_is_not_hidden_by_the_log(path: Path) -> None:
    def train() -> None:
        with RunLogWriter(path, 1) as writer:
            assert writer.flush()
            connection = open_for_writing(path)
            connection.execute("DELETE FROM runs")
            connection.close()
            writer.scalars({"loss/total": 1.0}, step=1, epoch=0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()


FORKING = """
import os, sys
from trainer.run_log.schema import RunLogError
from trainer.run_log.writer import RunLogWriter
writer = RunLogWriter(sys.argv[1], 1)
writer.scalars({"loss/total": 1.0}, step=1, epoch=0)
child = os.fork()
if child == 0:
    try:
        writer.scalars({"loss/total": 2.0}, step=2, epoch=0)
    except RunLogError:
        sys.exit(7)  # with atexit, unlike the workers of a data loader
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7
writer.scalars({"loss/total": 3.0}, step=3, epoch=0)
writer.close()
"""


def test_a_forked_child_can_neither_write_nor_harm(path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", FORKING, str(path)], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    with RunLogReader(path) as reader:
        assert [row.step for row in reader.scalars(1)] == [1, 3]


def test_the_write_ahead_log_does_not_grow_without_end(
    path: Path, writer: RunLogWriter, reader: RunLogReader
) -> None:
    wal = Path(f"{path}-wal")
    for step in range(40):
        for part in range(10):
            vector = np.full(1203, part, dtype=np.float32)
            writer.class_vectors({f"f{part}": vector}, step=step, epoch=0)
        assert writer.flush()
        reader.class_vectors(1, "f0", after=0)
    assert path.stat().st_size > 1.9e6  # 40 x 10 x 4,812 bytes went through
    assert wal.stat().st_size < 1e6
