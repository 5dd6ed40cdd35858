"""A feature snapshot in two dimensions: by PCA, which is linear and there at once, and by UMAP.

Two UMAPs: one fitted to real and virtual features together, and one fitted to the real ones only,
into which the virtual ones are then transformed, so that they have no say in where the real ones
lie. Both work on the first 50 principal components, with exact nearest neighbours.

The same input gives the same picture on the same machine. UMAP runs on the calling thread, one at
a time. Shapes: N real features, M virtual ones, P classes with a prior, n points, D dimensions.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from trainer.projection_alignment import squared, starting_places, turn_onto
from trainer.projection_points import Points, ProjectionError, Start, finite_rows, points_of
from trainer.run_log.rows import FeatureSnapshot

SEED = 0
NEIGHBORS = 15
MIN_DIST = 0.1
REDUCED = 50  # principal components that UMAP works on
FEWEST_FOR_UMAP = 4  # points
FEWEST_FOR_ELLIPSE = 3  # virtual features of a class

# Epochs of UMAP's layout, fewer for many points, as in umap-learn.
_EPOCHS, _EPOCHS_OF_MANY, _MANY = 500, 200, 10_000
# Small steps keep the picture calm and were, in benchmarks/bench_projection.py, as true to the
# neighbourhoods as large ones that start anew.
_EPOCHS_FROM_LAST, _RATE_FROM_LAST = 200, 0.1
_QUERIES_AT_ONCE = 2_000  # so that a signal is answered in between


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What `trainer.run_log.projections.store_projection` takes.

    Attributes:
        real: [N, 2] float32; NaN for a feature that is not finite.
        virtual: [M, 2] likewise.
        ellipses: [P, 5] mean x and y of each class's prior, its variance in x, covariance, variance
            in y; NaN where it is not known. By PCA these are exact, by UMAP those of the class's
            virtual features.
        parameters: all that made it, as json.
    """

    real: NDArray[np.float32]
    virtual: NDArray[np.float32]
    ellipses: NDArray[np.float32]
    parameters: dict[str, Any]


def project(
    snapshot: FeatureSnapshot,
    method: str,
    *,
    class_of: NDArray[np.int32],
    start: Start | None = None,
) -> Picture:
    """The picture of a snapshot.

    Args:
        snapshot: the features.
        method: pca, umap or umap_real.
        class_of: class index of every probe object, by ``object_index``.
        start: the picture of another snapshot of the run, made by the same method, to start from
            and to be turned onto.

    Raises:
        ProjectionError: there are too few points, or none is finite.
        ValueError: there is no such method.
    """
    points = points_of(snapshot, class_of)
    parameters = {
        "method": method,
        "seed": SEED,
        "start": "pca" if start is None else start.snapshot_id,
        "features": points.features.shape[1],
        "num_real": points.num_real,
        "num_virtual": len(points.keys) - points.num_real,
        "num_left_out": int((~points.finite).sum()),
    }
    if method == "pca":
        return _pca(snapshot, points, start, parameters)
    if method == "umap":
        return _umap(snapshot, points, start, parameters, fitted=len(points.keys))
    if method == "umap_real":
        return _umap(snapshot, points, start, parameters, fitted=points.num_real)
    raise ValueError(f"A method is pca, umap or umap_real, not {method!r}.")


# PCA


def _pca(
    snapshot: FeatureSnapshot, points: Points, start: Start | None, parameters: dict[str, Any]
) -> Picture:
    components = _Components(points.features, 2)
    coordinates = components.project(points.features)
    places = np.full_like(coordinates, np.nan)
    if start is not None:
        places = start.places_of(points.keys)
    turn = turn_onto(coordinates, places, rigid=True)
    axes = components.axes.T @ turn.rotation  # [d, 2]
    mean, deviation = snapshot.mean.astype(np.float64), snapshot.deviation.astype(np.float64)
    # The covariance of W x is W diag(sigma^2) W^T where the coordinates of x are independent.
    variance = deviation**2
    x, y = axes.T
    with np.errstate(invalid="ignore"):  # of a prior that overflew
        centre = (mean - components.mean) @ axes
        columns = (*centre.T, variance @ (x * x), variance @ (x * y), variance @ (y * y))
    ellipses = np.stack(columns, axis=1).astype(np.float32)
    ellipses[~finite_rows(ellipses)] = np.nan
    parameters |= {
        "variance": components.shares,
        "rotation": turn.rotation.tolist(),
        "aligned_points": turn.points,
        "versions": _versions("numpy", "scikit-learn"),
    }
    return _picture(snapshot, points, turn.apply(coordinates), ellipses, parameters)


