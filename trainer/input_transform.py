"""From the loader's images to the batch that the backbone takes."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform


class InputTransform(GeneralizedRCNNTransform):
    """torchvision's: normalises, resizes to one size, pads to a batch.

    Images that the loader resized, as it does for multi-scale training, keep their size.
    """

    def resize(
        self, image: Tensor, target: dict[str, Any] | None = None
    ) -> tuple[Tensor, dict[str, Any] | None]:
        """Image [3, H, W] and target at the input's size."""
        if target is not None and target.get("is_resized"):
            return image, target
        resized: tuple[Tensor, dict[str, Any] | None] = super().resize(image, target)
        return resized
