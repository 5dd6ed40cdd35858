"""The mask branch's targets: torchvision's, drawn only where they are looked at."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import project_masks_on_boxes

from trainer.mask_targets import mask_targets


def _plain(masks: Tensor, boxes: Tensor, objects: Tensor, size: tuple[int, int]) -> Tensor:
    """As torchvision does it: all masks at the input's size, then the RoIs."""
    resized = F.interpolate(masks[:, None].float(), size=size)[:, 0].byte()
    return project_masks_on_boxes(resized, boxes, objects, 14)


@pytest.mark.parametrize("size", [(40, 60), (53, 80), (97, 131), (20, 31)])
def test_the_targets_are_torchvisions_to_the_bit(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(size[0])
    masks = (torch.rand(5, 40, 60, generator=generator) > 0.5).to(torch.uint8)
    height, width = size
    corner = torch.rand(30, 2, generator=generator) * torch.tensor([width, height]) * 0.8
    sides = torch.rand(30, 2, generator=generator) * torch.tensor([width, height])
    boxes = torch.cat([corner, corner + sides], dim=1)
    boxes[:, 0::2].clamp_(max=width)
    boxes[:, 1::2].clamp_(max=height)
    boxes[0] = torch.tensor([0.0, 0.0, width, height])
    boxes[1] = torch.tensor([width - 1.0, height - 1.0, width, height])
    objects = torch.randint(0, 5, (30,), generator=generator)
    found = mask_targets(masks, boxes, objects, size=size, side=14)
    assert torch.equal(found, _plain(masks, boxes, objects, size))


def test_by_hand() -> None:
    """Of two columns the left is set: columns 0..3 of 8; the sample at 3.5 lies half on it."""
    masks = torch.tensor([[[0, 0], [0, 0]], [[1, 0], [1, 0]]], dtype=torch.uint8)
    box = torch.tensor([[0.0, 0.0, 8.0, 8.0]])
    found = mask_targets(masks, box, torch.tensor([1]), size=(8, 8), side=4)
    assert found[0].tolist() == [[1.0, 0.75, 0.0, 0.0]] * 4


def test_an_image_without_rois_has_no_targets() -> None:
    masks = torch.zeros(0, 6, 6, dtype=torch.uint8)
    none = mask_targets(
        masks, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), size=(6, 6), side=28
    )
    assert none.shape == (0, 28, 28)
