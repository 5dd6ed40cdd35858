"""Adaptations made by hand, for the tests of the page of super-groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.super_group_history import Adaptation
from trainer.run_log.rows import AdaptationRow, AdaptationSummary, CategoryRow

STEPS = 10  # an epoch


def row(members: Sequence[int], *, epoch: int = 1, number: int = 0, **values: Any) -> AdaptationRow:
    """A group of the epoch's adaptation (from 1) whose loss fell; `values` say otherwise."""
    usual: dict[str, Any] = {
        "noise_members": [],
        "with_data": list(members),
        "clamped": [],
        "loss_before": 2.0,
        "loss_after": 1.0,
        "factor": 1.1,
        "reason": "fell",
    }
    place = {
        "id": 100 * epoch + number,
        "step": STEPS * epoch,
        "epoch": epoch - 1,
        "wall_time": 0.0,
    }
    return AdaptationRow(
        **{**place, "super_group": number, "members": list(members), **usual, **values}
    )


def adaptation(*rows: AdaptationRow, epoch: int = 1, **values: Any) -> Adaptation:
    """The adaptation that closed an epoch (from 1)."""
    numbered = [one._replace(super_group=n, id=100 * epoch + n) for n, one in enumerate(rows)]
    placed = [one._replace(epoch=epoch - 1, step=STEPS * epoch) for one in numbered]
    clustered = sum(len(one.members) for one in rows)
    usual: dict[str, Any] = {
        "eps": 0.5,
        "eps_quantile": 0.4,
        "num_groups": len(rows),
        "noise_share": sum(len(one.noise_members) for one in rows) / max(1, clustered),
        "largest_group": max((len(one.members) for one in rows), default=0),
    }
    place = {"id": epoch, "step": STEPS * epoch, "epoch": epoch - 1, "wall_time": 0.0}
    return Adaptation(AdaptationSummary(**{**place, **usual, **values}), placed)


def grouped(*groups: Sequence[int], epoch: int = 1, noise: Sequence[int] = ()) -> Adaptation:
    """An adaptation of which only the groups and the noise matter."""
    rows = [row(g, noise_members=[index for index in noise if index in g]) for g in groups]
    return adaptation(*rows, epoch=epoch)


def categories(letters: str, *, names: Sequence[str] = ()) -> list[CategoryRow]:
    """Classes "class 0", "class 1", ... of the given frequencies, with 10, 20, ... instances."""
    return [
        CategoryRow(index, index + 1, names[index] if names else f"class {index}", letter,
                    5 * (index + 1), 10 * (index + 1))
        for index, letter in enumerate(letters)
    ]  # fmt: skip
