"""Masks of detections, from a small grid of probabilities in each box to run lengths of the image.

What torchvision's `paste_masks_in_image` draws and `pycocotools.mask.encode` then packs, pixel for
pixel, without an image for every mask: a mask is drawn only as large as its box, and its runs are
counted there.

Shapes:
    N: detections of one image.  M: side of a mask's grid, in cells.
    H, W: height and width of the image in pixels.
    h, w: height and width of the part of a box that lies in the image, in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pycocotools import mask as rle_masks
from torch import Tensor
from torch.nn import functional as F

RunLengths = dict[str, Any]
"""A mask as COCO and LVIS files hold it: `size` [H, W] and `counts`, compressed, as text."""

_THRESHOLD = 0.5  # a pixel more probable than this belongs to the mask
_PADDING = 1  # cells of probability 0 around a grid, so that a mask fades out at its box


def mask_run_lengths(probabilities: Tensor, boxes: Tensor, size: Sequence[int]) -> list[RunLengths]:
    """The masks of the detections of one image.

    Args:
        probabilities: float[N, M, M], of each cell of a box; on any device.
        boxes: float[N, 4], corners x0, y0, x1, y1 in pixels of the image.
        size: (H, W).
    """
    height, width = size
    grids = F.pad(probabilities.detach().float().cpu()[:, None], (_PADDING,) * 4)
    corners = _grown(boxes.detach().float().cpu(), grids.shape[-1] / probabilities.shape[-1])
    codes = []
    for grid, box in zip(grids, corners.to(torch.int64).tolist(), strict=True):
        pixels, left, top = _drawn(grid, box, size)
        counts = _run_lengths(pixels, left=left, top=top, size=size)
        codes.append({"counts": counts, "size": [height, width]})
    packed = rle_masks.frPyObjects(codes, height, width) if codes else []
    return [{"size": [height, width], "counts": code["counts"].decode("ascii")} for code in packed]


def _grown(boxes: Tensor, factor: float) -> Tensor:
    """Boxes [N, 4] that keep their centres, with sides `factor` times as long."""
    half = (boxes[:, 2:] - boxes[:, :2]) * 0.5 * factor
    centre = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    return torch.cat([centre - half, centre + half], dim=1)


def _drawn(
    grid: Tensor, box: list[int], size: Sequence[int]
) -> tuple[npt.NDArray[np.bool_], int, int]:
    """A padded grid [1, M + 2, M + 2] over the pixels of `box` (its last ones included).

    Returns:
        bool[w, h], the columns of the part in the image, and the part's left and top pixel.
    """
    left, top, right, bottom = box
    wide, high = max(right - left + 1, 1), max(bottom - top + 1, 1)
    drawn = F.interpolate(grid[None], size=(high, wide), mode="bilinear", align_corners=False)[0, 0]
    x, y = max(left, 0), max(top, 0)
    part = drawn[y - top : max(size[0] - top, 0), x - left : max(size[1] - left, 0)]
    return (part > _THRESHOLD).t().contiguous().numpy(), x, y


def _run_lengths(
    columns: npt.NDArray[np.bool_], *, left: int, top: int, size: Sequence[int]
) -> npt.NDArray[np.int64]:
    """The runs of an image that is empty but for `columns` [w, h], whose first pixel is named.

    Pixels are counted down the columns; runs of 0 and 1 take turns, 0 first.
    """
    height, width = size
    wide, high = columns.shape
    # A 0 above each column, and one below the last, ends every run within its column.
    framed = np.zeros(wide * (high + 1) + 1, dtype=bool)
    framed[:-1].reshape(wide, high + 1)[:, 1:] = columns
    changes = np.flatnonzero(framed[1:] != framed[:-1])  # the first of a run, the first after it
    column, row = np.divmod(changes, high + 1)
    borders = np.empty(len(changes) + 2, dtype=np.int64)
    borders[0], borders[-1] = 0, height * width
    borders[1:-1] = (left + column) * height + top + row
    if high == height:  # a run may go on at the top of the next column
        goes_on = np.flatnonzero(borders[2:-2:2] == borders[3:-1:2])
        borders = np.delete(borders, np.concatenate([2 * goes_on + 2, 2 * goes_on + 3]))
    counts = borders[1:] - borders[:-1]
    return counts if counts[-1] else counts[:-1]