class _Components:
    """The first principal components of features [n, d], of those there can be.

    Attributes:
        mean: [d].
        axes: [D, d], all 0 where points vary in fewer directions than D.
        shares: of the variance, one a component.
    """

    def __init__(self, features: NDArray[np.float32], most: int) -> None:
        number = min(most, *features.shape)
        self.mean = features.mean(axis=0)
        self.axes = np.zeros((max(number, 2), features.shape[1]))
        self.shares = [0.0] * len(self.axes)
        if not np.ptp(features, axis=0).any():
            return
        solver = "covariance_eigh" if features.shape[0] > features.shape[1] else "full"
        fitted = PCA(number, svd_solver=solver).fit(features)
        self.mean = fitted.mean_
        self.axes[:number] = fitted.components_
        self.shares[:number] = [float(share) for share in fitted.explained_variance_ratio_]

    def project(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """[n, d] -> [n, D]."""
        return np.asarray((features - self.mean) @ self.axes.T.astype(np.float32), np.float32)


# UMAP


def _umap(
    snapshot: FeatureSnapshot,
    points: Points,
    start: Start | None,
    parameters: dict[str, Any],
    *,
    fitted: int,
) -> Picture:
    """The first ``fitted`` points are laid out, the others transformed into that picture."""
    if fitted < FEWEST_FOR_UMAP:
        what = "features" if fitted == len(points.keys) else "real features"
        raise ProjectionError(
            f"UMAP needs at least {FEWEST_FOR_UMAP} {what} and this snapshot has {fitted}: look at "
            "its PCA."
        )
    components = _Components(points.features[:fitted], REDUCED)
    reduced = components.project(points.features)
    places = np.full((len(reduced), 2), np.nan, np.float32)
    if start is not None:
        places = starting_places(points, reduced, start, seed=SEED)
    warm = bool(np.isfinite(places[:fitted]).all())
    epochs = _EPOCHS if fitted <= _MANY else _EPOCHS_OF_MANY
    epochs = min(epochs, _EPOCHS_FROM_LAST) if warm else epochs
    rate = _RATE_FROM_LAST if warm else 1.0
    first = places[:fitted] if warm else reduced[:fitted, :2]
    coordinates = _layout(reduced, fitted, first=first, epochs=epochs, rate=rate)
    turn = turn_onto(coordinates, places, rigid=False)
    coordinates = turn.apply(coordinates)
    parameters |= {
        "start": parameters["start"] if warm else "pca",
        "n_neighbors": _neighbors(fitted),
        "min_dist": MIN_DIST,
        "metric": "euclidean",
        "epochs": epochs,
        "learning_rate": rate,
        "pca_dimensions": sum(share > 0 for share in components.shares),
        "variance": [sum(components.shares)],
        "fitted_points": fitted,
        "aligned_points": turn.points,
        "scale": turn.scale,
        "versions": _versions("numpy", "scikit-learn", "umap-learn", "numba"),
    }
    ellipses = _spread(snapshot, points.in_order(coordinates)[len(snapshot.real) :])
    return _picture(snapshot, points, coordinates, ellipses, parameters)


def _layout(
    reduced: NDArray[np.float32],
    fitted: int,
    *,
    first: NDArray[np.float32],
    epochs: int,
    rate: float,
) -> NDArray[np.float32]:
    """[n, 2] by UMAP: the first ``fitted`` points start at ``first``."""
    umap_class = load_umap()
    search = _ExactNeighbours(reduced[:fitted])
    with warnings.catch_warnings():
        # Of a search that is not its own. That it cannot start from is what `first` is made for.
        warnings.simplefilter("ignore")
        model = umap_class(
            n_neighbors=_neighbors(fitted),
            min_dist=MIN_DIST,
            init=_apart(squared(first)),
            n_epochs=epochs,
            learning_rate=rate,
            random_state=SEED,
            transform_seed=SEED,
            n_jobs=1,
            precomputed_knn=(*search.of_each(_neighbors(fitted)), search),
        ).fit(reduced[:fitted])
        coordinates = model.embedding_
        if fitted < len(reduced):
            coordinates = np.concatenate([coordinates, model.transform(reduced[fitted:])])
    return np.asarray(coordinates, np.float32)


def _neighbors(fitted: int) -> int:
    return min(NEIGHBORS, fitted - 1)


def _apart(places: NDArray[np.float32]) -> NDArray[np.float32]:
    """With a little noise: UMAP divides by the extent and tells points by their places."""
    extent = float(np.ptp(places, axis=0).max()) or 1.0
    noise = np.random.default_rng(SEED).normal(0, 1e-4 * extent, places.shape)
    return np.asarray(places + noise, np.float32)


class _ExactNeighbours:
    """Nearest neighbours as umap-learn asks for them, of all points instead of nearly all.

    It takes less time than the approximate search umap-learn brings along, up to more points than
    a snapshot holds, and needs nothing compiled at the first use.
    """

    _angular_trees = False  # umap-learn asks

    def __init__(self, points: NDArray[np.float32]) -> None:
        self._search = NearestNeighbors(algorithm="brute").fit(points)
        self._points = points

    def of_each(self, count: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """[n, count] indices and distances, each point its own nearest, whatever equals it."""
        own = np.arange(len(self._points), dtype=np.int32)
        indices, distances = self.query(self._points, count)
        for row in np.flatnonzero(indices[:, 0] != own):
            at = np.flatnonzero(indices[row] == row)
            # Among more equal points than there are neighbours it may not be listed at all.
            last = int(at[0]) if len(at) else count - 1
            indices[row, 1 : last + 1] = indices[row, :last].copy()
            indices[row, 0] = row
        distances[:, 0] = 0.0
        return indices, distances

    def query(
        self, points: NDArray[np.float32], k: int, epsilon: float = 0.0
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """[n, k] indices and distances of the nearest; ``epsilon`` is for approximate searches."""
        indices = np.empty((len(points), k), np.int32)
        distances = np.empty((len(points), k), np.float32)
        for first in range(0, len(points), _QUERIES_AT_ONCE):
            part = slice(first, first + _QUERIES_AT_ONCE)
            distances[part], indices[part] = self._search.kneighbors(points[part], k)
        return indices, distances


def load_umap() -> Any:
    """umap-learn's class. It takes seconds, and more where nothing is compiled yet.

    Its variant on TensorFlow is left out: it would load torch too.
    """
    sys.modules.setdefault("umap.parametric_umap", None)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap import UMAP
    return UMAP


# Both


def _spread(snapshot: FeatureSnapshot, virtual: NDArray[np.float32]) -> NDArray[np.float32]:
    """[P, 5]: mean and covariance of each class's virtual features in the picture [M, 2]."""
    ellipses = np.full((len(snapshot.classes), 5), np.nan, np.float32)
    if not len(virtual):
        return ellipses
    for ellipse, own in zip(ellipses, np.split(virtual, len(snapshot.classes)), strict=True):
        placed = own[finite_rows(own)].astype(np.float64)
        if len(placed) >= FEWEST_FOR_ELLIPSE:
            covariance = np.cov(placed.T)
            ellipse[:] = (*placed.mean(axis=0), *covariance[0], covariance[1, 1])
    return ellipses


def _picture(
    snapshot: FeatureSnapshot,
    points: Points,
    coordinates: NDArray[np.float32],
    ellipses: NDArray[np.float32],
    parameters: dict[str, Any],
) -> Picture:
    placed = points.in_order(coordinates)
    split = len(snapshot.real)
    return Picture(placed[:split], placed[split:], ellipses, parameters)


def _versions(*names: str) -> dict[str, str]:
    return {name: version(name) for name in names}
