"""The box and mask heads of Mask R-CNN with FASA: the only file in torchvision's internals.

Shape glossary: B images, N sampled RoIs of all images, P positive ones among them,
C foreground classes, d feature length, S side of the predicted masks.
Boxes are (x1, y1, x2, y2) in pixels of the resized image.

torchvision counts background as 0 and foreground as 1..C; everything else here counts
foreground 0..C-1 and background C. Only this file converts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import RoIHeads, project_masks_on_boxes
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

from fasa_core.fasa import FASA
from trainer.class_statistics import ClassStatistics
from trainer.classification_losses import ClassificationLoss

_SMALLEST_SIDE = 1e-2  # px; torchvision drops thinner detections too


class BoxPredictor(nn.Module):
    """The two branches after the box head: class logits and box offsets.

    FASA feeds virtual features to `classify` alone.
    """

    def __init__(self, classify: nn.Module, feature_dim: int, num_boxes: int) -> None:
        super().__init__()
        self.classify = classify
        self.regress = nn.Linear(feature_dim, 4 * num_boxes)
        nn.init.normal_(self.regress.weight, std=0.001)
        nn.init.zeros_(self.regress.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features [N, d] -> logits [N, K] and box offsets [N, 4] or [N, 4C]."""
        return self.classify(features), self.regress(features)


