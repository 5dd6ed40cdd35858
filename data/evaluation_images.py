"""The images of a test set without their objects, which inference does not look at."""

from __future__ import annotations

from torch import Tensor
from torch.utils.data import Dataset

from data.detection import DetectionDataset


class EvaluationImages(Dataset[tuple[Tensor, int]]):
    """The images of a detection data set, each with its id: no mask is decoded for them."""

    def __init__(self, dataset: DetectionDataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        """Image uint8 [3,H,W] RGB and its id; raises as the data set does."""
        return self._dataset.pixels(i), self._dataset.image_id(i)


def collate_images(batch: list[tuple[Tensor, int]]) -> tuple[list[Tensor], list[int]]:
    """A batch: images of any size, uint8 as they were read, and their ids."""
    return [image for image, _ in batch], [image_id for _, image_id in batch]
