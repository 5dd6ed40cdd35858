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
_LAYOUTS_TRIED = 20
_SHRINK = 0.85


@dataclass(frozen=True)
class Scene:
    """An image and its objects in the order asked for, later ones above earlier ones.

    ``masks`` bool [K,S,S] is what is visible of each, ``areas`` [K] the pixels each would cover
    alone.
    """

    image: Image.Image
    masks: NDArray[np.bool_]
    areas: list[int]


@dataclass(frozen=True)
class _Placed:
    picture: Image.Image  # RGBA
    left: int
    top: int
    mask: NDArray[np.bool_]  # [S,S], as if nothing lay above
    area: int


def compose(characters: list[str], side: int, generator: np.random.Generator) -> Scene:
    """Draw ``characters``, each one object, in random size, angle, colour and place.

    At least half of the pixels of each stay visible. A pixel is an object's where its ink is at
    least half opaque. Raises ValueError if the objects find no such places.
    """
    image = Image.fromarray(draw_texture(generator, side))
    for _ in range(_LAYOUTS_TRIED):
        placed = _lay_out(characters, side, generator)
        if placed is not None:
            for thing in placed:
                image.paste(thing.picture, (thing.left, thing.top), thing.picture)
            return Scene(image, _visible(placed), [thing.area for thing in placed])
    raise ValueError(
        f"{len(characters)} objects found no place in an image of {side} pixels: use fewer"
    )


def _visible(placed: list[_Placed]) -> NDArray[np.bool_]:
    masks = np.stack([thing.mask for thing in placed])
    for k in range(1, len(masks)):
        masks[:k] &= ~masks[k]
    return masks


def _lay_out(
    characters: list[str], side: int, generator: np.random.Generator
) -> list[_Placed] | None:
    placed: list[_Placed] = []
    for character in characters:
        thing = _find_place(character, side, placed, generator)
        if thing is None:
            return None
        placed.append(thing)
    return placed


def _find_place(
    character: str, side: int, placed: list[_Placed], generator: np.random.Generator
) -> _Placed | None:
    """A size, look and place that leaves everything placed so far visible enough."""
    seen = _visible(placed) if placed else np.zeros((0, side, side), dtype=bool)
    least = [LEAST_VISIBLE * thing.area for thing in placed]
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
            if np.all(np.count_nonzero(seen & ~mask, axis=(1, 2)) >= least):
                return _Placed(picture, left, top, mask, int(np.count_nonzero(mask)))
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
    return turned.crop(turned.getbbox())


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
