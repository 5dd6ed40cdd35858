"""How lines are told apart: colours that colour-blind eyes keep apart, dashes and markers.

The colours are Okabe and Ito's, some a little darker on light ground or lighter on dark ground so
that thin lines stay readable. Rare, common and frequent look the same on every chart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Color:
    """One colour on light and on dark ground."""

    light: str
    dark: str


VERMILION = Color("#D55E00", "#F0803C")
GREEN = Color("#009E73", "#2BB98E")
BLUE = Color("#0072B2", "#56B4E9")
ORANGE = Color("#C98500", "#E69F00")
PURPLE = Color("#B0578D", "#CC79A7")
SKY = Color("#3A9BD6", "#8CCBF2")
YELLOW = Color("#A89A00", "#F0E442")
INK = Color("#2B2F36", "#E3E6EA")
GREY = Color("#8A9099", "#8A929C")


@dataclass(frozen=True)
class Look:
    """How a line is told apart: by colour, dash and marker, never by colour alone."""

    color: Color
    dash: str = "solid"
    symbol: str = "circle"


FREQUENCY_NAMES = {"r": "rare", "c": "common", "f": "frequent"}
FREQUENCY_LOOKS = {
    "r": Look(VERMILION, "solid", "circle"),
    "c": Look(GREEN, "dash", "diamond"),
    "f": Look(BLUE, "dot", "square"),
}
# Pinned classes wear shades of their frequency group's colour; dash says the group, too, and the
# marker tells members of one group apart.
PIN_SHADES = {
    "r": (VERMILION, Color("#8F3A00", "#FFC39B"), Color("#F09A58", "#C25A14")),
    "c": (GREEN, Color("#00543C", "#A5EBD3"), Color("#56C5A2", "#128060")),
    "f": (BLUE, Color("#003B5E", "#B9E0F7"), Color("#5AA9DA", "#1F7DB8")),
}
PIN_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "star", "x", "pentagon")
OTHER_LOOKS = tuple(Look(c, "dot", "x") for c in (SKY, YELLOW, GREY, PURPLE, ORANGE))


def pin_looks(letters: Sequence[str]) -> list[Look]:
    """A look for each pinned class, given their frequency letters; no two are the same."""
    taken: dict[str, int] = {}
    looks = []
    for letter in letters:
        place = taken.get(letter, 0)
        taken[letter] = place + 1
        shades = PIN_SHADES.get(letter, (GREY,))
        dash = FREQUENCY_LOOKS[letter].dash if letter in FREQUENCY_LOOKS else "longdash"
        looks.append(Look(shades[place % len(shades)], dash, PIN_SYMBOLS[place % 8]))
    return looks
