"""From the loader's images to the batch that the backbone takes, and its detections back."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes


class InputTransform(GeneralizedRCNNTransform):
    """torchvision's: normalises, resizes to one size, pads to a batch.

    Images that the loader resized, as it does for multi-scale training, keep their size.
    """

    def resize(
        self, image: Tensor, target: dict[str, Any] | None = None
    ) -> tuple[Tensor, dict[str, Any] | None]:
        """Image [3, H, W] and boxes at the input's size; masks stay as they are.

        `trainer.mask_targets` draws masks only where they are looked at.
        """
        if target is None:
            return super().resize(image, None)  # type: ignore[no-any-return]
        if target.get("is_resized"):
            return image, target
        masks = {name: value for name, value in target.items() if name == "masks"}
        others = {name: value for name, value in target.items() if name != "masks"}
        resized, others = super().resize(image, others)
        return resized, {**others, **masks}

    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """Boxes in pixels of the original images; masks stay grids of probabilities in them.

        torchvision draws every mask as an image here; `trainer.mask_pasting` does without.
        """
        if self.training:
            return result  # there are none
        return [
            {**found, "boxes": resize_boxes(found["boxes"], shape, original)}
            for found, shape, original in zip(
                result, image_shapes, original_image_sizes, strict=True
            )
        ]
