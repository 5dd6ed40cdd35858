"""What is measured of virtual beside real features, in words, and who of what it holds.

The measures are computed beside the pictures (`trainer/projector.py`); `docs/feature_space.md`
defines each. Shapes: C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.looks import FREQUENCY_NAMES
from trainer.run_log.rows import FEWEST_OBJECTS, CategoryRow, MeasureRow, Run

Newest = Mapping[str, MeasureRow]  # by name, all of one snapshot

VIRTUAL, HELD_OUT, TRAINED_ON = "virtual", "held-out real", "real, trained on"
SIZE = "effective_sample_size"


@dataclass(frozen=True)
class Topic:
    """One question, and the measures that answer it.

    Attributes:
        figure: name of the route of its figure.
        title: of the figure.
        unit: of its y axis.
        caption: the formula in words, and how to read it.
        measures: name of each measure, and whose features it is of.
        top: highest value of the y axis, which then begins at 0; None leaves it to the values.
    """

    figure: str
    title: str
    unit: str
    caption: str
    measures: Mapping[str, str]
    top: float | None = 1.0


NEIGHBOURS = Topic(
    "feature_neighbours",
    "Own-class neighbours",
    "share of own class, 0 to 1",
    "Of virtual and of held-out real features: the share of their 3 nearest real training features "
    "that is of their own class. On the manifold the two lines lie together; virtual ones far "
    "below are off it, far above they sit closer to the middle of their class than real ones do.",
    {"neighbours_holdout": HELD_OUT, "neighbours_virtual": VIRTUAL},
)
ACCURACY = Topic(
    "feature_accuracy",
    "Accuracy of the current classifier",
    "share classified right, 0 to 1",
    "Share of virtual and of held-out real features that the classifier of that moment gives to "
    "their own class. Virtual far above held-out: virtual features are easier than real objects "
    "are, so there is little left to learn from them.",
    {"accuracy_holdout": HELD_OUT, "accuracy_virtual": VIRTUAL},
)
FRECHET = Topic(
    "feature_frechet",
    "Fréchet distance to held-out real features",
    "squared distance, feature units²",
    "Squared Fréchet distance of virtual and of real training features to the held-out ones of "
    "their class, what chance adds taken off: so near 0, and below, is no distance. On the "
    "manifold virtual ones are no farther than real ones.",
    {"frechet_distance_real": TRAINED_ON, "frechet_distance": VIRTUAL},
    top=None,
)
NEGATIVE = Topic(
    "feature_negative",
    "Negative coordinates",
    "share of coordinates, 0 to 1",
    "Share of the coordinates of virtual features that are below 0. Real features have none, as "
    "they come out of a ReLU; draws from a Gaussian around a mean near 0 have up to one half.",
    {"negative_share": VIRTUAL},
    top=None,
)
TOPICS = (NEIGHBOURS, ACCURACY, FRECHET, NEGATIVE)
COUNTERPARTS = {
    name: other
    for topic in TOPICS
    for name in topic.measures
    for other in topic.measures
    if other != name
}


def epochs_done(run: Run, step: int, epoch: int) -> float:
    """Where a moment lies on an axis of epochs; a fraction within one, as on the other charts."""
    if run.total_steps and run.total_epochs:
        return step * run.total_epochs / run.total_steps
    return epoch + 1.0


def moment_words(epochs: float) -> str:
    """'After epoch 7' or, within one, 'After 6.4 epochs'."""
    whole = round(epochs)
    return f"After epoch {whole}" if abs(epochs - whole) < 0.01 else f"After {epochs:.1f} epochs"


def counted(newest: Newest, name: str, letters: Sequence[str], letter: str) -> NDArray[np.bool_]:
    """[C] the classes that a measure's number of a frequency group is the mean of.

    Those where the same is known of the other features, too; all that are judged where it is so for
    none of the group.

    Args:
        newest: the measures of one snapshot.
        name: of the measure.
        letters: [C] frequency of each class.
        letter: of the group.
    """
    count = len(letters)
    members = np.array([one == letter for one in letters], np.bool_)
    own = members & np.isfinite(per_class(newest.get(name), count))
    other = members & np.isfinite(per_class(newest.get(COUNTERPARTS.get(name, name)), count))
    return own & other if other.any() else own


def per_class(row: MeasureRow | None, count: int) -> NDArray[np.float32]:
    """[C] values of a measure; NaN where there is none, or where it is of other classes."""
    if row is None or len(row.per_class) != count:
        return np.full(count, np.nan, np.float32)
    return row.per_class


def group_value(row: MeasureRow | None, group: str) -> float | None:
    """A measure's value of a group, None where it could not be judged."""
    value = row.groups.get(group) if row is not None else None
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def weak(sizes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """[C] which priors rest on fewer than `FEWEST_OBJECTS` objects; not those that are none."""
    return np.isfinite(sizes) & (sizes > 0) & (sizes < FEWEST_OBJECTS)


def plain_number(value: float) -> str:
    """'0.0123', '4.23' or '2,514': three digits, and no exponent for what is large."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def by_letter(chosen: NDArray[np.bool_], categories: Sequence[CategoryRow]) -> dict[str, int]:
    """How many of the chosen classes are rare, common and frequent; by letter."""
    return {
        letter: sum(
            bool(one) and category.frequency == letter
            for one, category in zip(chosen, categories, strict=True)
        )
        for letter in FREQUENCY_NAMES
    }
