"""The images of a test set without their objects, which inference does not look at."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.utils.data import Dataset

from data.detection import DetectionDataset


class EvaluationImages(Dataset[tuple[Tensor, int]]):
    """Some images of a detection data set, each with its id: no mask is decoded for them.

    Args:
        dataset: where they are.
        items: which of its items, in this order.
    """

    def __init__(self, dataset: DetectionDataset, items: Sequence[int]) -> None:
        self._dataset = dataset
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        """Image uint8 [3,H,W] RGB and its id; raises as the data set does."""
        item = self._items[i]
        return self._dataset.pixels(item), self._dataset.image_ids[item]


def collate_images(batch: list[tuple[Tensor, int]]) -> tuple[list[Tensor], list[int]]:
    """A batch: images of any size, uint8 as they were read, and their ids."""
    return [image for image, _ in batch], [image_id for _, image_id in batch]
