"""Figures of the measures over epochs: is what FASA draws on the manifold of the real features?

Parameters of each: `pins`, class indices separated by commas, shows these classes instead of the
frequency groups. A measure of both real and virtual features has a panel for each group or class,
real ones solid with filled markers and virtual ones dashed with open markers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from app.feature_measures import (
    ACCURACY,
    FRECHET,
    NEGATIVE,
    NEIGHBOURS,
    VIRTUAL,
    Newest,
    Topic,
    counted,
    epochs_done,
    group_value,
    moment_words,
    per_class,
    plain_number,
)
from app.figure import Figure, ground
from app.figure_routes import Asked
from app.live_answers import WantError
from app.looks import FREQUENCY_LOOKS, FREQUENCY_NAMES, INK, Look, pin_looks
from trainer.run_log.rows import CategoryRow, MeasureRow

MOST_SHOWN = 8  # classes in one figure, as many as can be pinned
ACROSS = 3  # panels in a row
GAP = 0.04  # between panels, of the whole width
ROW_GAP = 0.07  # of the whole height: the ticks of the row above
HEAD = 22  # pixels of a panel's title
ROW = 210  # pixels of a row of panels


@dataclass(frozen=True)
class Shown:
    """A frequency group or a class.

    Attributes:
        name: of it, as text.
        value: of a measure's row, None where it could not be judged.
        among: the mean of how many classes, given all measures of a snapshot; "" for a class.
    """

    name: str
    look: Look
    value: Callable[[MeasureRow], float | None]
    among: Callable[[Newest, str], str]


@dataclass(frozen=True)
class Curve:
    """One measure of one group or class over epochs; oldest first.

    `among` says how many classes each value is the mean of.
    """

    shown: Shown
    whose: str
    epochs: Sequence[float]
    rows: Sequence[MeasureRow]
    among: Sequence[str]

    @property
    def values(self) -> list[float | None]:
        """A value a snapshot, None where it could not be judged."""
        return [self.shown.value(row) for row in self.rows]


def neighbours(asked: Asked) -> Figure:
    """Share of the nearest real neighbours that are of a feature's own class."""
    return measured(asked, NEIGHBOURS)


def accuracy(asked: Asked) -> Figure:
    """Accuracy of the classifier of then."""
    return measured(asked, ACCURACY)


def frechet(asked: Asked) -> Figure:
    """Fréchet distance of virtual and of trained-on real features to held-out ones."""
    return measured(asked, FRECHET)


def negative(asked: Asked) -> Figure:
    """Share of negative coordinates of virtual features."""
    return measured(asked, NEGATIVE)


def measured(asked: Asked, topic: Topic) -> Figure:
    """A topic's figure from the run log.

    Raises:
        WantError: `pins` cannot be read.
    """
    pins = asked_pins(asked.params.get("pins", ""), len(asked.categories))
    rows = asked.reader.features.measures(asked.run.id, list(topic.measures))
    shown = shown_classes(pins, asked.categories) if pins else shown_groups(asked.categories)
    return over_epochs(
        topic, rows, shown, lambda row: epochs_done(asked.run, row.step, row.epoch), asked.dark
    )


def asked_pins(text: str, classes: int) -> list[int]:
    """The classes that `pins` names, without those that are not there.

    Raises:
        WantError: it is no list of whole numbers, or a longer one than can be shown.
    """
    parts = text.split(",") if text else []
    plain = all(part.isascii() and part.isdecimal() and len(part) < 9 for part in parts)
    if not plain or len(parts) > MOST_SHOWN:
        raise WantError(
            f"pins is '{text[:40]}', but it must be at most {MOST_SHOWN} class indices separated "
            "by commas"
        )
    return [index for index in dict.fromkeys(map(int, parts)) if index < classes]


