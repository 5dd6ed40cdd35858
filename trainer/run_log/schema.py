"""The run log's file: its version, its refusals, and the two ways to open it.

The file says what it is: ``PRAGMA application_id`` holds the letters FASA, ``PRAGMA user_version``
the schema version. Every refusal is one `RunLogError` sentence that ends with what to do.
"""

import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from trainer.run_log.tables import MIGRATIONS

APPLICATION_ID = 0x46415341  # the letters FASA
FILE_NAME = "fasa.sqlite"
BUSY_SECONDS = 10.0
WAL_SIZE_LIMIT = 64 * 2**20  # bytes the write-ahead log is cut back to after a checkpoint

QUEUED, STARTING, RUNNING, PAUSED = "queued", "starting", "running", "paused"
LIVE_STATUSES = (QUEUED, STARTING, RUNNING, PAUSED)
FINAL_STATUSES = ("finished", "stopped", "failed", "crashed", "interrupted")
STATUSES = LIVE_STATUSES + FINAL_STATUSES

SCHEMA_VERSION = len(MIGRATIONS)


class RunLogError(Exception):
    """The run log cannot be used; the message is one sentence with the remedy."""


def open_for_writing(
    path: Path | str,
    *,
    busy_seconds: float = BUSY_SECONDS,
    migrations: Sequence[Sequence[str]] = MIGRATIONS,
) -> sqlite3.Connection:
    """Open the run log for reading and writing, creating it or bringing it up to date.

    The folder is created when the one above it exists. The connection is in autocommit mode
    (transactions are begun by hand) and may be handed to another thread, but not shared.

    Raises:
        RunLogError: folder missing or read-only, or file foreign, corrupt, locked for longer than
            ``busy_seconds``, or written by a newer version.
    """
    path = Path(path)
    _require_writable(path)
    return _open(path, "rwc", busy_seconds, migrations)


def open_for_reading(path: Path | str, *, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Open the run log read-only (``mode=ro``); same thread rules as `open_for_writing`.

    Raises:
        RunLogError: no run log there, or file foreign, corrupt, older or newer than this program.
    """
    path = Path(path)
    if not path.exists():
        raise RunLogError(
            f"No run log at {path}: start a run there first (fasa up or fasa train), "
            "or name the folder that has one."
        )
    if path.is_dir():
        raise RunLogError(f"The run log {path} is a folder: name the {FILE_NAME} file inside it.")
    return _open(path, "ro", busy_seconds, MIGRATIONS)


def sentence(error: sqlite3.Error, path: Path) -> str:
    """Say in one sentence, with the remedy, what an SQLite error about ``path`` means."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return (
            f"The run log {path} is damaged or no SQLite file ({error}): move it away and put "
            "back a copy, or let a new one be made."
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return (
            f"The run log {path} is locked by another program: "
            "close the program that writes to it, or try again."
        )
    if code == sqlite3.SQLITE_FULL:
        return f"The disk that holds the run log {path} is full: free some space on it."
    if code == sqlite3.SQLITE_IOERR:
        return (
            f"The run log {path} cannot be read or written ({error}): "
            "free some space on its disk, or check the disk."
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return (
            f"The run log {path} cannot be opened ({error}): make its folder and file writable "
            "(SQLite keeps two more files beside it, for reading too), or use another folder."
        )
    return (
        f"The run log {path} cannot be used ({error}): "
        "check it with `PRAGMA integrity_check`, or let a new one be made elsewhere."
    )


def primary_code(error: sqlite3.Error) -> int:
    """The primary SQLite result code of an error, -1 when SQLite gave none."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return -1 if code is None else code & 0xFF


def identity(path: Path) -> tuple[int, int] | None:
    """Which file a path names (device, inode), so that a replaced one is noticed."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _require_writable(path: Path) -> None:
    folder = path.parent
    if path.is_dir():
        raise RunLogError(f"The run log {path} is a folder: name the {FILE_NAME} file inside it.")
    if not folder.is_dir():
        try:
            folder.mkdir()
        except OSError as error:
            raise RunLogError(
                f"The run log's folder {folder} is not there and cannot be made "
                f"({error.strerror}): create it, or choose another folder."
            ) from error
    # A look before the leap: SQLite's own message does not tell a read-only folder from others.
    if not os.access(folder, os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise RunLogError(
            f"The run log {path} is read-only for this user: "
            "make its folder and file writable, or choose another folder."
        )


def _open(
    path: Path, mode: str, busy_seconds: float, migrations: Sequence[Sequence[str]]
) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"
    try:
        connection = sqlite3.connect(
            uri, uri=True, timeout=busy_seconds, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise RunLogError(sentence(error, path)) from error
    try:
        connection.execute("BEGIN")  # one look: another process may be making the file right now
        version = _version(connection, path, len(migrations))
        connection.execute("COMMIT")
        if mode == "ro":
            _require_current(version, path, len(migrations))
        else:
            if version == 0:
                # So that the pages of deleted runs can be given back; decided in an empty file.
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            _prepare(connection, path, busy_seconds)
            if version < len(migrations):
                _migrate(connection, path, migrations)
    except sqlite3.Error as error:
        connection.close()
        raise RunLogError(sentence(error, path)) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    """The file's schema version, 0 for an empty file; nothing is written. Refuses foreign files."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application == 0 and version == 0 and tables == 0:
        return 0
    if application != APPLICATION_ID:
        raise RunLogError(
            f"{path} is another program's SQLite file (application id {application:#x}): "
            "choose another folder or file for the run log."
        )
    if version > newest:
        raise RunLogError(
            f"The run log {path} has schema version {version} but this program knows only up to "
            f"{newest}: update the program, or choose another folder."
        )
    return version


def _require_current(version: int, path: Path, newest: int) -> None:
    if version == 0:
        raise RunLogError(
            f"No run log in {path} yet, the file is empty: "
            "start a run there first (fasa up or fasa train)."
        )
    if version < newest:
        raise RunLogError(
            f"The run log {path} has schema version {version} and this program reads {newest}: "
            "start `fasa up` on its folder once, which brings it up to date."
        )


def _prepare(connection: sqlite3.Connection, path: Path, busy_seconds: float) -> None:
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            # SQLite does not call its busy handler for this switch when two processes create
            # the file at once.
            if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    if mode != "wal":
        raise RunLogError(
            f"The run log {path} lies on a file system without shared memory (journal mode "
            f"{mode}): choose a folder on a local disk."
        )
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_SIZE_LIMIT}")
    connection.execute("PRAGMA foreign_keys = ON")
    # Else what a statement keeps aside may go to a file, and there may be no place for one.
    connection.execute("PRAGMA temp_store = MEMORY")


def _migrate(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[Sequence[str]]
) -> None:
    """Run the missing migrations and raise the version, all in one transaction or not at all."""
    connection.execute("PRAGMA foreign_keys = OFF")  # so that a migration may rebuild a table
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection, path, len(migrations))  # another process may have been first
        for statements in migrations[version:]:
            for statement in statements:
                connection.execute(statement)
        if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
            raise sqlite3.IntegrityError("a migration broke a foreign key")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("PRAGMA foreign_keys = ON")
