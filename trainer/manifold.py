"""Do virtual features lie where the real ones lie? The numbers of docs/feature_space.md.

A class that cannot be judged is NaN. The number of a frequency group is the mean over its classes,
never over its points: of those, the few frequent classes have the most.

Shape glossary: C classes, n features of length d.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.frechet_distance import frechet_distance
from trainer.nearest_neighbours import own_class_share
from trainer.run_log.rows import FeatureSnapshot

Measure = tuple[NDArray[np.float32], dict[str, float | None]]

GROUPS = {"all": "rcf", "rare": "r", "common": "c", "frequent": "f"}
# The same question about virtual and about real features: compared over the same classes.
_COUNTERPART = {
    "frechet_distance": "frechet_distance_real",
    "neighbours_virtual": "neighbours_holdout",
    "accuracy_virtual": "accuracy_holdout",
}
_COUNTERPART |= {real: virtual for virtual, real in _COUNTERPART.items()}


@dataclass(frozen=True)
class _Features:
    """x [n, d], their classes [n] and those that the classifier takes them for [n]."""

    x: NDArray[np.float32]
    labels: NDArray[np.integer]
    predicted: NDArray[np.integer]

    def rows(self, keep: NDArray[np.intp]) -> _Features:
        if len(keep) == len(self.x):
            return self
        return _Features(self.x[keep], self.labels[keep], self.predicted[keep])

    def finite(self) -> _Features:
        return self.rows(np.flatnonzero(np.isfinite(self.x).all(axis=1)))

    def of(self, label: int) -> NDArray[np.float32]:
        return self.x[np.flatnonzero(self.labels == label)]


def measure(
    snapshot: FeatureSnapshot,
    *,
    class_of: NDArray[np.integer],
    held_out: NDArray[np.bool_],
    frequencies: Sequence[str],
    instances: NDArray[np.integer],
) -> dict[str, Measure]:
    """All of `MEASURES` of one snapshot, per class and per frequency group.

    Features with a coordinate that is not finite are left out of everything.

    Args:
        snapshot: its features.
        class_of: class of each of the run's probe objects, by object_index.
        held_out: whether the model does not learn from it, by object_index.
        frequencies: [C] "r", "c" or "f".
        instances: [C] training instances.

    Returns:
        By name: float32 [C], NaN where the class cannot be judged, and the group's mean under
        "all", "rare", "common" and "frequent", None where none of its classes can.

    Raises:
        ValueError: when the snapshot follows objects or classes that the run does not have.
    """
    _check(snapshot, len(class_of), len(frequencies))
    real = _Features(
        snapshot.real.astype(np.float32), class_of[snapshot.objects], snapshot.real_predicted
    )
    learnt_from = ~held_out[snapshot.objects]
    train = real.rows(np.flatnonzero(learnt_from)).finite()
    holdout = real.rows(np.flatnonzero(~learnt_from)).finite()
    virtual = _Features(
        snapshot.virtual.astype(np.float32), snapshot.virtual_classes, snapshot.virtual_predicted
    ).finite()
    num_classes = len(frequencies)
    per_class = {
        "frechet_distance": _distances(holdout, virtual, num_classes),
        "frechet_distance_real": _distances(holdout, train, num_classes),
        "neighbours_virtual": _neighbours(virtual, train, num_classes),
        "neighbours_holdout": _neighbours(holdout, train, num_classes),
        "accuracy_virtual": _accuracy(virtual, num_classes),
        "accuracy_holdout": _accuracy(holdout, num_classes),
        "negative_share": _class_means((virtual.x < 0).mean(axis=1), virtual.labels, num_classes),
        "effective_sample_size": _effective_sample_size(snapshot, instances),
    }
    return {
        name: (values, _groups(name, per_class, frequencies)) for name, values in per_class.items()
    }


def _check(snapshot: FeatureSnapshot, num_objects: int, num_classes: int) -> None:
    for noun, indices, count in (
        ("object", snapshot.objects, num_objects),
        ("class", snapshot.classes, num_classes),
    ):
        wrong = indices[(indices < 0) | (indices >= count)]
        if len(wrong):
            raise ValueError(
                f"snapshot {snapshot.id} names {noun} {wrong[0]}, but the run has {count}: "
                "its feature rows are not its own, so import the run again"
            )


def _distances(a: _Features, b: _Features, num_classes: int) -> NDArray[np.float32]:
    return np.array(
        [frechet_distance(a.of(label), b.of(label)) for label in range(num_classes)], np.float32
    )


def _neighbours(queries: _Features, train: _Features, num_classes: int) -> NDArray[np.float32]:
    share = own_class_share(queries.x, queries.labels, train.x, train.labels)
    return _class_means(share, queries.labels, num_classes)


def _accuracy(features: _Features, num_classes: int) -> NDArray[np.float32]:
    return _class_means(features.predicted == features.labels, features.labels, num_classes)


def _effective_sample_size(
    snapshot: FeatureSnapshot, instances: NDArray[np.integer]
) -> NDArray[np.float32]:
    size = np.full(len(instances), np.nan, np.float32)
    size[snapshot.classes] = np.minimum(snapshot.prior_size, instances[snapshot.classes])
    return size


def _class_means(
    values: NDArray, labels: NDArray[np.integer], num_classes: int
) -> NDArray[np.float32]:
    """[C] mean of the values [n] of each class, NaN for a class without any."""
    count = np.bincount(labels, minlength=num_classes)
    total = np.bincount(labels, weights=values, minlength=num_classes)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _groups(
    name: str, per_class: dict[str, NDArray[np.float32]], frequencies: Sequence[str]
) -> dict[str, float | None]:
    """The mean of each frequency group.

    Over the classes where the counterpart is judged too; over all that are judged where the
    counterpart is so for none of the group.
    """
    judged = np.isfinite(per_class[name])
    other = np.isfinite(per_class[_COUNTERPART.get(name, name)])
    means: dict[str, float | None] = {}
    for group, letters in GROUPS.items():
        members = np.isin(frequencies, list(letters))
        counted = judged & members
        if (other & members).any():
            counted &= other
        values = per_class[name][counted]
        means[group] = float(values.mean(dtype=np.float64)) if len(values) else None
    return means
