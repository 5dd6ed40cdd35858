"""The one thread that owns a trainer's connection to the run log.

Callers put changes (SQL with its values, already copied) into a queue in memory and go on; the
thread commits what is queued every quarter of a second. A batch that fails stays at the head of
the queue and is tried again. Nothing is dropped: when the queue reaches its limit in bytes, the
caller waits.
"""

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from trainer.run_log.changes import Change
from trainer.run_log.commands import select_commands
from trainer.run_log.rows import Command
from trainer.run_log.schema import (
    RunLogError,
    identity,
    open_for_writing,
    primary_code,
    sentence,
)

HEARTBEAT_SECONDS = 1.0
LOCK_WAIT_SECONDS = 1.0  # one wait for the write lock; then the problem is said and it waits again
RETRY_SECONDS = 0.5
TRANSACTION_BYTES = 16 * 2**20  # a long queue is committed in parts, so that others get a turn

_STORAGE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_PASSING = (
    *_STORAGE,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOMEM,
)


class Committer:
    """A queue of changes and the thread that commits them.

    Args:
        path: the run log.
        run_id: the run whose heartbeat the thread stamps and whose commands it fetches.
        commit_interval: seconds between two commits.
        queue_limit: bytes that may wait in memory before `put` blocks.
    """

    def __init__(
        self, path: Path, run_id: int, *, commit_interval: float, queue_limit: int
    ) -> None:
        self._path = path
        self._run_id = run_id
        self._commit_interval = commit_interval
        self._queue_limit = queue_limit
        self._connection = open_for_writing(path)
        self._connection.execute(f"PRAGMA busy_timeout = {int(LOCK_WAIT_SECONDS * 1000)}")
        self._file = identity(path)
        self._process = os.getpid()

        self._condition = threading.Condition(threading.Lock())  # guards what follows
        self._queue: deque[Change] = deque()
        self._queued_bytes = 0
        self._put_count = 0
        self._committed_count = 0
        self._synced_count = 0
        self._hurry = False
        self._sync_target = 0
        self._closing = False
        self._close_deadline = 0.0
        self._problem: str | None = None
        self._storage_trouble = False
        self._fatal: str | None = None
        self._commands: deque[Command] = deque()

        self._pending: deque[Change] = deque()  # the thread's own
        self._next_heartbeat = 0.0
        self._data_version = -1
        self._last_command = 0
        self._thread = threading.Thread(target=self._work, name="run-log", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str | None:
        """Why nothing can be committed right now, as a sentence; None when all is well."""
        return self._fatal or self._problem

    @property
    def queued_bytes(self) -> int:
        """About how much memory the changes take that are not committed yet."""
        return self._queued_bytes

    def put(self, change: Change) -> None:
        """Queue a change. Waits only while more than the queue's limit is waiting.

        Raises:
            RunLogError: closed, or the run log can never take it (run deleted, file damaged).
        """
        # The thread is not woken: it looks at the queue by itself, so that a call costs the
        # training thread no switch.
        self._require_own_process()
        with self._condition:
            self._require_usable()
            self._queue.append(change)
            self._queued_bytes += change.size
            self._put_count += 1
            if self._queued_bytes > self._queue_limit:
                self._hurry = True
                self._condition.notify_all()
                self._condition.wait_for(
                    lambda: self._queued_bytes <= self._queue_limit or self._over()
                )

    def take_commands(self) -> list[Command]:
        """Commands that came since the last call, each handed out once."""
        if not self._commands:
            return []
        with self._condition:
            taken = list(self._commands)
            self._commands.clear()
        return taken

    def flush(self, timeout: float) -> bool:
        """Commit and sync to disk now what was put so far; False when that failed in time."""
        self._require_own_process()
        with self._condition:
            self._require_usable()
            target = self._put_count
            self._sync_target = target
            self._hurry = True
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._synced_count >= target or self._over(), timeout)
            return self._synced_count >= target

    def wait_while_disk_full(self, give_up: Callable[[], bool] | None = None) -> float:
        """Wait until rows can be stored again or ``give_up`` says True; returns the seconds."""
        if not self._storage_trouble:
            return 0.0
        start = time.monotonic()
        with self._condition:
            while self._storage_trouble and not self._over() and not (give_up and give_up()):
                self._condition.wait(0.2)
        return time.monotonic() - start

    def close(self, timeout: float) -> None:
        """Commit the rest and end the thread.

        Raises:
            RunLogError: something could not be committed within ``timeout`` seconds.
        """
        if os.getpid() != self._process:  # a forked child: thread and connection are the parent's
            return
        with self._condition:
            if not self._closing:
                self._closing = True
                self._close_deadline = time.monotonic() + timeout
            self._condition.notify_all()
        self._thread.join()
        missing = self._put_count - self._committed_count
        if missing:
            raise RunLogError(
                f"{missing} changes could not be written to the run log: {self.problem}"
            )

    def _require_usable(self) -> None:
        if self._fatal is not None:
            raise RunLogError(self._fatal)
        if self._closing:
            raise RunLogError(f"The writer of run {self._run_id} is closed: open a new one.")

    def _require_own_process(self) -> None:
        # Asked before the lock is: a forked child may have got it locked for ever.
        if os.getpid() != self._process:
            raise RunLogError(
                f"The writer of run {self._run_id} belongs to the process {self._process} that "
                "opened it: open another one in this process."
            )

    def _over(self) -> bool:
        return self._fatal is not None or self._closing

    # What follows runs in the thread.

    def _work(self) -> None:
        try:
            while not self._turn():
                pass
        except BaseException as error:
            self._give_up(f"The run log's writer failed ({error!r}): start the run again.")
        finally:
            self._connection.close()

    def _turn(self) -> bool:
        """Wait for the next commit and make it; True when the thread is to end."""
        delay = RETRY_SECONDS if self._problem else self._commit_interval
        with self._condition:
            self._condition.wait_for(lambda: self._hurry or self._closing, delay)
            self._hurry = False
            closing = self._closing
            self._pending.extend(self._queue)
            self._queue.clear()
        try:
            self._fetch_commands()
            self._commit_pending()
            if self._sync_target > self._synced_count:
                self._sync_to_disk()
        except RunLogError as error:
            self._give_up(str(error))
        except (sqlite3.Error, OSError) as error:
            self._note(error)
        if self._fatal is not None:
            return True
        if not closing:
            return False
        if self._pending and time.monotonic() < self._close_deadline:
            time.sleep(0.05)
            return False
        return True

    def _commit_pending(self) -> None:
        while self._pending or time.monotonic() >= self._next_heartbeat:
            count, size = 0, 0
            while count < len(self._pending) and size < TRANSACTION_BYTES:
                size += self._pending[count].size
                count += 1
            self._commit(count)
            for _ in range(count):
                self._pending.popleft()
            with self._condition:
                self._committed_count += count
                self._queued_bytes -= size
                self._problem = None
                self._storage_trouble = False
                self._condition.notify_all()

    def _commit(self, count: int) -> None:
        """Commit the first ``count`` pending changes in one transaction, or none of them."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            self._stamp()
            for index in range(count):
                for sql, rows in self._pending[index].statements:
                    self._connection.executemany(sql, rows)
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise
        self._next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS

    def _stamp(self) -> None:
        """Set the heartbeat, and make sure that run and file are still the ones opened."""
        if identity(self._path) != self._file:
            raise RunLogError(
                f"The run log {self._path} was moved, deleted or replaced while run "
                f"{self._run_id} wrote to it: put it back and resume the run."
            )
        cursor = self._connection.execute(
            "UPDATE runs SET heartbeat = ? WHERE id = ?", (time.time(), self._run_id)
        )
        if cursor.rowcount == 0:
            raise RunLogError(
                f"Run {self._run_id} was deleted from the run log {self._path}: start a new run."
            )

    def _sync_to_disk(self) -> None:
        # With synchronous=NORMAL a commit survives the death of the process but reaches the disk
        # only with a checkpoint of the write-ahead log, which syncs it first. One that a reader or
        # another checkpoint hinders does not, so the log is synced here.
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        with open(f"{self._path}-wal", "rb") as log:
            os.fsync(log.fileno())
        with self._condition:
            self._synced_count = self._committed_count
            self._condition.notify_all()

    def _fetch_commands(self) -> None:
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version == self._data_version:  # no other process has committed anything
            return
        commands = select_commands(
            self._connection, self._run_id, after=self._last_command, condition="answered IS NULL"
        )
        self._data_version = version
        if commands:
            self._last_command = commands[-1].id
            with self._condition:
                self._commands.extend(commands)

    def _note(self, error: sqlite3.Error | OSError) -> None:
        """Say what is wrong; give up where trying again cannot help."""
        if isinstance(error, OSError):
            text, code = f"The run log {self._path} cannot be reached ({error}).", -2
        else:
            text, code = sentence(error, self._path), primary_code(error)
        if code != -2 and code not in _PASSING:
            self._give_up(text)
            return
        with self._condition:
            self._problem = text
            self._storage_trouble = code in _STORAGE
            self._condition.notify_all()

    def _give_up(self, text: str) -> None:
        with self._condition:
            self._fatal = self._fatal or text
            self._condition.notify_all()
