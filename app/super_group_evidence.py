"""Reads from the run log what `app/why.py` explains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from app.super_group_history import Adaptation, before
from app.why_evidence import Evidence
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import CategoryRow, ClassVector, Run


def read_evidence(
    reader: RunLogReader,
    run: Run,
    categories: Sequence[CategoryRow],
    names: Sequence[str],
    adaptations: Sequence[Adaptation],
    now: Adaptation,
) -> Evidence:
    """What the log says of the adaptation `now`.

    Probabilities hold from one adaptation to the next. So the newest snapshot of an earlier step
    is what they were before, and the one of the same step that was written later what they became.

    Raises:
        RunLogError: the run log is damaged or gone.
    """

    def newest(field: str, step: int) -> ClassVector | None:
        found = reader.latest_class_vector(run.id, field, step=step)
        return found if found is not None and len(found.values) == len(categories) else None

    earlier = before(adaptations, now)
    losses, p_after = newest("validation_loss", now.step), newest("probability", now.step)
    is_own = losses is not None and losses.step == now.step
    is_after = p_after is not None and p_after.wall_time >= now.summary.wall_time
    return Evidence(
        config=run.config,
        names=names,
        now=now,
        before=earlier,
        losses_before=_values(newest("validation_loss", earlier.step)) if earlier else None,
        losses_after=_values(losses) if is_own else None,
        p_before=_values(newest("probability", now.step - 1)),
        p_after=_values(p_after) if is_after else None,
        instances=[row.instance_count for row in categories],
        observed=_values(newest("observed_rois", now.step)),
    )


def _values(found: ClassVector | None) -> NDArray[Any] | None:
    return None if found is None else found.values


def newest_settled(reader: RunLogReader, run: Run, adaptations: Sequence[Adaptation]) -> int:
    """Id of the newest adaptation; 0 without one, or until the snapshot after it is there, too.

    Raises:
        RunLogError: the run log is damaged or gone.
    """
    probability = reader.latest_class_vector(run.id, "probability")
    if not adaptations or probability is None:
        return 0
    newest = adaptations[-1].summary
    return newest.id if probability.wall_time >= newest.wall_time else 0
