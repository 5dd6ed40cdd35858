"""Which detection found which true object: COCO's matching at IoU 0.5, and what is left of it.

Detections are taken best first. Each finds the free true object of its own class that it overlaps
most; that is COCO's rule and decides AP50. Then those left over that lie on a true object of
another class which nothing found are confusions with it. What is left of the true objects was
missed, what is left of the detections are false alarms.

Pure. Shapes:
    N: detections of one image, best first.  M: its true objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ENOUGH = 0.5 - 1e-10  # IoU of a match; below 0.5 by the rounding that COCO's code allows, too

# What became of a detection, and of a true object. Crowd: a region of many objects, where
# detections count neither as right nor as wrong.
RIGHT, CONFUSED, FALSE_ALARM, ON_CROWD, UNJUDGED = (
    "right", "confused", "false alarm", "on crowd", "not judged",
)  # fmt: skip
FOUND, MISSED, CROWD = "found", "missed", "crowd"


@dataclass(frozen=True)
class Overlaps:
    """What one image's detections and true objects have to do with each other.

    Attributes:
        detected: int[N], classes of the detections, best first.
        scores: float[N], falling.
        true: int[M], classes of the true objects.
        crowd: bool[M], whether it is a region of many objects.
        iou: float[N, M], 0..1; for a crowd the share of the detection that lies in it.
    """

    detected: NDArray[np.int64]
    scores: NDArray[np.float64]
    true: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    iou: NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """What became of one image's detections and true objects.

    Attributes:
        detections: one word for each of the n <= N detections that reach the score.
        partners: the true object each of them belongs to, -1 for none.
        objects: one word for each of the M true objects.
        finders: the detection that found it or was confused with it, -1 for none.
        confusions: (true class, detected class) of each confusion.
    """

    detections: tuple[str, ...]
    partners: tuple[int, ...]
    objects: tuple[str, ...]
    finders: tuple[int, ...]
    confusions: tuple[tuple[int, int], ...]


def judge(
    overlaps: Overlaps, *, least_score: float, judged: Collection[int] | None = None
) -> Verdict:
    """Match one image.

    Args:
        overlaps: of the image.
        least_score: detections below it are left out first.
        judged: the classes whose left-over detections are false alarms; whether those of the
            others are is not known, as LVIS labels an image with some classes only. None: all.
    """
    count = int(np.count_nonzero(overlaps.scores >= least_score))  # they come first
    own = overlaps.true[None, :] == overlaps.detected[:count, None]
    finders = np.full(len(overlaps.true), -1)
    partners = np.full(count, -1)
    words = [""] * count
    crowd = overlaps.crowd
    near = np.flatnonzero((overlaps.iou[:count] >= ENOUGH).any(axis=1)).tolist()
    for index in near:
        iou = overlaps.iou[index]
        at = _best(iou, own[index] & ~crowd & (finders < 0))
        if at >= 0:
            words[index], partners[index], finders[at] = RIGHT, at, index
        elif (at := _best(iou, own[index] & crowd)) >= 0:
            words[index], partners[index] = ON_CROWD, at
    found = finders >= 0
    confusions = []
    for index in near:
        if words[index]:
            continue
        at = _best(overlaps.iou[index], ~own[index] & ~crowd & (finders < 0))
        if at >= 0:
            words[index], partners[index], finders[at] = CONFUSED, at, index
            confusions.append((int(overlaps.true[at]), int(overlaps.detected[index])))
    for index, word in enumerate(words):
        if not word:
            known = judged is None or int(overlaps.detected[index]) in judged
            words[index] = FALSE_ALARM if known else UNJUDGED
    objects = np.where(
        crowd, CROWD, np.where(found, FOUND, np.where(finders < 0, MISSED, CONFUSED))
    )
    return Verdict(tuple(words), tuple(partners.tolist()), tuple(objects.tolist()),
                   tuple(finders.tolist()), tuple(confusions))  # fmt: skip


def _best(iou: NDArray[np.float64], allowed: NDArray[np.bool_]) -> int:
    """The allowed object of the largest IoU of at least 0.5, the last of equals; -1 for none."""
    candidates = np.where(allowed & (iou >= ENOUGH), iou, -1.0)[::-1]
    if not len(candidates) or candidates.max() < 0:
        return -1
    return len(candidates) - 1 - int(candidates.argmax())


def count_confusions(verdicts: Iterable[Verdict]) -> list[tuple[int, int, int]]:
    """(true class, detected class, how often) over images, most often first."""
    counts = Counter(pair for verdict in verdicts for pair in verdict.confusions)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(true, detected, count) for (true, detected), count in ordered]


def box_iou(
    detected: NDArray[np.float64], true: NDArray[np.float64], crowd: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Overlap of boxes as COCO counts it.

    Args:
        detected: [N, 4] and
        true: [M, 4], corners x1, y1, x2, y2 in pixels.
        crowd: bool[M].

    Returns:
        [N, M] intersection over union; over the detection's own area where `crowd`.
    """
    low = np.maximum(detected[:, None, :2], true[None, :, :2])
    high = np.minimum(detected[:, None, 2:], true[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1)
             for boxes in (detected, true)]  # fmt: skip
    whole = np.where(crowd, areas[0][:, None], areas[0][:, None] + areas[1] - shared)
    iou: NDArray[np.float64] = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
    return iou
