"""The tables that make a run's history, and how their rows travel from one file to another."""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache
from typing import Any

from trainer.run_log.commands import refusal_statement, status_statements
from trainer.run_log.schema import LIVE_STATUSES
from trainer.run_log.tables import MIGRATIONS

# All that hangs on a run but `checkpoints`, which are files and stay where they are, and what the
# projector makes anew: `projections` and `feature_measures`.
HISTORY = (
    "categories",
    "scalars",
    "class_vectors",
    "adaptation_summaries",
    "adaptations",
    "events",
    "commands",
    "attempts",
    "feature_probes",
    "feature_snapshots",
    "prediction_images",
    "predictions",
)
BATCH_BYTES = 4 * 2**20
_ROW_BYTES = 300  # about what a row costs in memory beside its text and blobs

Row = tuple[Any, ...]


def blueprint(version: int = len(MIGRATIONS)) -> sqlite3.Connection:
    """An empty run log of a schema version, in memory; close it."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statements in MIGRATIONS[:version]:
        for statement in statements:
            connection.execute(statement)
    return connection


@cache
def columns(table: str) -> tuple[str, ...]:
    """The names of a table's columns, in order."""
    with closing(blueprint()) as connection:
        return tuple(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))


def insertion(table: str, names: Sequence[str]) -> str:
    """The SQL that inserts one row."""
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"


def read_rows(
    connection: sqlite3.Connection,
    sql: str,
    values: Sequence[Any] | Mapping[str, Any],
    explain: Callable[[sqlite3.Error], Exception],
) -> Iterator[Row]:
    """The rows of a query; what ``explain`` makes of an error tells it from one in the writing."""
    try:
        # No `yield from`: cut short, it would close the cursor of what may be closed already.
        for row in connection.execute(sql, values):  # noqa: UP028
            yield row
    except sqlite3.Error as error:
        raise explain(error) from error


def batches(rows: Iterable[Row], limit: int = BATCH_BYTES) -> Iterator[list[Row]]:
    """Rows in lists of about ``limit`` bytes, so that memory does not grow with the log."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += _ROW_BYTES + sum(len(cell) for cell in row if isinstance(cell, str | bytes))
        if size >= limit:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def end_here(connection: sqlite3.Connection, run_id: int, status: str, step: int) -> None:
    """Make a copied run one that nobody trains: no process, nothing pending, not live.

    ``status`` and ``step`` are the run's in the log it was copied from.
    """
    if status in LIVE_STATUSES:
        error = (
            f"The run was exported while it was {status}, and this copy ends at step {step}: "
            "go on with it where it was trained, or restart it here."
        )
        statements = status_statements(run_id, "interrupted", error)
    else:
        statements = [refusal_statement(run_id, "the run was exported before an answer came")]
    for sql, values in statements:
        connection.execute(sql, values)
    connection.execute(
        "UPDATE runs SET process_id = NULL, process_identity = NULL, heartbeat = NULL,"
        " copied = ? WHERE id = ?",
        (time.time(), run_id),
    )
