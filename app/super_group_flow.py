"""How classes moved between the super-groups of two adaptations: a Sankey figure. Pure.

Shapes: C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any

from app.figure import Figure, ground
from app.looks import BLUE, FREQUENCY_NAMES, GREY, INK, ORANGE
from app.super_group_history import UNGROUPED, Adaptation
from trainer.run_log.rows import CategoryRow

MOST_GROUPS = 14  # of one side; smaller ones are gathered
SMALLEST_FLOW = 0.01  # of all classes; thinner flows are gathered
MOST_NAMES = 6  # in the text of a flow
SMALL, NO_GROUP = "small groups", "in no group"
KEPT, LEFT = "with most of their group<br>", "away from most of their group<br>"

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
    of_class = [one.group_of_class(classes).tolist() for one in sides]
    keys = [_keys(one, group, chosen) for one, group in zip(sides, of_class, strict=True)]
    graph = _Graph(categories, names, chosen, dark)
    for side, one in enumerate(sides):
        sizes = Counter(keys[side])
        for key in sorted(sizes, key=lambda key: (isinstance(key, str), str(key))):
            graph.node(side, key, _label(one, key, keys[side], of_class[side]))
    followed = followers(*of_class)
    flows: dict[tuple[Key, Key, str], list[int]] = {}
    for index, (left, right) in enumerate(zip(*keys, strict=True)):
        kept = "" if SMALL not in (left, right) else KEPT if index in followed else LEFT
        flows.setdefault((left, right, kept), []).append(index)
    fewest = SMALLEST_FLOW * classes
    thin = [flow for flow, own in flows.items() if len(own) < fewest and chosen not in own]
    if len(thin) > 1:
        graph.gather([(flow[:2], flows.pop(flow)) for flow in thin])
    for (left, right, kept), members in flows.items():
        graph.link((0, left), (1, right), members, kept)
    table: dict[str, list[Any]] = {
        "class": list(names),
        "frequency": [row.frequency for row in categories],
    }
    for when, one, groups in zip(("before", "after"), sides, of_class, strict=True):
        table[f"epoch_{when}"] = [one.epoch] * classes
        table[f"group_{when}"] = _numbers(one, groups)
        table[f"noise_{when}"] = one.noise(classes).astype(int).tolist()
    text = flow_note(earlier, later, len(followed), classes)
    return Figure([graph.trace()], _layout(earlier, later), table, text)


def followers(before: Sequence[int], after: Sequence[int]) -> set[int]:
    """The classes that went where most classes of their group went.

    Args:
        before, after: [C] group of each class, UNGROUPED for none.
    """
    members: dict[int, list[int]] = {}
    for index, place in enumerate(before):
        members.setdefault(place, []).append(index)
    found: set[int] = set()
    for together in members.values():
        ((most, _),) = Counter(after[index] for index in together).most_common(1)
        found.update(index for index in together if after[index] == most)
    return found


def flow_note(earlier: Adaptation, later: Adaptation, followed: int, classes: int) -> str:
    """How many classes kept together, in a sentence."""
    return (
        f"{followed:,} of {classes:,} classes ({100 * followed / classes:.0f} %) went where most "
        f"of their group went; {len(earlier.rows):,} groups after epoch {earlier.epoch}, "
        f"{len(later.rows):,} after epoch {later.epoch}."
    )


def _keys(adaptation: Adaptation, group_of_class: Sequence[int], chosen: int | None) -> list[Key]:
    """[C] which node each class belongs to; the chosen class's group has one of its own."""
    by_size = sorted(
        range(len(adaptation.rows)), key=lambda place: -len(adaptation.rows[place].members)
    )
    own = set(by_size if len(by_size) <= MOST_GROUPS + 1 else by_size[:MOST_GROUPS])
    if chosen is not None and chosen < len(group_of_class):
        own.add(group_of_class[chosen])
    return [
        NO_GROUP if place == UNGROUPED else place if place in own else SMALL
        for place in group_of_class
    ]


def _label(
    adaptation: Adaptation, key: Key, keys: Sequence[Key], group_of_class: Sequence[int]
) -> str:
    members = keys.count(key)
    if isinstance(key, int):
        return f"group {adaptation.rows[key].super_group} · {members:,}"
    if key == SMALL:
        groups = {place for place, one in zip(group_of_class, keys, strict=True) if one == SMALL}
        return f"{len(groups):,} small groups · {members:,}"
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

    def link(
        self, source: tuple[int, Key], target: tuple[int, Key], members: list[int], kept: str = ""
    ) -> None:
        """A flow of classes; `kept` says whether they left the most of their group."""
        chosen = self._chosen in members
        color = ground(ORANGE if chosen else GREY, self._dark)
        values = (self._places[source], self._places[target], len(members),
                  f"{color}{'b0' if chosen else '30' if kept == KEPT else '60'}",
                  f"{kept}{self._text(members)}")  # fmt: skip
        for column, value in zip(self._links.values(), values, strict=True):
            column.append(value)

    def trace(self) -> dict[str, Any]:
        """The Sankey trace."""
        hover = {"font": {"color": ground(INK, self._dark)}, "align": "left"}
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
                "hoverlabel": hover,
                "hovertemplate": "%{label} classes<extra></extra>",
            },
            "link": {
                **self._links,
                "hoverlabel": hover,
                "hovertemplate": "%{value} classes<br>%{label}<extra></extra>",
            },
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
            {
                **shared,
                "x": 1,
                "xshift": -24,
                "xanchor": "right",
                "text": f"after epoch {later.epoch}",
            },
        ],
    }
