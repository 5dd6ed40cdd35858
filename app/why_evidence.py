"""What the run log says of one adaptation and one class: the numbers behind `app/why.py`. Pure.

Shapes: C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.super_group_history import Adaptation
from trainer.run_log.rows import AdaptationRow

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Evidence:
    """What the log says of one adaptation; arrays are [C], None where nothing was logged.

    Attributes:
        config: of the run, as `RunConfig` names its knobs.
        names: [C] unique names.
        now: the adaptation.
        before: the one before; None when it was the first.
        losses_before: mean validation loss a RoI in the evaluation before, NaN without data.
        losses_after: the same in the evaluation that was adapted after.
        p_before: sampling probability until then.
        p_after: sampling probability from then on.
        instances: training instances N_c.
        observed: RoIs observed by then.
    """

    config: Mapping[str, Any]
    names: Sequence[str]
    now: Adaptation
    before: Adaptation | None
    losses_before: Floats | None
    losses_after: Floats | None
    p_before: Floats | None
    p_after: Floats | None
    instances: Sequence[int]
    observed: NDArray[np.integer[Any]] | None


@dataclass(frozen=True)
class Member:
    """One class of the super-group: index, whether it was noise, what it brought, what it got."""

    index: int
    noise: bool
    decided: bool
    loss_before: float
    loss_after: float
    p_before: float
    p_after: float
    clamped: bool


def members(evidence: Evidence, row: AdaptationRow, index: int) -> list[Member]:
    """The classes of a super-group: `index` first, then those whose loss moved furthest."""
    noise, decided, clamped = set(row.noise_members), set(row.with_data), set(row.clamped)
    found = [
        Member(
            index=one,
            noise=one in noise,
            decided=one in decided,
            loss_before=value_at(evidence.losses_before, one),
            loss_after=value_at(evidence.losses_after, one),
            p_before=value_at(evidence.p_before, one),
            p_after=value_at(evidence.p_after, one),
            clamped=one in clamped,
        )
        for one in row.members
        if 0 <= one < len(evidence.names)
    ]
    return sorted(found, key=lambda member: (member.index != index, -moved(member)))


def recomputed(evidence: Evidence, row: AdaptationRow) -> tuple[float, float]:
    """The group's loss before and after, from the per-class losses: the mean over `with_data`.

    NaN where the log does not hold what it takes, and for the official sum, which weighs classes
    by RoIs that are not logged.
    """
    if evidence.config.get("group_statistic") == "sum":
        return float("nan"), float("nan")
    found = []
    for losses in (evidence.losses_before, evidence.losses_after):
        values = [value_at(losses, one) for one in row.with_data]
        found.append(float(np.mean(values)) if values else float("nan"))
    return found[0], found[1]


def value_at(values: NDArray[np.number[Any]] | None, index: int) -> float:
    """The value of a class; NaN where none was logged."""
    if values is None or not 0 <= index < len(values):
        return float("nan")
    return float(values[index])


def moved(member: Member) -> float:
    """How far its loss moved; -1 where that is not known."""
    change = abs(member.loss_after - member.loss_before)
    return change if np.isfinite(change) else -1.0
