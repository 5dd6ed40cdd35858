"""A run log that came from elsewhere: opened so that it can do no harm, and checked before use.

It is read as it lies there and nothing is written beside it. Only tables and indexes that are ours
to the letter are let in, so that no trigger, view or function of somebody else ever runs.
"""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from trainer.run_log.schema import APPLICATION_ID, SCHEMA_VERSION, open_for_writing
from trainer.transfer.copying import blueprint
from trainer.transfer.errors import TransferError, unreadable, unwritable

# Bytes of a value or row: a snapshot of 50,000 objects has 391 MiB where each is of a class of its
# own and a feature of length 1,024.
LARGEST_VALUE = 512 * 2**20
_SMALLEST_PAGE = 512

_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"


@contextmanager
def open_foreign_log(path: Path, *, scratch: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection to a sound run log of the newest version.

    An older file is copied into the folder ``scratch`` and brought up to date there; the copy is
    removed afterwards.

    Raises:
        TransferError: no such file, or one that is foreign, damaged, in use, newer than this
            program, or not made as this program makes it.
    """
    _require_settled_file(path)
    with closing(_open(path)) as connection:
        version = _checked_version(connection, path)
        if version == SCHEMA_VERSION:
            yield connection
            return
    try:
        with TemporaryDirectory(prefix=".fasa-import-", dir=scratch) as place:
            copy = Path(place) / "log.sqlite"
            shutil.copyfile(path, copy)
            open_for_writing(copy).close()
            with closing(_open(copy)) as connection:
                _checked_version(connection, path)
                yield connection
    except OSError as error:
        raise unwritable(scratch, error) from error


def _require_settled_file(path: Path) -> None:
    if path.is_dir():
        raise TransferError(f"{path} is a folder: name the SQLite file that was exported.")
    if not path.is_file():
        raise TransferError(f"There is no file {path}: name the SQLite file that was exported.")
    if not os.access(path, os.R_OK):
        raise TransferError(f"{path} cannot be read by this user: make it readable.")
    size = path.stat().st_size
    if size == 0:
        raise TransferError(f"{path} is empty: export the runs again and copy the file whole.")
    if size < _SMALLEST_PAGE:  # SQLite takes that for an empty database
        raise unreadable(path, f"it has {size} bytes")
    for beside in (f"{path}-wal", f"{path}-journal"):
        if os.path.exists(beside) and os.path.getsize(beside):
            raise TransferError(
                f"{path} is in use or was not closed ({beside} lies beside it): stop what writes "
                "to it, or make a file of its own with `fasa export --format sqlite`."
            )


def _open(path: Path) -> sqlite3.Connection:
    """Read-only, without locks and files beside it, and distrustful."""
    # immutable: SQLite would make a -shm beside a file that says it is in WAL mode.
    uri = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise unreadable(path, error) from error
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _checked_version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version of a file that is one of ours and sound."""
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if application != APPLICATION_ID:
            raise TransferError(
                f"{path} is another program's SQLite file (application id {application:#x}): name "
                "one that `fasa export --format sqlite` made."
            )
        if not 1 <= version <= SCHEMA_VERSION:
            raise TransferError(
                f"{path} has schema version {version} but this program knows 1 to "
                f"{SCHEMA_VERSION}: update the program, or export with an older one."
            )
        with closing(blueprint(version)) as ours:
            strange = _entries(connection) ^ _entries(ours)
        if strange:
            raise TransferError(
                f"The tables of {path} are not those of a run log of version {version} "
                f"({min(strange)[1]!r} differs): export the runs again, changed files are not "
                "taken."
            )
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise unreadable(path, error) from error
    if verdict != "ok":
        raise unreadable(path, verdict)
    return version


def _entries(connection: sqlite3.Connection) -> set[tuple[str, str, str, str]]:
    """What a file's schema holds; ways of writing that mean the same are made the same."""
    return {
        (str(kind), str(name), str(table), re.sub(r"[\s\"`]+", " ", str(sql)).strip())
        for kind, name, table, sql in connection.execute(_SCHEMA)
    }
