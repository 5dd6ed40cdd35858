"""A picture of every point in one square image, for the TensorBoard embedding projector.

Shapes: Q points, G tiles along a side of the grid, T pixels along a side of a tile.
"""

from __future__ import annotations

import colorsys
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LARGEST_SIDE = 8192  # px; the projector draws no larger image
LARGEST_TILE = 64  # px; the pictures of the run log are no larger

_GOLDEN = (math.sqrt(5) - 1) / 2
_WHITE = (255, 255, 255)
_GREY = (208, 208, 208)  # where a picture cannot be read
_RING_RADIUS = 0.36  # in tiles
_RING_HALF_WIDTH = 0.07


def tile_side(points: int) -> int:
    """T, as large as the limits allow when the grid is square.

    Raises:
        ValueError: more points than an image of the largest size has pixels.
    """
    grid = grid_side(points)
    if grid > LARGEST_SIDE:
        raise ValueError(
            f"{points} points do not fit into an image of {LARGEST_SIDE} x {LARGEST_SIDE} px: "
            "export a snapshot of fewer objects."
        )
    return min(LARGEST_TILE, LARGEST_SIDE // grid)


def grid_side(points: int) -> int:
    """G: the smallest square grid that has a tile for each point."""
    return max(1, math.isqrt(max(0, points - 1)) + 1)


def write_sprite(path: Path, pictures: Sequence[bytes], virtual_classes: Sequence[int]) -> int:
    """Write a PNG: row by row the objects' pictures, then a ring for each virtual feature.

    Args:
        path: of the new file.
        pictures: the JPEGs of the real points, shrunk to fit into their tiles.
        virtual_classes: the class index of each virtual point; its ring has `class_color`.

    Returns:
        T, the side of a tile in pixels.
    """
    points = len(pictures) + len(virtual_classes)
    grid, side = grid_side(points), tile_side(points)
    sprite = Image.new("RGB", (grid * side, grid * side), _WHITE)
    places = (((at % grid) * side, (at // grid) * side) for at in range(points))
    # Not strict: it ends with the pictures, and the places that are left are the rings'.
    for picture, (x, y) in zip(pictures, places, strict=False):
        sprite.paste(_thumbnail(picture, side), (x, y))
    rings = {label: _ring(class_color(label), side) for label in set(virtual_classes)}
    for label, place in zip(virtual_classes, places, strict=True):
        sprite.paste(rings[label], place)
    sprite.save(path, format="PNG", compress_level=1)  # a third of the time, hardly larger
    return side


def class_color(label: int) -> tuple[int, int, int]:
    """The colour of a class, 0..255 each: the hues of neighbours are far apart."""
    red, green, blue = colorsys.hsv_to_rgb(label * _GOLDEN % 1, 0.85, 0.8)
    return round(255 * red), round(255 * green), round(255 * blue)


def _thumbnail(picture: bytes, side: int) -> Image.Image:
    """[T, T] the picture in the middle, as large as fits but not enlarged."""
    try:
        image = Image.open(io.BytesIO(picture), formats=("JPEG",)).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return Image.new("RGB", (side, side), _GREY)
    image.thumbnail((side, side))
    tile = Image.new("RGB", (side, side), _WHITE)
    tile.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return tile


def _ring(color: tuple[int, int, int], side: int) -> Image.Image:
    """[T, T] a circle's outline; a dot where a tile is too small for one."""
    middle = np.arange(side) - (side - 1) / 2
    radius = np.hypot(middle[:, None], middle)
    width = max(0.5, _RING_HALF_WIDTH * side)
    tile: NDArray[np.uint8] = np.full((side, side, 3), _WHITE, np.uint8)
    tile[np.abs(radius - _RING_RADIUS * side) <= width] = color
    return Image.fromarray(tile)
