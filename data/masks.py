"""Masks as an annotation file writes them, polygons or run-length codes, made into pixels.

Shapes: H, W image height and width in pixels; N objects of an image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_tools
from numpy.typing import NDArray


def decoded(
    masks: Sequence[Any], boxes: NDArray[np.float32], height: int, width: int
) -> NDArray[np.uint8]:
    """uint8 [N,H,W] of 0 and 1; ``boxes`` float32 [N,4] are xyxy within the image."""
    if not masks:
        return np.zeros((0, height, width), dtype=np.uint8)
    codes = [run_length_code(mask, height, width) for mask in masks]
    pixels: NDArray[np.uint8] = np.ascontiguousarray(mask_tools.decode(codes).transpose(2, 0, 1))
    for n in np.flatnonzero(~pixels.any(axis=(1, 2))):
        # An outline smaller than a pixel covers no pixel centre; it keeps the one it lies in.
        x, y = (boxes[n, :2] + boxes[n, 2:]) / 2
        pixels[n, min(int(y), height - 1), min(int(x), width - 1)] = 1
    return pixels


def run_length_code(mask: Any, height: int, width: int) -> dict[str, Any]:
    """pycocotools' compressed code of polygons or of either kind of run-length code."""
    if isinstance(mask, dict):
        if isinstance(mask["counts"], list):
            return dict(mask_tools.frPyObjects(mask, height, width))
        return mask
    # pycocotools takes a part of four numbers for a box: parts of fewer than three points go.
    parts = [part for part in mask if len(part) >= 6]
    return dict(mask_tools.merge(mask_tools.frPyObjects(parts, height, width)))


def compressed(mask: Any, height: int, width: int) -> dict[str, Any]:
    """The run-length code of a mask as json can hold it, ``counts`` as text."""
    code = run_length_code(mask, height, width)
    counts = code["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return {"size": [int(side) for side in code["size"]], "counts": text}
