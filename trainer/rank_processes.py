"""The processes that train one run: how they are started, find each other, and end.

torchrun starts them, on any number of machines, or the first one starts the others as its children
and tells them the same as torchrun would, in their environment.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as group
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from trainer.distributed import (
    ALONE,
    FIRST_RANK,
    TIMEOUT,
    ProcessGroup,
    RankLost,
    Ranks,
    together,
)
from trainer.lifelines import Death, FirstRankLifelines, OtherRankLifeline
from trainer.trainer_process import ended_by_signal, is_launched

_HERE = "127.0.0.1"
_STORE_TIMEOUT = timedelta(seconds=60)  # the first rank's is there before a child starts
_END_SECONDS = 10.0  # a child's process gets so long to end by itself
_CODE_SECONDS = 2.0  # the exit code of a dead child comes within that
_VERDICT_SECONDS = 5.0  # from a failed collective operation to the word of who is gone
_LOST_SECONDS = 10.0  # a rank that lost another one waits so long for the first one's verdict


@dataclass(frozen=True)
class Party:
    """A process's place among those that train a run together.

    Attributes:
        ranks: for collective work.
        lifelines: of the first rank; None where it trains alone, and in the others.
        lifeline: of another rank to the first; None in the first.
    """

    ranks: Ranks = ALONE
    lifelines: FirstRankLifelines | None = None
    lifeline: OtherRankLifeline | None = None

    def uses(self) -> list[Mapping[str, float]]:
        """What the other ranks take of their machines, as each said last."""
        return [] if self.lifelines is None else list(self.lifelines.uses.values())

    def tell_use(self, use: Mapping[str, float]) -> None:
        """Tell the first rank what this one takes of its machine."""
        if self.lifeline is not None:
            self.lifeline.tell_use(use)

    def verdict(self, error: RankLost) -> tuple[str, str]:
        """On the first rank, the status of a run that lost a rank, and why in one sentence."""
        death = None if self.lifelines is None else self.lifelines.death(_VERDICT_SECONDS)
        if death is None:
            return "crashed", f"A rank does not answer ({error})."
        return death.status, str(death)


ONE = Party()


def _unnoted(death: Death) -> None:
    """Nothing is known yet that a death could be noted in."""


@contextmanager
def joined(
    processes: int, command: Sequence[str], *, note: Callable[[Death], None] = _unnoted
) -> Iterator[Party]:
    """The processes of a run: those that a launcher started, else `processes` started here.

    When the context ends by an error, another rank tells the first one why.

    Args:
        processes: how many are to be started, this one included, where no launcher did.
        command: what starts another rank; it finds its number in its environment.
        note: called on the first rank with the death of a rank that ends the run before all have
            met; `FirstRankLifelines.note` from then on.

    Raises:
        OSError: the system starts no process.
        RankLost: a rank was gone before all had met.
    """
    if is_launched():
        rank, world, local_rank, local_world = (
            int(os.environ.get(name, default))
            for name, default in (
                ("RANK", "0"),
                ("WORLD_SIZE", "1"),
                ("LOCAL_RANK", os.environ["RANK"]),
                ("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]),
            )
        )
        ranks = ProcessGroup(rank=rank, world=world, local_rank=local_rank, local_world=local_world)
        if world == 1:
            yield ONE
        elif rank:
            with _other_rank(ranks) as party:
                yield party
        else:
            host = None if local_world == world else os.environ["MASTER_ADDR"]
            with _first_rank(ranks, _launchers_store(), note, host=host) as party:
                yield party
    elif processes == 1:
        yield ONE
    else:
        ranks = ProcessGroup(rank=0, world=processes, local_rank=0, local_world=processes)
        with (
            _Children(processes, command) as children,
            _first_rank(ranks, children.store, note, children=children) as party,
        ):
            yield party


def _launchers_store() -> Store:
    """What the ranks find each other through, as the launcher says in the environment."""
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if FIRST_RANK in os.environ:
        if os.getppid() != int(os.environ[FIRST_RANK]):
            raise RankLost("the first rank was gone before this one had started")
        store = TCPStore(address, port, is_master=False, timeout=_STORE_TIMEOUT)
        store.set_timeout(TIMEOUT)
        return store
    found, _, _ = next(group.rendezvous("env://", timeout=TIMEOUT))  # type: ignore[attr-defined]
    return PrefixStore("fasa", found)


def _join(ranks: Ranks, store: Store) -> None:
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with together():
        group.init_process_group(
            backend,
            store=PrefixStore("ranks", store),
            rank=ranks.rank,
            world_size=ranks.world,
            timeout=TIMEOUT,
        )


@contextmanager
def _first_rank(
    ranks: Ranks,
    store: Store,
    note: Callable[[Death], None],
    *,
    host: str | None = None,
    children: _Children | None = None,
) -> Iterator[Party]:
    how_ended: Callable[[int], str | None] = children.how_ended if children else _unknown
    lifelines = FirstRankLifelines(
        store, world=ranks.world, host=host, how_ended=how_ended, note=note
    )
    if children is not None:
        children.follow(lifelines.died)
    try:
        _meet(ranks, store, lifelines)
        yield Party(ranks, lifelines=lifelines)
    except BaseException:
        lifelines.close(is_over=False)
        raise
    lifelines.close(is_over=True)
    group.destroy_process_group()  # the others now do so too: for GPUs all have to at once


def _meet(ranks: Ranks, store: Store, lifelines: FirstRankLifelines) -> None:
    """Join the others; whoever is gone meanwhile is noted."""
    try:
        _join(ranks, store)
    except RankLost:
        death = lifelines.death(_VERDICT_SECONDS)
        if death is None:
            raise
        lifelines.note(death)
        raise RankLost(str(death)) from None


@contextmanager
def _other_rank(ranks: Ranks) -> Iterator[Party]:
    store = _launchers_store()
    lifeline = OtherRankLifeline(store, rank=ranks.rank)
    try:
        _join(ranks, store)
        yield Party(ranks, lifeline=lifeline)
    except RankLost:
        lifeline.wait(_LOST_SECONDS)
        raise
    except BaseException as error:
        lifeline.failed(f"{type(error).__name__}: {error}")
        raise
    lifeline.close()
    group.destroy_process_group()


def _unknown(rank: int) -> str | None:
    return None


class _Children:
    """The other ranks, as children of the first one; they end when the context does.

    Args:
        world: number of ranks.
        command: what starts one.

    Attributes:
        store: through which all ranks find each other.
    """

    def __init__(self, world: int, command: Sequence[str]) -> None:
        self.store = TCPStore(_HERE, 0, is_master=True, wait_for_workers=False, timeout=TIMEOUT)
        self._last_lines: dict[int, str] = {}
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._threads: list[threading.Thread] = []
        common = {
            "MASTER_ADDR": _HERE,
            "MASTER_PORT": str(self.store.port),
            "WORLD_SIZE": str(world),
            "LOCAL_WORLD_SIZE": str(world),
            "PYTHONUNBUFFERED": "1",
            FIRST_RANK: str(os.getpid()),
        }
        for rank in range(1, world):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            process = subprocess.Popen(
                command,
                env=os.environ | common | own,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            self._processes[rank] = process

    def __enter__(self) -> _Children:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
            process.kill()
        for thread in self._threads:
            thread.join(_CODE_SECONDS)

    def follow(self, on_end: Callable[[int, str], None]) -> None:
        """Pass on what they print, from now on; `on_end` gets rank and words when one ended."""
        for rank in self._processes:
            thread = threading.Thread(target=self._follow, args=(rank, on_end), daemon=True)
            thread.start()
            self._threads.append(thread)

    def how_ended(self, rank: int) -> str | None:
        """What is known of the end of a rank that said nothing."""
        try:
            code = self._processes[rank].wait(_CODE_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        if code < 0:
            return ended_by_signal(-code)
        return f"ended with exit code {code}: {self._last_lines.get(rank, 'it said nothing')}"

    def _follow(self, rank: int, on_end: Callable[[int, str], None]) -> None:
        """Pass on what a child prints, each line with its name, until it ends."""
        output = self._processes[rank].stdout
        assert output is not None
        for line in output:
            self._last_lines[rank] = line.strip() or self._last_lines.get(rank, "")
            print(f"rank {rank}: {line}", end="", file=sys.stderr, flush=True)
        on_end(rank, self.how_ended(rank) or "closed its console")
