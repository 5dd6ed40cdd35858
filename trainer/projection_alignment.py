"""Keeps the pictures of one run alike: where points start, and how a picture is turned.

Shapes: n points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from trainer.projection_points import Points, Start, finite_rows

_SCATTER = 0.01  # of points that start at one place, as a share of the picture's size
_HALVINGS = 40  # of a right angle


@dataclass(frozen=True, slots=True, eq=False)
class Similarity:
    """A map of the plane: scale * x @ rotation + shift; the rotation may mirror.

    Attributes:
        points: how many points it was fitted to; below 2 it changes nothing.
    """

    rotation: NDArray[np.float64]
    scale: float
    shift: NDArray[np.float64]
    points: int

    def apply(self, coordinates: NDArray[np.float32]) -> NDArray[np.float32]:
        """[n, 2] -> [n, 2]."""
        return np.asarray(self.scale * coordinates @ self.rotation + self.shift, np.float32)


def turn_onto(
    coordinates: NDArray[np.float32], places: NDArray[np.float32], *, rigid: bool
) -> Similarity:
    """The map that brings a picture closest to another one: Procrustes, least squares.

    Args:
        coordinates: [n, 2] points of the picture.
        places: [n, 2] where they lay in the other one, NaN for those it does not show.
        rigid: turn and mirror about the origin only.
    """
    common = finite_rows(places)
    found = coordinates[common].astype(np.float64)
    wanted = places[common].astype(np.float64)
    if len(found) < 2:
        return Similarity(np.eye(2), 1.0, np.zeros(2), len(found))
    centre, wanted_centre = np.zeros(2), np.zeros(2)
    if not rigid:
        centre, wanted_centre = found.mean(axis=0), wanted.mean(axis=0)
    left, sizes, right = np.linalg.svd((found - centre).T @ (wanted - wanted_centre))
    rotation = left @ right
    if rigid:
        return Similarity(rotation, 1.0, np.zeros(2), len(found))
    spread = float(((found - centre) ** 2).sum())
    # A picture on one spot, before or now, has no size to compare.
    scale = float(sizes.sum()) / spread if spread > 0 and sizes.sum() > 0 else 1.0
    return Similarity(rotation, scale, wanted_centre - scale * centre @ rotation, len(found))


def starting_places(
    points: Points, reduced: NDArray[np.float32], start: Start, *, seed: int
) -> NDArray[np.float32]:
    """[n, 2]: where each point lay; one that is new starts amid its class, or its neighbour.

    Args:
        points: n of them.
        reduced: [n, D] features in which neighbours are looked for.
        start: the other picture.
        seed: of the scatter that keeps those apart which start at one place.

    Returns:
        NaN for all when not one point is known.
    """
    places = start.places_of(points.keys)
    known = finite_rows(places)
    if known.all() or not known.any():
        return places
    new = np.logical_not(known)
    count = int(points.classes.max()) + 2  # -1 is the class of objects not listed
    sizes = np.bincount(points.classes[known] + 1, minlength=count)
    sums = [
        np.bincount(points.classes[known] + 1, weights=places[known, axis], minlength=count)
        for axis in (0, 1)
    ]
    with np.errstate(invalid="ignore"):
        means = (np.stack(sums, axis=1) / sizes[:, None]).astype(np.float32)
    means[0] = np.nan
    places[new] = means[points.classes[new] + 1]
    alone = np.logical_not(finite_rows(places))
    if alone.any():
        places[alone] = _place_of_nearest(points, reduced, places, known, alone)
    extent = np.ptp(places[known], axis=0).max()
    scatter = np.random.default_rng(seed).normal(0, _SCATTER * extent, (int(new.sum()), 2))
    places[new] += scatter.astype(np.float32)
    return places


def _place_of_nearest(
    points: Points,
    reduced: NDArray[np.float32],
    places: NDArray[np.float32],
    known: NDArray[np.bool_],
    alone: NDArray[np.bool_],
) -> NDArray[np.float32]:
    is_real = np.arange(len(known)) < points.num_real
    candidates = np.flatnonzero(known & is_real if (known & is_real).any() else known)
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(reduced[candidates])
    nearest = search.kneighbors(reduced[alone], return_distance=False)[:, 0]
    return np.asarray(places[candidates[nearest]])


def squared(places: NDArray[np.float32]) -> NDArray[np.float32]:
    """The picture turned until it is as wide as it is high.

    UMAP stretches each axis of its starting coordinates to the same length. So turned, both are
    stretched alike, and the picture keeps its shape. A quarter turn swaps width and height, hence
    there is such an angle.
    """
    low, high = 0.0, np.pi / 2
    sign = np.sign(_wider(places, low))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if np.sign(_wider(places, middle)) == sign:
            low = middle
        else:
            high = middle
    return _turned(places, low)


def _wider(places: NDArray[np.float32], angle: float) -> float:
    width, height = np.ptp(_turned(places, angle), axis=0)
    return float(width - height)


def _turned(places: NDArray[np.float32], angle: float) -> NDArray[np.float32]:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(places @ np.array([[cos, -sin], [sin, cos]]), np.float32)
