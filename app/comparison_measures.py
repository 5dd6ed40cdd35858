"""The newest measures of several runs' features, for the page Compare. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.comparison_results import MISSING
from app.feature_measures import Newest, epochs_done, group_value, plain_number
from trainer.run_log.rows import Run

# Heading, measure, whether it is a share.
COLUMNS = (
    ("neighbours, virtual", "neighbours_virtual", True),
    ("held-out", "neighbours_holdout", True),
    ("accuracy, virtual", "accuracy_virtual", True),
    ("held-out", "accuracy_holdout", True),
    ("Fréchet, virtual", "frechet_distance", False),
    ("trained on", "frechet_distance_real", False),
    ("negative", "negative_share", True),
)
SENTENCE = (
    "Newest measures of each run's features, mean over its classes and in parentheses over the "
    "rare ones: share of own-class neighbours, accuracy of the classifier, squared Fréchet "
    "distance to held-out real features, share of negative coordinates. See the page Feature "
    "space, and docs/feature_space.md for the formulas."
)


@dataclass(frozen=True)
class Measured:
    """A row of the table: epochs done by then, and (all classes, rare ones) of each column."""

    run_id: int
    name: str
    epochs: str
    cells: Sequence[tuple[str, str]]


def measured(run: Run, name: str, newest: Newest) -> Measured:
    """The row of a run; dashes where it has no number."""
    first = next(iter(newest.values()), None)
    epochs = f"{epochs_done(run, first.step, first.epoch):.3g}" if first else MISSING
    cells = [
        (_text(newest, measure, "all", share), _text(newest, measure, "rare", share))
        for _, measure, share in COLUMNS
    ]
    return Measured(run.id, name, epochs, cells)


def has_any(newest: Mapping[int, Newest]) -> bool:
    """Whether there is a number to show of any of the runs."""
    return any(rows for rows in newest.values())


def _text(newest: Newest, measure: str, group: str, share: bool) -> str:
    value = group_value(newest.get(measure), group)
    if value is None:
        return MISSING
    return f"{value:.2f}" if share else plain_number(value)
