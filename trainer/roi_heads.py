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
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

from trainer.box_stage import BoxStage, image_seeds
from trainer.mask_branch import MaskBranch

_SMALLEST_SIDE = 1e-2  # px; torchvision drops thinner detections too


class FASARoIHeads(nn.Module):
    """One box stage and a mask branch.

    Args:
        box: the box stage.
        mask: the mask branch; it trains on the stage's positive RoIs.
        score_threshold: detections below are dropped.
        nms_threshold: IoU of non-maximum suppression.
        detections_per_image: most detections kept.
    """

    def __init__(
        self,
        *,
        box: BoxStage,
        mask: MaskBranch,
        score_threshold: float,
        nms_threshold: float,
        detections_per_image: int,
    ) -> None:
        super().__init__()
        self.box = box
        self.mask = mask
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.detections_per_image = detections_per_image

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

    def _detect(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        scores, boxes = self._scored_boxes(features, proposals, image_shapes)
        sizes = [len(image) for image in proposals]
        results = [
            self._select(*image)
            for image in zip(
                scores.split(sizes),  # type: ignore[no-untyped-call]
                boxes.split(sizes),  # type: ignore[no-untyped-call]
                image_shapes,
                strict=True,
            )
        ]
        masks = self._masks(
            features,
            [result["boxes"] for result in results],
            torch.cat([result["labels"] for result in results]),
            image_shapes,
        )
        counts = [len(result["labels"]) for result in results]
        for result, mask in zip(results, torch.split(masks, counts), strict=True):
            result["masks"] = mask[:, None]
        return results

    def _masks(
        self,
        features: dict[str, Tensor],
        boxes: list[Tensor],
        labels: Tensor,
        image_shapes: list[tuple[int, int]],
    ) -> Tensor:
        """Boxes [n, 4] of each image and labels [P] -> probabilities [P, S, S]."""
        logits: Tensor = self.mask(features, boxes, labels, image_shapes)
        return logits.sigmoid()

    def _scored_boxes(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> tuple[Tensor, Tensor]:
        """Of all proposals the scores [N, C] and the boxes [N, 1 or C, 4]."""
        box_features = self.box.features(features, proposals, image_shapes)
        logits, offsets = self.box.predictor(box_features)
        boxes: Tensor = self.box.coder.decode(offsets, proposals)
        return self.box.cls_loss.scores(logits)[:, 1:], boxes

    def _select(
        self, scores: Tensor, boxes: Tensor, image_shape: tuple[int, int]
    ) -> dict[str, Tensor]:
        """The detections of one image from scores [N, C] and boxes [N, 1 or C, 4]."""
        roi, label = torch.where(scores > self.score_threshold)
        row = label if boxes.shape[1] > 1 else torch.zeros_like(label)
        box = clip_boxes_to_image(boxes[roi, row], image_shape)
        score = scores[roi, label]
        keep = remove_small_boxes(box, _SMALLEST_SIDE)
        box, score, label = box[keep], score[keep], label[keep]
        keep = batched_nms(box, score, label, self.nms_threshold)[: self.detections_per_image]
        return {"boxes": box[keep], "scores": score[keep], "labels": label[keep]}
