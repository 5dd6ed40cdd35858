"""A small cascade on made-up feature maps, for tests of its arithmetic."""

from typing import Any

import torch
from torch import Tensor

from trainer.config import load_config
from trainer.heads import build_roi_heads
from trainer.roi_heads import FASARoIHeads

CLASSES = 3
SHAPES = [(96, 128)]
SMALL: dict[str, Any] = {
    "detector": "cascade_mask_rcnn", "fpn_channels": 8, "feature_dim": 16, "mask_layers": 1,
    "mask_channels": 8, "rois_per_image": 8, "positive_fraction": 0.5,
}  # fmt: skip


def small_cascade(**values: Any) -> FASARoIHeads:
    torch.manual_seed(0)
    config = load_config({**SMALL, **values})
    return build_roi_heads(config, class_counts=[30, 10, 2])


def maps(seed: int = 0) -> dict[str, Tensor]:
    """Of one image of 96 x 128 pixels."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [(24, 32), (12, 16), (6, 8), (3, 4)]
    return {
        str(level): torch.randn(1, 8, *size, generator=generator)
        for level, size in enumerate(sizes)
    }


def target(box: tuple[float, float, float, float] = (20, 20, 60, 60)) -> dict[str, Tensor]:
    """One object of class 1 that fills its box."""
    mask = torch.zeros(1, 96, 128, dtype=torch.uint8)
    x1, y1, x2, y2 = (int(side) for side in box)
    mask[:, y1:y2, x1:x2] = 1
    return {
        "boxes": torch.tensor([box], dtype=torch.float32),
        "labels": torch.tensor([1]),
        "masks": mask,
        "image_id": torch.tensor(5),
    }


def wider(*shares: float) -> Tensor:
    """Boxes with these IoUs with the object's of `target`: its own, made wider."""
    return torch.tensor([[20.0, 20.0, 20.0 + 40.0 / share, 60.0] for share in shares])
