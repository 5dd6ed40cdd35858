"""Detections for AP_fixed and AP_pool: without a cap per image, in bounded memory.

AP_fixed counts the 10,000 best detections of every class over the whole test set, however many of
them one image has (Dave et al., "Evaluating Large-Vocabulary Object Detectors", 2021). What is
found is thinned out as it comes, and what could no longer be among the best is not given a mask.

Shapes:
    D: detections kept.  N: detections of one image.  C: classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.chosen_detections import FIXED_DETECTIONS
from trainer.detection_selection import DetectionLimits
from trainer.detections import DetectionCollector, Detections
from trainer.mask_pasting import RunLengths

LOWEST_SCORE = 1e-7
MOST_OF_AN_IMAGE = 10_000  # for which masks are made at all

_GROWTH = 1.5  # of what is kept, before it is thinned out again
_LEAST_THINNED = 100_000  # detections


class UncappedCollector:
    """Keeps the best detections of every class, and of every image those the usual AP counts.

    Args:
        category_ids: int[C], the annotation file's id of each class index.
        best_of_image: the usual cap per image.
        best_of_class: over all images.
        device: where `floors` are.
    """

    def __init__(
        self,
        category_ids: Sequence[int],
        *,
        best_of_image: int,
        best_of_class: int = FIXED_DETECTIONS,
        device: torch.device | str = "cpu",
    ) -> None:
        self._category_ids = list(category_ids)
        self._best_of_image = best_of_image
        self._best_of_class = best_of_class
        self._kept = Detections.of([])
        self._always = np.empty(0, dtype=bool)  # [D], whatever comes, as the usual AP counts it
        self._new = DetectionCollector(self._category_ids)
        self._new_always: list[npt.NDArray[np.bool_]] = []
        self._num_new = 0
        self.floors = torch.zeros(len(category_ids), device=device)
        """float[C]: a detection that the usual AP does not count needs a higher score."""

    def limits(self, nms_threshold: float) -> DetectionLimits:
        """What a detector is to find for this collector; follows `floors`."""
        return DetectionLimits(
            score_threshold=LOWEST_SCORE,
            nms_threshold=nms_threshold,
            most=MOST_OF_AN_IMAGE,
            floors=self.floors,
            above_floors=self._best_of_image,
        )

    def add(
        self,
        image_id: int,
        *,
        boxes: Tensor,
        scores: Tensor,
        labels: Tensor,
        masks: Sequence[RunLengths],
    ) -> None:
        """As of `DetectionCollector`, all detections of an image at once and best first."""
        self._new.add(image_id, boxes=boxes, scores=scores, labels=labels, masks=masks)
        self._new_always.append(np.arange(len(scores)) < self._best_of_image)
        self._num_new += len(scores)
        if self._num_new > max(_LEAST_THINNED, (_GROWTH - 1) * len(self._kept)):
            self._thin()

    @property
    def records(self) -> Detections:
        """What is kept, in the order it came."""
        self._thin()
        return self._kept

    def _thin(self) -> None:
        everything = Detections.joined([self._kept, self._new.records])
        always = np.concatenate([self._always, *self._new_always])
        self._new, self._new_always, self._num_new = DetectionCollector(self._category_ids), [], 0
        order = np.lexsort((-everything.scores, everything.category_ids))
        ids, first, sizes = np.unique(
            everything.category_ids[order], return_index=True, return_counts=True
        )
        rank = np.arange(len(order)) - np.repeat(first, sizes)
        kept = always.copy()
        kept[order[rank < self._best_of_class]] = True
        full = sizes >= self._best_of_class
        lowest = everything.scores[order[first[full] + self._best_of_class - 1]]
        label_of = {category_id: label for label, category_id in enumerate(self._category_ids)}
        for category_id, score in zip(ids[full].tolist(), lowest.tolist(), strict=True):
            self.floors[label_of[category_id]] = score
        rows = np.flatnonzero(kept)
        self._kept, self._always = everything.taken(rows), always[rows]
