"""The end of a curve without what came before: a long run costs no more than a new one."""

import sqlite3

from trainer.run_log.rows import ScalarRow


def newest_scalars(
    connection: sqlite3.Connection, run_id: int, name: str, count: int
) -> list[ScalarRow]:
    """The last ``count`` values of a curve, oldest first; a value that was no number is NaN."""
    rows = connection.execute(
        "SELECT id, name, step, epoch, wall_time, value FROM scalars"
        " WHERE run_id = ? AND name = ? ORDER BY id DESC LIMIT ?",
        (run_id, name, count),
    ).fetchall()
    nan = float("nan")
    return [ScalarRow._make((*row[:5], nan if row[5] is None else row[5])) for row in rows[::-1]]
