"""What the mask branch should predict: each RoI's part of its object's mask.

torchvision draws all masks of an image at the input's size, copies them as floats and samples the
RoIs from these. Here an object's mask is drawn only where its RoIs lie, one object after the other,
with equal values: an image with hundreds of objects, as LVIS has them, takes no more memory.

Shape glossary: n RoIs and N objects of one image, H, W its height and width at the input's size,
h, w at the masks', S side of the targets. Boxes are (x1, y1, x2, y2) in pixels of the input.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align

_MARGIN = 1  # px, which bilinear interpolation reads beyond a box


@torch.no_grad()
def mask_targets(
    masks: Tensor, boxes: Tensor, objects: Tensor, *, size: tuple[int, int], side: int
) -> Tensor:
    """The targets [n, S, S] float32 in 0..1 of the RoIs of one image.

    Args:
        masks: uint8 [N, h, w] of all its objects.
        boxes: [n, 4] of the RoIs.
        objects: [n] int64, which object each RoI is matched with.
        size: (H, W).
        side: S.
    """
    targets = boxes.new_empty(len(boxes), side, side)
    rows = _nearest(masks.shape[1], size[0], masks.device)
    columns = _nearest(masks.shape[2], size[1], masks.device)
    canvas = boxes.new_zeros(1, 1, *size)  # RoIs are sampled from it where an object was drawn
    bounds = _bounds(boxes, size)
    for number, own in _by_object(objects):
        x1, y1 = bounds[own, :2].amin(dim=0).tolist()
        x2, y2 = bounds[own, 2:].amax(dim=0).tolist()
        region = masks[number][rows[y1:y2]][:, columns[x1:x2]]
        canvas[0, 0, y1:y2, x1:x2] = region
        chosen = own.to(boxes.device)
        given = torch.cat([boxes.new_zeros(len(own), 1), boxes[chosen]], dim=1)
        targets[chosen] = roi_align(canvas, given, (side, side))[:, 0]
    return targets


def _by_object(objects: Tensor) -> list[tuple[int, Tensor]]:
    """Each object that has RoIs, with their numbers (on the CPU)."""
    on_cpu = objects.cpu()
    return [(number, torch.where(on_cpu == number)[0]) for number in torch.unique(on_cpu).tolist()]


def _bounds(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """int64 [n, 4] on the CPU: the pixels that a RoI is sampled from, as ranges in the image."""
    height, width = size
    low = boxes[:, :2].floor() - _MARGIN
    high = boxes[:, 2:].ceil() + _MARGIN + 1
    whole = torch.cat([low, high], dim=1).cpu().long()
    most = torch.tensor([width, height, width, height])
    return torch.minimum(whole.clamp(min=0), most)


def _nearest(source: int, wanted: int, device: torch.device) -> Tensor:
    """[wanted] int64: which of `source` pixels each is, as torch's nearest interpolation has it."""
    places = torch.arange(source, dtype=torch.float32, device=device)
    found: Tensor = F.interpolate(places[None, None], size=wanted, mode="nearest")
    return found[0, 0].long()
