"""Runs of a file from another installation into this one's run log: all of them or none."""

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from trainer.run_log.commands import delete_run, mark_deleted
from trainer.run_log.schema import LIVE_STATUSES, RunLogError, open_for_writing, sentence
from trainer.runs_folder import RunsFolder
from trainer.transfer.copying import HISTORY, Row, batches, columns, end_here, insertion, read_rows
from trainer.transfer.errors import TransferError, unreadable, untakable, unwritable
from trainer.transfer.foreign_log import open_foreign_log
from trainer.transfer.row_checks import RowChecks

# The run log's writers wait for one another; SQLite lets them look again every 0.1 s at the latest.
_TURN_SECONDS = 0.05
_PAUSE_SECONDS = 0.12
_PHASE = "being imported"


def import_runs(folder: RunsFolder, source: Path) -> list[int]:
    """Take in the runs of a file that `export_runs` made (or of a log that is not in use).

    They get new numbers, in the order of the old ones, and keep their uid. A run that was live is
    interrupted here, and a parent is linked where it came along or is here already. Checkpoints do
    not travel: an imported run can be looked at and restarted, not resumed or forked.

    Rows go in a few at a time, so that trainers get their turns, into runs that are marked deleted
    and seen by nobody until the last transaction; a crash leaves what the supervisor removes.

    Returns:
        The new run ids.

    Raises:
        TransferError: the file is not what it should be, or holds a run that is here already.
            Nothing was imported then.
        RunLogError: this installation's run log cannot be written; nothing was imported.
    """
    source = Path(source)
    with open_foreign_log(source, scratch=folder.root) as connection:
        foreign = _Foreign(connection, source)
        if not foreign.runs:
            raise TransferError(f"{source} holds no runs: export at least one.")
        try:
            folder.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(folder.root, error) from error
        with closing(open_for_writing(folder.run_log)) as own:
            merge = _Merge(own, folder.run_log, foreign)
            try:
                merge.reserve()
                for table in HISTORY:
                    for batch in batches(foreign.rows(table)):
                        merge.add(table, batch)
                merge.reveal()
            except BaseException:
                merge.undo()
                raise
            return list(merge.ids.values())


