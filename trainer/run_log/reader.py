"""Read-only view of the run log, for the dashboard and for anything else.

Every method is one short read transaction. Methods with ``after`` return only rows with a larger
id: keep the last id seen and hand it in again, and history is never read twice. When a run's
``rewinds`` grew, rows seen before are gone (the run was resumed from a checkpoint): start again
at ``after=0``. Shapes: C classes, S snapshots.
"""

import itertools
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from trainer.run_log.commands import select_commands
from trainer.run_log.encoding import decode_classes
from trainer.run_log.feature_reader import FeatureReader
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
    PredictionImage,
    PredictionRow,
    Run,
    ScalarRow,
)
from trainer.run_log.schema import RunLogError, identity, open_for_reading, sentence
from trainer.run_log.thinning import select_scalars

_RUN_FIELDS = [field.name for field in fields(Run)]
_RUN_COLUMNS = ", ".join(_RUN_FIELDS)

_ADAPTATION_COLUMNS = ", ".join(AdaptationRow._fields)

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
        self.features = FeatureReader(self._rows)

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
        self,
        run_id: int,
        names: Sequence[str] | None = None,
        *,
        after: int = 0,
        most: int | None = None,
    ) -> list[ScalarRow]:
        """Values of the named curves (all when None) with an id above ``after``, by id.

        A curve with more than ``most`` values is thinned to about so many: highs and lows stay.
        """
        names = self.scalar_names(run_id) if names is None else names
        with self._connection() as connection:
            rows = select_scalars(connection, run_id, names, after=after, most=most)
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
            values=decode_classes(field, [row[4:] for row in rows], self._path),
        )

    def latest_class_vector(
        self, run_id: int, field: str, *, unlike: int = 0, step: int | None = None
    ) -> ClassVector | None:
        """The newest snapshot of one field, None when there is none yet.

        With ``unlike``, the newest one whose values are not those of the snapshot of that id;
        with ``step``, the newest one of those at or before that step.
        """
        rows = self._rows(
            "SELECT id, step, epoch, wall_time, dtype, data FROM class_vectors"
            " WHERE run_id = ? AND field = ? AND step <= ?"
            " AND data IS NOT (SELECT data FROM class_vectors WHERE id = ?)"
            " ORDER BY id DESC LIMIT 1",
            (run_id, field, 2**63 - 1 if step is None else step, unlike),
        )
        if not rows:
            return None
        (values,) = decode_classes(field, [rows[0][4:]], self._path)
        return ClassVector._make((*rows[0][:4], values))

    def versions(self, run_id: int) -> dict[str, int]:
        """Numbers that change whenever a run has a new snapshot, newly adapted or judged epoch, new
        predictions, or new features or pictures of them.

        They say whether something drawn from these rows is still what the log holds.
        """
        newest = "SELECT coalesce(max(id), 0) FROM"
        row = self._rows(
            f"SELECT ({newest} class_vectors WHERE run_id = ?1 AND field = 'weight_norm'),"
            f" ({newest} adaptation_summaries WHERE run_id = ?1)"
            f" + ({newest} class_vectors WHERE run_id = ?1 AND field = 'ap_bbox'),"
            # By way of the index, whose last entry is the newest evaluation's last image.
            " coalesce((SELECT id FROM predictions WHERE run_id = ?1"
            " ORDER BY step DESC, epoch DESC, image_index DESC LIMIT 1), 0),"
            f" ({newest} feature_snapshots WHERE run_id = ?1)"
            f" + ({newest} projections WHERE run_id = ?1)",
            (run_id,),
        )[0]
        return dict(zip(("snapshot", "epoch", "prediction", "feature"), row, strict=True))

    def adaptations(self, run_id: int, *, after: int = 0) -> list[AdaptationRow]:
        """One row per adaptation and super-group."""
        rows = self._rows(
            f"SELECT {_ADAPTATION_COLUMNS} FROM adaptations"
            " WHERE run_id = ? AND id > ? ORDER BY id",
            (run_id, after),
        )
        return [_adaptation(row) for row in rows]

    def last_adaptation(self, run_id: int) -> list[AdaptationRow]:
        """The rows of the newest adaptation, one per super-group; empty before the first."""
        sql = f"SELECT {_ADAPTATION_COLUMNS} FROM adaptations WHERE run_id = ? ORDER BY id DESC"
        with self._connection() as connection:
            cursor = connection.execute(sql, (run_id,))
            newest = cursor.fetchone()
            rest = itertools.takewhile(lambda row: row[1] == newest[1], cursor)
            rows = [newest, *rest] if newest else []
            cursor.close()
        return [_adaptation(row) for row in reversed(rows)]

    def adaptation_summaries(self, run_id: int, *, after: int = 0) -> list[AdaptationSummary]:
        """One row per adaptation."""
        rows = self._rows(
            "SELECT id, step, epoch, wall_time, eps, eps_quantile, num_groups, noise_share,"
            " largest_group FROM adaptation_summaries WHERE run_id = ? AND id > ? ORDER BY id",
            (run_id, after),
        )
        return [AdaptationSummary._make(row) for row in rows]

    def prediction_images(self, run_id: int) -> list[PredictionImage]:
        """The test images whose predictions are kept, by index, without their pictures."""
        rows = self._rows(
            "SELECT image_index, image_id, width, height, truth, coalesce(judged, 'null')"
            " FROM prediction_images"
            " WHERE run_id = ? ORDER BY image_index",
            (run_id,),
        )
        decoded = [(*row[:4], *map(json.loads, row[4:])) for row in rows]
        return [PredictionImage(*row) for row in decoded]

    def prediction_picture(self, run_id: int, index: int) -> bytes | None:
        """The JPEG of one of these images, at most 640 pixels long; None when there is none."""
        rows = self._rows(
            "SELECT picture FROM prediction_images WHERE run_id = ? AND image_index = ?",
            (run_id, index),
        )
        return rows[0][0] if rows else None

    def prediction_moments(self, run_id: int) -> list[tuple[int, int]]:
        """The (step, epoch) of each evaluation whose predictions are kept, oldest first."""
        rows = self._rows(
            "SELECT DISTINCT step, epoch FROM predictions WHERE run_id = ? ORDER BY step, epoch",
            (run_id,),
        )
        return [(step, epoch) for step, epoch in rows]

    def predictions(self, run_id: int, *, step: int) -> list[PredictionRow]:
        """What the evaluation after ``step`` steps found, by image; empty when there is none."""
        rows = self._rows(
            "SELECT id, step, epoch, wall_time, image_index, detections FROM predictions"
            " WHERE run_id = ? AND step = ? ORDER BY image_index",
            (run_id, step),
        )
        return [PredictionRow._make((*row[:5], json.loads(row[5]))) for row in rows]

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


def _adaptation(row: Sequence[Any]) -> AdaptationRow:
    return AdaptationRow._make((*row[:5], *map(json.loads, row[5:9]), *row[9:]))


def _number(value: float | None) -> float:
    return float("nan") if value is None else value  # SQLite keeps a NaN as NULL