def shown_groups(categories: Sequence[CategoryRow]) -> list[Shown]:
    """The frequency groups that have classes."""

    letters = [row.frequency for row in categories]

    def group(letter: str, name: str) -> Shown:
        def among(rows: Newest, measure: str) -> str:
            count = int(counted(rows, measure, letters, letter).sum())
            return f"{count:,} of {letters.count(letter):,} classes"

        return Shown(name, FREQUENCY_LOOKS[letter], lambda row: group_value(row, name), among)

    return [group(letter, name) for letter, name in FREQUENCY_NAMES.items() if letter in letters]


def shown_classes(pins: Sequence[int], categories: Sequence[CategoryRow]) -> list[Shown]:
    """Pinned classes, each in a shade of its group's colour."""

    def one(index: int, look: Look) -> Shown:
        def value(row: MeasureRow) -> float | None:
            number = float(per_class(row, len(categories))[index])
            return number if number == number else None  # NaN is not judged

        return Shown(categories[index].name, look, value, lambda rows, measure: "")

    looks = pin_looks([categories[index].frequency for index in pins])
    return [one(index, look) for index, look in zip(pins, looks, strict=True)]


def over_epochs(
    topic: Topic,
    rows: Sequence[MeasureRow],
    shown: Sequence[Shown],
    epochs: Callable[[MeasureRow], float],
    dark: bool,
) -> Figure:
    """The figure of a topic; pure.

    Args:
        topic: what is shown.
        rows: of its measures, oldest first.
        shown: the groups or classes.
        epochs: where a row lies on the x axis.
        dark: whether the ground is.
    """
    moments: dict[int, dict[str, MeasureRow]] = {}
    for row in rows:
        moments.setdefault(row.snapshot_id, {})[row.name] = row
    curves = [
        Curve(one, whose, [epochs(row) for row in own], own,
              [one.among(moments[row.snapshot_id], name) for row in own])
        for one in shown
        for name, whose in topic.measures.items()
        if (own := [row for row in rows if row.name == name])
    ]  # fmt: skip
    if not any(value is not None for curve in curves for value in curve.values):
        return Figure()
    panels = len(topic.measures) > 1
    traces = [
        _line(curve, f"{shown.index(curve.shown) + 1}" if panels else "", dark) for curve in curves
    ]
    known = [curve for curve in curves if any(value is not None for value in curve.values)]
    layout = _one_layout(topic)
    if panels:
        traces += [_key(whose, dark) for whose in dict.fromkeys(curve.whose for curve in known)]
        layout = _panel_layout(topic, shown, {curve.shown.name for curve in known})
    return Figure(traces, layout, _table(curves), _note(known, topic))


def panel_height(topic: Topic, shown: int) -> int:
    """Pixels of a topic's figure of so many groups or classes."""
    rows = -(-shown // ACROSS) if len(topic.measures) > 1 else 1
    return 70 + ROW * max(1, rows)


def _line(curve: Curve, panel: str, dark: bool) -> dict[str, Any]:
    look, virtual = curve.shown.look, curve.whose == VIRTUAL
    color = ground(look.color, dark)
    symbol = f"{look.symbol}-open" if panel and virtual else look.symbol
    dash = ("dash" if virtual else "solid") if panel else look.dash
    name = escape(curve.whose if panel else curve.shown.name, quote=False)
    axis = "" if panel in ("", "1") else panel
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "legendgroup": name,
        "showlegend": not panel,
        "x": list(curve.epochs),
        "y": curve.values,
        "xaxis": f"x{axis}",
        "yaxis": f"y{axis}",
        "line": {"color": color, "dash": dash, "width": 2},
        "marker": {"symbol": symbol, "size": 6, "color": color},
        "text": [f", {words}" if words else "" for words in curve.among],
        "hovertemplate": f"%{{y:.3~g}}%{{text}}<extra>{name.replace('%{', '% {')}</extra>",
    }


def _key(whose: str, dark: bool) -> dict[str, Any]:
    """An entry of the legend for the lines of all panels; no point of its own."""
    virtual, color = whose == VIRTUAL, ground(INK, dark)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": whose,
        "legendgroup": whose,
        "x": [None],
        "y": [None],
        "line": {"color": color, "dash": "dash" if virtual else "solid", "width": 2},
        "marker": {"symbol": "circle-open" if virtual else "circle", "size": 6, "color": color},
        "hoverinfo": "skip",
    }


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 11}}


