"""Backgrounds of the demo images: procedural textures, none like another.

Shapes: S image side in pixels.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Values = NDArray[np.floating]


def draw_texture(generator: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """A random background, uint8 [S,S,3]: two colours mixed by a pattern, light and dark, grain."""
    pattern = _PATTERNS[int(generator.integers(len(_PATTERNS)))](generator, side)
    one, other = generator.uniform(40, 235, (2, 3)).astype(np.float32)
    # The two colours are drawn together a little: objects, not the background, carry contrast.
    other = one + (other - one) * np.float32(generator.uniform(0.3, 0.8))
    pixels = one + (other - one) * pattern[..., None]
    pixels += 40 * (_noise(generator, side, 2) - 0.5)[..., None]
    pixels += generator.normal(0, 4, (side, side, 1)).astype(np.float32)
    return np.asarray(np.clip(pixels, 0, 255), dtype=np.uint8)


def _noise(generator: np.random.Generator, side: int, octaves: int) -> Values:
    """Smooth noise [S,S] in about 0..1: coarse grids plus finer ones at half the strength each."""
    total = np.zeros((side, side), dtype=np.float32)
    for octave in range(octaves):
        cells = 4 * 2**octave
        grid = generator.random((cells, cells), dtype=np.float32)
        smooth = Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC)
        total += np.asarray(smooth) / 2**octave
    return np.asarray(total / (2 - 0.5 ** (octaves - 1)), dtype=np.float32)


def _along(generator: np.random.Generator, side: int) -> Values:
    """How far each pixel lies along a random direction [S,S], 0..1 over about the image's side."""
    angle = generator.uniform(0, 2 * np.pi)
    steps = np.arange(side, dtype=np.float32) / side - 0.5
    return np.float32(np.cos(angle)) * steps[None, :] + np.float32(np.sin(angle)) * steps[:, None]


def _clouds(generator: np.random.Generator, side: int) -> Values:
    return _noise(generator, side, 4)


def _gradient(generator: np.random.Generator, side: int) -> Values:
    return _along(generator, side) + np.float32(0.5)


def _stripes(generator: np.random.Generator, side: int) -> Values:
    bend = 0.15 * _noise(generator, side, 1)
    waves = np.sin(2 * np.pi * generator.uniform(3, 12) * (_along(generator, side) + bend))
    sharp = 0.5 + waves * generator.uniform(0.5, 3)
    return np.asarray(np.clip(sharp, 0, 1), dtype=np.float32)


def _checks(generator: np.random.Generator, side: int) -> Values:
    lines = np.pi * generator.uniform(4, 12)
    crossed = np.sin(lines * _along(generator, side)) * np.sin(lines * _along(generator, side))
    sharp = 0.5 + crossed * generator.uniform(0.5, 4)
    return np.asarray(np.clip(sharp, 0, 1), dtype=np.float32)


def _patches(generator: np.random.Generator, side: int) -> Values:
    levels = int(generator.integers(3, 6))
    return (np.floor(_noise(generator, side, 3) * levels) / (levels - 1)).astype(np.float32)


_PATTERNS: list[Callable[[np.random.Generator, int], Values]] = [
    _clouds,
    _gradient,
    _stripes,
    _checks,
    _patches,
]
