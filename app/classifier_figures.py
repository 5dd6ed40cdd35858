"""What the classifier is like, class by class: norm of its weights, bias, score (Figures 1b, 4).

Each figure shows one moment of one run, or two of them overlaid; `app/classifier_moments.py` says
by which parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from app.classifier_moments import (
    Float,
    Moment,
    asked_moments,
    by_group,
    median_window,
    ranks,
    running_median,
)
from app.figure import Figure, ground
from app.figure_routes import Asked
from app.looks import FREQUENCY_LOOKS, FREQUENCY_NAMES
from trainer.run_log.rows import CategoryRow

MANY = 300  # classes from which points are drawn smaller
ROW_NAMES = {"f": "frequent", "c": "common", "r": "rare"}  # rows of the strip, upwards
RUG = (0.0, 0.13)  # of the figure's height: the strip that says which group each class is in


def weight_norms(asked: Asked) -> Figure:
    """L2 norm of each class's classifier weights, by frequency (Figure 4)."""
    return field_by_rank(_moments(asked, "weight_norm"), "weight norm", asked.dark)


def biases(asked: Asked) -> Figure:
    """Bias of each class in the classifier, by frequency."""
    return field_by_rank(_moments(asked, "bias"), "bias", asked.dark)


def scores(asked: Asked) -> Figure:
    """Mean score of the classes of each frequency group on their own objects (Figure 1b)."""
    return score_bars(_moments(asked, "score"), asked.dark)


def _moments(asked: Asked, field: str) -> list[Moment]:
    return asked_moments(asked.reader, asked.run, asked.categories, field, asked.params)


def field_by_rank(moments: Sequence[Moment], what: str, dark: bool) -> Figure:
    """A class field over the classes in order of their instances, one cloud a moment."""
    shown = [(moment, values) for moment in moments if (values := moment.values) is not None]
    if not shown:
        return Figure()
    traces = [trace for moment, values in shown for trace in _cloud(moment, values, dark)]
    classes = max(len(values) for _, values in shown)
    margin = max(0.6, 0.01 * classes)
    layout = {
        "hovermode": "closest",
        "xaxis": {
            "title": _title("class, by its training instances (1 = most)"),
            "range": [1 - margin, classes + margin],
            "anchor": "y2",
        },
        "yaxis": {"title": _title(what), "domain": [RUG[1] + 0.04, 1]},
        "yaxis2": {
            "domain": list(RUG),
            "range": [-0.6, 2.6],
            "tickvals": [0, 1, 2],
            "ticktext": list(ROW_NAMES.values()),
            "showgrid": False,
            "fixedrange": True,
        },
    }
    notes = [group_note(moment, what, np.median, "Median") for moment in moments]
    if len({len(values) for _, values in shown}) > 1:
        notes.append("The runs have different classes: each is in the order of its own.")
    strip = _strip(shown[0][0].categories, dark)
    return Figure([*traces, *strip], layout, field_table(shown, what), " ".join(notes))


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 11}}


def _cloud(moment: Moment, values: Float, dark: bool) -> list[dict[str, Any]]:
    """A point a class, and the running median over them."""
    places = ranks(moment.categories)
    order = np.argsort(places)
    rows = [moment.categories[index] for index in order]
    color = ground(moment.look.color, dark)
    name = escape(moment.name, quote=False)
    window = median_window(len(rows))
    shared = {"type": "scatter", "x": places[order], "legendgroup": name, "name": name}
    points = {
        "y": short(values[order]),
        "mode": "markers",
        "showlegend": False,
        "opacity": 0.5,
        "marker": {
            "color": color,
            "symbol": moment.look.symbol,
            "size": 4 if len(rows) > MANY else 7,
        },
        "text": [hover_text(row) for row in rows],
        "hovertemplate": "%{text}<br>%{y:.4~g}<extra></extra>",
    }
    median = {
        "y": short(running_median(values[order], window)),
        "mode": "lines",
        "line": {"color": color, "width": 2.5, "dash": moment.look.dash},
        "hovertemplate": f"median of {window} classes: %{{y:.4~g}}<extra></extra>",
    }
    return [shared | points, shared | median]


