"""Which detections count: the best of each image, or of each class, of what the truth can judge.

Shapes:
    D: detections.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.detections import Detections
from trainer.ground_truth import GroundTruth, among

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

FIXED_DETECTIONS = 10_000
"""Of each class over the whole test set that AP_fixed and AP_pool count (Dave et al., "Evaluating
Large-Vocabulary Object Detectors", 2021)."""


@dataclass(frozen=True)
class Chosen:
    """The detections that count, by pair of image and category and best first within one.

    Attributes:
        rows: int64[D], among all detections.
        pairs: int64[D], ascending.
        capped: bool[D], those within `max_detections`.
        fixed: bool[D], those within `fixed_detections`.
    """

    rows: Integers
    pairs: Integers
    capped: Bools
    fixed: Bools

    def only(self, these: Bools) -> "Chosen":
        """Those at `these`, bool[D]."""
        return Chosen(self.rows[these], self.pairs[these], self.capped[these], self.fixed[these])


def choose(
    found: Detections,
    truth: GroundTruth,
    max_detections: int,
    fixed_detections: int,
    score_threshold: float = -np.inf,
) -> Chosen:
    """Limits come first, as in the LVIS code; then what the truth cannot judge is dropped.

    A score at `score_threshold` or below is not within `max_detections`.

    A limit keeps the best of every pair. What it drops there comes after what it keeps, so one
    matching holds for all limits.
    """
    for name, limit in (("max_detections", max_detections), ("fixed_detections", fixed_detections)):
        if limit < 1:
            raise ValueError(
                f"{name} must be at least 1, got {limit}: LVIS counts 300 an image, COCO 100, "
                f"AP_fixed {FIXED_DETECTIONS} a class."
            )
    if not np.isfinite(found.scores).all():
        raise ValueError(
            "Every detection's score must be a number, got one that is not: leave it out."
        )
    pairs = truth.pairs_of(found.image_ids, found.category_ids)
    limited = found.image_ids if truth.federated else pairs
    capped = _best_of_each(limited, found.scores, max_detections)
    capped &= found.scores > score_threshold
    fixed = _best_of_each(found.category_ids, found.scores, fixed_detections)
    known = pairs >= 0
    if truth.judged is not None:
        known &= among(pairs, truth.judged)
    rows = np.flatnonzero(known & (capped | (fixed & truth.federated)))
    rows = rows[np.lexsort((-found.scores[rows], pairs[rows]))]
    return Chosen(rows, pairs[rows], capped[rows], fixed[rows])


def _best_of_each(groups: Integers, scores: Floats, count: int) -> Bools:
    """bool[D]: the `count` highest scores of every group; of equals the first stay."""
    kept = np.ones(len(groups), dtype=bool)
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if (sizes > count).any():
        order = np.lexsort((-scores, group))
        first = np.cumsum(sizes) - sizes
        kept[order[np.arange(len(order)) - first[group[order]] >= count]] = False
    return kept
