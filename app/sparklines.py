"""AP and AP_r of every run in a few points each, for the list of runs.

What was read is kept, so a poll costs a run that trains one small query and an ended run none.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run, ScalarRow
from trainer.run_log.schema import FINAL_STATUSES

MOST_POINTS = 40
MEASURES = ("segm", "bbox")
CURVES = ("AP", "AP_r")
NAMES = [f"{measure}/{curve}" for measure in MEASURES for curve in CURVES]


@dataclass
class _Known:
    """What has been read of one run."""

    rewinds: int
    cursor: int = 0
    values: dict[str, dict[int, float]] = field(default_factory=dict)  # curve -> step -> value
    final: tuple[str, float | None] | None = None  # how it ended, when all of it was read
    drawn: dict[str, Any] = field(default_factory=dict)


class Sparklines:
    """The sparklines of one run log's runs; may be called from several threads."""

    def __init__(self, reader: RunLogReader) -> None:
        self._reader = reader
        self._known: dict[int, _Known] = {}
        self._lock = threading.Lock()

    def of(self, run: Run) -> dict[str, Any]:
        """`at`: how far the run was, 0..1000 of all its steps; `AP` and `AP_r`: percent or None.

        All three have the same length, at most `MOST_POINTS`; empty before the first evaluation.
        Of masks where the run has any, else of boxes.
        """
        with self._lock:
            known = self._known.get(run.id)
            if known is None or known.rewinds != run.rewinds:
                known = self._known[run.id] = _Known(run.rewinds)
            state = (run.status, run.ended)
            if known.final == state:
                return known.drawn
            rows = self._reader.scalars(run.id, NAMES, after=known.cursor)
            _add(known, rows)
            if rows or not known.drawn:
                known.drawn = sparkline(known.values, run.total_steps or 0)
            # The status is the last that a trainer writes: no row follows it.
            known.final = state if run.status in FINAL_STATUSES else None
            return known.drawn


def _add(known: _Known, rows: Sequence[ScalarRow]) -> None:
    for row in rows:
        known.cursor = max(known.cursor, row.id)
        known.values.setdefault(row.name, {})[row.step] = row.value


def sparkline(values: dict[str, dict[int, float]], total_steps: int) -> dict[str, Any]:
    """The points of a run's sparklines; see `Sparklines.of`.

    Args:
        values: name of a curve -> step -> percent.
        total_steps: of the whole run.
    """
    measure = next((m for m in MEASURES if values.get(f"{m}/AP")), MEASURES[0])
    curves = {curve: values.get(f"{measure}/{curve}", {}) for curve in CURVES}
    steps = kept_steps(curves["AP"] or curves["AP_r"])
    length = max(total_steps, steps[-1] if steps else 1)
    return {
        "at": [round(1000 * step / length) for step in steps],
        **{curve: [_shown(points.get(step)) for step in steps] for curve, points in curves.items()},
    }


def kept_steps(points: dict[int, float]) -> list[int]:
    """At most `MOST_POINTS` of the steps, in order: evenly, with the ends, the high and the low."""
    steps = sorted(points)
    if len(steps) <= MOST_POINTS:
        return steps
    kept = set(np.linspace(0, len(steps) - 1, MOST_POINTS - 2).round().astype(int).tolist())
    finite = [n for n, step in enumerate(steps) if points[step] == points[step]]
    if finite:
        kept |= {max(finite, key=lambda n: points[steps[n]])}
        kept |= {min(finite, key=lambda n: points[steps[n]])}
    return [steps[n] for n in sorted(kept)]


def _shown(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, 1)
