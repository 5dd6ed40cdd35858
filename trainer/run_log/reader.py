"""Read-only view of the run log, for the dashboard and for anything else.

Every method is one short read transaction. Methods with ``after`` return only rows with a larger
id: keep the last id seen and hand it in again, and history is never read twice. When a run's
``rewinds`` grew, rows seen before are gone (the run was resumed from a checkpoint): start again
at ``after=0``. Shapes: C classes, S snapshots.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.run_log.commands import select_commands
from trainer.run_log.rows import (
    AdaptationRow,
    AdaptationSummary,
    Attempt,
    CategoryRow,
    CheckpointRow,
    ClassVector,
    ClassVectors,
    Command,
    Event,
    FeatureProbeRow,
    FeatureSnapshot,
    Run,
    ScalarRow,
)
from trainer.run_log.schema import RunLogError, identity, open_for_reading, sentence

_RUN_FIELDS = [field.name for field in fields(Run)]
_RUN_COLUMNS = ", ".join(_RUN_FIELDS)
_DTYPES = {"float32": np.dtype("<f4"), "int32": np.dtype("<i4")}

# The distinct values of an index's second column, one index step each instead of a scan.
_DISTINCT = (
    "WITH RECURSIVE found (value) AS ("
    " SELECT min({column}) FROM {table} WHERE run_id = :run_id"
    " UNION ALL SELECT (SELECT min({column}) FROM {table}"
    " WHERE run_id = :run_id AND {column} > found.value) FROM found WHERE found.value IS NOT NULL)"
    " SELECT value FROM found WHERE value IS NOT NULL"
)


class RunLogReader:
    """Reads a run log. Safe to share between threads; connections are pooled.

    Raises:
        RunLogError: no run log there, or a foreign, damaged, older or newer file. Any method
            raises it too when the file is damaged or gone later.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()  # guards what follows
        self._file = identity(self._path)
        self._generation = 0  # how many files the path has named so far
        self._idle: list[sqlite3.Connection] = []
        # data_version() compares within one connection only, hence one of its own.
        self._watch = open_for_reading(self._path)

    def __enter__(self) -> "RunLogReader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are not in use."""
        with self._lock:
            self._drop_connections()

    def data_version(self) -> int:
        """A number that changes whenever anything was committed to the run log."""
        with self._lock:
            self._follow_path()
            try:
                version: int = self._watch.execute("PRAGMA data_version").fetchone()[0]
            except sqlite3.Error as error:
                raise RunLogError(sentence(error, self._path)) from error
            return self._generation << 32 | version

    def runs(self, *, include_deleted: bool = False) -> list[Run]:
        """All runs, oldest first; without those marked deleted, unless they are asked for."""
        condition = "TRUE" if include_deleted else "deleted IS NULL"
        rows = self._rows(f"SELECT {_RUN_COLUMNS} FROM runs WHERE {condition} ORDER BY id")
        return [_run(row) for row in rows]

    def run(self, run_id: int) -> Run:
        """One run, marked deleted or not.

        Raises:
            RunLogError: there is no such run.
        """
        rows = self._rows(f"SELECT {_RUN_COLUMNS} FROM runs WHERE id = ?", (run_id,))
        if not rows:
            raise RunLogError(
                f"There is no run {run_id} in {self._path}: look its number up in the run list."
            )
        return _run(rows[0])

    def attempts(self, run_id: int, *, after: int = 0) -> list[Attempt]:
        """Each time a trainer took the run up, oldest first (the end comes to old ids too)."""
        rows = self._rows(
            "SELECT id, started, ended, from_step, to_step, status, error FROM attempts"
            " WHERE run_id = ? AND id > ? ORDER BY id",
            (run_id, after),
        )
        return [Attempt._make(row) for row in rows]

    def checkpoints(self, run_id: int) -> list[CheckpointRow]:
        """The checkpoints that are kept on disk now, by step."""
        rows = self._rows(
            "SELECT step, epoch, batch, wall_time, bytes FROM checkpoints"
            " WHERE run_id = ? ORDER BY step",
            (run_id,),
        )
        return [CheckpointRow._make(row) for row in rows]

    def categories(self, run_id: int) -> list[CategoryRow]:
        """The classes of a run in order of their index."""
        rows = self._rows(
            "SELECT class_index, category_id, name, frequency, image_count, instance_count"
            " FROM categories WHERE run_id = ? ORDER BY class_index",
            (run_id,),
        )
        return [CategoryRow(*row) for row in rows]

    def scalar_names(self, run_id: int) -> list[str]:
        """The names of a run's curves, sorted."""
        return self._distinct("scalars", "name", run_id)

    def scalars(
        self, run_id: int, names: Sequence[str] | None = None, *, after: int = 0
    ) -> list[ScalarRow]:
        """Values of the named curves (all when None) with an id above ``after``, by id."""
        if names is None:
            names = self.scalar_names(run_id)
        # Bound as one json value: SQLite limits how many parameters a statement may have.
        rows = self._rows(
            "SELECT id, name, step, epoch, wall_time, value FROM scalars"
            " WHERE run_id = ? AND name IN (SELECT value FROM json_each(?)) AND id > ?"
            " ORDER BY id",
            (run_id, json.dumps(list(names)), after),
        )
        return [ScalarRow._make((*row[:5], _number(row[5]))) for row in rows]

    def last_scalars(self, run_id: int, prefix: str, *, step: int) -> dict[str, float]:
        """The newest value at or before ``step`` of every curve whose name starts with ``prefix``.

        A curve without a value by then is left out.
        """
        found: dict[str, float] = {}
        for name in self.scalar_names(run_id):
            if name.startswith(prefix):
                rows = self._rows(
                    "SELECT value FROM scalars WHERE run_id = ? AND name = ? AND step <= ?"
                    " ORDER BY id DESC LIMIT 1",
                    (run_id, name, step),
                )
                if rows:
                    found[name] = _number(rows[0][0])
        return found

    def class_fields(self, run_id: int) -> list[str]:
        """The names of a run's per-class fields, sorted."""
        return self._distinct("class_vectors", "field", run_id)

    def class_vectors(self, run_id: int, field: str, *, after: int = 0) -> ClassVectors:
        """All snapshots of one field with an id above ``after``; S may be 0."""
        rows = self._rows(
            "SELECT id, step, epoch, wall_time, dtype, data FROM class_vectors"
            " WHERE run_id = ? AND field = ? AND id > ? ORDER BY id",
            (run_id, field, after),
        )
        return ClassVectors(
            ids=np.array([row[0] for row in rows], dtype=np.int64),
            steps=np.array([row[1] for row in rows], dtype=np.int64),
            epochs=np.array([row[2] for row in rows], dtype=np.int64),
            wall_times=np.array([row[3] for row in rows], dtype=np.float64),
            values=self._stack(field, rows),
        )

    def latest_class_vector(self, run_id: int, field: str) -> ClassVector | None:
        """The newest snapshot of one field, None when there is none yet."""
        rows = self._rows(
            "SELECT id, step, epoch, wall_time, dtype, data FROM class_vectors"
            " WHERE run_id = ? AND field = ? ORDER BY id DESC LIMIT 1",
            (run_id, field),
        )
        if not rows:
            return None
        return ClassVector._make((*rows[0][:4], self._stack(field, rows)[0]))

    def versions(self, run_id: int) -> dict[str, int]:
        """Numbers that grow whenever a run has a new snapshot, or a newly adapted or judged epoch.

        They say whether something drawn from these rows is still what the log holds.
        """
        newest = "SELECT coalesce(max(id), 0) FROM"
        row = self._rows(
            f"SELECT ({newest} class_vectors WHERE run_id = ?1 AND field = 'weight_norm'),"
            f" ({newest} adaptation_summaries WHERE run_id = ?1)"
            f" + ({newest} class_vectors WHERE run_id = ?1 AND field = 'ap_bbox')",
            (run_id,),
        )[0]
        return {"snapshot": row[0], "epoch": row[1]}

    def adaptations(self, run_id: int, *, after: int = 0) -> list[AdaptationRow]:
        """One row per adaptation and super-group."""
        rows = self._rows(
            "SELECT id, step, epoch, wall_time, super_group, members, noise_members, with_data,"
            " clamped, loss_before, loss_after, factor, reason FROM adaptations"
            " WHERE run_id = ? AND id > ? ORDER BY id",
            (run_id, after),
        )
        return [
            AdaptationRow._make((*row[:5], *map(json.loads, row[5:9]), *row[9:])) for row in rows
        ]

    def adaptation_summaries(self, run_id: int, *, after: int = 0) -> list[AdaptationSummary]:
        """One row per adaptation."""
        rows = self._rows(
            "SELECT id, step, epoch, wall_time, eps, eps_quantile, num_groups, noise_share,"
            " largest_group FROM adaptation_summaries WHERE run_id = ? AND id > ? ORDER BY id",
            (run_id, after),
        )
        return [AdaptationSummary._make(row) for row in rows]

    def feature_probes(self, run_id: int) -> list[FeatureProbeRow]:
        """The objects whose features are followed, by ``object_index``."""
        rows = self._rows(
            "SELECT object_index, class_index, split, image_id, x1, y1, x2, y2, picture"
            " FROM feature_probes WHERE run_id = ? ORDER BY object_index",
            (run_id,),
        )
        return [FeatureProbeRow._make(row) for row in rows]

    def feature_snapshots(self, run_id: int, *, after: int = 0) -> list[FeatureSnapshot]:
        """Feature snapshots of a run, oldest first."""
        rows = self._rows(
            "SELECT id, step, epoch, wall_time, kind, feature_dim, subjects, data"
            " FROM feature_snapshots WHERE run_id = ? AND id > ? ORDER BY id",
            (run_id, after),
        )
        return [_feature_snapshot(row) for row in rows]

    def events(self, run_id: int, *, after: int = 0) -> list[Event]:
        """Events of a run, oldest first."""
        rows = self._rows(
            "SELECT id, step, epoch, wall_time, kind, text, payload FROM events"
            " WHERE run_id = ? AND id > ? ORDER BY id",
            (run_id, after),
        )
        return [Event._make((*row[:6], json.loads(row[6]))) for row in rows]

    def commands(self, run_id: int, *, after: int = 0) -> list[Command]:
        """Commands of a run with their answers, oldest first (answers come to old ids too)."""
        with self._connection() as connection:
            return select_commands(connection, run_id, after=after)

    def _distinct(self, table: str, column: str, run_id: int) -> list[str]:
        sql = _DISTINCT.format(table=table, column=column)
        return [row[0] for row in self._rows(sql, {"run_id": run_id})]

    def _stack(self, field: str, rows: Sequence[Any]) -> NDArray[Any]:
        """Blobs of (..., dtype, data) rows as an array [S, C] in this machine's byte order."""
        kinds = {(row[4], len(row[5])) for row in rows}
        if not kinds:
            return np.empty((0, 0), dtype=np.float32)
        if len(kinds) > 1:
            raise RunLogError(
                f"The snapshots of {field} in {self._path} differ in type or length "
                f"({sorted(kinds)}): delete this run, it was not written by this program."
            )
        dtype = _DTYPES[rows[0][4]]
        values = np.frombuffer(b"".join([row[5] for row in rows]), dtype=dtype)
        return values.reshape(len(rows), -1).astype(dtype.newbyteorder("="), copy=False)

    def _rows(self, sql: str, values: Any = ()) -> list[Any]:
        with self._connection() as connection:
            return connection.execute(sql, values).fetchall()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._follow_path()
            generation = self._generation
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = open_for_reading(self._path)
        try:
            yield connection
        except sqlite3.Error as error:
            connection.close()
            raise RunLogError(sentence(error, self._path)) from error
        except BaseException:
            connection.close()
            raise
        with self._lock:
            if generation == self._generation:
                self._idle.append(connection)
            else:
                connection.close()

    def _follow_path(self) -> None:
        """Turn to the new file when the old one was deleted or replaced (a stat, 2 µs)."""
        current = identity(self._path)
        if current == self._file:
            return
        watch = open_for_reading(self._path)
        self._drop_connections()
        self._watch, self._file = watch, current

    def _drop_connections(self) -> None:
        for connection in (*self._idle, self._watch):
            connection.close()
        self._idle.clear()
        self._file = None
        self._generation += 1


def _run(row: Sequence[Any]) -> Run:
    values = dict(zip(_RUN_FIELDS, row, strict=True))
    return Run(
        **values | {"config": json.loads(values["config"]), "tags": json.loads(values["tags"])}
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else value  # SQLite keeps a NaN as NULL


def _feature_snapshot(row: Sequence[Any]) -> FeatureSnapshot:
    feature_dim, subjects, data = row[5:]
    return FeatureSnapshot._make(
        (
            *row[:5],
            np.frombuffer(subjects, "<i4").astype(np.int32, copy=False),
            np.frombuffer(data, "<f2").reshape(-1, feature_dim).astype(np.float16, copy=False),
        )
    )
