"""The RoI heads of Mask R-CNN and Cascade Mask R-CNN with FASA, called by torchvision.

Mask R-CNN has one stage. In a cascade every stage starts from the boxes of the one before, asks
for a higher IoU with an object and measures boxes in finer units; each has a classifier with a FASA
of its own, a box regressor and a mask branch (METHODS section 8; Cai and Vasconcelos, "Cascade
R-CNN", as mmdetection trains it).

Shape glossary: S stages, n RoIs of one image, N of all images, C foreground classes, d feature
length, M side of the predicted masks. Boxes are (x1, y1, x2, y2) in pixels of the resized image.

torchvision counts background as 0 and foreground as 1..C; everything here counts foreground
0..C-1 and background C, except that `ClassificationLoss.scores` puts background first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from trainer.box_stage import BoxStage, image_seeds
from trainer.detection_selection import BoxesOf, DetectionLimits, select_detections
from trainer.mask_branch import MaskBranch
from trainer.mixed_precision import in_float32
from trainer.roi_sampling import SampledRoIs

_MASKS_AT_ONCE = 100  # RoIs whose masks are computed together: about 2 MB each with 256 channels


class RoIStage(nn.Module):
    """One stage of the heads.

    Args:
        box: its box stage.
        mask: its mask branch, trained on the stage's positive RoIs.
        loss_weight: of all its losses, those of virtual features and masks included.
    """

    def __init__(self, *, box: BoxStage, mask: MaskBranch, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.box = box
        self.mask = mask
        self.loss_weight = loss_weight


class FASARoIHeads(nn.Module):
    """One stage, or several after one another.

    Training: each later stage samples among the boxes that the one before made of its own RoIs
    (without the objects' boxes appended there) and, once more, the objects' boxes. Its losses' keys
    end in the stage's number. Test: the scores are those of the mean of all stages' logits, the
    boxes are the last stage's, the masks the mean of all stages' probabilities.

    `box_features` and `judge` are the first stage's.

    Args:
        stages: first to last.
        limits: what scored boxes have to be to be detections.
    """

    def __init__(self, *, stages: Sequence[RoIStage], limits: DetectionLimits) -> None:
        super().__init__()
        self.box = stages[0].box
        self.mask = stages[0].mask
        self.later = nn.ModuleList(stages[1:])
        self.loss_weights = tuple(stage.loss_weight for stage in stages)
        self.limits = limits

    @property
    def stages(self) -> list[BoxStage]:
        """The box stages, first to last."""
        return [self.box, *(cast(RoIStage, stage).box for stage in self.later)]

    @property
    def masks(self) -> list[MaskBranch]:
        """The mask branches of the stages."""
        return [self.mask, *(cast(RoIStage, stage).mask for stage in self.later)]

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """In training the losses, each under its own key; else the detections, labels 0..C-1."""
        if self.training:
            if targets is None:
                raise ValueError("training needs targets: pass them with the images")
            return [], self._losses(features, proposals, image_shapes, targets)
        return self._detect(features, proposals, image_shapes), {}

    def box_features(
        self,
        features: dict[str, Tensor],
        boxes: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> Tensor:
        """[N, d] what classifier and box regressor see of the boxes [n, 4] of each image."""
        return self.box.features(features, boxes, image_shapes)

    def judge(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What the classifier makes of features, see `BoxStage.judge`."""
        return self.box.judge(features, labels)

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
        """Per-class classification loss, without a trace in the prior or any loss state.

        With `same_rois` the RoIs of an image are sampled with a generator seeded by the image's
        id, so that every epoch sees the same draw; else with torch's own generator.

        Returns:
            [S, C + 1] float64 loss sums, without the stages' weights, and [S, C + 1] int64 RoI
            counts; the last entry is background.
        """
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

    def _detect(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """Boxes, scores, labels and masks [n, 1, M, M], probabilities, of each image."""
        scores, box_features, boxes = self._scored(features, proposals, image_shapes)
        sizes = [len(image) for image in boxes]
        results = [
            select_detections(image_scores, self._decoder(*image), shape, self.limits)
            for image_scores, *image, shape in zip(
                scores.split(sizes),  # type: ignore[no-untyped-call]
                box_features.split(sizes),  # type: ignore[no-untyped-call]
                boxes,
                image_shapes,
                strict=True,
            )
        ]
        found = [result["boxes"] for result in results]
        labels = torch.cat([result["labels"] for result in results])
        masks = self._mask_probabilities(features, found, labels, image_shapes)
        counts = [len(image) for image in found]
        for result, mask in zip(results, torch.split(masks, counts), strict=True):
            result["masks"] = mask[:, None]
        return results

    def _scored(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Of all proposals the scores [N, C], and what the last stage makes their boxes of.

        Returns:
            the scores, the last stage's features [N, d] and the boxes [n, 4] of each image that
            they belong to.
        """
        logits = []
        for stage in self.stages:
            box_features = stage.features(features, proposals, image_shapes)
            logits.append(stage.logits(box_features))
            if len(logits) < len(self.stages):
                proposals = _refined(stage, box_features, proposals, image_shapes)
        scores = self.stages[-1].cls_loss.scores(torch.stack(logits).mean(dim=0))
        return scores[:, 1:], box_features, proposals

    def _decoder(self, features: Tensor, boxes: Tensor) -> BoxesOf:
        """The last stage's boxes of one image, from features [n, d] and boxes [n, 4].

        The offsets of all classes are there for one image at a time; only the boxes of candidates
        are made of them.
        """
        last = self.stages[-1]
        with in_float32(features):
            offsets = last.predictor.regress(features)
        offsets = offsets.view(len(boxes), last.predictor.num_boxes, 4)

        def boxes_of(roi: Tensor, label: Tensor) -> Tensor:
            row = label if last.predictor.num_boxes > 1 else torch.zeros_like(label)
            decoded: Tensor = last.coder.decode_single(offsets[roi, row], boxes[roi])
            return decoded

        return boxes_of

    def _mask_probabilities(
        self,
        features: dict[str, Tensor],
        boxes: list[Tensor],
        labels: Tensor,
        image_shapes: list[tuple[int, int]],
    ) -> Tensor:
        """[N, M, M] for boxes [n, 4] of each image with labels [N], some at a time."""
        image = torch.cat([torch.full((len(own),), number) for number, own in enumerate(boxes)])
        every_box = torch.cat(boxes)
        parts = []
        for rows in torch.arange(len(labels)).split(_MASKS_AT_ONCE):  # type: ignore[no-untyped-call]
            own = [every_box[rows[image[rows] == number]] for number in range(len(boxes))]
            logits = [branch(features, own, labels[rows], image_shapes) for branch in self.masks]
            parts.append(torch.stack(logits).sigmoid().mean(dim=0))
        return torch.cat(parts)


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
