"""The adaptations of a run, put together from their rows: which class was in which super-group.

Epochs are counted from 1 here, as on the pages: adaptation `epoch` closed the epoch of that number.
Shapes: C classes, G super-groups of one adaptation.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import AdaptationRow, AdaptationSummary, Run

UNGROUPED = -1


@dataclass(frozen=True)
class Adaptation:
    """One adaptation.

    Attributes:
        summary: of all groups; it is there without any group, too.
        rows: [G] one a super-group.
    """

    summary: AdaptationSummary
    rows: Sequence[AdaptationRow]

    @property
    def epoch(self) -> int:
        """The epoch it closed, from 1."""
        return self.summary.epoch + 1

    @property
    def step(self) -> int:
        """Training steps done."""
        return self.summary.step

    def group_of_class(self, num_classes: int) -> NDArray[np.int64]:
        """[C] place of each class's group in `rows`; UNGROUPED where it was not clustered."""
        group = np.full(num_classes, UNGROUPED, dtype=np.int64)
        for place, row in enumerate(self.rows):
            group[_within(row.members, num_classes)] = place
        return group

    def noise(self, num_classes: int) -> NDArray[np.bool_]:
        """[C] whether DBSCAN called the class noise, wherever it was put then."""
        noise = np.zeros(num_classes, dtype=np.bool_)
        for row in self.rows:
            noise[_within(row.noise_members, num_classes)] = True
        return noise

    def row_of(self, index: int) -> AdaptationRow | None:
        """The super-group that class `index` was in; None when it was not clustered."""
        return next((row for row in self.rows if index in row.members), None)


def within(indices: Sequence[int], num_classes: int) -> list[int]:
    """Those that are classes of the run; a foreign log may name others."""
    return [index for index in indices if 0 <= index < num_classes]


def _within(indices: Sequence[int], num_classes: int) -> NDArray[np.int64]:
    known = np.asarray(indices, dtype=np.int64)
    return known[(known >= 0) & (known < num_classes)]


def put_together(
    summaries: Sequence[AdaptationSummary], rows: Sequence[AdaptationRow]
) -> list[Adaptation]:
    """Adaptations in the order of their ids, each with the rows of its step."""
    by_step: dict[int, list[AdaptationRow]] = {}
    for row in rows:
        by_step.setdefault(row.step, []).append(row)
    return [Adaptation(summary, by_step.get(summary.step, [])) for summary in summaries]


def at_epoch(adaptations: Sequence[Adaptation], epoch: int | None) -> Adaptation | None:
    """The adaptation that closed an epoch (from 1), the newest one for None; None without it."""
    if epoch is None:
        return adaptations[-1] if adaptations else None
    return next((one for one in reversed(adaptations) if one.epoch == epoch), None)


def before(adaptations: Sequence[Adaptation], now: Adaptation) -> Adaptation | None:
    """The adaptation before another one; None when that was the first."""
    earlier = [one for one in adaptations if one.summary.id < now.summary.id]
    return earlier[-1] if earlier else None


@dataclass
class _Memory:
    """What has been read of one run so far."""

    rewinds: int
    adaptations: list[Adaptation] = field(default_factory=list)
    last_row: int = 0


_memories: WeakKeyDictionary[RunLogReader, dict[int, _Memory]] = WeakKeyDictionary()
_lock = threading.Lock()


def read_adaptations(reader: RunLogReader, run: Run) -> list[Adaptation]:
    """All adaptations of a run, oldest first. Remembers them: a call costs only what is new.

    Raises:
        RunLogError: the run log is damaged or gone.
    """
    with _lock:
        memories = _memories.setdefault(reader, {})
        memory = memories.get(run.id)
        if memory is None or memory.rewinds != run.rewinds:
            memory = memories[run.id] = _Memory(run.rewinds)
        known = memory.adaptations
        after = known[-1].summary.id if known else 0
        # Rows second: those of a summary were committed with it, so none can be missing.
        summaries = reader.adaptation_summaries(run.id, after=after)
        if summaries:
            steps = {summary.step for summary in summaries}
            rows = reader.adaptations(run.id, after=memory.last_row)
            rows = [row for row in rows if row.step in steps]
            memory.last_row = max((row.id for row in rows), default=memory.last_row)
            known.extend(put_together(summaries, rows))
        return list(known)
