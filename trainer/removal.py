"""Deleted runs leave the disk: their files first and their rows last.

So a removal that was cut short is found by its rows and finished.
"""

from __future__ import annotations

import shutil
import stat
import sys
import threading
import time
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from trainer.checkpoint_files import checkpoints
from trainer.run_log.commands import UNDO_SECONDS, delete_run
from trainer.run_log.history import HISTORY
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.run_log.schema import QUEUED, STARTING, RunLogError, open_for_reading
from trainer.runs_folder import RunsFolder


class Contents(NamedTuple):
    """What a run takes: rows of the run log, checkpoint files, and bytes of all its files."""

    rows: int
    checkpoints: int
    bytes: int


def contents(folder: RunsFolder, run_id: int) -> Contents:
    """What removing a run frees; files that a fork shares with it stay and do not count.

    Raises:
        RunLogError: the run log cannot be read.
    """
    connection = open_for_reading(folder.run_log)
    try:
        rows = sum(
            connection.execute(f"SELECT count(*) FROM {table} WHERE run_id = ?", (run_id,))
            .fetchone()[0]
            for table in HISTORY
        )  # fmt: skip
    finally:
        connection.close()
    own = folder.run(run_id)
    files = [] if own.is_symlink() else [path.lstat() for path in own.rglob("*")]
    size = sum(f.st_size for f in files if stat.S_ISREG(f.st_mode) and f.st_nlink == 1)
    return Contents(rows, len(checkpoints(folder.checkpoints(run_id))), size)


def waiting_fork(runs: Iterable[Run], run_id: int) -> Run | None:
    """A fork that has still to take over the rows of run `run_id`."""
    for run in runs:
        is_fork = run.parent_run == run_id and run.parent_step is not None
        if is_fork and run.status in (QUEUED, STARTING) and run.deleted is None:
            return run
    return None


def remove_run(folder: RunsFolder, run_id: int) -> None:
    """Remove the folder and then the rows of a run that is marked deleted.

    Links in the folder, and the folder itself if it is one, are unlinked and not followed. Nothing
    may be about to be forked from it (`waiting_fork`).

    Raises:
        RunLogError: the rows cannot be removed, or the run is not marked deleted any more.
        OSError: the files cannot be removed; the rows are still there.
    """
    with RunLogReader(folder.run_log) as reader:
        if reader.run(run_id).deleted is None:
            raise RunLogError(f"Run {run_id} is not marked deleted: do that first.")
    _remove_tree(folder.run(run_id))
    delete_run(folder.run_log, run_id)


class Removal:
    """Removes what is due in a thread of its own: the rows of a long run take a while.

    The thread goes with the process; the next one finishes what it began.
    """

    def __init__(self, folder: RunsFolder) -> None:
        self._folder = folder
        self._thread: threading.Thread | None = None
        self._last_complaint = ""

    def poll(self, runs: Sequence[Run], *, busy: Container[int]) -> None:
        """Begin with the runs that are due, unless others are being removed.

        Args:
            runs: all there are.
            busy: ids of those that still have a process.
        """
        if self._thread is not None and self._thread.is_alive():
            return
        now = time.time()
        due = [
            run
            for run in runs
            if _is_due(run, now) and run.id not in busy and waiting_fork(runs, run.id) is None
        ]
        if due:
            self._thread = threading.Thread(
                target=self._remove, args=(due,), name="removal", daemon=True
            )
            self._thread.start()

    def _remove(self, due: Sequence[Run]) -> None:
        for run in due:
            try:
                remove_run(self._folder, run.id)
            except (RunLogError, OSError) as error:
                self._complain(f"run {run.id} is not removed yet ({error}): it will be tried again")
            else:
                print(f"supervisor: run {run.id} '{run.name}' removed", flush=True)

    def _complain(self, text: str) -> None:
        if text != self._last_complaint:
            print(f"supervisor: {text}", file=sys.stderr, flush=True)
        self._last_complaint = text


def _is_due(run: Run, now: float) -> bool:
    """Whether a run was deleted so long ago that nobody will take it back.

    A deletion far in the future is one from before somebody set the clock back.
    """
    return run.deleted is not None and abs(now - run.deleted) >= UNDO_SECONDS


def _remove_tree(path: Path) -> None:
    while path.is_dir() and not path.is_symlink():
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            continue  # another process removes it too
    path.unlink(missing_ok=True)
