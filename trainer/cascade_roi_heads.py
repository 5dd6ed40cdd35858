"""The RoI heads of Cascade Mask R-CNN: every stage starts from the boxes of the one before.

Its stages ask for ever higher IoU with an object and measure boxes in ever finer units; each has a
classifier with a FASA of its own, a box regressor and a mask branch (METHODS section 8; Cai and
Vasconcelos, "Cascade R-CNN", as mmdetection trains it).

Shape glossary: S stages, n RoIs of one image, N of all images, C foreground classes. Boxes are
(x1, y1, x2, y2) in pixels of the resized image; labels are 0..C-1, background C.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from trainer.box_stage import BoxStage, image_seeds
from trainer.detection_selection import DetectionLimits
from trainer.mask_branch import MaskBranch
from trainer.roi_heads import FASARoIHeads
from trainer.roi_sampling import SampledRoIs


@dataclass(frozen=True)
class StageSettings:
    """What a stage of the cascade has of its own.

    Attributes:
        iou: with an object, from which on a RoI is positive; with less it is background.
        box_deviations: what box offsets (x, y, w, h) are divided by: their usual size.
        loss_weight: of all its losses, those of virtual features and masks included.
    """

    iou: float
    box_deviations: tuple[float, float, float, float]
    loss_weight: float

    @property
    def box_weights(self) -> tuple[float, float, float, float]:
        """The same as torchvision counts it: what box offsets are multiplied by."""
        x, y, w, h = self.box_deviations
        return 1 / x, 1 / y, 1 / w, 1 / h


CASCADE = (
    StageSettings(0.5, (0.1, 0.1, 0.2, 0.2), 1.0),
    StageSettings(0.6, (0.05, 0.05, 0.1, 0.1), 0.5),
    StageSettings(0.7, (0.033, 0.033, 0.067, 0.067), 0.25),
)


class CascadeStage(nn.Module):
    """One stage after the first.

    Args:
        box: its box stage.
        mask: its mask branch, trained on the stage's positive RoIs.
    """

    def __init__(self, *, box: BoxStage, mask: MaskBranch) -> None:
        super().__init__()
        self.box = box
        self.mask = mask


class CascadeRoIHeads(FASARoIHeads):
    """The heads of Mask R-CNN as the first stage, and more stages after it.

    Training: each stage samples among the boxes that the one before made of its own RoIs (without
    the objects' boxes appended there) and, once more, the objects' boxes. Its losses are times its
    weight; from the second stage on their keys end in the stage's number. Test: the scores
    are those of the mean of all stages' logits, the boxes are the last stage's, the masks the
    mean of all stages' probabilities.

    As in Mask R-CNN, `box_features` and `judge` are the first stage's.

    Args:
        first: the first stage.
        later: the others, in their order.
        loss_weights: [S] of the stages' losses.
        limits: what scored boxes have to be to be detections.
    """

    def __init__(
        self,
        *,
        first: CascadeStage,
        later: Sequence[CascadeStage],
        loss_weights: Sequence[float],
        limits: DetectionLimits,
    ) -> None:
        super().__init__(box=first.box, mask=first.mask, limits=limits)
        self.later = nn.ModuleList(later)
        self.loss_weights = tuple(loss_weights)

    @property
    def stages(self) -> list[BoxStage]:
        """The box stages, first to last."""
        return [self.box, *(cast(CascadeStage, stage).box for stage in self.later)]

    @property
    def masks(self) -> list[MaskBranch]:
        """The mask branches of the stages."""
        return [self.mask, *(cast(CascadeStage, stage).mask for stage in self.later)]

    def _losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        sampled = self._sampled(features, proposals, image_shapes, targets, seeds=None)
        for number, (rois, box_features) in enumerate(sampled):
            of_stage = self.stages[number].losses(box_features, rois)
            of_stage["mask"] = self.masks[number].loss(features, rois, image_shapes, targets)
            for name, value in of_stage.items():
                key = f"{name}/{number + 1}" if number else name
                losses[key] = self.loss_weights[number] * value
        return losses

    @torch.no_grad()
    def validation_losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]],
        *,
        same_rois: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """As of `FASARoIHeads`, of every stage and without its weight: [S, C + 1] each."""
        seeds = image_seeds(targets) if same_rois else None
        sampled = self._sampled(features, proposals, image_shapes, targets, seeds=seeds)
        found = [
            stage.class_losses(box_features, rois.labels)
            for stage, (rois, box_features) in zip(self.stages, sampled, strict=True)
        ]
        loss_sum, count = zip(*found, strict=True)
        return torch.stack(loss_sum), torch.stack(count)

    def _sampled(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]],
        *,
        seeds: Sequence[int] | None,
    ) -> Iterator[tuple[SampledRoIs, Tensor]]:
        """Of each stage the RoIs it samples and their features [N, d].

        What is done with them before the next stage is asked for does not change its boxes.
        """
        for number, stage in enumerate(self.stages):
            rois = stage.sampler.sample(proposals, targets, seeds=seeds)
            box_features = stage.features(features, rois.boxes, image_shapes)
            yield rois, box_features
            if number + 1 < len(self.stages):
                moved = _refined(stage, box_features, rois.boxes, image_shapes, rois.labels)
                own = (~rois.appended).split(rois.sizes)  # type: ignore[no-untyped-call]
                proposals = [box[keep] for box, keep in zip(moved, own, strict=True)]

    def _scored(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """As of `FASARoIHeads`: the scores are those of the mean of all stages' logits."""
        logits = []
        for stage in self.stages:
            box_features = stage.features(features, proposals, image_shapes)
            logits.append(stage.logits(box_features))
            if len(logits) < len(self.stages):
                proposals = _refined(stage, box_features, proposals, image_shapes)
        scores = self.stages[-1].cls_loss.scores(torch.stack(logits).mean(dim=0))
        return scores[:, 1:], box_features, proposals


@torch.no_grad()
def _refined(
    stage: BoxStage,
    features: Tensor,
    boxes: list[Tensor],
    image_shapes: list[tuple[int, int]],
    labels: Tensor | None = None,
) -> list[Tensor]:
    """The boxes [n, 4] that a stage makes of boxes [n, 4] with features [N, d], in the image.

    Where each class has a box of its own, that of a RoI's label [N] is taken, and without one (in
    tests, and for background) that of the class with the highest score.
    """
    rows = torch.zeros(len(features), dtype=torch.int64, device=features.device)
    if stage.predictor.num_boxes > 1:
        rows = stage.cls_loss.scores(stage.logits(features))[:, 1:].argmax(dim=1)
        if labels is not None:
            rows = torch.where(labels < stage.num_classes, labels, rows)
    all_rois = torch.arange(len(features), device=features.device)
    offsets = stage.predictor.own_offsets(features, rows, all_rois)
    moved = stage.coder.decode_single(offsets, torch.cat(boxes))
    sizes = [len(image) for image in boxes]
    return [
        clip_boxes_to_image(image, shape)
        for image, shape in zip(moved.split(sizes), image_shapes, strict=True)  # type: ignore[no-untyped-call]
    ]