class MaskPredictor(nn.Module):
    """Upsampling and one mask a RoI: that of its class, or the class-agnostic one.

    Plain Mask R-CNN computes the masks of all classes and then picks one; here only the row of
    the last layer that a RoI needs is applied, with equal values and 1/C of the memory.
    """

    def __init__(self, in_channels: int, channels: int, num_masks: int) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(in_channels, channels, 2, 2)
        self.weight = nn.Parameter(torch.empty(num_masks, channels))
        self.bias = nn.Parameter(torch.zeros(num_masks))
        nn.init.kaiming_normal_(self.upsample.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.upsample.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.weight, std=0.01)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Features [P, c, S/2, S/2] and labels [P] in 0..C-1 -> mask logits [P, S, S]."""
        row = labels if len(self.weight) > 1 else torch.zeros_like(labels)
        hidden = F.relu(self.upsample(features))
        logits = torch.einsum("pchw,pc->phw", hidden, self.weight[row])
        return logits + self.bias[row][:, None, None]


class FASARoIHeads(RoIHeads):
    """torchvision's RoI heads with an exchangeable classification loss and FASA.

    Args:
        num_classes: C.
        cls_loss: the classification loss, see `ClassificationLoss`.
        fasa: feature augmentation, or None for the baseline.
        smooth_l1_beta: where the box loss turns from quadratic to linear; 0 is L1.
        parts: everything torchvision's `RoIHeads` takes.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        cls_loss: ClassificationLoss,
        fasa: FASA | None,
        smooth_l1_beta: float,
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        self.num_classes = num_classes
        self.cls_loss = cls_loss
        self.fasa = fasa
        self.smooth_l1_beta = smooth_l1_beta
        self.statistics = ClassStatistics(num_classes)

    @property
    def stages(self) -> list[FASARoIHeads]:
        """The stages of the detector: these heads alone."""
        return [self]

    @property
    def classifier(self) -> nn.Module:
        """The class branch of the box predictor, the only part virtual features train."""
        classify: nn.Module = self.box_predictor.classify
        return classify

    @property
    def weight_norms(self) -> Tensor:
        """[C] L2 norm of each class's classifier weights (the paper's Figure 4)."""
        weight: Any = self.box_predictor.classify.weight
        norms: Tensor = weight.detach()[: self.num_classes].norm(dim=1)
        return norms

    @property
    def classifier_bias(self) -> Tensor:
        """[C] bias of each class in the classifier."""
        bias: Any = self.box_predictor.classify.bias
        values: Tensor = bias.detach()[: self.num_classes]
        return values

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
        pooled = self.box_roi_pool(features, boxes, image_shapes)
        result: Tensor = self.box_head(pooled)
        return result

    @torch.no_grad()
    def judge(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What the classifier makes of features [N, d] of the classes `labels` [N].

        Returns:
            [N] int64 the class of the highest score, C for background, and [N] the
            classification loss.
        """
        logits = self.box_predictor.classify(features)
        best = self.cls_loss.scores(logits).argmax(dim=1)
        return self._from_torchvision(best), self.cls_loss.per_sample(logits, labels)

    def _losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        proposals, matched, labels, offsets = self.select_training_samples(
            proposals, _as_torchvision(targets)
        )
        box_features = self.box_features(features, proposals, image_shapes)
        logits, predicted = self.box_predictor(box_features)
        ours = self._from_torchvision(torch.cat(labels))
        losses = self._classification_losses(box_features, logits, ours)
        losses["box"] = self._box_loss(predicted, torch.cat(offsets), ours)
        losses["mask"] = self._mask_loss(
            features, proposals, image_shapes, labels, matched, targets
        )
        return losses

    def _classification_losses(
        self, features: Tensor, logits: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        real = self.cls_loss(logits, labels)
        detached = logits.detach()
        self.statistics.add(
            labels, self.cls_loss.per_sample(detached, labels), self.cls_loss.scores(detached)
        )
        if self.fasa is None:
            return {"classifier": real}
        self.fasa.observe(features.detach(), labels)
        virtual = self.fasa.virtual_loss(
            self.box_predictor.classify,
            self.cls_loss,
            real_loss=real,
            real_count=len(labels),
        )
        return {"classifier": real, "virtual": virtual}

    def _box_loss(self, predicted: Tensor, offsets: Tensor, labels: Tensor) -> Tensor:
        """Smooth L1 of the positive RoIs, divided by the number of all sampled RoIs."""
        positive = torch.where(labels < self.num_classes)[0]
        boxes = predicted.reshape(len(predicted), -1, 4)
        row = labels[positive] if boxes.shape[1] > 1 else torch.zeros_like(positive)
        total = F.smooth_l1_loss(
            boxes[positive, row], offsets[positive], beta=self.smooth_l1_beta, reduction="sum"
        )
        return total / max(1, len(labels))

    def _mask_loss(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        labels: list[Tensor],
        matched: list[Tensor],
        targets: list[dict[str, Tensor]],
    ) -> Tensor:
        positive = [torch.where(image_labels > 0)[0] for image_labels in labels]
        boxes = [image_boxes[keep] for image_boxes, keep in zip(proposals, positive, strict=True)]
        classes = torch.cat([image[keep] for image, keep in zip(labels, positive, strict=True)])
        logits: Tensor = self.mask_predictor(
            self.mask_head(self.mask_roi_pool(features, boxes, image_shapes)),
            self._from_torchvision(classes),
        )
        if not len(logits):
            return logits.sum()  # 0, and every parameter still takes part in backward
        wanted = torch.cat(
            [
                project_masks_on_boxes(target["masks"], box, index[keep], logits.shape[-1])
                for target, box, index, keep in zip(targets, boxes, matched, positive, strict=True)
            ]
        )
        return F.binary_cross_entropy_with_logits(logits, wanted)

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
        theirs = _as_torchvision(targets)
        boxes = [target["boxes"] for target in theirs]
        candidates = self.add_gt_proposals(proposals, boxes)
        _, labels = self.assign_targets_to_proposals(
            candidates, boxes, [target["labels"] for target in theirs]
        )
        keep = [
            self._sample_rois(image_labels, int(target["image_id"]) if same_rois else None)
            for image_labels, target in zip(labels, targets, strict=True)
        ]
        sampled = [box[index] for box, index in zip(candidates, keep, strict=True)]
        box_features = self.box_features(features, sampled, image_shapes)
        ours = self._from_torchvision(
            torch.cat([label[index] for label, index in zip(labels, keep, strict=True)])
        )
        losses = self.cls_loss.per_sample(self.box_predictor.classify(box_features), ours)
        loss_sum = torch.zeros(self.num_classes + 1, dtype=torch.float64, device=losses.device)
        loss_sum.index_add_(0, ours, losses.double())
        return loss_sum[None], torch.bincount(ours, minlength=self.num_classes + 1)[None]

    def _sample_rois(self, labels: Tensor, seed: int | None) -> Tensor:
        """Indices of at most `batch_size_per_image` RoIs, positives first up to their share."""
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        total = self.fg_bg_sampler.batch_size_per_image
        most = int(total * self.fg_bg_sampler.positive_fraction)
        positive = _shuffled(torch.where(labels >= 1)[0], generator)[:most]
        negative = _shuffled(torch.where(labels == 0)[0], generator)[: total - len(positive)]
        return torch.cat([positive, negative])

    def _detect(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        box_features = self.box_features(features, proposals, image_shapes)
        logits, offsets = self.box_predictor(box_features)
        sizes = [len(image) for image in proposals]
        decoded = self.box_coder.decode(offsets, proposals)
        results = [
            self._select(scores, boxes, shape)
            for scores, boxes, shape in zip(
                self.cls_loss.scores(logits)[:, 1:].split(sizes),  # type: ignore[no-untyped-call]
                decoded.split(sizes),
                image_shapes,
                strict=True,
            )
        ]
        logits = self.mask_predictor(
            self.mask_head(
                self.mask_roi_pool(features, [r["boxes"] for r in results], image_shapes)
            ),
            torch.cat([result["labels"] for result in results]),
        )
        counts = [len(result["labels"]) for result in results]
        for result, mask in zip(results, torch.split(logits.sigmoid(), counts), strict=True):
            result["masks"] = mask[:, None]
        return results

    def _select(
        self, scores: Tensor, boxes: Tensor, image_shape: tuple[int, int]
    ) -> dict[str, Tensor]:
        """The detections of one image from scores [N, C] and boxes [N, 1 or C, 4]."""
        roi, label = torch.where(scores > self.score_thresh)
        row = label if boxes.shape[1] > 1 else torch.zeros_like(label)
        box = clip_boxes_to_image(boxes[roi, row], image_shape)
        score = scores[roi, label]
        keep = remove_small_boxes(box, _SMALLEST_SIDE)
        box, score, label = box[keep], score[keep], label[keep]
        keep = batched_nms(box, score, label, self.nms_thresh)[: self.detections_per_img]
        return {"boxes": box[keep], "scores": score[keep], "labels": label[keep]}

    def _from_torchvision(self, labels: Tensor) -> Tensor:
        """Background 0, foreground 1..C -> foreground 0..C-1, background C."""
        return (labels - 1) % (self.num_classes + 1)


def _as_torchvision(targets: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    return [{**target, "labels": target["labels"] + 1} for target in targets]


def _shuffled(values: Tensor, generator: torch.Generator | None) -> Tensor:
    order = torch.randperm(len(values), generator=generator)
    return values[order.to(values.device)]
