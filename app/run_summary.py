"""One run in a few numbers, for headers and lists: is it alive, how far, how fast, how good."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from trainer.config import live_knobs
from trainer.run_log.commands import DEAD_AFTER, UNDO_SECONDS
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run, ScalarRow
from trainer.run_log.schema import FINAL_STATUSES

Liveness = Literal["waiting", "alive", "stalled", "dead", "over"]

STALLED_AFTER = 6.0  # seconds without a heartbeat; the trainer stamps one every second
TO_LOAD = 10  # times as long before the first one: a busy machine loads libraries for a minute
EXCERPT = 400  # characters of a note that lists and headers show

PACE = "step_seconds"  # logged once a step; its rows tell when each step was taken
WATCHED = (
    PACE,
    "images_per_second",
    "segm/AP",
    "segm/AP_r",
    "bbox/AP",
    "bbox/AP_r",
    *(f"knob/{name}" for name in live_knobs()),
)
PACE_POINTS = 512


def heartbeat_age(run: Run, now: float) -> float | None:
    """Seconds since the trainer's last sign of life, to a hundredth; None before the first."""
    return None if run.heartbeat is None else max(0.0, round(now - run.heartbeat, 2))


def liveness(run: Run, now: float) -> Liveness:
    """Tell a run that trains from one that hangs and one that died without saying so."""
    if run.status in FINAL_STATUSES:
        return "over"
    if run.status == "queued":
        return "waiting"
    if run.heartbeat is not None:
        age = now - run.heartbeat
    else:
        age = (now - (run.started or run.created)) / TO_LOAD
    if age <= STALLED_AFTER:
        return "alive"
    return "stalled" if age <= DEAD_AFTER else "dead"


def seconds_left(
    points: Sequence[tuple[int, float]], *, total_steps: int, steps_per_epoch: float, now: float
) -> float | None:
    """Time to the last step at the pace of the last epoch, so that validation is counted in.

    Args:
        points: (step, wall time in seconds) of steps taken, oldest first.
        total_steps: steps of the whole run.
        steps_per_epoch: length of the window the pace is measured over.
        now: wall time in seconds; time since the last step is taken off.

    Returns:
        Seconds, at least 0; None while fewer than two steps are known.
    """
    if len(points) < 2 or total_steps <= 0:
        return None
    last_step, last_wall = points[-1]
    window = last_step - steps_per_epoch
    first_step, first_wall = next(
        (point for point in reversed(points) if point[0] <= window), points[0]
    )
    if last_step <= first_step:
        return None
    pace = (last_wall - first_wall) / (last_step - first_step)
    return max(0.0, (total_steps - last_step) * pace - max(0.0, now - last_wall))


@dataclass
class _Memory:
    """What has been read of one run so far."""

    rewinds: int
    cursor: int = 0
    latest: dict[str, float] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)  # the values before these
    changed: dict[str, int] = field(default_factory=dict)  # knob to the step of its last change
    pace: list[tuple[int, float]] = field(default_factory=list)

    def add(self, rows: Sequence[ScalarRow]) -> None:
        for row in rows:
            self.cursor = max(self.cursor, row.id)
            if row.name.startswith("knob/") and self.latest.get(row.name, row.value) != row.value:
                self.changed[row.name] = row.step
            if row.name in self.latest:
                self.before[row.name] = self.latest[row.name]
            self.latest[row.name] = row.value
            if row.name == PACE:
                self.pace.append((row.step, row.wall_time))
        while len(self.pace) > PACE_POINTS:  # halve the resolution, keep first and newest
            newest = self.pace[-1]
            self.pace = self.pace[:-1:2] + [newest]


class Summaries:
    """Summaries of runs; remembers what it has read, so each call costs only the new rows."""

    def __init__(self, reader: RunLogReader) -> None:
        self._reader = reader
        self._memories: dict[int, _Memory] = {}
        self._lock = threading.Lock()

    def of(self, run: Run, now: float) -> dict[str, Any]:
        """Everything a header or a row of the run list shows, ready for JSON."""
        with self._lock:
            memory = self._read(run)
            latest, pace, changed = dict(memory.latest), list(memory.pace), dict(memory.changed)
            before = dict(memory.before)
        return summarise(run, latest, pace, now, changed=changed, before=before)

    def wall_at(self, run: Run) -> Callable[[int], float | None]:
        """When a run was at a step (seconds since 1970, between two known steps by their line).

        None for a step before the first one known or past the last.
        """
        with self._lock:
            pace = list(self._read(run).pace)
        steps, walls = [step for step, _ in pace], [wall for _, wall in pace]

        def at(step: int) -> float | None:
            known = bool(steps) and steps[0] <= step <= steps[-1]
            return float(np.interp(step, steps, walls)) if known else None

        return at

    def _read(self, run: Run) -> _Memory:
        memory = self._memories.get(run.id)
        if memory is None or memory.rewinds != run.rewinds:
            memory = self._memories[run.id] = _Memory(run.rewinds)
        memory.add(self._reader.scalars(run.id, WATCHED, after=memory.cursor))
        return memory


