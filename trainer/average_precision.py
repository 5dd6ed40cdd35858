"""Precision at 101 recall points and recall, from the outcomes of matching.

Shapes:
    D: detections.  G: objects.  K: categories.  R: recall points (101).
    T: IoU thresholds (10).  A: object areas (4: all, small, medium, large).
    S: curves drawn at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trainer.matching import AREAS, MATCHED, UNMATCHED, Outcomes

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_RECALLS = np.linspace(0.0, 1.0, 101)
_CATEGORIES_AT_ONCE = 50


@dataclass(frozen=True)
class Matches:
    """What became of every detection of a test set.

    Attributes:
        outcomes: int8[A, T, D].
        categories: int64[D], 0..K-1.
        images: int64[D].
        scores: float64[D].
        positives: int64[K, A], the objects to be found.
    """

    outcomes: Outcomes
    categories: Integers
    images: Integers
    scores: Floats
    positives: Integers

    def of_every_size(self) -> "Matches":
        """The same without the sizes, A = 1: the first."""
        return replace(self, outcomes=self.outcomes[:1], positives=self.positives[:, :1])


@dataclass(frozen=True)
class Curves:
    """Attributes:
    precision: float64[T, R, K, A]; -1: nothing to be found.
    recall: float64[T, K, A], of all detections; -1: nothing to be found.
    """

    precision: Floats
    recall: Floats


def curves_by_category(matches: Matches, kept: Bools, between: Callable[[], None]) -> Curves:
    """The curves of each category on its own, from the detections `kept`, bool[D]."""
    # Of equal scores the first image comes first, and within it the first detection.
    order = np.flatnonzero(kept)
    order = order[
        np.lexsort((matches.images[order], -matches.scores[order], matches.categories[order]))
    ]
    (a, t, _), k = matches.outcomes.shape, len(matches.positives)
    borders = np.searchsorted(matches.categories[order], np.arange(k + 1))
    precision, recall = np.full((t, len(_RECALLS), k, a), -1.0), np.full((t, k, a), -1.0)
    for category in np.flatnonzero(matches.positives.any(axis=1)).tolist():
        own = order[borders[category] : borders[category + 1]]
        outcomes = matches.outcomes[:, :, own].reshape(a * t, -1)
        positives = np.repeat(matches.positives[category], t)
        points, last = _curves(outcomes, positives)
        precision[:, :, category] = points.reshape(a, t, -1).transpose(1, 2, 0)
        recall[:, category] = last.reshape(a, t).T
        if category % _CATEGORIES_AT_ONCE == 0:
            between()
    return Curves(precision, recall)


def pooled_precision(matches: Matches, kept: Bools, categories: Bools) -> Floats:
    """float64[T, R]: one curve of the detections of many categories, objects of every size.

    The same scores mean the same over all categories. -1: nothing to be found.

    Args:
        kept: bool[D], detections that take part.
        categories: bool[K], categories that do.
    """
    order = np.flatnonzero(kept & categories[matches.categories])
    order = order[
        np.lexsort((matches.categories[order], matches.images[order], -matches.scores[order]))
    ]
    positives = matches.positives[categories, AREAS["all"]].sum(keepdims=True)
    # One threshold at a time: a row has as many entries as there are detections.
    return np.concatenate(
        [_curves(row[None, order], positives)[0] for row in matches.outcomes[AREAS["all"]]]
    )


def _curves(outcomes: Outcomes, positives: Integers) -> tuple[Floats, Floats]:
    """Precision at each recall point, float64[S, R], and the last recall, float64[S].

    Args:
        outcomes: int8[S, N], the best score first.
        positives: int64[S], the objects to be found; 0: both results are -1.
    """
    s, n = outcomes.shape
    found = np.cumsum(outcomes == MATCHED, axis=1)
    wrong = np.cumsum(outcomes == UNMATCHED, axis=1)
    # 1. Precision after each detection.
    precision = found / (wrong + found + np.spacing(1))
    # 2. Interpolation: the highest precision at this recall or a higher one.
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # 3. At each recall point, the first detection that reaches it. Recall is found / positives;
    #    in whole numbers all curves are searched as one: row by row, `step` apart.
    step = int(positives.max()) + 2
    different, which = np.unique(positives, return_inverse=True)
    needed = np.stack([_needed(count) for count in different.tolist()])[which]
    rows = np.arange(s)[:, None]
    place = np.searchsorted((found + step * rows).ravel(), needed + step * rows) - n * rows
    padded = np.concatenate([precision, np.zeros((s, 1))], axis=1)
    points = np.take_along_axis(padded, np.minimum(place, n), axis=1)
    last = found[:, -1] / np.maximum(positives, 1) if n else np.zeros(s)
    nothing = positives == 0
    return np.where(nothing[:, None], -1.0, points), np.where(nothing, -1.0, last)


def _needed(positives: int) -> Integers:
    """int64[R]: how many objects must be found to reach each recall point."""
    return np.searchsorted(np.arange(positives + 1) / max(1, positives), _RECALLS)
