"""Masks pasted box by box: torchvision's pixels, pycocotools' run lengths."""

from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle_masks
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image

from trainer.mask_pasting import mask_run_lengths

SIDE = 8  # cells of a grid


def reference(probabilities: Tensor, boxes: Tensor, size: tuple[int, int]) -> list[dict[str, Any]]:
    """torchvision's whole-image masks, each packed by pycocotools."""
    masks = paste_masks_in_image(probabilities[:, None], boxes, size)[:, 0] > 0.5
    codes = [rle_masks.encode(np.asfortranarray(mask.numpy().astype(np.uint8))) for mask in masks]
    return [{"size": list(size), "counts": code["counts"].decode()} for code in codes]


def grids(count: int, seed: int, *, noisy: bool) -> Tensor:
    """Discs with soft edges, or noise, whose runs are many and short."""
    generator = torch.Generator().manual_seed(seed)
    if noisy:
        return torch.rand(count, SIDE, SIDE, generator=generator)
    axis = torch.linspace(-1, 1, SIDE)
    radius = 0.3 + torch.rand(count, 1, 1, generator=generator)
    return torch.sigmoid(8 * (radius - axis[:, None] ** 2 - axis**2))


def test_a_full_grid_fills_its_box() -> None:
    # Grown by the padding the box is 3, 1, 13, 11: 11 x 11 pixels share 10 x 10 cells, the outer
    # ones empty, and the probability is above 1/2 from the second pixel to the last but one.
    (code,) = mask_run_lengths(
        torch.ones(1, SIDE, SIDE), torch.tensor([[4.0, 2, 12, 10]]), (20, 30)
    )
    assert code["size"] == [20, 30]
    mask = rle_masks.decode(code)
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    assert columns.tolist() == list(range(4, 13))
    assert rows.tolist() == list(range(2, 11))
    assert mask.sum() >= 9 * 9 - 4  # but for its corners, which fade out twice


def test_nothing_is_found_in_no_boxes() -> None:
    assert mask_run_lengths(torch.zeros(0, SIDE, SIDE), torch.zeros(0, 4), (20, 30)) == []


def test_an_empty_and_a_full_image() -> None:
    boxes = torch.tensor([[-20.0, -20, 50, 40]] * 2)
    grid = torch.stack([torch.zeros(SIDE, SIDE), torch.ones(SIDE, SIDE)])
    empty, full = mask_run_lengths(grid, boxes, (20, 30))
    assert rle_masks.area(empty) == 0
    assert rle_masks.area(full) == 20 * 30
    assert [empty, full] == reference(grid, boxes, (20, 30))


def test_a_box_outside_the_image_has_no_pixels() -> None:
    boxes = torch.tensor([[40.0, 5, 50, 9], [5, 40, 9, 50], [-30, 5, -20, 9], [5, -30, 9, -20]])
    codes = mask_run_lengths(torch.ones(4, SIDE, SIDE), boxes, (20, 30))
    assert [int(rle_masks.area(code)) for code in codes] == [0, 0, 0, 0]


@settings(max_examples=150)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    corners=st.lists(
        st.tuples(*[st.floats(-0.5, 1, width=32)] * 2, *[st.floats(0, 1.5, width=32)] * 2),
        min_size=1,
        max_size=6,
    ),
    seed=st.integers(0, 99),
    noisy=st.booleans(),
)
def test_boxes_anywhere_give_torchvisions_masks(
    height: int, width: int, corners: list[tuple[float, ...]], seed: int, noisy: bool
) -> None:
    """Corner and size in shares of the image: inside, across its edges, thin, larger than it."""
    scale = torch.tensor([width, height, width, height], dtype=torch.float32)
    shares = torch.tensor(corners)
    boxes = torch.cat([shares[:, :2], shares[:, :2] + shares[:, 2:]], dim=1) * scale
    # torchvision cannot draw a box that lies outside the image.
    boxes[:, :2] = boxes[:, :2].minimum(scale[:2] - 1)
    boxes[:, 2:] = boxes[:, 2:].maximum(torch.zeros(2))
    probabilities = grids(len(boxes), seed, noisy=noisy)
    size = (height, width)
    assert mask_run_lengths(probabilities, boxes, size) == reference(probabilities, boxes, size)


def test_boxes_of_one_pixel_and_huge_ones() -> None:
    size = (300, 500)
    boxes = torch.tensor(
        [
            [0.0, 0, 0, 0],
            [499, 299, 500, 300],
            [250.4, 100.6, 251.4, 101.6],
            [0, 0, 500, 300],
            [-700, -400, 1200, 700],
            [-900, 20, 1400, 40],
            [120, -600, 130, 900],
        ]
    )
    for noisy in (True, False):
        probabilities = grids(len(boxes), 1, noisy=noisy)
        assert mask_run_lengths(probabilities, boxes, size) == reference(probabilities, boxes, size)
