"""The run log opened for a moment, and how a run stands in it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from trainer.run_log.schema import RunLogError, open_for_reading, open_for_writing, sentence

_MOMENT_SECONDS = 0.2  # others hold the write lock for some milliseconds


class RunState(NamedTuple):
    """What decides whether something may be done to a run now."""

    status: str
    heartbeat: float | None
    is_deleted: bool
    phase: str
    is_copy: bool


@contextmanager
def reading(path: Path | str) -> Iterator[sqlite3.Connection]:
    """A connection that only reads, closed at the end.

    Raises:
        RunLogError: the run log cannot be read.
    """
    with _closing(open_for_reading(path), path) as connection:
        yield connection


@contextmanager
def writing(path: Path | str) -> Iterator[sqlite3.Connection]:
    """A connection that may write, closed at the end; what was begun and not committed is undone.

    Raises:
        RunLogError: the run log cannot be written.
    """
    with _closing(open_for_writing(path), path) as connection:
        yield connection


@contextmanager
def transaction(path: Path | str) -> Iterator[sqlite3.Connection]:
    """One transaction, committed at the end; an error undoes everything.

    Raises:
        RunLogError: the run log cannot be written.
    """
    with writing(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")


def writing_problem(path: Path) -> str | None:
    """Why nobody can write to a run log now, in one sentence; None when one could.

    It takes the write lock and gives it back, nothing is written. For a log whose trainer is
    silent: it tells one that is gone from one that waits for a locked file.
    """
    uri = f"file:{quote(str(path.absolute()))}?mode=rw"
    try:
        with closing(
            sqlite3.connect(uri, uri=True, timeout=_MOMENT_SECONDS, isolation_level=None)
        ) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        return sentence(error, path)
    return None


@contextmanager
def _closing(connection: sqlite3.Connection, path: Path | str) -> Iterator[sqlite3.Connection]:
    try:
        yield connection
    except sqlite3.Error as error:
        raise RunLogError(sentence(error, Path(path))) from error
    finally:
        connection.close()


def state_of(connection: sqlite3.Connection, run_id: int, path: Path | str) -> RunState:
    """How a run stands, as this transaction sees it.

    Raises:
        RunLogError: there is no such run.
    """
    row = connection.execute(
        "SELECT status, heartbeat, deleted IS NOT NULL, phase, copied IS NOT NULL FROM runs"
        " WHERE id = ?",
        (run_id,),
    ).fetchone()
    if row is None:
        raise RunLogError(
            f"There is no run {run_id} in {path}: look its number up in the run list."
        )
    return RunState(row[0], row[1], bool(row[2]), row[3], bool(row[4]))


def require_not_deleted(state: RunState, run_id: int) -> None:
    """Refuse to do something with a run that is deleted.

    Raises:
        RunLogError: it is.
    """
    if state.is_deleted:
        raise RunLogError(f"Run {run_id} is deleted: undo that first.")
