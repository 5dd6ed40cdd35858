"""The rows that tell what a run did: how far they go, how they are forgotten and copied.

A position is the highest id of each table at one moment. Ids grow with time, so a run's rows up to
a position are those written before it, whatever their steps and whatever the clock said.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

FEATURE_COLUMNS = (
    "feature_dim", "objects", "real", "real_predicted", "real_loss", "classes", "mean",
    "deviation", "prior_size", "virtual_per_class", "virtual", "virtual_predicted",
    "virtual_loss",
)  # fmt: skip

# SQL: the bytes of a feature snapshot.
SNAPSHOT_BYTES = " + ".join(
    f"length({name})"
    for name in FEATURE_COLUMNS
    if name not in ("feature_dim", "virtual_per_class")
)

# Table -> its columns beside id and run_id.
HISTORY = {
    "scalars": ("name", "step", "epoch", "wall_time", "value"),
    "class_vectors": ("field", "step", "epoch", "wall_time", "dtype", "data"),
    "adaptation_summaries": (
        "step", "epoch", "wall_time", "eps", "eps_quantile", "num_groups", "noise_share",
        "largest_group",
    ),
    "adaptations": (
        "step", "epoch", "wall_time", "super_group", "members", "noise_members", "with_data",
        "clamped", "loss_before", "loss_after", "factor", "reason",
    ),
    "events": ("step", "epoch", "wall_time", "kind", "text", "payload"),
    "feature_snapshots": ("step", "epoch", "wall_time", *FEATURE_COLUMNS),
    "predictions": ("step", "epoch", "wall_time", "image_index", "detections"),
}  # fmt: skip

# What rows of the history refer to, named once: table -> its columns beside run_id.
_SUBJECTS = {
    "feature_probes": (
        "object_index", "class_index", "split", "image_id", "x1", "y1", "x2", "y2", "picture",
    ),
    "prediction_images": (
        "image_index", "image_id", "width", "height", "truth", "judged", "picture",
    ),
}  # fmt: skip

# Table -> SQL that adds a row: run_id, then those columns.
INSERTION = {
    table: f"INSERT INTO {table} (run_id, {', '.join(columns)}) VALUES (?{', ?' * len(columns)})"
    for table, columns in HISTORY.items()
}

Position = Mapping[str, int]
Statement = tuple[str, tuple[Any, ...]]

PART_BYTES = 4 * 2**20  # stored within some tenths of a second

_ROW_BYTES = 100  # about what a row takes beside its text and blobs


class Part(NamedTuple):
    """Rows of one table by their rising ids, and about how many bytes they take together."""

    table: str
    ids: list[int]
    size: int


def current_position(connection: sqlite3.Connection) -> dict[str, int]:
    """The highest id that was ever given out in each table of `HISTORY`."""
    given_out = dict(connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    return {table: given_out.get(table, 0) for table in HISTORY}


def parts(
    connection: sqlite3.Connection, run_id: int, until: Position, *, part_bytes: int = PART_BYTES
) -> Iterator[Part]:
    """A run's rows up to a position, oldest first in each table, in parts of bounded size.

    Each part is one short read; rows may be added and deleted between two of them.
    """
    for table, columns in HISTORY.items():
        size = " + ".join(f"coalesce(length({column}), 0)" for column in columns)
        # The plus keeps SQLite from an index that would have to be sorted for every part.
        sql = (
            f"SELECT id, {_ROW_BYTES} + {size} FROM {table}"
            " WHERE +run_id = ? AND id >= ? AND id <= ? ORDER BY id"
        )
        (start,) = connection.execute(
            f"SELECT min(id) FROM {table} WHERE run_id = ?", (run_id,)
        ).fetchone()
        while start is not None:
            ids: list[int] = []
            total = 0
            with closing(connection.cursor()) as cursor:  # ends the read
                for row_id, row_bytes in cursor.execute(sql, (run_id, start, until.get(table, 0))):
                    ids.append(row_id)
                    total += row_bytes
                    if total >= part_bytes:
                        break
            if ids:
                yield Part(table, ids, total)
            start = ids[-1] + 1 if total >= part_bytes else None


def removal(table: str, ids: Sequence[int]) -> Statement:
    """SQL that deletes rows by their ids."""
    return f"DELETE FROM {table} WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(ids),)


def truncation(run_id: int, position: Position, step: int) -> list[Statement]:
    """SQL that takes a run back to a position, which its checkpoint of ``step`` noted."""
    statements: list[Statement] = [
        (f"DELETE FROM {table} WHERE run_id = ? AND id > ?", (run_id, position.get(table, 0)))
        for table in HISTORY
    ]
    return [
        *statements,
        ("DELETE FROM checkpoints WHERE run_id = ? AND step > ?", (run_id, step)),
        ("UPDATE runs SET rewinds = rewinds + 1, step = min(step, ?) WHERE id = ?", (step, run_id)),
    ]


def copy(part: Part, run_id: int) -> Statement:
    """SQL that gives a run rows like those of a part, in the same order."""
    columns = ", ".join(HISTORY[part.table])
    return (
        f"INSERT INTO {part.table} (run_id, {columns}) SELECT ?, {columns} FROM {part.table}"
        " WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
        (run_id, json.dumps(part.ids)),
    )


def copy_of_subjects(parent_run: int, run_id: int) -> list[Statement]:
    """SQL that gives a run what copied rows refer to: probe objects and test images."""
    statements: list[Statement] = []
    for table, columns in _SUBJECTS.items():
        names = ", ".join(columns)
        statements += [
            (f"DELETE FROM {table} WHERE run_id = ?", (run_id,)),
            (
                f"INSERT INTO {table} (run_id, {names}) SELECT ?, {names} FROM {table}"
                " WHERE run_id = ?",
                (run_id, parent_run),
            ),
        ]
    return statements
