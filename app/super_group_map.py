"""The super-groups of one adaptation as a tree map: groups, and in them their classes. Pure.

Shapes: C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Literal

from app.figure import Figure, ground
from app.looks import FREQUENCY_LOOKS, FREQUENCY_NAMES, GREY, INK, Color
from app.super_group_history import Adaptation, within
from app.why_words import count
from trainer.run_log.rows import AdaptationRow, CategoryRow

Area = Literal["classes", "instances"]

ROOT, ALONE, UNSEEN = "all", "alone", "unseen"
ORDER = "fcr"  # of the classes in a group: equal ones lie side by side
FEWEST_SHARE = 8  # a group with less than this part of the classes has a short title
MOST_ALONE = 12  # groups of a single class that are drawn as groups of their own
HATCH = {"fillmode": "overlay", "fgopacity": 0.8, "size": 9, "solidity": 0.1}
ON_COLOR = Color("#FFFFFF", "#14161A")
GROUND = "rgba(128,128,128,0.16)"


def super_group_map(
    adaptation: Adaptation,
    categories: Sequence[CategoryRow],
    names: Sequence[str],
    *,
    chosen: int | None = None,
    area: Area = "classes",
    dark: bool = False,
) -> Figure:
    """The tree map: colour says the frequency group, hatching says noise.

    Args:
        adaptation: whose groups.
        categories: [C].
        names: [C] unique names.
        chosen: a class that is outlined.
        area: each class the same, or by its training instances.
        dark: the ground it is drawn on.
    """
    if not categories:
        return Figure()
    boxes = _Boxes(categories, names, area, chosen, dark)
    alone = [row for row in adaptation.rows if len(row.members) == 1]
    gathered = len(alone) > MOST_ALONE
    if gathered:
        boxes.branch(ALONE, f"alone: {len(alone):,} groups of one class")
    for place, row in enumerate(adaptation.rows):
        members = within(row.members, len(categories))
        if gathered and len(row.members) == 1:
            boxes.leaves(members, ALONE, row)
        else:
            is_small = len(row.members) * FEWEST_SHARE < len(categories)
            full = group_title(row)
            boxes.branch(f"g{place}", short_title(row) if is_small else full, full)
            boxes.leaves(members, f"g{place}", row)
    grouped = {one for row in adaptation.rows for one in row.members}
    unseen = [row.index for row in categories if row.index not in grouped]
    if unseen:
        boxes.branch(UNSEEN, f"in no group: {len(unseen):,}")
        boxes.leaves(unseen, UNSEEN, None)
    layout = {
        "margin": {"l": 2, "r": 2, "t": 6, "b": 2},
        "uniformtext": {"mode": "hide", "minsize": 9},
        "xaxis": {"visible": False},
        "yaxis": {"visible": False},
        "legend": {"itemclick": False, "itemdoubleclick": False, "traceorder": "normal"},
    }
    traces = [boxes.trace(), *_legend(adaptation, categories, dark)]
    return Figure(traces, layout, boxes.table, map_note(adaptation, len(categories)))


def group_title(row: AdaptationRow) -> str:
    """'group 3: 29 classes ▲ ×1.1': what was done to its probabilities."""
    size = count(len(row.members), "class")
    return f"group {row.super_group}: {size} {arrow(row.factor)} ×{row.factor:g}"


def short_title(row: AdaptationRow) -> str:
    """'▲ 3 · 29': what fits over a small box."""
    return f"{arrow(row.factor)} {row.super_group} · {len(row.members):,}"


def arrow(factor: float) -> str:
    """▲ raised, ▼ lowered, = left."""
    return "▲" if factor > 1 else "▼" if factor < 1 else "="


def map_note(adaptation: Adaptation, num_classes: int) -> str:
    """The numbers of this moment in a sentence."""
    clustered = sum(len(row.members) for row in adaptation.rows)
    noise = sum(len(row.noise_members) for row in adaptation.rows)
    largest = max((len(row.members) for row in adaptation.rows), default=0)
    text = (
        f"After epoch {adaptation.epoch}: {count(len(adaptation.rows), 'super-group')} of "
        f"{count(clustered, 'class')}, the largest holds {largest:,}; {count(noise, 'class')} "
        f"({100 * noise / max(1, clustered):.0f} %) noise"
    )
    left = num_classes - clustered
    return f"{text}; {left:,} in no group." if left else f"{text}."


class _Boxes:
    """The columns of the tree map's trace, filled box by box."""

    def __init__(
        self, categories: Sequence[CategoryRow], names: Sequence[str], area: Area,
        chosen: int | None, dark: bool,
    ) -> None:  # fmt: skip
        self._categories, self._names = categories, names
        self._area, self._chosen, self._dark = area, chosen, dark
        self.columns: dict[str, list[Any]] = {
            name: [] for name in ("ids", "parents", "labels", "text", "values", "hovertext",
                                  "customdata", "color", "ink", "shape", "width")
        }  # fmt: skip
        self.table: dict[str, list[Any]] = {
            name: [] for name in ("class", "frequency", "instances", "super_group", "noise")
        }
        self._add(ROOT, "", f"{len(categories):,} classes", "", 0)

    def branch(self, key: str, title: str, hover: str = "") -> None:
        """A box that holds classes."""
        self._add(key, ROOT, title, "", 0, hover=f"<b>{hover or title}</b>", color=GROUND)

    def leaves(self, members: Sequence[int], parent: str, row: AdaptationRow | None) -> None:
        """The classes in a box."""
        noise = set(row.noise_members) if row else set()
        for index in sorted(members, key=self._place):
            one = self._categories[index]
            look = FREQUENCY_LOOKS.get(one.frequency)
            group = "in no super-group" if row is None else f"group {row.super_group}"
            said = "<br>noise: no core class lies within eps" if index in noise else ""
            name = escape(self._names[index], quote=False)
            frequency = FREQUENCY_NAMES.get(one.frequency, "of no frequency group")
            self._add(
                f"c{index}", parent, name, f"{one.instance_count:,} {one.frequency}",
                max(1, one.instance_count) if self._area == "instances" else 1,
                hover=f"<b>{name}</b><br>{frequency}, {one.instance_count:,} instances<br>"
                f"{group}{said}",
                index=index,
                color=ground(look.color if look else GREY, self._dark),
                shape="/" if index in noise else "",
            )  # fmt: skip
            values = (self._names[index], one.frequency, one.instance_count,
                      "" if row is None else row.super_group, int(index in noise))  # fmt: skip
            for column, value in zip(self.table.values(), values, strict=True):
                column.append(value)

    def trace(self) -> dict[str, Any]:
        """The tree map."""
        columns = dict(self.columns)
        names = ("color", "ink", "shape", "width")
        color, ink, shape, width = (columns.pop(name) for name in names)
        return {
            **columns,
            "type": "treemap",
            "branchvalues": "remainder",
            "texttemplate": "%{label}<br>%{text}",
            "textfont": {"color": ink},
            "hovertemplate": "%{hovertext}<extra></extra>",
            "hoverlabel": {"font": {"color": ground(INK, self._dark)}},
            "tiling": {"pad": 1},
            "pathbar": {"visible": False},
            "marker": {
                "colors": color,
                "pad": {"t": 18, "l": 2, "r": 2, "b": 2},
                "line": {"width": width, "color": ground(INK, self._dark)},
                "pattern": {"shape": shape, **HATCH},
            },
        }

    def _place(self, index: int) -> tuple[int, int]:
        one = self._categories[index]
        return ORDER.find(one.frequency), -one.instance_count

    def _add(
        self, key: str, parent: str, label: str, text: str, value: int, *,
        hover: str = "", index: int | None = None, color: str = "rgba(0,0,0,0)", shape: str = "",
    ) -> None:  # fmt: skip
        is_chosen = index is not None and index == self._chosen
        ink = ground(INK if index is None else ON_COLOR, self._dark)
        values = (key, parent, label, text, value, hover or label, index, color, ink, shape,
                  3 if is_chosen else 0)  # fmt: skip
        for column, one in zip(self.columns.values(), values, strict=True):
            column.append(one)


def _legend(
    adaptation: Adaptation, categories: Sequence[CategoryRow], dark: bool
) -> list[dict[str, Any]]:
    """Bars without a length: a tree map has no legend of its own."""
    entries = []
    for letter, look in FREQUENCY_LOOKS.items():
        number = sum(row.frequency == letter for row in categories)
        if number:
            entries.append((f"{FREQUENCY_NAMES[letter]} {letter} ({number:,})", look.color, ""))
    noise = sum(len(row.noise_members) for row in adaptation.rows)
    if noise:
        entries.append((f"noise ({noise:,})", GREY, "/"))
    return [
        {
            "type": "bar",
            "x": [None],
            "y": [None],
            "name": name,
            "marker": {"color": ground(color, dark), "pattern": {"shape": shape, **HATCH}},
        }
        for name, color, shape in entries
    ]
