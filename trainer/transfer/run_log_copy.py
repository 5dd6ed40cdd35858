"""A single SQLite file that is a run log of its own and holds the chosen runs."""

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from trainer.run_log.schema import RunLogError, open_for_writing, sentence
from trainer.transfer.copying import (
    HISTORY,
    Row,
    batches,
    columns,
    end_here,
    insertion,
    read_rows,
)


class RunLogCopy:
    """Copies runs with all their history, under their ids, out of a log that may be in use.

    Args:
        source: a connection in a read transaction; all is copied as it saw the log.
        log: the file it reads, for errors.
        run_ids: what to copy.
    """

    def __init__(self, source: sqlite3.Connection, log: Path, run_ids: Sequence[int]) -> None:
        self._source = source
        self._log = log
        self._ids = json.dumps(list(run_ids))  # one value: SQLite limits how many there may be

    def write(self, path: Path, *, shown: Path) -> None:
        """Make the file, without a write-ahead log beside it; errors call it ``shown``.

        Raises:
            RunLogError: the log cannot be read, or the file not be written.
        """
        try:
            with closing(open_for_writing(path)) as copy:
                # Nobody reads a draft and a failed one is thrown away: nothing to roll back to.
                for pragma in ("journal_mode = DELETE", "journal_mode = OFF", "synchronous = OFF"):
                    copy.execute(f"PRAGMA {pragma}").fetchall()
                copy.execute("BEGIN")
                self._fill(copy)
                copy.execute("COMMIT")
        except sqlite3.Error as error:
            raise RunLogError(sentence(error, shown)) from error

    def _fill(self, copy: sqlite3.Connection) -> None:
        self._leave_stubs(copy)
        self._copy_table(copy, "runs", "id", "id")
        runs = copy.execute("SELECT id, status, step FROM runs WHERE deleted IS NULL").fetchall()
        for table in HISTORY:
            key = columns(table)[0]
            self._copy_table(copy, table, key, "run_id")
        for run_id, status, step in runs:
            end_here(copy, run_id, status, step)

    def _leave_stubs(self, copy: sqlite3.Connection) -> None:
        """A row for each parent that does not come along: its uid, and nothing else of it.

        It is marked deleted, so that no list shows it and a supervisor removes it; until then an
        import knows by it whose child a run is.
        """
        now = time.time()
        parents = self._read(
            "SELECT id, uid FROM runs WHERE id NOT IN (SELECT value FROM json_each(:ids)) AND id IN"
            " (SELECT parent_run FROM runs WHERE id IN (SELECT value FROM json_each(:ids)))"
        )
        sql = (
            "INSERT INTO runs (id, uid, name, config, dataset, status, created, deleted)"
            " VALUES (?, ?, 'a parent that was not exported', '{}', '', 'stopped', ?, ?)"
        )
        copy.executemany(sql, [(run_id, uid, now, now) for run_id, uid in parents])

    def _copy_table(self, copy: sqlite3.Connection, table: str, key: str, owner: str) -> None:
        names = columns(table)
        # By way of the keys: an index finds those, and rows come in the order they are stored.
        chosen = f"SELECT {key} FROM {table} WHERE {owner} IN (SELECT value FROM json_each(:ids))"
        rows = self._read(
            f"SELECT {', '.join(names)} FROM {table} WHERE {key} IN ({chosen}) ORDER BY {key}"
        )
        for batch in batches(rows):
            copy.executemany(insertion(table, names), batch)

    def _read(self, sql: str) -> Iterator[Row]:
        def explain(error: sqlite3.Error) -> Exception:
            return RunLogError(sentence(error, self._log))

        return read_rows(self._source, sql, {"ids": self._ids}, explain)
