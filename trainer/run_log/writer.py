"""The trainer's only door to the run log.

A call checks and copies its values into memory and returns; a `Committer` thread does the rest.
Shape: C classes.
"""

import atexit
import contextlib
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.run_log.commands import status_statements
from trainer.run_log.committer import Committer
from trainer.run_log.rows import Command
from trainer.run_log.schema import RunLogError, open_for_reading, sentence
from trainer.run_log.text import storable, to_json

QUEUE_LIMIT = 256 * 2**20
CLOSE_SECONDS = 30.0

# About what a queued row costs in memory beside its text and blob (tuple, numbers, list slot).
_ROW_BYTES = 300
_INT32 = np.iinfo(np.int32)

_SCALAR = (
    "INSERT INTO scalars (run_id, name, step, epoch, wall_time, value) VALUES (?, ?, ?, ?, ?, ?)"
)
_CLASS_VECTOR = (
    "INSERT INTO class_vectors (run_id, field, step, epoch, wall_time, dtype, data)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_CATEGORY = (
    "INSERT INTO categories (run_id, class_index, category_id, name, frequency, image_count,"
    " instance_count) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run_id, class_index) DO UPDATE SET"
    " category_id = excluded.category_id, name = excluded.name, frequency = excluded.frequency,"
    " image_count = excluded.image_count, instance_count = excluded.instance_count"
)
_SUMMARY = (
    "INSERT INTO adaptation_summaries (run_id, step, epoch, wall_time, eps, eps_quantile,"
    " num_groups, noise_share, largest_group) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ADAPTATION = (
    "INSERT INTO adaptations (run_id, step, epoch, wall_time, super_group, members, noise_members,"
    " with_data, clamped, loss_before, loss_after, factor, reason)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_EVENT = (
    "INSERT INTO events (run_id, step, epoch, wall_time, kind, text, payload)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_PROGRESS = (
    "UPDATE runs SET step = ?, total_steps = ?, epoch = ?, total_epochs = ?, phase = ? WHERE id = ?"
)
_ANSWER = "UPDATE commands SET answered = ?, applied_step = ?, refusal = ? WHERE id = ?"
_REWIND = "UPDATE runs SET rewinds = rewinds + 1, step = min(step, ?) WHERE id = ?"
_TABLES_WITH_STEPS = (
    "scalars",
    "class_vectors",
    "adaptation_summaries",
    "adaptations",
    "events",
)


