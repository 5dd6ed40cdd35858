"""What the newest measures mean, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.feature_measures import (
    SIZE,
    Newest,
    by_letter,
    counted,
    epochs_done,
    group_value,
    moment_words,
    per_class,
    plain_number,
    weak,
)
from app.finding import percent
from app.looks import FREQUENCY_NAMES
from trainer.run_log.rows import FEWEST_OBJECTS, CategoryRow, Run

# One in twenty: with the few held-out objects that rare classes have, less is chance.
NEAR = 0.05
# Classes that a group's number should rest on before it is said without reserve.
FEW_CLASSES = 5


def headline(newest: Newest, categories: Sequence[CategoryRow], run: Run) -> list[str]:
    """The answer to 'Is it on the manifold?', a sentence or two each; the main one first.

    Args:
        newest: the newest measures of the run.
        categories: its classes.
        run: the run.
    """
    first = next(iter(newest.values()), None)
    if first is None:
        return ["Nothing has been measured yet: the first measures come with the first snapshot of "
                "features, at the end of an epoch."]  # fmt: skip
    when = moment_words(epochs_done(run, first.step, first.epoch))
    if not run.config.get("fasa", True):
        return [f"{when}: {_real_only(newest)}"]
    compared = _compared(newest)
    text = f"{compared} {_reserve(newest, categories)}".strip() if compared else _alone(newest)
    rest = (_classified(newest), _weak(newest, categories))
    return [f"{when}: {text}", *(sentence for sentence in rest if sentence)]


def _real_only(newest: Newest) -> str:
    """A baseline draws nothing; what is measured of it is the other half of a comparison."""
    near = group_value(newest.get("neighbours_holdout"), "all")
    right = group_value(newest.get("accuracy_holdout"), "all")
    numbers = "" if near is None or right is None else (
        f" Of its held-out real features {near:.2f} lie among their own class and {right:.2f} are "
        "classified right."
    )  # fmt: skip
    return f"a baseline draws no virtual features, so there is nothing to compare.{numbers}"


def _compared(newest: Newest) -> str:
    """'Virtual features of rare classes sit nearer to their own class than held-out ones ...'"""
    parts: list[str] = []
    for name in FREQUENCY_NAMES.values():
        virtual = group_value(newest.get("neighbours_virtual"), name)
        real = group_value(newest.get("neighbours_holdout"), name)
        if virtual is None or real is None:
            continue
        difference = virtual - real
        if abs(difference) <= NEAR:
            word, than = "about as near to", "as"
        else:
            word, than = ("nearer to" if difference > 0 else "farther from"), "than"
        numbers = f"({virtual:.2f} against {real:.2f})"
        if parts:
            parts.append(f"of {name} classes {word} it {numbers}")
        else:
            parts.append(f"virtual features of {name} classes sit {word} their own class {than} "
                         f"held-out real ones {numbers}")  # fmt: skip
    caution = " Nearer is not better: real ones lie farther out."
    text = "; ".join(parts) + "." if parts else ""
    return text + (caution if "nearer to" in text else "")


def _reserve(newest: Newest, categories: Sequence[CategoryRow]) -> str:
    """What the comparison rests on, where that is little."""
    parts = []
    letters = [category.frequency for category in categories]
    for letter, name in FREQUENCY_NAMES.items():
        total = letters.count(letter)
        known = group_value(newest.get("neighbours_holdout"), name) is not None
        count = int(counted(newest, "neighbours_holdout", letters, letter).sum()) if known else 0
        if count < min(FEW_CLASSES, total):
            parts.append(f"{count} of {total:,} {name}")
    if not parts:
        return ""
    return f"Only {' and '.join(parts)} classes could be compared: take that as a hint."


def _alone(newest: Newest) -> str:
    """Virtual features without held-out ones, or none at all."""
    virtual = group_value(newest.get("neighbours_virtual"), "all")
    if virtual is None:
        return "no class has a prior yet, so there are no virtual features to judge."
    return (
        f"{virtual:.2f} of the virtual features lie among their own class; without held-out "
        "objects nothing says how many of the real ones would."
    )


def _classified(newest: Newest) -> str:
    """Accuracy and distance, and the share of coordinates that no real feature can have."""
    virtual = group_value(newest.get("accuracy_virtual"), "all")
    real = group_value(newest.get("accuracy_holdout"), "all")
    negative = group_value(newest.get("negative_share"), "all")
    far = group_value(newest.get("frechet_distance"), "all")
    apart = group_value(newest.get("frechet_distance_real"), "all")
    text = ""
    if virtual is not None and real is not None:
        text = (
            f"The classifier gives {percent(virtual)} of the virtual and {percent(real)} of the "
            "held-out real features to their own class."
        )
    if far is not None and apart is not None:
        text += (
            f" The squared Fréchet distance of virtual to held-out real features is "
            f"{plain_number(far)}; that of the real ones trained on is {plain_number(apart)}."
        )
    if negative is not None:
        text += (
            f" {percent(negative)} of the virtual features' coordinates are negative, as those of "
            "no real feature are (ReLU)."
        )
    return text.strip()


def _weak(newest: Newest, categories: Sequence[CategoryRow]) -> str:
    """How many priors rest on next to nothing."""
    sizes = per_class(newest.get(SIZE), len(categories))
    marked, known = weak(sizes), int((np.nan_to_num(sizes) > 0).sum())
    if not marked.any():
        return ""
    groups = by_letter(marked, categories)
    told = ", ".join(f"{count:,} {FREQUENCY_NAMES[x]}" for x, count in groups.items() if count)
    return (
        f"{int(marked.sum()):,} of {known:,} priors rest on fewer than {FEWEST_OBJECTS} objects "
        f"({told}): they are marked weak."
    )
