"""What the dashboard, the command line and the supervisor write into the run log.

Each call opens the file, makes one transaction and closes it again.
"""

import json
import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.run_log.deletion import free_space, remove_history
from trainer.run_log.history import Statement
from trainer.run_log.rows import Command
from trainer.run_log.schema import (
    FINAL_STATUSES,
    LIVE_STATUSES,
    QUEUED,
    STARTING,
    STATUSES,
    RunLogError,
)
from trainer.run_log.text import checked_name, checked_note, checked_tags, storable, to_json
from trainer.run_log.transaction import (
    RunState,
    reading,
    require_not_deleted,
    state_of,
    transaction,
)

COMMAND_KINDS = ("set", "pause", "resume", "stop", "checkpoint", "snapshot_features")
DEAD_AFTER = 15.0  # seconds without a heartbeat
UNDO_SECONDS = 60.0  # a deleted run can be taken back for so long, and is then removed

_BEING_DELETED = "being deleted"  # the phase of a run from which rows are gone already


def queue_run(
    path: Path | str,
    *,
    name: str,
    config: Mapping[str, Any],
    dataset: str,
    parent_run: int | None = None,
    parent_epoch: int | None = None,
    parent_step: int | None = None,
) -> int:
    """Insert a run that waits for the supervisor; returns its id.

    Args:
        path: the run log.
        name: for people, see `checked_name`.
        config: every knob.
        dataset: what it trains on, for people.
        parent_run: the run it is restarted or forked from.
        parent_epoch: the epoch it is forked from.
        parent_step: the step of the parent's checkpoint it goes on from; None starts from scratch.

    Raises:
        RunLogError: the run log cannot be written, the name is none, or there is no run
            ``parent_run`` or it is deleted.
        ValueError: ``config`` cannot be written as json, or a fork names no parent.
    """
    if parent_run is None and (parent_epoch, parent_step) != (None, None):
        raise ValueError("A run forked from an epoch or step has a parent: give parent_run too.")
    values = {
        "name": checked_name(name),
        "config": to_json(config),
        "dataset": storable(dataset),
        "status": QUEUED,
        "uid": secrets.token_hex(16),
        "parent_run": parent_run,
        "parent_epoch": parent_epoch,
        "parent_step": parent_step,
        "created": time.time(),
    }
    with transaction(path) as connection:
        if parent_run is not None:
            require_not_deleted(state_of(connection, parent_run, path), parent_run)
        cursor = connection.execute(
            f"INSERT INTO runs ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
            tuple(values.values()),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid


def requeue_run(path: Path | str, run_id: int) -> None:
    """Let a run that ended go on from its last checkpoint, as soon as there is a slot.

    Raises:
        RunLogError: there is no such run, or it is not over, finished, deleted, or a copy.
    """
    with transaction(path) as connection:
        state = state_of(connection, run_id, path)
        require_not_deleted(state, run_id)
        if state.status in LIVE_STATUSES:
            raise RunLogError(
                f"Run {run_id} is {state.status} and not over: there is nothing to take up again."
            )
        if state.is_copy:
            raise RunLogError(
                f"Run {run_id} was copied from another run log, and its checkpoints did not come "
                "along: restart it, or resume it where it was trained."
            )
        if state.status == "finished":
            raise RunLogError(
                f"Run {run_id} is finished, with no epoch left to train: fork it with more epochs."
            )
        # The heartbeat too: until the new trainer's first one, it would tell of a dead run.
        connection.execute(
            "UPDATE runs SET status = ?, error = NULL, started = NULL, ended = NULL, phase = '',"
            " process_id = NULL, process_identity = NULL, heartbeat = NULL WHERE id = ?",
            (QUEUED, run_id),
        )


def rename_run(path: Path | str, run_id: int, name: str) -> None:
    """Give a run another name.

    Raises:
        RunLogError: there is no such run, or that is no name (`checked_name`).
    """
    _update(path, run_id, "name", checked_name(name))


def set_note(path: Path | str, run_id: int, text: str) -> None:
    """Replace a run's note.

    Raises:
        RunLogError: there is no such run, or that is no note (`checked_note`).
    """
    _update(path, run_id, "note", checked_note(text))


def set_tags(path: Path | str, run_id: int, tags: Sequence[str]) -> None:
    """Replace a run's tags; one given twice counts once.

    Raises:
        RunLogError: there is no such run, or those are no tags (`checked_tags`).
    """
    _update(path, run_id, "tags", to_json(checked_tags(tags)))


def set_archived(path: Path | str, run_id: int, archived: bool) -> None:
    """Put a run aside, or bring it back. Nothing else changes.

    Raises:
        RunLogError: there is no such run.
    """
    _update(path, run_id, "archived", time.time() if archived else None)


def mark_deleted(path: Path | str, run_id: int, deleted: bool) -> None:
    """Delete a run so that it can still be undone with False; `delete_run` is for good.

    A queued run marked deleted is not started.

    Raises:
        RunLogError: there is no such run, it is at work, or its rows are being deleted already.
    """
    with transaction(path) as connection:
        state = state_of(connection, run_id, path)
        if deleted and state.status in LIVE_STATUSES and state.status != QUEUED:
            raise RunLogError(f"Run {run_id} is {state.status}: stop it before you delete it.")
        if not deleted and state.phase == _BEING_DELETED:
            raise RunLogError(
                f"Run {run_id} is being deleted for good: it cannot be brought back any more."
            )
        connection.execute(
            "UPDATE runs SET deleted = ? WHERE id = ?", (time.time() if deleted else None, run_id)
        )


def delete_run(path: Path | str, run_id: int) -> None:
    """Remove a run that is marked deleted, and give its space back to the disk.

    May take long: it works in small transactions with pauses, so that others get their turn.
    When it is cut short, calling it again goes on.

    Raises:
        RunLogError: there is no such run, it is not marked deleted, or a fork still needs its
            rows.
    """
    with transaction(path) as connection:
        if not state_of(connection, run_id, path).is_deleted:
            raise RunLogError(f"Run {run_id} is not marked deleted: do that first.")
        _refuse_while_forks_wait(connection, run_id)
        connection.execute("UPDATE runs SET phase = ? WHERE id = ?", (_BEING_DELETED, run_id))
    remove_history(path, run_id)
    with transaction(path) as connection:
        connection.execute("DELETE FROM runs WHERE id = ?", (run_id,))
    free_space(path)


def send_command(
    path: Path | str, run_id: int, kind: str, payload: Mapping[str, Any] | None = None
) -> int:
    """Ask a run for something; returns the command's id, whose row will carry the answer.

    Raises:
        RunLogError: there is no such run, or nobody would answer: it is over or deleted, or its
            trainer has given no sign of life for `DEAD_AFTER` seconds.
        ValueError: ``kind`` is not one of `COMMAND_KINDS`, or the payload is no json.
    """
    if kind not in COMMAND_KINDS:
        raise ValueError(f"A command is one of {', '.join(COMMAND_KINDS)}, not {kind!r}.")
    text = to_json(payload or {})
    with transaction(path) as connection:
        state = state_of(connection, run_id, path)
        require_not_deleted(state, run_id)
        _require_alive(state, run_id, kind)
        cursor = connection.execute(
            "INSERT INTO commands (run_id, kind, payload, created) VALUES (?, ?, ?, ?)",
            (run_id, kind, text, time.time()),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid


def refuse_pending(path: Path | str, run_id: int, reason: str) -> int:
    """Refuse all commands of a run that have no answer yet; returns how many there were."""
    with transaction(path) as connection:
        sql, values = refusal_statement(run_id, reason)
        return connection.execute(sql, values).rowcount


def pending_commands(source: sqlite3.Connection | Path | str, run_id: int) -> list[Command]:
    """The commands of a run that have no answer yet, oldest first."""
    if isinstance(source, sqlite3.Connection):
        return select_commands(source, run_id, condition="answered IS NULL")
    with reading(source) as connection:
        return select_commands(connection, run_id, condition="answered IS NULL")


def claim_run(
    path: Path | str, run_id: int, *, process_id: int, process_identity: str | None
) -> bool:
    """Take a queued run: queued -> starting. False when it is no longer queued, or deleted.

    ``process_identity`` tells the process from a later one with the same id.
    """
    with transaction(path) as connection:
        state_of(connection, run_id, path)
        cursor = connection.execute(
            "UPDATE runs SET status = ?, process_id = ?, process_identity = ?, started = ?"
            " WHERE id = ? AND status = ? AND deleted IS NULL",
            (STARTING, process_id, process_identity, time.time(), run_id, QUEUED),
        )
        return cursor.rowcount == 1


def set_process(
    path: Path | str, run_id: int, *, process_id: int, process_identity: str | None
) -> None:
    """Say which process trains a run (the supervisor claims first and starts it then)."""
    with transaction(path) as connection:
        state_of(connection, run_id, path)
        connection.execute(
            "UPDATE runs SET process_id = ?, process_identity = ? WHERE id = ?",
            (process_id, process_identity, run_id),
        )


def set_status(path: Path | str, run_id: int, status: str, *, error: str | None = None) -> None:
    """Set a run's status; a final one also ends its attempt and refuses its pending commands."""
    statements = status_statements(run_id, status, error)
    with transaction(path) as connection:
        state_of(connection, run_id, path)
        for sql, values in statements:
            connection.execute(sql, values)


def stop_queued(path: Path | str, run_id: int) -> None:
    """End a run that waits, as its pending `stop` asks, and say that it took hold."""
    with transaction(path) as connection:
        if state_of(connection, run_id, path).status != QUEUED:
            return
        connection.execute(
            "UPDATE commands SET answered = ?, applied_step = (SELECT step FROM runs WHERE id = ?)"
            " WHERE run_id = ? AND kind = 'stop' AND answered IS NULL",
            (time.time(), run_id, run_id),
        )
        for sql, values in status_statements(run_id, "stopped", None):
            connection.execute(sql, values)


def status_statements(run_id: int, status: str, error: str | None) -> list[Statement]:
    """The SQL of a change of status, shared with the writer.

    Raises:
        ValueError: no such status.
    """
    if status not in STATUSES:
        raise ValueError(f"A run's status is one of {', '.join(STATUSES)}, not {status!r}.")
    error = None if error is None else storable(error)
    ended = time.time() if status in FINAL_STATUSES else None
    statements: list[Statement] = [
        (
            "UPDATE runs SET status = ?, error = ?, ended = ? WHERE id = ?",
            (status, error, ended, run_id),
        )
    ]
    if ended is not None:
        statements.append(
            (
                "UPDATE attempts SET ended = ?, status = ?, error = ?,"
                " to_step = (SELECT step FROM runs WHERE runs.id = attempts.run_id)"
                " WHERE run_id = ? AND ended IS NULL",
                (ended, status, error, run_id),
            )
        )
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
        "SELECT id, run_id, kind, payload, created, answered, applied_step, refusal,"
        " applied_epoch, applied_phase FROM commands"
        f" WHERE run_id = ? AND id > ? AND {condition} ORDER BY id",
        (run_id, after),
    ).fetchall()
    return [Command._make((*row[:3], json.loads(row[3]), *row[4:])) for row in rows]


def _update(path: Path | str, run_id: int, column: str, value: Any) -> None:
    with transaction(path) as connection:
        state_of(connection, run_id, path)
        connection.execute(f"UPDATE runs SET {column} = ? WHERE id = ?", (value, run_id))


def _require_alive(state: RunState, run_id: int, kind: str) -> None:
    if state.status in FINAL_STATUSES:
        raise RunLogError(
            f"Run {run_id} is {state.status} and cannot take the command {kind}: "
            "resume, fork or restart it first."
        )
    if state.status == QUEUED or state.heartbeat is None:
        return
    silence = time.time() - state.heartbeat  # below 0 where somebody set the clock back
    if silence > DEAD_AFTER:
        raise RunLogError(
            f"Run {run_id} is {state.status} but gave no sign of life for {silence:.0f} s and "
            f"cannot take the command {kind}: wait until it does, or until it is marked crashed, "
            "and resume it."
        )


def _refuse_while_forks_wait(connection: sqlite3.Connection, run_id: int) -> None:
    fork = connection.execute(
        "SELECT id FROM runs WHERE parent_run = ? AND parent_step IS NOT NULL"
        " AND status IN (?, ?) AND deleted IS NULL",
        (run_id, QUEUED, STARTING),
    ).fetchone()
    if fork is not None:
        raise RunLogError(
            f"Run {fork[0]} is about to be forked from run {run_id} and needs its rows: "
            "wait until it runs, or delete it too."
        )
