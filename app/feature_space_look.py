"""How the page Feature space looks and what it says before any snapshot is known. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.looks import (
    BLUE,
    FREQUENCY_LOOKS,
    FREQUENCY_NAMES,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    Color,
    pin_looks,
)
from app.run_page import run_label
from trainer.run_log.rows import CategoryRow, Run

# Eight, as many as classes can be pinned; the first ones stand farthest from the frequency groups'.
HOUSE_COLORS = (PURPLE, ORANGE, SKY, INK, YELLOW, VERMILION, GREEN, BLUE)
# Cividis as in the heat map, turned on light ground so that much is dark there and bright on dark.
SCALE = (
    Color("#D3C99A", "#40547A"),
    Color("#B0A470", "#6C7178"),
    Color("#7D7C78", "#9A9378"),
    Color("#3C4E6E", "#CBB963"),
    Color("#00224E", "#FEE838"),
)
SPLIT_LOOKS = {
    "train": ("real, training images", BLUE),
    "holdout": ("real, held-out images", ORANGE),
    "virtual": ("virtual", PURPLE),
}
HELP = (
    "Wheel or pinch zooms, drag moves, double click shows all; a click pins the point's class, the "
    "lasso (or Shift and drag) chooses points, where some are dimmed the bright ones."
)


def feature_space_spec(runs: Sequence[Run]) -> dict[str, Any]:
    """The title, the runs that may be shown and what the colours are, as the component takes it."""
    return {
        "key": "feature_space",
        "title": "Real and virtual features",
        "help": HELP,
        "runs": [{"id": run.id, "label": run_label(run)} for run in reversed(runs)],
        "looks": {
            "frequency": {
                letter: {"name": FREQUENCY_NAMES[letter], **_both(look.color)}
                for letter, look in FREQUENCY_LOOKS.items()
            },
            "split": {
                key: {"name": name, **_both(color)} for key, (name, color) in SPLIT_LOOKS.items()
            },
            "scale": [_both(color) for color in SCALE],
        },
    }


def pins_to_show(pins: Sequence[int], categories: Sequence[CategoryRow]) -> list[dict[str, Any]]:
    """The pinned classes with a colour each, as the component takes them."""
    colors = pin_colors([categories[index].frequency for index in pins])
    return [
        {"index": index, "name": categories[index].name, **_both(color)}
        for index, color in zip(pins, colors, strict=True)
    ]


def pin_colors(letters: Sequence[str]) -> list[Color]:
    """A colour for each pinned class, given their frequency letters.

    It is the one its curve has on the live page as long as no other pin wears it: points carry no
    dash or marker that would tell them apart. No two of up to eight are the same.
    """
    colors: list[Color] = []
    for look in pin_looks(letters):
        free = [color for color in (look.color, *HOUSE_COLORS) if color not in colors]
        colors.append(free[0] if free else look.color)
    return colors


def _both(color: Color) -> dict[str, str]:
    return {"light": color.light, "dark": color.dark}
