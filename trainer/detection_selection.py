"""Which of a detector's scored boxes are its detections: threshold, non-maximum suppression, cap.

Equal to what torchvision's detectors keep, at a cost that follows what is kept: at 1,203 classes
and a threshold of 1e-4, 1,000 proposals may give a million candidates, of which 300 stay.

Shapes:
    n: proposals of one image.  C: foreground classes.  k: candidates among the n * C.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image, nms, remove_small_boxes

BoxesOf = Callable[[Tensor, Tensor], Tensor]
"""Proposals int64[k] and classes int64[k] -> the decoded boxes [k, 4], corners in pixels."""

_SMALLEST_SIDE = 1e-2  # px; torchvision drops thinner detections too
_FIRST_CANDIDATES = 4096  # the best that are looked at, before more are
_GROWTH = 4
# Up to here torchvision keeps classes apart by moving them away from each other, which rounds
# their boxes; above it suppresses class by class, as is done here, only faster.
_FEW_CANDIDATES = 1000


@dataclass(frozen=True)
class DetectionLimits:
    """What scored boxes have to be to be detections.

    Attributes:
        score_threshold: they have a higher score.
        nms_threshold: of two boxes of a class with a higher IoU the worse goes.
        most: detections kept of an image.
        floors: float[C]; those after the `above_floors` best of an image have a higher score than
            their class's. None: no such rule.
        above_floors: see `floors`.
    """

    score_threshold: float
    nms_threshold: float
    most: int
    floors: Tensor | None = None
    above_floors: int = 0


def select_detections(
    scores: Tensor, boxes_of: BoxesOf, image_shape: tuple[int, int], limits: DetectionLimits
) -> dict[str, Tensor]:
    """The detections of one image, best first.

    Candidates are looked at in the order of their scores, first only the best few thousand. A box
    is suppressed by better ones alone, so that what these give is final, and more are looked at
    only where too few are left of them.

    Args:
        scores: float[n, C].
        boxes_of: decodes the boxes of candidates.
        image_shape: height and width, to which boxes are clipped.
        limits: what detections have to be.

    Returns:
        `boxes` [m, 4], `scores` [m], `labels` int64[m] in 0..C-1.
    """
    passing = torch.where((scores > limits.score_threshold).flatten())[0]
    passing_scores = scores.flatten()[passing]
    count = max(_FIRST_CANDIDATES, _GROWTH * limits.most)
    while True:
        best = passing
        if count < len(passing):
            best = passing[passing_scores.topk(count).indices.sort().values]
        found = _suppressed(scores, boxes_of, best, image_shape, limits.nms_threshold)
        if len(found["scores"]) >= limits.most or len(best) == len(passing):
            break
        count *= _GROWTH
    found = {name: values[: limits.most] for name, values in found.items()}
    if limits.floors is None:
        return found
    stays = found["scores"] > limits.floors[found["labels"]]
    stays[: limits.above_floors] = True
    return {name: values[stays] for name, values in found.items()}


def _suppressed(
    scores: Tensor,
    boxes_of: BoxesOf,
    candidates: Tensor,
    image_shape: tuple[int, int],
    nms_threshold: float,
) -> dict[str, Tensor]:
    """What is left of `candidates`, indices int64[k] into the flat scores, best first."""
    proposal, label = candidates // scores.shape[1], candidates % scores.shape[1]
    box = clip_boxes_to_image(boxes_of(proposal, label), image_shape)
    large = remove_small_boxes(box, _SMALLEST_SIDE)
    box, label, score = box[large], label[large], scores[proposal[large], label[large]]
    suppress = batched_nms if len(box) <= _FEW_CANDIDATES else _nms_of_classes
    keep = suppress(box, score, label, nms_threshold)
    return {"boxes": box[keep], "scores": score[keep], "labels": label[keep]}


def _nms_of_classes(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Indices int64 of the boxes that stay, best first; on the processor, which runs ahead of a GPU
    where there are hundreds of small classes."""
    on_cpu, score = boxes.cpu(), scores.cpu()
    by_class = labels.cpu().argsort(stable=True)
    sizes = torch.bincount(labels.cpu()).tolist()
    kept = [
        rows[nms(on_cpu[rows], score[rows], threshold)] if len(rows) > 1 else rows
        for rows in by_class.split(sizes)  # type: ignore[no-untyped-call]
        if len(rows)
    ]
    stay = torch.cat(kept).sort().values
    return stay[score[stay].sort(descending=True).indices].to(boxes.device)