def _y_axis(topic: Topic) -> dict[str, Any]:
    if topic.top is None:
        return {"rangemode": "tozero", "zeroline": True}
    return {"range": [-0.04 * topic.top, 1.04 * topic.top]}


def _one_layout(topic: Topic) -> dict[str, Any]:
    return {
        "hovermode": "x unified",
        "xaxis": {"title": _title("epochs done"), "rangemode": "tozero"},
        "yaxis": {"title": _title(topic.unit), **_y_axis(topic)},
    }


def _panel_layout(topic: Topic, shown: Sequence[Shown], known: Collection[str]) -> dict[str, Any]:
    """A panel for each group or class, at most three side by side; all with the same axes."""
    rows = -(-len(shown) // ACROSS)
    across = min(ACROSS, len(shown))
    width = (1 - GAP * (across - 1)) / across
    height = (1 - ROW_GAP * (rows - 1)) / rows
    layout: dict[str, Any] = {"hovermode": "x unified", "annotations": []}
    for place, one in enumerate(shown):
        row, column = divmod(place, across)
        axis = "" if place == 0 else str(place + 1)
        left, top = column * (width + GAP), 1 - row * (height + ROW_GAP)
        middle = row == (rows - 1) // 2 and column == 0
        layout[f"xaxis{axis}"] = {
            "domain": [left, left + width],
            "anchor": f"y{axis}",
            "rangemode": "tozero",
            "nticks": 5,
            **({"title": _title("epochs done")} if row == rows - 1 else {}),
            **({"matches": "x"} if place else {}),
        }
        layout[f"yaxis{axis}"] = {
            "domain": [top - height, top - HEAD / (ROW * rows)],
            "anchor": f"x{axis}",
            "showticklabels": column == 0,
            **({"title": _title(topic.unit)} if middle else {}),
            **_y_axis(topic),
            **({"matches": "y"} if place else {}),
        }
        head = f"<b>{escape(one.name[:24], quote=False)}</b>"
        layout["annotations"].append({
            "text": head if one.name in known else f"{head}<br>not to be judged",
            "showarrow": False, "align": "left",
            "xref": "paper", "yref": "paper", "x": left, "y": top, "xanchor": "left",
            "yanchor": "top", "font": {"size": 12},
        })  # fmt: skip
    return layout


def _table(curves: Sequence[Curve]) -> dict[str, list[Any]]:
    """A row a snapshot, group or class, and measure."""
    names = ("snapshot", "step", "epochs_done", "of", "measure", "value")
    table: dict[str, list[Any]] = {name: [] for name in names}
    for curve in curves:
        for row, epochs, value in zip(curve.rows, curve.epochs, curve.values, strict=True):
            cells = (row.snapshot_id, row.step, round(epochs, 4), curve.shown.name, row.name, value)
            for name, cell in zip(names, cells, strict=True):
                table[name].append(cell)
    return table


def _note(curves: Sequence[Curve], topic: Topic) -> str:
    """'After epoch 7: rare held-out real 0.61, virtual 0.82 (4 of 9 classes); common ...'"""
    said: dict[str, list[str]] = {}
    among: dict[str, str] = {}
    for curve in curves:
        value, name = curve.values[-1], curve.shown.name
        number = "not to be judged"
        if value is not None:
            number = f"{value:.2f}" if topic.top else plain_number(value)
        words = f"{curve.whose} {number}" if len(topic.measures) > 1 else number
        said.setdefault(name, []).append(words)
        if value is not None and curve.among[-1]:
            among[name] = f" ({curve.among[-1]})"
    when = moment_words(max(curve.epochs[-1] for curve in curves))
    parts = [f"{name} {', '.join(words)}{among.get(name, '')}" for name, words in said.items()]
    return f"{when}: {'; '.join(parts)}."