class RunLogWriter:
    """Writes one run's rows without making the training thread wait.

    Args:
        path: the run log; the run must be in it already (`commands.queue_run`).
        run_id: the run.
        commit_interval: seconds between two commits; a killed process loses about that much.
        queue_limit: bytes of rows that may wait in memory while the file is locked or the disk
            full; beyond it calls wait (and `problem` says so), rather than rows being dropped.

    Raises:
        RunLogError: the run log cannot be opened, or has no such run.
    """

    def __init__(
        self,
        path: Path | str,
        run_id: int,
        *,
        commit_interval: float = 0.25,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        path = Path(path)
        self._run_id = run_id
        self._num_classes = _num_classes(path, run_id)
        self._committer = Committer(
            path, run_id, commit_interval=commit_interval, queue_limit=queue_limit
        )
        self._process = os.getpid()
        atexit.register(self._close_at_exit)

    @property
    def problem(self) -> str | None:
        """Why commits fail right now (disk full, file locked), or None; one sentence."""
        return self._committer.problem

    @property
    def queued_bytes(self) -> int:
        """About how many bytes of rows wait in memory."""
        return self._committer.queued_bytes

    def register_categories(self, categories: Sequence[Mapping[str, Any]]) -> None:
        """Name the classes: keys index, id, name, frequency, image_count, instance_count."""
        rows = [
            (
                self._run_id,
                int(category["index"]),
                int(category["id"]),
                storable(str(category["name"])),
                str(category["frequency"]),
                int(category["image_count"]),
                int(category["instance_count"]),
            )
            for category in categories
        ]
        if sorted(row[1] for row in rows) != list(range(len(rows))):
            raise ValueError(
                f"The indices of {len(rows)} categories must be 0..{len(rows) - 1}, each once: "
                "number them in order."
            )
        self._num_classes = len(rows)
        self._committer.put([(_CATEGORY, rows)], len(rows) * _ROW_BYTES)

    def scalars(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """Append one value to each named curve (NaN and infinity included)."""
        now = time.time()
        rows = [
            (self._run_id, name, int(step), int(epoch), now, float(value))
            for name, value in values.items()
        ]
        self._committer.put([(_SCALAR, rows)], len(rows) * _ROW_BYTES)

    def class_vectors(self, values: Mapping[str, NDArray[Any]], *, step: int, epoch: int) -> None:
        """Append a snapshot of each named field: [C] float32 or int32 (float64, int64 converted).

        Raises:
            ValueError: another shape, another kind of number, or an integer beyond int32.
        """
        now = time.time()
        rows: list[tuple[Any, ...]] = []
        size = 0
        for field, vector in values.items():
            dtype, data = self._encode(field, vector)
            rows.append((self._run_id, field, int(step), int(epoch), now, dtype, data))
            size += len(data) + _ROW_BYTES
        self._committer.put([(_CLASS_VECTOR, rows)], size)

    def adaptation(self, report: Mapping[str, Any], *, step: int, epoch: int) -> None:
        """Store an adaptation report: a summary row and one row per super-group.

        ``report`` is ``AdaptationReport.to_dict()``: eps, eps_quantile, num_groups, noise_share,
        largest_group, and groups with group, members, noise_members, with_data, clamped,
        loss_before, loss_after, factor, reason.
        """
        place = (self._run_id, int(step), int(epoch), time.time())
        summary = (
            *place,
            _real(report.get("eps")),
            _real(report.get("eps_quantile")),
            int(report["num_groups"]),
            _real(report.get("noise_share")),
            _whole(report.get("largest_group")),
        )
        rows = [(*place, *_group_values(group)) for group in report["groups"]]
        size = sum(len(value) for row in rows for value in row if isinstance(value, str))
        self._committer.put(
            [(_SUMMARY, [summary]), (_ADAPTATION, rows)], size + (len(rows) + 1) * _ROW_BYTES
        )

    def event(
        self,
        kind: str,
        text: str,
        *,
        step: int,
        epoch: int,
        payload: Mapping[str, Any] | None = None,
    ) -> None:
        """Note something that every chart can mark; ``payload`` is kept as json."""
        details = to_json(payload or {})
        row = (
            self._run_id,
            int(step),
            int(epoch),
            time.time(),
            storable(kind),
            storable(text),
            details,
        )
        self._committer.put([(_EVENT, [row])], _ROW_BYTES + len(text) + len(details))

    def status(self, status: str, *, error: str | None = None) -> None:
        """Set the run's status; a final one also refuses its unanswered commands."""
        statements = status_statements(self._run_id, status, error)
        self._committer.put([(sql, [values]) for sql, values in statements], _ROW_BYTES)

    def progress(
        self, *, step: int, total_steps: int, epoch: int, total_epochs: int, phase: str
    ) -> None:
        """Say how far the run is; ``phase`` is a word or two for people ("training")."""
        row = (int(step), int(total_steps), int(epoch), int(total_epochs), phase, self._run_id)
        self._committer.put([(_PROGRESS, [row])], _ROW_BYTES)

    def answer_command(self, command_id: int, *, step: int, refusal: str | None = None) -> None:
        """Say that a command took hold at ``step``, or was refused and why."""
        row = (
            time.time(),
            int(step) if refusal is None else None,
            None if refusal is None else storable(refusal),
            command_id,
        )
        self._committer.put([(_ANSWER, [row])], _ROW_BYTES)

    def take_commands(self) -> list[Command]:
        """Commands that came since the last call, each once (looked up four times a second).

        Costs the training thread no SQL: the writer's own thread looks.
        """
        return self._committer.take_commands()

    def truncate_after(self, step: int) -> None:
        """Forget everything past ``step`` (a resumed run's checkpoint), in one transaction.

        Commands and their answers stay. ``runs.rewinds`` grows by one, so that readers know
        that rows they have seen are gone.
        """
        statements: list[tuple[str, list[tuple[Any, ...]]]] = [
            (f"DELETE FROM {table} WHERE run_id = ? AND step > ?", [(self._run_id, int(step))])
            for table in _TABLES_WITH_STEPS
        ]
        statements.append((_REWIND, [(int(step), self._run_id)]))
        self._committer.put(statements, len(statements) * _ROW_BYTES)

    def flush(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Commit now and have the disk confirm it; False when that took longer (see `problem`).

        Call it before a checkpoint is given its final name: then a resumed run finds every row
        up to its checkpoint, even after a power cut.
        """
        return self._committer.flush(timeout)

    def wait_while_disk_full(self, give_up: Callable[[], bool] | None = None) -> float:
        """Hold the training while rows cannot be stored; returns the seconds that took.

        ``give_up`` is asked five times a second; True ends the wait (somebody pressed Ctrl-C).
        """
        return self._committer.wait_while_disk_full(give_up)

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Commit the rest and let go of the file.

        Raises:
            RunLogError: something could not be committed in time; the message says what.
        """
        atexit.unregister(self._close_at_exit)
        self._committer.close(timeout)

    def __enter__(self) -> "RunLogWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A second error must not hide the first one.
        with contextlib.suppress(RunLogError) if error is not None else contextlib.nullcontext():
            self.close()

    def _close_at_exit(self) -> None:
        if os.getpid() != self._process:
            return
        try:
            self.close()
        except RunLogError as error:
            print(error, file=sys.stderr)

    def _encode(self, field: str, vector: NDArray[Any]) -> tuple[str, bytes]:
        """The dtype's name and the little-endian bytes: the one copy that is made."""
        if vector.ndim != 1 or (self._num_classes and len(vector) != self._num_classes):
            raise ValueError(
                f"{field} must hold one value for each of {self._num_classes or 'C'} classes, "
                f"not the shape {vector.shape}: hand in a vector [C]."
            )
        kind = vector.dtype.kind
        if kind == "f":
            return "float32", vector.astype("<f4", copy=False).tobytes()
        if kind in "iu":
            if (
                (vector.dtype.itemsize > 4 or kind == "u")
                and len(vector)
                and not _INT32.min <= vector.min() <= vector.max() <= _INT32.max
            ):
                raise ValueError(
                    f"{field} holds integers beyond int32 (largest {vector.max()}): "
                    "hand in float32."
                )
            return "int32", vector.astype("<i4", copy=False).tobytes()
        raise ValueError(
            f"{field} must hold floats or integers, not {vector.dtype}: convert it first."
        )


def _group_values(group: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        int(group["group"]),
        to_json(group["members"]),
        to_json(group["noise_members"]),
        to_json(group["with_data"]),
        to_json(group["clamped"]),
        _real(group.get("loss_before")),
        _real(group.get("loss_after")),
        float(group["factor"]),
        str(group.get("reason") or ""),
    )


def _real(value: Any) -> float | None:
    return None if value is None else float(value)


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _num_classes(path: Path, run_id: int) -> int:
    """How many categories the run has already (0: none yet). Refuses an unknown run."""
    connection = open_for_reading(path)
    try:
        if connection.execute("SELECT 1 FROM runs WHERE id = ?", (run_id,)).fetchone() is None:
            raise RunLogError(
                f"There is no run {run_id} in {path}: look its number up in the run list."
            )
        count: int = connection.execute(
            "SELECT count(*) FROM categories WHERE run_id = ?", (run_id,)
        ).fetchone()[0]
        return count
    except sqlite3.Error as error:
        raise RunLogError(sentence(error, path)) from error
    finally:
        connection.close()