def summarise(
    run: Run,
    latest: Mapping[str, float],
    pace: Sequence[tuple[int, float]],
    now: float,
    *,
    changed: Mapping[str, int] | None = None,
    before: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The summary of a run from its row and the newest of its watched scalars.

    Args:
        run: the run's row.
        latest: watched scalar to its newest value.
        pace: (step, wall time in seconds) of steps taken, oldest first.
        now: wall time in seconds.
        changed: `knob/NAME` to the step of its last change.
        before: watched scalar to the value before its newest.
    """
    alive = liveness(run, now)
    total_steps, total_epochs = run.total_steps or 0, run.total_epochs or 0
    left = None
    if alive == "alive" and run.status == "running":
        per_epoch = total_steps / max(1, total_epochs)
        own = [point for point in pace if point[1] >= (run.started or 0.0)]  # not before a resume
        left = seconds_left(own, total_steps=total_steps, steps_per_epoch=per_epoch, now=now)
    measure = "segm" if "segm/AP" in latest else "bbox"
    names = live_knobs()
    knobs = {name: latest.get(f"knob/{name}", run.config.get(name)) for name in names}
    return {
        "id": run.id,
        "name": run.name,
        "dataset": run.dataset,
        "status": run.status,
        "liveness": alive,
        "heartbeat_age": heartbeat_age(run, now),
        "phase": run.phase or "",
        "step": run.step or 0,
        "total_steps": total_steps,
        "epoch": shown_epoch(run),
        "total_epochs": total_epochs,
        "created": _thousandths(run.created),
        "started": _thousandths(run.started),
        "began": _thousandths(began(run, pace)),
        "ended": _thousandths(run.ended),
        "seconds_left": left,
        "images_per_second": _thousandths(finite(latest.get("images_per_second"))),
        "measure": measure,
        **precision(measure, latest, before or {}),
        "fasa": bool(run.config.get("fasa", True)),
        "knobs": {name: finite(value) for name, value in knobs.items()},
        "knob_steps": {name.removeprefix("knob/"): at for name, at in (changed or {}).items()},
        "error": run.error or "",
        "rewinds": run.rewinds,
        **labels(run),
    }


def precision(
    measure: str, latest: Mapping[str, float], before: Mapping[str, float]
) -> dict[str, float | None]:
    """AP and AP_r of the newest evaluation, and how far they went since the one before."""
    values: dict[str, float | None] = {}
    for key in ("AP", "AP_r"):
        name = f"{measure}/{key}"
        now, then = finite(latest.get(name)), finite(before.get(name))
        values[key] = now
        values[f"{key}_change"] = None if now is None or then is None else now - then
    return values


def labels(run: Run) -> dict[str, Any]:
    """What people said of a run, and where it comes from."""
    return {
        "parent": parent(run),
        "tags": run.tags,
        "note": run.note[:EXCERPT],
        "archived": run.archived is not None,
        "copied": run.copied is not None,
        "deleted": run.deleted,
        "undo_until": None if run.deleted is None else run.deleted + UNDO_SECONDS,
    }


def began(run: Run, pace: Sequence[tuple[int, float]]) -> float | None:
    """When the history of a run begins, seconds since 1970: a fork has its parent's first steps."""
    known = [wall for _, wall in pace[:1]]
    if run.started is not None:
        known.append(run.started)
    return min(known, default=None)


def parent(run: Run) -> dict[str, Any] | None:
    """Which run this one came from; `step` and `epoch` (epochs done) only when it was forked."""
    if run.parent_run is None:
        return None
    return {"run": run.parent_run, "epoch": run.parent_epoch, "step": run.parent_step}


def shown_epoch(run: Run) -> int:
    """The epoch as people count: the log counts from 0, a screen from 1; 0 before the start."""
    if run.started is None or run.epoch is None:
        return 0
    return min(run.epoch + 1, run.total_epochs) if run.total_epochs else run.epoch + 1


def _thousandths(value: float | None) -> float | None:
    """No finer than a page needs it: the answer is sent every second."""
    return None if value is None else round(value, 3)


def finite(value: Any) -> float | None:
    """A number JSON can carry; None for what is missing, NaN or infinite."""
    if value is None or value != value or value in (float("inf"), float("-inf")):
        return None
    return float(value)
