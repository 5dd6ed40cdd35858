"""Long curves with fewer points, chosen in SQLite: what is left out never leaves the file."""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

_SELECT = "SELECT id, name, step, epoch, wall_time, value FROM scalars WHERE"
_ONE = "run_id = :run_id AND name = :name AND id > :after"

# A bare column beside min() or max() comes from the row that has it (SQLite's documented rule).
_EXTREMES = (
    "SELECT id, name, step, epoch, wall_time, {extreme}(value) FROM scalars"
    f" WHERE {_ONE} GROUP BY (step - :first) / :size"
)
_THINNED = (
    f"{_EXTREMES.format(extreme='min')} UNION {_EXTREMES.format(extreme='max')} UNION {_SELECT} id"
    " IN (:oldest, :newest)"
)
_LENGTHS = (
    "SELECT name, count(*), min(id), max(id) FROM scalars WHERE run_id = ?"
    " AND name IN (SELECT value FROM json_each(?)) AND id > ? GROUP BY name"
)


def select_scalars(
    connection: sqlite3.Connection,
    run_id: int,
    names: Sequence[str],
    *,
    after: int,
    most: int | None,
) -> list[Any]:
    """Rows (id, name, step, epoch, wall_time, value) of some curves with ids above ``after``.

    Args:
        most: a curve with more values than this is thinned: of about ``most / 2`` equal stretches
            of steps the lowest and the highest value stay, and the curve's first and last one.
            A value that is not a number stays only where its stretch has no other.

    Returns:
        Rows by id. The last row of every curve is among them, so that the greatest id is a cursor.
    """
    if most is None:
        return _whole(connection, run_id, names, after)
    # One transaction: what is committed between two statements would slip behind the cursor.
    connection.execute("BEGIN")
    try:
        asked = (run_id, json.dumps(list(names)), after)
        lengths = connection.execute(_LENGTHS, asked).fetchall()
        rows = _whole(connection, run_id, [row[0] for row in lengths if row[1] <= most], after)
        for name, count, oldest, newest in lengths:
            if count > most:
                rows += _thinned(connection, run_id, name, after, oldest, newest, most)
    finally:
        connection.execute("ROLLBACK")
    return sorted(rows)


def _whole(
    connection: sqlite3.Connection, run_id: int, names: Sequence[str], after: int
) -> list[Any]:
    listed = json.dumps(list(names))  # one value: SQLite limits a statement's parameters
    return connection.execute(
        f"{_SELECT} run_id = ? AND name IN (SELECT value FROM json_each(?)) AND id > ? ORDER BY id",
        (run_id, listed, after),
    ).fetchall()


def _thinned(
    connection: sqlite3.Connection,
    run_id: int,
    name: str,
    after: int,
    oldest: int,
    newest: int,
    most: int,
) -> list[Any]:
    steps = "SELECT min(step), max(step) FROM scalars WHERE id IN (?, ?)"
    first, last = connection.execute(steps, (oldest, newest)).fetchone()
    size = max(1, -(-2 * (last - first + 1) // most))
    asked = {"run_id": run_id, "name": name, "after": after, "first": first, "size": size,
             "oldest": oldest, "newest": newest}  # fmt: skip
    return connection.execute(_THINNED, asked).fetchall()
