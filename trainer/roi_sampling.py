"""Which RoIs of an image a stage trains on, and which object each of them stands for.

Shape glossary: n RoIs of one image, N of all images, P positive ones among them, C foreground
classes. Boxes are (x1, y1, x2, y2) in pixels of the resized image; labels are 0..C-1 for
foreground and C for background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, Matcher
from torchvision.ops import box_iou

_IGNORED = -1  # neither object nor background: IoU between the two thresholds


@dataclass(frozen=True)
class SampledRoIs:
    """The RoIs of a batch that a stage trains on, image after image.

    Attributes:
        boxes: [n, 4] of each image.
        labels: [N] int64.
        objects: [n] int64 of each image: which of its objects each RoI is matched with.
        object_boxes: [N, 4] the boxes of these objects; zeros in an image without objects.
        appended: [N] bool, whether a RoI is the box of an object itself.
        positive: [P] int64, which of the N RoIs are positive.
    """

    boxes: list[Tensor]
    labels: Tensor
    objects: list[Tensor]
    object_boxes: Tensor
    appended: Tensor
    positive: Tensor

    @property
    def sizes(self) -> list[int]:
        """n of each image."""
        return [len(image) for image in self.boxes]

    def positive_of_images(self) -> list[tuple[Tensor, Tensor]]:
        """Of each image the boxes [p, 4] and the objects [p] of its positive RoIs."""
        is_positive = torch.zeros_like(self.appended)
        is_positive[self.positive] = True
        return [
            (boxes[chosen], objects[chosen])
            for boxes, objects, chosen in zip(
                self.boxes, self.objects, torch.split(is_positive, self.sizes), strict=True
            )
        ]


class RoISampler:
    """Matches proposals with objects by IoU and draws some of them, as Fast R-CNN does.

    Args:
        num_classes: C.
        foreground_iou: a proposal with at least this IoU with an object is positive.
        background_iou: one with less than this is background; those between are ignored.
        rois_per_image: RoIs drawn an image.
        positive_fraction: the largest share of positive ones among them, in 0..1.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        foreground_iou: float,
        background_iou: float,
        rois_per_image: int,
        positive_fraction: float,
    ) -> None:
        self.num_classes = num_classes
        self.foreground_iou = foreground_iou
        self.rois_per_image = rois_per_image
        self.most_positive = int(rois_per_image * positive_fraction)
        self._matcher = Matcher(foreground_iou, background_iou, allow_low_quality_matches=False)
        self._draw = BalancedPositiveNegativeSampler(rois_per_image, positive_fraction)

    @torch.no_grad()
    def sample(
        self,
        proposals: Sequence[Tensor],
        targets: Sequence[dict[str, Tensor]],
        *,
        seeds: Sequence[int] | None = None,
    ) -> SampledRoIs:
        """Draw the RoIs of a batch from its proposals and the boxes of its objects.

        Args:
            proposals: [.., 4] of each image.
            targets: of each image `boxes` and `labels` (0..C-1).
            seeds: of each image, for a draw that is the same at every call; else torch's own
                generator draws, as torchvision lets it.
        """
        candidates, labels, objects = [], [], []
        for proposed, target in zip(proposals, targets, strict=True):
            boxes = target["boxes"].to(proposed.dtype)
            candidates.append(torch.cat([proposed, boxes]))
            label, matched = self._match(candidates[-1], boxes, target["labels"])
            labels.append(label)
            objects.append(matched)
        drawn = self._indices(labels, seeds)
        chosen = torch.cat([label[keep] for label, keep in zip(labels, drawn, strict=True)])
        kept = [matched[keep] for matched, keep in zip(objects, drawn, strict=True)]
        return SampledRoIs(
            boxes=[boxes[keep] for boxes, keep in zip(candidates, drawn, strict=True)],
            labels=chosen,
            objects=kept,
            object_boxes=torch.cat(
                [_rows(t["boxes"], matched) for t, matched in zip(targets, kept, strict=True)]
            ),
            appended=torch.cat(
                [keep >= len(box) for box, keep in zip(proposals, drawn, strict=True)]
            ),
            positive=torch.where(chosen < self.num_classes)[0],
        )

    def _match(self, candidates: Tensor, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Label [n] (`_IGNORED` too) and object [n] of each candidate of one image."""
        if not len(boxes):
            none = torch.zeros(len(candidates), dtype=torch.int64, device=candidates.device)
            return none + self.num_classes, none
        matched = self._matcher(box_iou(boxes, candidates))
        objects = matched.clamp(min=0)
        label = labels[objects]
        label[matched == Matcher.BELOW_LOW_THRESHOLD] = self.num_classes
        label[matched == Matcher.BETWEEN_THRESHOLDS] = _IGNORED
        return label, objects

    def _indices(self, labels: list[Tensor], seeds: Sequence[int] | None) -> list[Tensor]:
        """Which candidates of each image are drawn."""
        if seeds is not None:
            return [self._seeded(label, seed) for label, seed in zip(labels, seeds, strict=True)]
        # torchvision counts background as 0 and foreground from 1.
        theirs = [torch.where(x < 0, x, (x + 1) % (self.num_classes + 1)) for x in labels]
        positive, negative = self._draw(theirs)
        return [torch.where(p | n)[0] for p, n in zip(positive, negative, strict=True)]

    def _seeded(self, labels: Tensor, seed: int) -> Tensor:
        """Positives first; the generator is on the CPU, so that every device draws the same."""
        generator = torch.Generator().manual_seed(seed)
        is_positive = (labels >= 0) & (labels < self.num_classes)
        positive = _shuffled(torch.where(is_positive)[0], generator)[: self.most_positive]
        negative = _shuffled(torch.where(labels == self.num_classes)[0], generator)
        return torch.cat([positive, negative[: self.rois_per_image - len(positive)]])


def _rows(boxes: Tensor, index: Tensor) -> Tensor:
    return boxes[index] if len(boxes) else boxes.new_zeros(len(index), 4)


def _shuffled(values: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(len(values), generator=generator)
    return values[order.to(values.device)]
