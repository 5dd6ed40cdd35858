"""The points of a feature snapshot as a projection takes them, and where they lay in the last one.

Shapes: N real features, M virtual ones, d their length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.run_log.rows import FeatureLabels, FeatureSnapshot, FeatureValues, Projection

_UNKNOWN = -1  # the class of an object that the run log does not list
_MOST_PER_CLASS = 1 << 32  # virtual features, for the keys


class ProjectionError(ValueError):
    """There can be no picture of these features; one sentence says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Real features, then virtual ones, as far as all their numbers are finite.

    Attributes:
        features: [n, d] float32.
        keys: [n] the same number for the same object, or the same virtual feature of a class, in
            every snapshot of a run.
        classes: [n] class indices.
        num_real: the first so many are real.
        finite: [N + M] which of the snapshot's features these are. What overflowed float16 has no
            place in a picture.
    """

    features: NDArray[np.float32]
    keys: NDArray[np.int64]
    classes: NDArray[np.int32]
    num_real: int
    finite: NDArray[np.bool_]

    def in_order(self, coordinates: NDArray[np.float32]) -> NDArray[np.float32]:
        """[N + M, 2]: coordinates [n, 2] in the snapshot's order, NaN for what was left out."""
        placed = np.full((len(self.finite), 2), np.nan, np.float32)
        placed[self.finite] = coordinates
        return placed


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """The picture of another snapshot, from which the next one starts.

    Attributes:
        snapshot_id: of that snapshot.
        keys: [s] of its points, rising; see `Points`.
        coordinates: [s, 2] where they lie, finite.
    """

    snapshot_id: int
    keys: NDArray[np.int64]
    coordinates: NDArray[np.float32]

    def places_of(self, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        """[n, 2]: where the points of these keys lay, NaN for those it does not know."""
        places = np.full((len(keys), 2), np.nan, np.float32)
        if len(self.keys):
            at = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
            known = self.keys[at] == keys
            places[known] = self.coordinates[at[known]]
        return places


def points_of(snapshot: FeatureSnapshot, class_of: NDArray[np.int32]) -> Points:
    """The points of a snapshot.

    Args:
        snapshot: its features.
        class_of: class index of every object, by ``object_index``.

    Raises:
        ProjectionError: there is no point, or none that is finite.
    """
    total = len(snapshot.real) + len(snapshot.virtual)
    if total == 0:
        raise ProjectionError(
            "The snapshot holds no feature: the probe set needs at least one object."
        )
    features = np.concatenate([_rows(snapshot.real), _rows(snapshot.virtual)])
    finite = finite_rows(features)
    if not finite.any():
        raise ProjectionError(
            f"None of the {total:,} features consists of finite numbers alone: look at the run's "
            "losses, it has probably diverged."
        )
    listed = snapshot.objects < len(class_of)
    classes = np.full(len(snapshot.objects), _UNKNOWN, np.int32)
    classes[listed] = class_of[snapshot.objects[listed]]
    classes = np.concatenate([classes, snapshot.virtual_classes])
    return Points(
        features=features[finite],
        keys=_keys(snapshot)[finite],
        classes=classes[finite],
        num_real=int(finite[: len(snapshot.real)].sum()),
        finite=finite,
    )


def start_from(labels: FeatureLabels | FeatureSnapshot, picture: Projection) -> Start:
    """The picture of a snapshot as a start for another one of the same run."""
    keys = _keys(labels)
    coordinates = np.concatenate([picture.real, picture.virtual])
    finite = finite_rows(coordinates)
    order = np.argsort(keys[finite])
    return Start(labels.id, keys[finite][order], coordinates[finite][order])


def finite_rows(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """[n]: which rows of [n, any] hold finite numbers alone."""
    return np.asarray(np.isfinite(values).all(axis=1))


def _rows(features: NDArray[np.float16]) -> NDArray[np.float32]:
    return features.astype(np.float32)


def _keys(of: FeatureValues | FeatureLabels) -> NDArray[np.int64]:
    """Objects count up from 0, virtual features down from -1."""
    classes = of.virtual_classes.astype(np.int64)
    position = np.tile(np.arange(of.virtual_per_class), len(of.classes))
    return np.concatenate([of.objects.astype(np.int64), -1 - classes * _MOST_PER_CLASS - position])
