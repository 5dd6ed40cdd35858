"""What the dashboard, the command line and the supervisor write into the run log.

Each call opens the file, makes one transaction and closes it again.
"""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainer.run_log.rows import Command
from trainer.run_log.schema import (
    FINAL_STATUSES,
    QUEUED,
    STARTING,
    STATUSES,
    RunLogError,
    open_for_reading,
    open_for_writing,
    sentence,
)

COMMAND_KINDS = ("set", "pause", "resume", "stop", "checkpoint", "snapshot_features")

Statement = tuple[str, tuple[Any, ...]]


def queue_run(
    path: Path | str,
    *,
    name: str,
    config: Mapping[str, Any],
    dataset: str,
    parent_run: int | None = None,
    parent_epoch: int | None = None,
) -> int:
    """Insert a run that waits for the supervisor; returns its id.

    Raises:
        RunLogError: the run log cannot be written, or there is no run ``parent_run``.
        ValueError: ``config`` cannot be written as json.
    """
    with _transaction(path) as connection:
        if parent_run is not None:
            _status_of(connection, parent_run, path)
        cursor = connection.execute(
            "INSERT INTO runs (name, config, dataset, status, parent_run, parent_epoch, created)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                storable(name),
                to_json(config),
                storable(dataset),
                QUEUED,
                parent_run,
                parent_epoch,
                time.time(),
            ),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid


def send_command(
    path: Path | str, run_id: int, kind: str, payload: Mapping[str, Any] | None = None
) -> int:
    """Ask a run for something; returns the command's id, whose row will carry the answer.

    Raises:
        RunLogError: there is no such run, or it is over, so that nobody would answer.
        ValueError: ``kind`` is not one of `COMMAND_KINDS`, or the payload is no json.
    """
    if kind not in COMMAND_KINDS:
        raise ValueError(f"A command is one of {', '.join(COMMAND_KINDS)}, not {kind!r}.")
    text = to_json(payload or {})
    with _transaction(path) as connection:
        status = _status_of(connection, run_id, path)
        if status in FINAL_STATUSES:
            raise RunLogError(
                f"Run {run_id} is {status} and cannot take the command {kind}: "
                "resume, fork or restart it first."
            )
        cursor = connection.execute(
            "INSERT INTO commands (run_id, kind, payload, created) VALUES (?, ?, ?, ?)",
            (run_id, kind, text, time.time()),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid


def refuse_pending(path: Path | str, run_id: int, reason: str) -> int:
    """Refuse all commands of a run that have no answer yet; returns how many there were."""
    with _transaction(path) as connection:
        sql, values = refusal_statement(run_id, reason)
        return connection.execute(sql, values).rowcount


def pending_commands(source: sqlite3.Connection | Path | str, run_id: int) -> list[Command]:
    """The commands of a run that have no answer yet, oldest first."""
    if isinstance(source, sqlite3.Connection):
        return select_commands(source, run_id, condition="answered IS NULL")
    connection = open_for_reading(source)
    try:
        return select_commands(connection, run_id, condition="answered IS NULL")
    except sqlite3.Error as error:
        raise RunLogError(sentence(error, Path(source))) from error
    finally:
        connection.close()


def claim_run(
    path: Path | str, run_id: int, *, process_id: int, process_start: float | None
) -> bool:
    """Take a queued run: queued -> starting. False when it is no longer queued.

    ``process_start`` is the start time of the process (seconds since 1970), which tells a
    process from a later one with the same id.
    """
    with _transaction(path) as connection:
        _status_of(connection, run_id, path)
        cursor = connection.execute(
            "UPDATE runs SET status = ?, process_id = ?, process_start = ?, started = ?"
            " WHERE id = ? AND status = ?",
            (STARTING, process_id, process_start, time.time(), run_id, QUEUED),
        )
        return cursor.rowcount == 1


def set_process(
    path: Path | str, run_id: int, *, process_id: int, process_start: float | None
) -> None:
    """Say which process trains a run (the supervisor claims first and starts it then)."""
    with _transaction(path) as connection:
        _status_of(connection, run_id, path)
        connection.execute(
            "UPDATE runs SET process_id = ?, process_start = ? WHERE id = ?",
            (process_id, process_start, run_id),
        )


def set_status(path: Path | str, run_id: int, status: str, *, error: str | None = None) -> None:
    """Set a run's status; a final one also refuses the commands that nobody will answer now."""
    statements = status_statements(run_id, status, error)
    with _transaction(path) as connection:
        _status_of(connection, run_id, path)
        for sql, values in statements:
            connection.execute(sql, values)


def status_statements(run_id: int, status: str, error: str | None) -> list[Statement]:
    """The SQL of a change of status, shared with the writer.

    Raises:
        ValueError: no such status.
    """
    if status not in STATUSES:
        raise ValueError(f"A run's status is one of {', '.join(STATUSES)}, not {status!r}.")
    final = status in FINAL_STATUSES
    statements: list[Statement] = [
        (
            "UPDATE runs SET status = ?, error = ?, ended = ? WHERE id = ?",
            (
                status,
                None if error is None else storable(error),
                time.time() if final else None,
                run_id,
            ),
        )
    ]
    if final:
        statements.append(refusal_statement(run_id, f"the run is {status}"))
    return statements


def refusal_statement(run_id: int, reason: str) -> Statement:
    """The SQL that refuses every pending command of a run."""
    return (
        "UPDATE commands SET answered = ?, refusal = ? WHERE run_id = ? AND answered IS NULL",
        (time.time(), storable(reason), run_id),
    )


def select_commands(
    connection: sqlite3.Connection, run_id: int, *, after: int = 0, condition: str = "TRUE"
) -> list[Command]:
    """Commands of a run with an id above ``after``, oldest first; ``condition`` is our own SQL."""
    rows = connection.execute(
        "SELECT id, run_id, kind, payload, created, answered, applied_step, refusal"
        f" FROM commands WHERE run_id = ? AND id > ? AND {condition} ORDER BY id",
        (run_id, after),
    ).fetchall()
    return [Command._make((*row[:3], json.loads(row[3]), *row[4:])) for row in rows]


def to_json(value: Any) -> str:
    """Json without NaN, which is no json.

    Raises:
        ValueError: the value holds something json cannot.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The run log keeps json only, and this value is none ({error}): "
            "use numbers that are finite, text, lists and dicts."
        ) from error


def storable(text: str) -> str:
    """Text as SQLite takes it: bytes of a file name that are no UTF-8 become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _status_of(connection: sqlite3.Connection, run_id: int, path: Path | str) -> str:
    row = connection.execute("SELECT status FROM runs WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        raise RunLogError(
            f"There is no run {run_id} in {path}: look its number up in the run list."
        )
    return str(row[0])


@contextmanager
def _transaction(path: Path | str) -> Iterator[sqlite3.Connection]:
    connection = open_for_writing(path)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise RunLogError(sentence(error, Path(path))) from error
    finally:
        connection.close()  # rolls back what was not committed
