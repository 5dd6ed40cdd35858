"""A box stage: what Mask R-CNN does once with its RoIs, and a cascade three times.

It samples RoIs, pools and embeds them, classifies them (with FASA) and regresses their boxes.

Shape glossary: n RoIs of one image, N of all images, P positive ones among them, C foreground
classes, d feature length, K logits a RoI. Boxes are (x1, y1, x2, y2) in pixels of the resized
image; labels are 0..C-1 for foreground and C for background.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import MultiScaleRoIAlign

from fasa_core.fasa import FASA
from trainer.class_statistics import ClassStatistics
from trainer.classification_losses import ClassificationLoss
from trainer.mixed_precision import in_float32
from trainer.roi_sampling import RoISampler, SampledRoIs


class BoxPredictor(nn.Module):
    """The two branches after the box head: class logits and box offsets.

    FASA feeds virtual features to `classify` alone.
    """

    def __init__(self, classify: nn.Module, feature_dim: int, num_boxes: int) -> None:
        super().__init__()
        self.classify = classify
        self.num_boxes = num_boxes
        self.regress = nn.Linear(feature_dim, 4 * num_boxes)
        nn.init.normal_(self.regress.weight, std=0.001)
        nn.init.zeros_(self.regress.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features [N, d] -> logits [N, K] and box offsets [N, 4] or [N, 4C]."""
        return self.classify(features), self.regress(features)

    def own_offsets(self, features: Tensor, labels: Tensor, rois: Tensor) -> Tensor:
        """The offsets [P, 4] that some RoIs have for their own class.

        Plain Fast R-CNN computes the boxes of all classes and then picks one; here only the rows
        of the last layer that a RoI needs are applied, with equal values.

        Args:
            features: [N, d].
            labels: [N] int64; foreground for the RoIs asked for.
            rois: [P] int64, which of the N.
        """
        with in_float32(features):
            if self.num_boxes == 1:
                return self.regress(features)[rois]  # type: ignore[no-any-return]
            row = labels[rois]
            weight = self.regress.weight.view(self.num_boxes, 4, -1)[row]
            bias = self.regress.bias.view(self.num_boxes, 4)[row]
            return torch.einsum("pd,pod->po", features[rois], weight) + bias


class BoxStage(nn.Module):
    """One box head with its classifier and FASA.

    Args:
        num_classes: C.
        cls_loss: the classification loss, see `ClassificationLoss`.
        fasa: feature augmentation, or None for the baseline.
        smooth_l1_beta: where the box loss turns from quadratic to linear; 0 is L1.
        roi_pool: feature maps and boxes -> the input of `head`.
        head: pooled RoIs -> features [N, d].
        predictor: features -> logits and box offsets.
        box_weights: what box offsets (x, y, w, h) are multiplied by.
        sampler: draws the RoIs that are trained on.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        cls_loss: ClassificationLoss,
        fasa: FASA | None,
        smooth_l1_beta: float,
        roi_pool: MultiScaleRoIAlign,
        head: nn.Module,
        predictor: BoxPredictor,
        box_weights: tuple[float, float, float, float],
        sampler: RoISampler,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.roi_pool = roi_pool
        self.head = head
        self.predictor = predictor
        self.cls_loss = cls_loss
        self.fasa = fasa
        self.smooth_l1_beta = smooth_l1_beta
        self.coder = BoxCoder(box_weights)
        self.sampler = sampler
        self.statistics = ClassStatistics(num_classes)

    @property
    def classifier(self) -> nn.Module:
        """The class branch of the box predictor, the only part virtual features train."""
        return self.predictor.classify

    @property
    def weight_norms(self) -> Tensor:
        """[C] L2 norm of each class's classifier weights (the paper's Figure 4)."""
        weight: Tensor = self.classifier.weight  # type: ignore[assignment]
        norms: Tensor = weight.detach()[: self.num_classes].norm(dim=1)
        return norms

    @property
    def classifier_bias(self) -> Tensor:
        """[C] bias of each class in the classifier."""
        bias: Tensor = self.classifier.bias  # type: ignore[assignment]
        return bias.detach()[: self.num_classes]

    def features(
        self,
        maps: dict[str, Tensor],
        boxes: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> Tensor:
        """[N, d] float32, what classifier and regressor see of the boxes [n, 4] of each image."""
        result: Tensor = self.head(self.roi_pool(maps, boxes, image_shapes)).float()
        return result

    def logits(self, features: Tensor) -> Tensor:
        """[N, K] of features [N, d], in float32 whatever the precision of the rest."""
        with in_float32(features):
            result: Tensor = self.classifier(features)
        return result

    def losses(self, features: Tensor, rois: SampledRoIs) -> dict[str, Tensor]:
        """The losses "classifier", "box" and, with FASA, "virtual" of RoIs with features [N, d].

        All of them are computed in float32, whatever the precision of the rest.
        """
        with in_float32(features):
            losses = self._classification_losses(features, rois.labels)
            losses["box"] = self._box_loss(features, rois)
        return losses

    def _classification_losses(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.logits(features)
        real = self.cls_loss(logits, labels)
        detached = logits.detach()
        self.statistics.add(
            labels, self.cls_loss.per_sample(detached, labels), self.cls_loss.scores(detached)
        )
        if self.fasa is None:
            return {"classifier": real}
        self.fasa.observe(features.detach(), labels)
        virtual = self.fasa.virtual_loss(
            self.classifier, self.cls_loss, real_loss=real, real_count=len(labels)
        )
        return {"classifier": real, "virtual": virtual}

    def _box_loss(self, features: Tensor, rois: SampledRoIs) -> Tensor:
        """Smooth L1 of the positive RoIs, divided by the number of all sampled RoIs."""
        positive = rois.positive
        offsets = self.coder.encode_single(
            rois.object_boxes[positive], torch.cat(rois.boxes)[positive]
        )
        predicted = self.predictor.own_offsets(features, rois.labels, positive)
        total = F.smooth_l1_loss(predicted, offsets, beta=self.smooth_l1_beta, reduction="sum")
        return total / max(1, len(rois.labels))

    @torch.no_grad()
    def judge(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What the classifier makes of features [N, d] of the classes `labels` [N].

        Returns:
            [N] int64 the class of the highest score, C for background, and [N] the
            classification loss.
        """
        logits = self.logits(features)
        best = self.cls_loss.scores(logits).argmax(dim=1)  # background first
        return (best - 1) % (self.num_classes + 1), self.cls_loss.per_sample(logits, labels)

    @torch.no_grad()
    def class_losses(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The classification loss of RoIs, class by class, leaving prior and loss state alone.

        Args:
            features: [N, d].
            labels: [N] int64.

        Returns:
            [C + 1] float64 loss sums and [C + 1] int64 RoI counts; the last entry is background.
        """
        losses = self.cls_loss.per_sample(self.logits(features), labels)
        loss_sum = torch.zeros(self.num_classes + 1, dtype=torch.float64, device=losses.device)
        loss_sum.index_add_(0, labels, losses.double())
        return loss_sum, torch.bincount(labels, minlength=self.num_classes + 1)


def image_seeds(targets: Sequence[dict[str, Tensor]]) -> list[int]:
    """The id of each image, to draw the same RoIs of it at every call."""
    return [int(target["image_id"]) for target in targets]
