"""How classes moved between the super-groups of two adaptations: a Sankey figure. Pure.

Shapes: C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from app.figure import Figure, ground
from app.looks import BLUE, FREQUENCY_NAMES, GREY, ORANGE
from app.super_group_history import UNGROUPED, Adaptation
from trainer.run_log.rows import CategoryRow

MOST_GROUPS = 12  # of one side; smaller ones are gathered
SMALLEST_FLOW = 0.01  # of all classes; thinner flows are gathered
MOST_NAMES = 10  # in the text of a flow
SMALL, NO_GROUP = "small groups", "in no group"

Key = int | str  # a group's place in its adaptation, or what gathers several


def super_group_flow(
    earlier: Adaptation,
    later: Adaptation,
    categories: Sequence[CategoryRow],
    names: Sequence[str],
    *,
    chosen: int | None = None,
    dark: bool = False,
) -> Figure:
    """Groups of the earlier adaptation at the left, of the later one at the right.

    The largest groups of a side have a node each, the others share one. Flows of few classes run
    through a node in the middle, so that what enters and leaves each group is whole.

    Args:
        earlier, later: two adaptations.
        categories: [C].
        names: [C] unique names.
        chosen: a class whose flow is coloured.
        dark: the ground it is drawn on.
    """
    classes = len(categories)
    if not classes:
        return Figure()
    sides = (earlier, later)
    of_class = [one.group_of_class(classes) for one in sides]
    keys = [_keys(one, group.tolist()) for one, group in zip(sides, of_class, strict=True)]
    flows: dict[tuple[Key, Key], list[int]] = {}
    for index, pair in enumerate(zip(*keys, strict=True)):
        flows.setdefault(pair, []).append(index)
    graph = _Graph(categories, names, chosen, dark)
    for side, one in enumerate(sides):
        for key in sorted(set(keys[side]), key=lambda key: (isinstance(key, str), str(key))):
            members = [index for index in range(classes) if keys[side][index] == key]
            graph.node(side, key, _label(one, key, len(members)))
    fewest = SMALLEST_FLOW * classes
    thin = {pair for pair, members in flows.items() if len(members) < fewest}
    if len(thin) > 1:
        graph.gather([(pair, members) for pair, members in flows.items() if pair in thin])
    else:
        thin = set()
    for (left, right), members in flows.items():
        if (left, right) not in thin:
            graph.link((0, left), (1, right), members)
    table: dict[str, list[Any]] = {
        "class": list(names),
        "frequency": [row.frequency for row in categories],
    }
    for when, one, groups in zip(("before", "after"), sides, of_class, strict=True):
        table[f"epoch_{when}"] = [one.epoch] * classes
        table[f"group_{when}"] = _numbers(one, groups.tolist())
        table[f"noise_{when}"] = one.noise(classes).astype(int).tolist()
    return Figure([graph.trace()], _layout(earlier, later), table, flow_note(earlier, later, flows))


def flow_note(
    earlier: Adaptation, later: Adaptation, flows: dict[tuple[Key, Key], list[int]]
) -> str:
    """How many classes kept together, in a sentence."""
    together = 0
    for key in {left for left, _ in flows}:
        together += max(len(members) for (left, _), members in flows.items() if left == key)
    classes = sum(len(members) for members in flows.values())
    if not classes:
        return ""
    return (
        f"{together:,} of {classes:,} classes ({100 * together / classes:.0f} %) went where most "
        f"of their group went; {len(earlier.rows):,} groups after epoch {earlier.epoch}, "
        f"{len(later.rows):,} after epoch {later.epoch}."
    )


def _keys(adaptation: Adaptation, group_of_class: Sequence[int]) -> list[Key]:
    """[C] which node each class belongs to."""
    by_size = sorted(
        range(len(adaptation.rows)), key=lambda place: -len(adaptation.rows[place].members)
    )
    own = set(by_size if len(by_size) <= MOST_GROUPS + 1 else by_size[:MOST_GROUPS])
    return [
        NO_GROUP if place == UNGROUPED else place if place in own else SMALL
        for place in group_of_class
    ]


def _label(adaptation: Adaptation, key: Key, members: int) -> str:
    if isinstance(key, int):
        return f"group {adaptation.rows[key].super_group} · {members:,}"
    if key == SMALL:
        return f"{len(adaptation.rows) - MOST_GROUPS:,} small groups · {members:,}"
    return f"{key} · {members:,}"


def _numbers(adaptation: Adaptation, group_of_class: Sequence[int]) -> list[Any]:
    return [
        "" if place == UNGROUPED else adaptation.rows[place].super_group for place in group_of_class
    ]


class _Graph:
    """Nodes and links of the Sankey trace."""

    def __init__(
        self, categories: Sequence[CategoryRow], names: Sequence[str], chosen: int | None,
        dark: bool,
    ) -> None:  # fmt: skip
        self._categories, self._names = categories, names
        self._chosen, self._dark = chosen, dark
        self._places: dict[tuple[int, Key], int] = {}
        self._labels: list[str] = []
        self._colors: list[str] = []
        self._links: dict[str, list[Any]] = {
            name: [] for name in ("source", "target", "value", "color", "label")
        }

    def node(self, side: int, key: Key, label: str) -> None:
        """A node: 0 at the left, 1 at the right, 2 in the middle."""
        self._places[side, key] = len(self._labels)
        self._labels.append(label)
        self._colors.append(ground(BLUE if isinstance(key, int) else GREY, self._dark))

    def gather(self, flows: Sequence[tuple[tuple[Key, Key], list[int]]]) -> None:
        """Lead thin flows through the middle: one link from each left group, one to each right."""
        total = sum(len(members) for _, members in flows)
        self.node(2, SMALL, f"small flows · {total:,}")
        for side in (0, 1):
            merged: dict[Key, list[int]] = {}
            for pair, members in flows:
                merged.setdefault(pair[side], []).extend(members)
            for key, members in merged.items():
                ends = ((0, key), (2, SMALL)) if side == 0 else ((2, SMALL), (1, key))
                self.link(ends[0], ends[1], members)

    def link(self, source: tuple[int, Key], target: tuple[int, Key], members: list[int]) -> None:
        """A flow of classes."""
        chosen = self._chosen in members
        color = ground(ORANGE if chosen else GREY, self._dark)
        values = (self._places[source], self._places[target], len(members),
                  f"{color}{'b0' if chosen else '55'}", self._text(members))  # fmt: skip
        for column, value in zip(self._links.values(), values, strict=True):
            column.append(value)

    def trace(self) -> dict[str, Any]:
        """The Sankey trace."""
        return {
            "type": "sankey",
            "arrangement": "snap",
            "valueformat": ",d",
            "node": {
                "label": self._labels,
                "color": self._colors,
                "pad": 10,
                "thickness": 14,
                "line": {"width": 0},
                "hovertemplate": "%{label} classes<extra></extra>",
            },
            "link": {**self._links, "hovertemplate": "%{value} classes<br>%{label}<extra></extra>"},
        }

    def _text(self, members: Sequence[int]) -> str:
        """How many of each frequency group, and the first names."""
        letters = [self._categories[index].frequency for index in members]
        groups = ", ".join(
            f"{letters.count(letter):,} {name}" for letter, name in FREQUENCY_NAMES.items()
            if letter in letters
        )  # fmt: skip
        first = sorted(members, key=lambda index: index != self._chosen)[:MOST_NAMES]
        lines = [escape(self._names[index], quote=False) for index in first]
        rest = len(members) - len(first)
        more = [f"and {rest:,} others"] if rest else []
        return "<br>".join([groups, *lines, *more])


def _layout(earlier: Adaptation, later: Adaptation) -> dict[str, Any]:
    shared = {"y": 1.0, "yref": "paper", "xref": "paper", "yanchor": "bottom", "showarrow": False}
    return {
        "margin": {"l": 6, "r": 6, "t": 26, "b": 10},
        "xaxis": {"visible": False},
        "yaxis": {"visible": False},
        "annotations": [
            {**shared, "x": 0, "xanchor": "left", "text": f"after epoch {earlier.epoch}"},
            {**shared, "x": 1, "xanchor": "right", "text": f"after epoch {later.epoch}"},
        ],
    }
