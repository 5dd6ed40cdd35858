"""Runs out of a run log: as tables for pandas, or as a file that another installation imports."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

from trainer.run_log.schema import RunLogError, open_for_reading, sentence
from trainer.runs_folder import RunsFolder
from trainer.transfer.errors import TransferError
from trainer.transfer.run_log_copy import RunLogCopy
from trainer.transfer.target import new_target

Format = Literal["csv", "parquet", "sqlite"]


def export_runs(
    folder: RunsFolder, run_ids: Sequence[int], *, format: Format, to: Path
) -> list[Path]:
    """Write runs as they stand at one moment, also while they train; returns the files made.

    csv and parquet make a folder with one tidy file a table and a README.txt that explains them;
    sqlite makes one file that is a run log of its own and that `import_runs` takes. Checkpoint
    files stay where they are.

    Args:
        folder: the installation.
        run_ids: at least one; what is named twice comes once.
        to: the new folder or file; its own folder must exist.

    Raises:
        TransferError: no run is named, or ``to`` is there already or cannot be written. Nothing
            is left of a failed export.
        RunLogError: the run log cannot be read, or a run is not in it or is deleted.
    """
    to = Path(to)
    if format not in get_args(Format):
        raise TransferError(f"There is no format {format!r}: choose {', '.join(get_args(Format))}.")
    run_ids = sorted(set(run_ids))
    log = folder.run_log
    with _snapshot(log, run_ids) as connection, new_target(to) as draft:
        if format == "sqlite":
            RunLogCopy(connection, log, run_ids).write(draft, shown=to)
        elif format == "csv":
            from trainer.transfer.csv_tables import write_csv  # pyarrow takes a moment to load

            write_csv(connection, run_ids, draft)
        else:
            from trainer.transfer.parquet_tables import write_parquet

            write_parquet(connection, run_ids, draft)
    return [to] if format == "sqlite" else sorted(to.iterdir())


@contextmanager
def _snapshot(log: Path, run_ids: Sequence[int]) -> Iterator[sqlite3.Connection]:
    """A connection that sees the log as it is now, whatever is written meanwhile."""
    if not run_ids:
        raise TransferError("An export needs at least one run: name it by its number.")
    connection = open_for_reading(log)
    try:
        connection.execute("BEGIN")
        for run_id in run_ids:
            row = connection.execute(
                "SELECT deleted IS NOT NULL FROM runs WHERE id = ?", (run_id,)
            ).fetchone()
            if row is None:
                raise RunLogError(
                    f"There is no run {run_id} in {log}: look its number up in the run list."
                )
            if row[0]:
                raise RunLogError(f"Run {run_id} is deleted: undo that first, or leave it out.")
        yield connection
    except sqlite3.Error as error:
        raise RunLogError(sentence(error, log)) from error
    finally:
        connection.close()
