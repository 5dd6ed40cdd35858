"""Deletes what a run wrote, in small transactions with pauses: a trainer writes meanwhile."""

import sqlite3
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from trainer.run_log.history import Part, current_position, parts, removal
from trainer.run_log.transaction import writing

_TURN_SECONDS = 0.1  # of holding the write lock
# SQLite's waiting connections look every 0.1 s at the latest whether the lock is free.
_PAUSE_SECONDS = 0.12
_ROWS = 100  # deleted by one statement
_PART_BYTES = 8 * 2**20  # of rows that are looked up before the lock is taken
_PAGES = 200  # given back by one statement
_CHECKPOINT_TRIES = 20


def remove_history(path: Path | str, run_id: int) -> None:
    """Delete a run's rows in the tables that grow while it trains, and give their space back.

    Raises:
        RunLogError: the run log cannot be written.
    """
    with writing(path) as connection:
        until = current_position(connection)
        # Space is given back after each part: SQLite searches its list of free pages for every
        # page, so that with all of them in it the time would grow with their square.
        for part in parts(connection, run_id, until, part_bytes=_PART_BYTES):
            _in_turns(connection, chain(_removals(connection, part), _free_pages(connection)))


def free_space(path: Path | str) -> None:
    """Give back all pages that are free, and shorten the file.

    Raises:
        RunLogError: the run log cannot be written.
    """
    with writing(path) as connection:
        _in_turns(connection, _free_pages(connection))
        # The file is cut when the write-ahead log is copied into it. Where a reader is in the way,
        # whoever writes next does it.
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        connection.execute("PRAGMA busy_timeout = 0")  # to wait here would keep writers waiting
        for _ in range(_CHECKPOINT_TRIES):
            if not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                return
            time.sleep(_PAUSE_SECONDS)


def _removals(connection: sqlite3.Connection, part: Part) -> Iterator[None]:
    """Deletes the rows of a part, a few before each yield."""
    for start in range(0, len(part.ids), _ROWS):
        connection.execute(*removal(part.table, part.ids[start : start + _ROWS]))
        yield


def _free_pages(connection: sqlite3.Connection) -> Iterator[None]:
    """Gives back free pages, a few before each yield."""
    before, free = 0, _count_free(connection)
    while free and free != before:
        connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
        yield
        before, free = free, _count_free(connection)


def _count_free(connection: sqlite3.Connection) -> int:
    count: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    return count


def _in_turns(connection: sqlite3.Connection, work: Iterator[None]) -> None:
    """Do the work in transactions that hold the write lock for moments only."""
    is_done = False
    while not is_done:
        connection.execute("BEGIN IMMEDIATE")
        end = time.monotonic() + _TURN_SECONDS
        while not is_done and time.monotonic() < end:
            is_done = next(work, True) is True
        connection.execute("COMMIT")
        time.sleep(_PAUSE_SECONDS)