class _Foreign:
    """The runs of another log and their rows, each checked as it is read."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._checks = RowChecks(path)
        names = columns("runs")
        rows = self._read(f"SELECT {', '.join(names)} FROM runs ORDER BY id")
        all_runs = [dict(zip(names, row, strict=True)) for row in rows]
        # A deleted one is not taken; but by its uid a child may find its parent.
        self.runs = [run for run in all_runs if run["deleted"] is None]
        self.uids = {run["id"]: run["uid"] for run in all_runs}
        for run in self.runs:
            self._checks.check("runs", tuple(run.values()))
        if len(set(self.uids.values())) < len(self.uids):
            raise unreadable(path, "two runs share a uid")

    def rows(self, table: str) -> Iterator[Row]:
        """The rows of all runs, in the order they were written."""
        names = columns(table)
        chosen = {run["id"] for run in self.runs}
        owner = names.index("run_id")
        order = names[0] if names[0] == "id" else ", ".join(names[:2])  # else its primary key
        for row in self._read(f"SELECT {', '.join(names)} FROM {table} ORDER BY {order}"):
            if row[owner] in chosen:
                yield self._checks.check(table, row)

    def _read(self, sql: str) -> Iterator[Row]:
        return read_rows(self._connection, sql, (), lambda e: unreadable(self.path, e))


class _Merge:
    """Puts foreign runs into a run log; ``ids`` tells their new numbers by their old ones."""

    def __init__(self, connection: sqlite3.Connection, log: Path, foreign: _Foreign) -> None:
        self.ids: dict[int, int] = {}
        self._connection = connection
        self._log = log
        self._foreign = foreign
        self._held = 0.0  # seconds the write lock was held since the last pause

    def reserve(self) -> None:
        """A row a run, marked deleted; refuses when one is here already."""
        names = [name for name in columns("runs") if name != "id"]
        with self._transaction() as connection:
            self._refuse_known(connection)
            ids = {}
            for run in self._foreign.runs:
                values = run | {
                    "deleted": time.time(),
                    "phase": _PHASE,
                    "parent_run": None,
                    "process_id": None,
                    "process_identity": None,
                    "heartbeat": None,
                    "copied": time.time(),
                }
                if run["status"] in LIVE_STATUSES:
                    values["status"] = "interrupted"
                self._insert(connection, "runs", names, [[values[name] for name in names]])
                (ids[run["id"]],) = connection.execute("SELECT last_insert_rowid()").fetchone()
        self.ids = ids  # committed: only now they are ours to undo

    def add(self, table: str, rows: Sequence[Row]) -> None:
        """Append rows under their new runs."""
        names = columns(table)
        start = int(names[0] == "id")  # ids are given out anew, in the same order
        owner = names.index("run_id")
        began = time.monotonic()
        with self._transaction() as connection:
            self._mark(connection, time.time())
            moved = [(*row[start:owner], self.ids[row[owner]], *row[owner + 1 :]) for row in rows]
            self._insert(connection, table, names[start:], moved)
        self._held += time.monotonic() - began
        if self._held > _TURN_SECONDS:
            time.sleep(_PAUSE_SECONDS)
            self._held = 0.0

    def reveal(self) -> None:
        """Link parents, end what was live, and let everybody see the runs."""
        with self._transaction() as connection:
            self._mark(connection, None)
            for run in self._foreign.runs:
                new = self.ids[run["id"]]
                connection.execute(
                    "UPDATE runs SET parent_run = ?, phase = ? WHERE id = ?",
                    (self._parent(connection, run["parent_run"]), run["phase"], new),
                )
                end_here(connection, new, run["status"], run["step"])

    def undo(self) -> None:
        """Remove what was added. What cannot be removed now stays marked deleted."""
        for run_id in self.ids.values():
            with suppress(RunLogError):
                mark_deleted(self._log, run_id, True)
                delete_run(self._log, run_id)
        self.ids.clear()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise RunLogError(sentence(error, self._log)) from error
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _insert(
        self,
        connection: sqlite3.Connection,
        table: str,
        names: Sequence[str],
        rows: Sequence[Sequence[Any]],
    ) -> None:
        try:
            connection.executemany(insertion(table, names), rows)
        except sqlite3.IntegrityError as error:  # the strict tables' own rules
            raise untakable(self._foreign.path, table, error) from error

    def _refuse_known(self, connection: sqlite3.Connection) -> None:
        uids = json.dumps([run["uid"] for run in self._foreign.runs])
        found = connection.execute(
            "SELECT id, deleted IS NOT NULL FROM runs"
            " WHERE uid IN (SELECT value FROM json_each(?))",
            (uids,),
        ).fetchone()
        if found is not None and found[1]:
            raise TransferError(
                f"A run of {self._foreign.path} is here as run {found[0]}, which is deleted: bring "
                "it back, or import again when it is gone for good."
            )
        if found is not None:
            raise TransferError(
                f"A run of {self._foreign.path} is here already as run {found[0]}, and nothing was "
                "imported: export the others without it, or delete that run first."
            )

    def _parent(self, connection: sqlite3.Connection, old: int | None) -> int | None:
        if old is None or old in self.ids:
            return None if old is None else self.ids[old]
        row = connection.execute(
            "SELECT id FROM runs WHERE uid = ? AND deleted IS NULL", (self._foreign.uids.get(old),)
        ).fetchone()
        return None if row is None else int(row[0])

    def _mark(self, connection: sqlite3.Connection, deleted: float | None) -> None:
        """Renew the mark, which a supervisor takes for a request once it is old; or take it off.

        The phase tells that nobody has begun to delete the runs.
        """
        cursor = connection.execute(
            "UPDATE runs SET deleted = ?"
            " WHERE id IN (SELECT value FROM json_each(?)) AND phase = ?",
            (deleted, json.dumps(list(self.ids.values())), _PHASE),
        )
        if cursor.rowcount < len(self.ids):
            raise TransferError(
                f"Somebody deleted runs while they were imported from {self._foreign.path}: "
                "import them again."
            )
