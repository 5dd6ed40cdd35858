"""The mask branch: one mask a RoI, in training and in inference.

Shape glossary: n RoIs of one image, P of all images (the positive ones, in training), C
foreground classes, S side of the predicted masks. Boxes are (x1, y1, x2, y2) in pixels of the
resized image; labels are 0..C-1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import MultiScaleRoIAlign

from trainer.mask_targets import mask_targets
from trainer.roi_sampling import SampledRoIs


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


class MaskBranch(nn.Module):
    """Pools RoIs and predicts their masks.

    Args:
        roi_pool: feature maps and boxes -> the input of `head`.
        head: convolutions.
        predictor: the head's output -> masks.
    """

    def __init__(
        self, *, roi_pool: MultiScaleRoIAlign, head: nn.Module, predictor: MaskPredictor
    ) -> None:
        super().__init__()
        self.roi_pool = roi_pool
        self.head = head
        self.predictor = predictor

    def forward(
        self,
        maps: dict[str, Tensor],
        boxes: list[Tensor],
        labels: Tensor,
        image_shapes: list[tuple[int, int]],
    ) -> Tensor:
        """Boxes [n, 4] of each image and labels [P] -> mask logits [P, S, S] float32."""
        logits: Tensor = self.predictor(self.head(self.roi_pool(maps, boxes, image_shapes)), labels)
        return logits.float()

    def loss(
        self,
        maps: dict[str, Tensor],
        rois: SampledRoIs,
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]],
    ) -> Tensor:
        """Binary cross-entropy of the positive RoIs' masks, the mean over pixels and RoIs."""
        positive = rois.positive_of_images()
        logits = self(
            maps, [boxes for boxes, _ in positive], rois.labels[rois.positive], image_shapes
        )
        if not len(logits):
            nothing: Tensor = logits.sum()  # 0; every parameter still takes part in backward
            return nothing
        wanted = torch.cat(
            [
                mask_targets(target["masks"], boxes, objects, size=size, side=logits.shape[-1])
                for target, size, (boxes, objects) in zip(
                    targets, image_shapes, positive, strict=True
                )
            ]
        )
        loss: Tensor = F.binary_cross_entropy_with_logits(logits, wanted)
        return loss
