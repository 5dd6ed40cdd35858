"""The RoI heads of Mask R-CNN with FASA: a box stage and a mask branch, called by torchvision.

Shape glossary: n RoIs of one image, N of all images, C foreground classes, d feature length, S
side of the predicted masks. Boxes are (x1, y1, x2, y2) in pixels of the resized image.

torchvision counts background as 0 and foreground as 1..C; everything here counts foreground
0..C-1 and background C, except that `ClassificationLoss.scores` puts background first.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainer.box_stage import BoxStage, image_seeds
from trainer.detection_selection import BoxesOf, DetectionLimits, select_detections
from trainer.mask_branch import MaskBranch
from trainer.mixed_precision import in_float32

_MASKS_AT_ONCE = 100  # RoIs whose masks are computed together: about 2 MB each with 256 channels


class FASARoIHeads(nn.Module):
    """One box stage and a mask branch.

    Args:
        box: the box stage.
        mask: the mask branch; it trains on the stage's positive RoIs.
        limits: what scored boxes have to be to be detections.
    """

    def __init__(self, *, box: BoxStage, mask: MaskBranch, limits: DetectionLimits) -> None:
        super().__init__()
        self.box = box
        self.mask = mask
        self.limits = limits

    @property
    def stages(self) -> Sequence[BoxStage]:
        """The stages of the detector: its one box stage."""
        return [self.box]

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
        rois = self.box.sampler.sample(proposals, targets)
        losses = self.box.losses(self.box.features(features, rois.boxes, image_shapes), rois)
        losses["mask"] = self.mask.loss(features, rois, image_shapes, targets)
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
            [1, C + 1] float64 loss sums and [1, C + 1] int64 RoI counts of this one stage; the last
            entry is background.
        """
        seeds = image_seeds(targets) if same_rois else None
        rois = self.box.sampler.sample(proposals, targets, seeds=seeds)
        box_features = self.box.features(features, rois.boxes, image_shapes)
        loss_sum, count = self.box.class_losses(box_features, rois.labels)
        return loss_sum[None], count[None]

    @property
    def masks(self) -> Sequence[MaskBranch]:
        """The mask branches whose mean is predicted: the one there is."""
        return [self.mask]

    def _detect(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """Boxes, scores, labels and masks [n, 1, S, S], probabilities, of each image."""
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
        box_features = self.box.features(features, proposals, image_shapes)
        scores = self.box.cls_loss.scores(self.box.logits(box_features))
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
        """[N, S, S] for boxes [n, 4] of each image with labels [N], some at a time."""
        image = torch.cat([torch.full((len(own),), number) for number, own in enumerate(boxes)])
        every_box = torch.cat(boxes)
        parts = []
        for rows in torch.arange(len(labels)).split(_MASKS_AT_ONCE):  # type: ignore[no-untyped-call]
            own = [every_box[rows[image[rows] == number]] for number in range(len(boxes))]
            logits = [branch(features, own, labels[rows], image_shapes) for branch in self.masks]
            parts.append(torch.stack(logits).sigmoid().mean(dim=0))
        return torch.cat(parts)
