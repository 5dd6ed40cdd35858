"""One demo image: glyphs placed over a texture so that each stays at least half visible.

Shapes: S image side in pixels; K objects of an image.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.glyphs import draw_glyph
from data.textures import draw_texture

SMALLEST, LARGEST = 0.19, 0.5  # longer side of an upright glyph, as a share of the image side
MOST_ROTATION = 35.0  # degrees to either side
MOST_HUE_SHIFT = 25.0  # degrees on the colour circle to either side
LEAST_GAIN, MOST_GAIN = 0.7, 1.2
LEAST_VISIBLE = 0.5

_POSITIONS_TRIED = 12
_LAYOUTS_TRIED = 200
_SHRINK = 0.85


@dataclass(frozen=True)
class Scene:
    """An image and, for each object in the order asked for, its visible mask, bool [K,S,S]."""

    image: Image.Image
    masks: NDArray[np.bool_]


@dataclass(frozen=True)
class _Placed:
    picture: Image.Image  # RGBA
    left: int
    top: int


def compose(characters: list[str], side: int, generator: np.random.Generator) -> Scene:
    """Draw ``characters``, each one object, in random size, angle, colour and place.

    Later objects lie above earlier ones; at least half of the pixels of each stay visible. A pixel
    is an object's where its ink is at least half opaque.
    """
    for _ in range(_LAYOUTS_TRIED):
        layout = _lay_out(characters, side, generator)
        if layout is not None:
            placed, masks = layout
            image = Image.fromarray(draw_texture(generator, side))
            for thing in placed:
                image.paste(thing.picture, (thing.left, thing.top), thing.picture)
            return Scene(image, np.stack(masks))
    raise ValueError(
        f"{len(characters)} objects found no place in an image of {side} pixels: use fewer"
    )


def _lay_out(
    characters: list[str], side: int, generator: np.random.Generator
) -> tuple[list[_Placed], list[NDArray[np.bool_]]] | None:
    placed: list[_Placed] = []
    masks: list[NDArray[np.bool_]] = []
    inks: list[int] = []
    for character in characters:
        spot = _find_place(character, side, masks, inks, generator)
        if spot is None:
            return None
        thing, mask = spot
        masks = [hidden & ~mask for hidden in masks]
        placed.append(thing)
        masks.append(mask)
        inks.append(int(mask.sum()))
    return placed, masks


def _find_place(
    character: str,
    side: int,
    masks: list[NDArray[np.bool_]],
    inks: list[int],
    generator: np.random.Generator,
) -> tuple[_Placed, NDArray[np.bool_]] | None:
    """A size, look and place that leaves the ``masks`` so far half visible, of ``inks`` pixels."""
    size = generator.uniform(SMALLEST, LARGEST)
    angle = generator.uniform(-MOST_ROTATION, MOST_ROTATION)
    colours = _colour_matrix(generator)
    while True:
        picture = _look(character, round(size * side), angle, colours)
        ink = np.asarray(picture)[..., 3] >= 128
        width, height = picture.size
        for _ in range(_POSITIONS_TRIED):
            left = int(generator.integers(max(1, side - width + 1)))
            top = int(generator.integers(max(1, side - height + 1)))
            mask = np.zeros((side, side), dtype=bool)
            mask[top : top + height, left : left + width] = ink[: side - top, : side - left]
            if all(
                np.count_nonzero(seen & ~mask) >= LEAST_VISIBLE * whole
                for seen, whole in zip(masks, inks, strict=True)
            ):
                return _Placed(picture, left, top), mask
        if size <= SMALLEST:
            return None
        size = max(SMALLEST, size * _SHRINK)


def _look(
    character: str, longest_side: int, angle: float, colours: tuple[float, ...]
) -> Image.Image:
    upright = draw_glyph(character, longest_side)
    alpha = upright.getchannel("A")
    coloured = upright.convert("RGB").convert("RGB", colours)
    coloured.putalpha(alpha)
    turned = coloured.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    return turned.crop(turned.getchannel("A").point(_OPAQUE).getbbox())


_OPAQUE = [0] * 128 + [255] * 128


def _colour_matrix(generator: np.random.Generator) -> tuple[float, ...]:
    """Turn the hue and scale the brightness: a 3 x 4 matrix on RGB.

    Turning hues is a rotation about the grey axis (1, 1, 1) / sqrt(3) (Rodrigues' formula).
    """
    turn = np.deg2rad(generator.uniform(-MOST_HUE_SHIFT, MOST_HUE_SHIFT))
    gain = generator.uniform(LEAST_GAIN, MOST_GAIN)
    axis = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    rotation = (
        np.cos(turn) * np.eye(3) + np.sin(turn) * axis + (1 - np.cos(turn)) * np.full((3, 3), 1 / 3)
    )
    return tuple(np.column_stack([gain * rotation, np.zeros(3)]).ravel().tolist())
