"""Reads from the run log what `app/why.py` explains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.super_group_history import Adaptation, before
from app.why_evidence import Evidence
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import CategoryRow, Run


def read_evidence(
    reader: RunLogReader,
    run: Run,
    categories: Sequence[CategoryRow],
    names: Sequence[str],
    adaptations: Sequence[Adaptation],
    now: Adaptation,
) -> Evidence:
    """What the log says of the adaptation `now`.

    Probabilities hold from one adaptation to the next, so the last snapshot of the step is the one
    after it, and any of an earlier step in its epoch the one before.

    Raises:
        RunLogError: the run log is damaged or gone.
    """

    def values(field: str, step: int, *, exactly: bool = False) -> NDArray[Any] | None:
        found = reader.latest_class_vector(run.id, field, step=step)
        if found is None or len(found.values) != len(categories):
            return None
        return None if exactly and found.step != step else found.values

    earlier = before(adaptations, now)
    p_before = values("probability", now.step - 1)
    p_after = values("probability", now.step, exactly=True)
    if p_after is not None and p_before is not None and _is_old(p_before, p_after, now):
        p_after = None
    return Evidence(
        config=run.config,
        names=names,
        now=now,
        before=earlier,
        losses_before=None if earlier is None else values("validation_loss", earlier.step),
        losses_after=values("validation_loss", now.step, exactly=True),
        p_before=p_before,
        p_after=p_after,
        instances=[row.instance_count for row in categories],
        observed=values("observed_rois", now.step),
    )


def _is_old(p_before: NDArray[Any], p_after: NDArray[Any], now: Adaptation) -> bool:
    """Whether the newest snapshot of the step is still that of before the adaptation.

    Its own snapshot is written moments later; a factor must have moved something else.
    """
    moved = [one for row in now.rows if row.factor != 1 for one in row.members]
    known = [one for one in moved if 0 <= one < len(p_before) and 0 < p_before[one] < 1]
    return bool(known) and np.array_equal(p_before, p_after)
