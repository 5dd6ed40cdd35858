"""What happened in a run: the marks on its charts, and the last commands with their answers.

A mark is a change of a knob, a pause, a fork, a crash, a resume: step, wall time and a few words.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from app.run_summary import Summaries
from app.steering import command_text
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Attempt, Command, Event, Run

Tone = Literal["change", "quiet", "branch", "bad"]

LAST_COMMANDS = 5
MOST_MARKS = 2000  # newest ones; a script may turn a knob at every step
FORKS_SECONDS = 2.0  # how long the list of forks is taken as it was
LONGEST_TEXT = 240  # characters of a mark


@dataclass(frozen=True)
class Mark:
    """Something worth a thin line on every chart.

    Attributes:
        step: of the run, when it happened.
        wall: seconds since 1970; None when the run was never seen at that step.
        kind: set, pause, fork, crashed, resumed, ...
        tone: change of a knob, quiet, branch (to or from another run), bad.
        text: a few words.
    """

    step: int
    wall: float | None
    kind: str
    tone: Tone
    text: str


TONES: Mapping[str, Tone] = {
    "set": "change",
    "learning_rate": "change",
    "fork": "branch",
    "warning": "bad",
}


def event_mark(event: Event) -> Mark:
    """The mark of an event: a command that took hold, or what the trainer noted."""
    text = command_text("set", event.payload) if event.kind == "set" else ""
    if text in ("", "set"):
        text = event.text or event.kind.replace("_", " ")
    tone = TONES.get(event.kind, "quiet")
    return Mark(event.step, event.wall_time, event.kind, tone, shortened(text))


def attempt_marks(attempts: Sequence[Attempt]) -> list[Mark]:
    """Where the run ended against its will, and where it was taken up again.

    An end that was asked for has an event already, a finished run ends where its curves end.
    """
    marks = []
    for number, attempt in enumerate(attempts):
        if number:
            text = f"resumed from step {attempt.from_step:,}"
            marks.append(Mark(attempt.from_step, attempt.started, "resumed", "quiet", text))
        if attempt.status in ("crashed", "failed", "interrupted") and attempt.to_step is not None:
            text = f"{attempt.status}: {attempt.error}" if attempt.error else attempt.status
            tone: Tone = "quiet" if attempt.status == "interrupted" else "bad"
            marks.append(Mark(attempt.to_step, attempt.ended, attempt.status, tone,
                              shortened(text)))  # fmt: skip
    return marks


def fork_marks(
    run: Run, others: Iterable[Run], wall_at: Callable[[int], float | None]
) -> list[Mark]:
    """Where other runs left this one. (Where this one left its parent is an event of its own.)"""
    return [
        Mark(other.parent_step, wall_at(other.parent_step), "fork", "branch",
             shortened(f"fork: run {other.id}, {other.name}"))
        for other in others
        if other.parent_run == run.id and other.parent_step is not None
    ]  # fmt: skip


def shortened(text: str) -> str:
    """The first line of a text, and no more of it than fits beside a chart."""
    line = (text.strip().splitlines() or [""])[0].rstrip()
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"


def shown_command(command: Command) -> dict[str, Any]:
    """A command with its answer, ready for JSON: sent, then took hold at a step or refused."""
    return {
        "id": command.id,
        "kind": command.kind,
        "text": command_text(command.kind, command.payload),
        "created": command.created,
        "answered": command.answered,
        "step": command.applied_step,
        "refusal": command.refusal,
    }


@dataclass
class _Memory:
    """What has been read of one run so far."""

    rewinds: int
    events: list[Event] = field(default_factory=list)
    commands_after: int = 0


class History:
    """Marks and commands of runs; remembers what it has read, so each call costs only new rows."""

    def __init__(self, reader: RunLogReader, summaries: Summaries) -> None:
        self._reader = reader
        self._summaries = summaries
        self._memories: dict[int, _Memory] = {}
        self._runs: tuple[float, list[Run]] = (0.0, [])
        self._lock = threading.Lock()

    def commands(self, run: Run) -> list[dict[str, Any]]:
        """The last few commands, oldest first."""
        with self._lock:
            memory = self._memory(run)
            rows = self._reader.commands(run.id, after=memory.commands_after)[-LAST_COMMANDS:]
            if len(rows) == LAST_COMMANDS:
                memory.commands_after = rows[0].id - 1
        return [shown_command(row) for row in rows]

    def marks(self, run: Run) -> list[dict[str, Any]]:
        """All marks of a run in the order of their steps, ready for JSON."""
        events, attempts, forks = self._read(run)
        wall_at = self._summaries.wall_at(run)
        marks = [event_mark(event) for event in events]
        marks += attempt_marks(attempts) + fork_marks(run, forks, wall_at)
        marks.sort(key=lambda mark: (mark.step, mark.wall or 0.0))
        return [asdict(mark) for mark in marks[-MOST_MARKS:]]

    def version(self, run: Run) -> str:
        """Another text whenever the marks are others."""
        events, attempts, forks = self._read(run)
        last = events[-1].id if events else 0
        ended = sum(attempt.ended is not None for attempt in attempts)
        branches = "-".join(f"{fork.id}" for fork in forks)
        return f"{run.rewinds}.{last}.{len(attempts)}.{ended}.{branches}"

    def _read(self, run: Run) -> tuple[list[Event], list[Attempt], list[Run]]:
        with self._lock:
            memory = self._memory(run)
            after = memory.events[-1].id if memory.events else 0
            news = self._reader.events(run.id, after=after)
            memory.events = [*memory.events, *news][-MOST_MARKS:]
            forks = [other for other in self._all_runs() if other.parent_run == run.id]
            return memory.events, self._reader.attempts(run.id), forks

    def _memory(self, run: Run) -> _Memory:
        memory = self._memories.get(run.id)
        if memory is None or memory.rewinds != run.rewinds:
            memory = self._memories[run.id] = _Memory(run.rewinds)
        return memory

    def _all_runs(self) -> list[Run]:
        now = time.monotonic()
        if not self._runs[1] or now - self._runs[0] > FORKS_SECONDS:
            self._runs = (now, self._reader.runs())
        return self._runs[1]
