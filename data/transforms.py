"""What is done to an item between the data set and the model.

Shapes: H, W image height and width in pixels; N objects of an image. Boxes are xyxy in pixels.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat, Image, Mask

from data.detection import DetectionDataset

Item = tuple[Tensor, dict[str, Any]]


class EpochView(Dataset[Item]):
    """A detection data set as one epoch sees it: its images in an order, flipped and resized.

    What becomes of an image is drawn from a generator seeded by (seed, epoch, image id), the k-th
    time it is seen in the epoch from the k-th pair of numbers. So it depends neither on loader
    workers nor on ranks, nor on where a run was resumed.
    """

    def __init__(
        self,
        dataset: DetectionDataset,
        *,
        seed: int,
        epoch: int,
        order: Sequence[int] | None = None,
        flip_probability: float = 0.5,
        min_sizes: Sequence[int] = (),
        max_size: int | None = None,
    ) -> None:
        """Item i of the view is item ``order[i]`` of ``dataset``; without, each once as it stands.

        ``min_sizes`` are the shorter sides in pixels of which one is drawn, ``max_size`` bounds
        the longer one; without ``min_sizes`` images keep their size. Raises ValueError if
        ``flip_probability`` is outside [0, 1].
        """
        if not 0 <= flip_probability <= 1:
            raise ValueError(
                f"a flip probability is between 0 and 1, got {flip_probability}: "
                "0.5 is usual, 0 flips nothing"
            )
        self.dataset = dataset
        self.seed = seed
        self.epoch = epoch
        self.flip_probability = flip_probability
        self.min_sizes = tuple(min_sizes)
        self.max_size = max_size
        items = range(len(dataset)) if order is None else order
        numbers = np.array(items, dtype=np.int64)
        # Tensors, as these go to loader processes through shared memory.
        self._order = torch.from_numpy(numbers)
        self._times_seen = torch.from_numpy(_times_seen(numbers))

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, i: int) -> Item:
        """The item as ``DetectionDataset`` gives it, image, boxes and masks transformed together.

        A target whose image was resized here says so: its ``is_resized`` is true.
        """
        image, target = self.dataset[int(self._order[i])]
        generator = np.random.default_rng([self.seed, self.epoch, int(target["image_id"])])
        flip, size = generator.random((int(self._times_seen[i]) + 1, 2))[-1]
        if flip < self.flip_probability:
            image, target = flip_horizontally(image, target)
        if self.min_sizes:
            shorter = self.min_sizes[int(size * len(self.min_sizes))]
            height, width = resized_shape(image.shape[-2:], shorter, self.max_size)
            image, target = resize(image, target, height, width)
            target["is_resized"] = True
        return image, target


def _times_seen(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each entry stands earlier in the order: 0 1 0 2 for 7 7 3 7."""
    places = np.argsort(order, kind="stable")
    grouped = order[places]
    times = np.empty_like(order)
    times[places] = np.arange(len(order)) - np.searchsorted(grouped, grouped)
    return times


def flip_horizontally(image: Tensor, target: dict[str, Any]) -> Item:
    """Mirror left to right: ``image`` [3,H,W], ``boxes`` [N,4] xyxy, ``masks`` [N,H,W]."""
    return _together(functional.horizontal_flip, image, target)


def resized_shape(
    shape: Sequence[int], min_size: int, max_size: int | None = None
) -> tuple[int, int]:
    """(H, W) of an image of ``shape`` once its shorter side is ``min_size``, aspect kept.

    Where the longer side would exceed ``max_size``, that side becomes ``max_size`` instead. Sides
    are rounded to the nearest pixel, as mmdetection and detectron2 round them.
    """
    height, width = shape
    scale = min_size / min(height, width)
    if max_size is not None:
        scale = min(scale, max_size / max(height, width))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def resize(image: Tensor, target: dict[str, Any], height: int, width: int) -> Item:
    """``image`` uint8 [3,H,W], ``boxes`` and ``masks`` uint8 [N,H,W] at a new size.

    The image is interpolated bilinearly without antialiasing and masks by nearest neighbour, as
    torchvision's detectors do it in tests. A mask that shrinks to nothing keeps one pixel, at the
    centre of its box.
    """
    is_smaller = height < image.shape[-2] or width < image.shape[-1]
    image, target = _together(
        lambda part: functional.resize(part, [height, width], antialias=False), image, target
    )
    if is_smaller:  # otherwise every pixel of a mask has at least one in its place
        centres = (target["boxes"][:, :2] + target["boxes"][:, 2:]) / 2
        for n in torch.nonzero(~target["masks"].flatten(1).any(1)).flatten().tolist():
            x, y = centres[n].tolist()
            target["masks"][n, min(int(y), height - 1), min(int(x), width - 1)] = 1
    return image, target


def _together(transform: Callable[[Tensor], Tensor], image: Tensor, target: dict[str, Any]) -> Item:
    """One of torchvision's transforms (v2) on an image, its boxes and its masks.

    They leave as plain tensors, which workers hand over through shared memory.
    """
    shape = (image.shape[-2], image.shape[-1])
    boxes = BoundingBoxes(  # type: ignore[call-arg]
        target["boxes"], format=BoundingBoxFormat.XYXY, canvas_size=shape
    )
    done, boxes, masks = (
        transform(part).as_subclass(Tensor)  # type: ignore[no-untyped-call]
        for part in (Image(image), boxes, Mask(target["masks"]))
    )
    return done, {**target, "boxes": boxes, "masks": masks}


def as_input(image: Tensor) -> Tensor:
    """An image uint8 [3,H,W] as torchvision's detectors take it: float32 in 0..1."""
    return image.to(torch.float32).div_(255)


def collate(batch: list[Item]) -> tuple[list[Tensor], list[dict[str, Any]]]:
    """A batch as torchvision's detectors take it: images of any size as float32 [3,H,W] in 0..1."""
    return [as_input(image) for image, _ in batch], [target for _, target in batch]