def short(values: Float) -> list[float]:
    """Values with five digits, which a picture needs no more of: a third of the bytes."""
    return [float(f"{value:.5g}") for value in values]


def hover_text(row: CategoryRow) -> str:
    """A class with its group and count; its name as text, as Plotly reads tags."""
    group = FREQUENCY_NAMES.get(row.frequency, "of no group")
    return f"{escape(row.name, quote=False)}, {group}, {row.instance_count:,} instances"


def _strip(categories: Sequence[CategoryRow], dark: bool) -> list[dict[str, Any]]:
    """Below the figure: a stroke for each class, in the row of its frequency group."""
    places = ranks(categories)
    traces = []
    for row, letter in enumerate(ROW_NAMES):
        members = [index for index, row in enumerate(categories) if row.frequency == letter]
        look = FREQUENCY_LOOKS[letter]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": places[members],
                "y": [row] * len(members),
                "yaxis": "y2",
                "showlegend": False,
                "name": ROW_NAMES[letter],
                "marker": {"color": ground(look.color, dark), "symbol": "line-ns-open",
                           "size": 8, "line": {"width": 1.5}},
                "hoverinfo": "skip",
            }
        )  # fmt: skip
    return traces


def group_note(moment: Moment, what: str, measure: Callable[[Float], Any], measured: str) -> str:
    """'Median weight norm of 4 · demo, epoch 12: rare 0.18, common 0.22, frequent 0.26.'"""
    if moment.values is None:
        return f"The log holds no {what} of {moment.name}."
    values = by_group(moment.values, moment.categories, measure)
    told = ", ".join(
        f"{FREQUENCY_NAMES[letter]} {_number(value)}" for letter, value in values.items()
    )
    return f"{measured} {what} of {moment.name}: {told}."


def _number(value: float, digits: str = ".3g") -> str:
    return f"{value:{digits}}" if np.isfinite(value) else "–"


def field_table(shown: Sequence[tuple[Moment, Float]], what: str) -> dict[str, Sequence[Any]]:
    """The columns of a figure's CSV: a row a class and moment, in order of the ranks."""
    names = ("moment", "rank", "class", "frequency", "instances", what.replace(" ", "_"))
    table: dict[str, list[Any]] = {name: [] for name in names}
    for moment, values in shown:
        places = ranks(moment.categories)
        for index in np.argsort(places):
            row = moment.categories[index]
            cells = (moment.name, places[index], row.name, row.frequency, row.instance_count,
                     values[index])  # fmt: skip
            for name, cell in zip(names, cells, strict=True):
                table[name].append(cell)
    return dict(table)


def score_bars(moments: Sequence[Moment], dark: bool) -> Figure:
    """Mean score of the rare, common and frequent classes on their own objects."""
    shown = [
        (moment, by_group(moment.values, moment.categories, np.mean))
        for moment in moments
        if moment.values is not None
    ]
    if not shown:
        return Figure()
    traces = [
        {
            "type": "bar",
            "name": escape(moment.name, quote=False),
            "x": list(FREQUENCY_NAMES.values()),
            "y": list(means.values()),
            "text": [_number(value, ".3f") for value in means.values()],
            "textposition": "outside",
            "cliponaxis": False,
            "marker": {
                "color": ground(moment.look.color, dark),
                "pattern": {"shape": "" if moment is moments[0] else "/", "solidity": 0.25},
            },
            "hovertemplate": "%{x}: %{y:.4f}<extra></extra>",
        }
        for moment, means in shown
    ]
    layout = {
        "barmode": "group",
        "xaxis": {"title": _title("classes"), "showgrid": False},
        "yaxis": {"title": _title("mean score, 0 to 1"), "rangemode": "tozero"},
    }
    table: Mapping[str, Sequence[Any]] = {
        "moment": [moment.name for moment, _ in shown for _ in FREQUENCY_NAMES],
        "frequency": [*FREQUENCY_NAMES] * len(shown),
        "mean_score": [value for _, means in shown for value in means.values()],
    }
    notes = [group_note(moment, "score", np.mean, "Mean") for moment in moments]
    return Figure(traces, layout, table, " ".join(notes))
