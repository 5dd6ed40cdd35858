"""What is done to an item between the data set and the model.

Shapes: H, W image height and width in pixels; N objects of an image. Boxes are xyxy in pixels.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional
from torchvision.tv_tensors import BoundingBoxFormat

from data.detection import DetectionDataset

Item = tuple[Tensor, dict[str, Any]]


class EpochView(Dataset[Item]):
    """A detection data set as one epoch sees it: each item flipped left to right or not.

    Whether an item is flipped is drawn from a generator seeded by (seed, epoch, image id), so it
    depends neither on the number of loader workers nor on where a run was resumed.
    """

    def __init__(
        self, dataset: DetectionDataset, *, seed: int, epoch: int, flip_probability: float = 0.5
    ) -> None:
        """Raises ValueError if ``flip_probability`` is outside [0, 1]."""
        if not 0 <= flip_probability <= 1:
            raise ValueError(
                f"a flip probability is between 0 and 1, got {flip_probability}: "
                "0.5 is usual, 0 flips nothing"
            )
        self.dataset = dataset
        self.seed = seed
        self.epoch = epoch
        self.flip_probability = flip_probability

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, i: int) -> Item:
        """The item as ``DetectionDataset`` gives it, image, boxes and masks flipped together."""
        image, target = self.dataset[i]
        drawn = np.random.default_rng([self.seed, self.epoch, int(target["image_id"])]).random()
        if drawn < self.flip_probability:
            return flip_horizontally(image, target)
        return image, target


def flip_horizontally(image: Tensor, target: dict[str, Any]) -> Item:
    """Mirror left to right: ``image`` [3,H,W], ``boxes`` [N,4] xyxy, ``masks`` [N,H,W]."""
    size = (image.shape[-2], image.shape[-1])
    boxes = functional.horizontal_flip_bounding_boxes(
        target["boxes"], format=BoundingBoxFormat.XYXY, canvas_size=size
    )
    masks = functional.horizontal_flip_mask(target["masks"])
    return functional.horizontal_flip_image(image), {**target, "boxes": boxes, "masks": masks}


def as_input(image: Tensor) -> Tensor:
    """An image uint8 [3,H,W] as torchvision's detectors take it: float32 in 0..1."""
    return image.to(torch.float32).div_(255)


def collate(batch: list[Item]) -> tuple[list[Tensor], list[dict[str, Any]]]:
    """A batch as torchvision's detectors take it: images of any size as float32 [3,H,W] in 0..1."""
    return [as_input(image) for image, _ in batch], [target for _, target in batch]
