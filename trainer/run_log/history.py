"""The rows that tell what a run did: how far they go, how they are forgotten and copied.

A position is the highest id of each table at one moment. Ids grow with time, so a run's rows up to
a position are those written before it, whatever their steps and whatever the clock said.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import NamedTuple

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
    "feature_snapshots": (
        "step", "epoch", "wall_time", "kind", "feature_dim", "subjects", "data",
    ),
}  # fmt: skip

Position = Mapping[str, int]

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
    connection: sqlite3.Connection, run_id: int, until: Position, *, part_bytes: int
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


def insertion(table: str) -> str:
    """SQL that adds a row: run_id, then the columns of `HISTORY`."""
    columns = ("run_id", *HISTORY[table])
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
