"""A connection between the first rank and each other one: each notices the death of the other.

A collective operation notices late or never that somebody is missing; a closed connection tells it
wherever the processes run and however they were started. What a rank says before it goes comes the
same way, and what it takes of its machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from torch.distributed import Store  # type: ignore[attr-defined]

_ADDRESS = "fasa/lifeline"  # in the store that the ranks meet through
_GONE = 1  # exit code of a rank that ends because another one is gone
_SILENT = "is gone without a word (killed by a person, or by the system for want of memory)"
_NOTICE_SECONDS = 5.0  # the first rank's own thread gets so long to end the run, hung or not


@dataclass(frozen=True)
class Death:
    """A rank that went before the end.

    Attributes:
        rank: its number.
        words: what it said, else how it ended; a sentence without its full stop.
        is_own: whether it said so itself: it failed, it was not killed.
    """

    rank: int
    words: str
    is_own: bool

    @property
    def status(self) -> str:
        """How the run log is to name the end of the run."""
        return "failed" if self.is_own else "crashed"

    def __str__(self) -> str:
        return f"Rank {self.rank} {self.words}."


class FirstRankLifelines:
    """The first rank's ends.

    Args:
        store: through which the ranks meet.
        world: number of ranks.
        host: name of this machine for the others; None when all are on it.
        how_ended: how a rank ended that said nothing, where that is known; it may take a moment.
        note: see below.

    Attributes:
        note: called in another thread with a death when nobody asks for `death`: this process waits
            for the dead and cannot notice. Then it ends.
        uses: what each rank takes of its machine, as it said last.
    """

    def __init__(
        self,
        store: Store,
        *,
        world: int,
        host: str | None,
        how_ended: Callable[[int], str | None] = lambda rank: None,
        note: Callable[[Death], None] = lambda death: None,
    ) -> None:
        key = secrets.token_bytes(32)
        self._listener = Listener(
            ("127.0.0.1" if host is None else "", 0), backlog=world, authkey=key
        )
        port = self._listener.address[1]
        address = {"host": host or "127.0.0.1", "port": port, "key": key.hex()}
        store.set(_ADDRESS, json.dumps(address))
        self._how_ended = how_ended
        self.note = note
        self._connections: list[Connection[Any, Any]] = []
        self._who: dict[int, str] = {}  # process and machine of a rank
        self._death: Death | None = None
        self._died = threading.Event()
        self._noticed = threading.Event()
        self._closing = False
        self.uses: dict[int, Mapping[str, float]] = {}
        threading.Thread(target=self._accept, args=(world - 1,), daemon=True).start()

    def death(self, seconds: float = 0.0) -> Death | None:
        """The first rank that died, if one does within `seconds`; it counts as noticed."""
        self._died.wait(seconds)
        if self._died.is_set():
            self._noticed.set()
        return self._death

    def died(self, rank: int, words: str | None, *, is_own: bool = False) -> None:
        """Note a death; only the first one counts, others follow from it."""
        if self._closing or self._died.is_set():
            return
        how = words or self._how_ended(rank) or _SILENT
        if not is_own and rank in self._who:
            how = f"({self._who[rank]}) {how}"
        if self._death is None:
            self._death = Death(rank, how, is_own)
        self._died.set()
        if not self._noticed.wait(_NOTICE_SECONDS):
            self._end(self._death)

    def close(self, *, is_over: bool) -> None:
        """Let the others go when the run is over; else they end at once."""
        self._closing = True
        self._noticed.set()
        for connection in self._connections:
            _send(connection, {"bye": is_over})
        self._listener.close()

    def _accept(self, count: int) -> None:
        while len(self._connections) < count:
            try:
                connection = self._listener.accept()
            except (AuthenticationError, EOFError, OSError):
                if self._closing:
                    return
                continue  # a stranger, who may say anything
            self._connections.append(connection)
            threading.Thread(target=self._follow, args=(connection,), daemon=True).start()

    def _end(self, death: Death) -> None:
        try:
            self.note(death)
        finally:
            print(f"fasa: {death}", file=sys.stderr, flush=True)
            os._exit(_GONE)

    def _follow(self, connection: Connection[Any, Any]) -> None:
        rank = -1
        for message in _messages(connection):
            if "rank" in message:
                rank = message["rank"]
                self._who[rank] = message["who"]
            elif "use" in message:
                self.uses[rank] = message["use"]
            elif "failed" in message:
                self.died(rank, f"failed: {message['failed']}", is_own=True)
                return
            elif "bye" in message:
                return
        self.died(rank, None)


class OtherRankLifeline:
    """Another rank's end. Once the first rank is gone this process ends, whatever it does.

    Args:
        store: through which the ranks meet.
        rank: of this process.
    """

    def __init__(self, store: Store, *, rank: int) -> None:
        address = json.loads(store.get(_ADDRESS))
        key = bytes.fromhex(address["key"])
        self._connection = Client((address["host"], address["port"]), authkey=key)
        who = f"process {os.getpid()} on {socket.gethostname()}"
        _send(self._connection, {"rank": rank, "who": who})
        self._released = threading.Event()
        threading.Thread(target=self._follow, daemon=True).start()

    def tell_use(self, use: Mapping[str, float]) -> None:
        """Say what this rank takes of its machine."""
        _send(self._connection, {"use": dict(use)})

    def failed(self, words: str) -> None:
        """Say why this rank ends before the run does."""
        _send(self._connection, {"failed": words})

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the first rank to say that the run is over; its death ends this process."""
        self._released.wait(seconds)

    def close(self) -> None:
        """Say that all work is done, and wait until the first rank's is."""
        _send(self._connection, {"bye": True})
        self.wait()

    def _follow(self) -> None:
        for message in _messages(self._connection):
            if message["bye"]:
                self._released.set()
                return
            break
        os._exit(_GONE)


def _send(connection: Connection[Any, Any], message: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):  # if the other end is gone, the thread that reads knows
        connection.send_bytes(json.dumps(message).encode())


def _messages(connection: Connection[Any, Any]) -> Any:
    """What comes from the other end, until it closes."""
    while True:
        try:
            yield json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
