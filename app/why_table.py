"""The table below an explanation: the members of a super-group. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.why_evidence import Member
from trainer.run_log.rows import CategoryRow


def member_table(
    members: Sequence[Member], categories: Sequence[CategoryRow], names: Sequence[str]
) -> dict[str, list[Any]]:
    """Columns of equal length, one row a member; p in virtual features per 1,000 steps."""
    return {
        "class": [names[one.index] for one in members],
        "frequency": [categories[one.index].frequency for one in members],
        "loss before": [one.loss_before for one in members],
        "loss now": [one.loss_after for one in members],
        "change": [one.loss_after - one.loss_before for one in members],
        "p before": [1000 * one.p_before for one in members],
        "p now": [1000 * one.p_after for one in members],
        "decided": [one.decided for one in members],
        "noise": [one.noise for one in members],
        "clamped": [one.clamped for one in members],
    }
