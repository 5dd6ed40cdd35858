"""The heat map of a run: one class field of every class after every epoch. Pure; holds no data.

Its rows are classes in order of frequency, its columns epochs; `live_chart/heat_map.js` draws it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from app.class_charts import CLASS_FIELDS, FASA_FIELDS
from app.looks import FREQUENCY_LOOKS, FREQUENCY_NAMES, Color

# How a value becomes a colour: about 1 in both directions, by its logarithm, or as it is.
Scale = Literal["factor", "log", "linear"]
# Of which other value of the class it is a multiple: that of its first epoch, of the epoch before.
Relative = Literal["", "start", "before"]

# Colour-blind safe, and neither is a colour of the frequency groups' marks in the rows' names. The
# first says lowered and raised (purple, green), the middle being the page's ground; the second is
# cividis, dark to light.
FACTOR_COLORS = (
    Color("#5A2A83", "#D3B2F5"),
    Color("#B08CC9", "#7A51A3"),
    Color("#F1F1F1", "#262C34"),
    Color("#7DBF85", "#2F7D42"),
    Color("#12662F", "#A2E8AC"),
)
VALUE_COLORS = tuple(
    Color(color, color) for color in ("#00224E", "#3C4E6E", "#7D7C78", "#BCAE6C", "#FEE838")
)


@dataclass(frozen=True)
class HeatValue:
    """One choice of what the colours mean.

    Attributes:
        label: in the list of choices.
        field: of the class vectors.
        unit: on the colour bar.
        caption: what is shown, one sentence.
        scale, relative: see `Scale` and `Relative`.
        per_thousand: values are multiplied by 1,000.
        fasa: only where FASA is on.
    """

    label: str
    field: str
    unit: str
    caption: str
    scale: Scale = "linear"
    relative: Relative = ""
    per_thousand: bool = False
    fasa: bool = False


def _of_field(name: str) -> HeatValue:
    """A class field as it is."""
    about = CLASS_FIELDS[name]
    return HeatValue(
        label=about.label,
        field=name,
        unit=about.unit,
        caption=f"{about.meaning[0].upper()}{about.meaning[1:]}.",
        scale="log" if about.log else "linear",
        per_thousand=about.transform == "per_thousand",
        fasa=name in FASA_FIELDS,
    )


HEAT_VALUES: dict[str, HeatValue] = {
    "relative": HeatValue(
        "p relative to start", "probability", "× start",
        "Sampling probability p relative to the first epoch (s_c of Eq. 4): green was raised, "
        "purple lowered.",
        "factor", "start", fasa=True),
    "step": HeatValue(
        "p relative to the epoch before", "probability", "× epoch before",
        "What each adaptation did to the sampling probability p: green raised, purple lowered it.",
        "factor", "before", fasa=True),
    **{name: _of_field(name) for name in CLASS_FIELDS},
}  # fmt: skip


@dataclass(frozen=True)
class Group:
    """A frequency group as the rows tell it: by word, sign, place and colour."""

    letter: str
    name: str
    sign: str
    color: Color


SIGNS = {"circle": "●", "diamond": "◆", "square": "■"}
GROUPS = tuple(  # the most frequent on top
    Group(letter, FREQUENCY_NAMES[letter], SIGNS[look.symbol], look.color)
    for letter, look in reversed(FREQUENCY_LOOKS.items())
)


@dataclass(frozen=True)
class HeatMap:
    """A heat map, as the component takes it."""

    want: str
    unit: str
    caption: str
    scale: Scale
    relative: Relative
    per_thousand: bool
    colors: tuple[Color, ...]
    groups: tuple[Group, ...] = GROUPS
    key: str = "heat_map"
    title: str = "Classes × epochs"
    empty: str = "No epoch has been logged yet: the first column comes with the first snapshot."
    height: int = 420

    def to_dict(self) -> dict[str, Any]:
        """The specification as the component takes it (JSON)."""
        return asdict(self)


def heat_choices(*, fasa: bool) -> Mapping[str, str]:
    """What the colours may mean: key to label, the one shown first in front."""
    return {key: about.label for key, about in HEAT_VALUES.items() if fasa or not about.fasa}


def heat_map(chosen: str) -> HeatMap:
    """The heat map of one of `HEAT_VALUES`."""
    about = HEAT_VALUES[chosen]
    return HeatMap(
        want=f"epochs:{about.field}",
        unit=about.unit,
        caption=f"{about.caption} One row a class, the most frequent on top; one column an epoch, "
        "as it stood at its end; hatched where there is no data. Drag to zoom until classes have "
        "names; double-click for all.",
        scale=about.scale,
        relative=about.relative,
        per_thousand=about.per_thousand,
        colors=FACTOR_COLORS if about.scale == "factor" else VALUE_COLORS,
    )
