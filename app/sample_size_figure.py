"""The figure of what each class's prior rests on: effective sample size over training instances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.detection_ap import round_numbers
from app.feature_measures import SIZE, by_letter, epochs_done, moment_words, per_class, weak
from app.figure import Figure, ground
from app.figure_routes import Asked
from app.finding import classes
from app.looks import FREQUENCY_LOOKS, FREQUENCY_NAMES, INK
from trainer.run_log.rows import FEWEST_OBJECTS, CategoryRow

Float = NDArray[np.float64]


def sample_sizes(asked: Asked) -> Figure:
    """Objects that each prior rests on at the newest snapshot."""
    newest = asked.reader.features.newest_measures(asked.run.id).get(SIZE)
    if newest is None:
        return Figure()
    when = moment_words(epochs_done(asked.run, newest.step, newest.epoch))
    sizes = np.asarray(per_class(newest, len(asked.categories)), np.float64)
    return size_figure(sizes, asked.categories, when, asked.dark)


def size_figure(sizes: Float, categories: Sequence[CategoryRow], when: str, dark: bool) -> Figure:
    """A point a class, both axes logarithmic; pure.

    Args:
        sizes: [C] effective sample size, NaN or 0 for a class without a prior.
        categories: the C classes.
        when: the moment, as a sentence begins.
        dark: whether the ground is.
    """
    instances = np.array([row.instance_count for row in categories], np.float64)
    drawn = np.isfinite(sizes) & (sizes > 0) & (instances > 0)
    if not drawn.any():
        return Figure()
    marked = weak(sizes.astype(np.float32))
    traces = [
        _points(np.flatnonzero(drawn & _of(letter, categories)), letter, instances, sizes,
                categories, dark)
        for letter in FREQUENCY_LOOKS
    ]  # fmt: skip
    traces = [trace for trace in traces if trace["x"]]
    ends = [float(instances[drawn].min()), float(instances[drawn].max())]
    traces.append(_every_object(ends, dark))
    layout = {
        "hovermode": "closest",
        "xaxis": {"type": "log", "title": _title("training instances of the class"),
                  "tickvals": round_numbers(instances[drawn]), "tickformat": ",d"},
        "yaxis": {"type": "log", "title": _title("effective sample size, objects"),
                  "tickvals": round_numbers(sizes[drawn]), "tickformat": ",~g"},
        "shapes": [{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": FEWEST_OBJECTS,
                    "y1": FEWEST_OBJECTS, "layer": "below",
                    "line": {"color": ground(INK, dark), "width": 1, "dash": "dot"}}],
        "annotations": [{"text": f"open: weak, fewer than {FEWEST_OBJECTS} objects", "xref":
                         "paper", "x": 1, "y": math.log10(FEWEST_OBJECTS), "xanchor": "right",
                         "yanchor": "top", "showarrow": False, "font": {"size": 11}}],
    }  # fmt: skip
    table = {
        "class": [row.name for row in categories],
        "frequency": [row.frequency for row in categories],
        "instances": [row.instance_count for row in categories],
        "effective_sample_size": sizes.round(3).tolist(),
        "weak": ["yes" if one else "" for one in marked],
    }
    return Figure(traces, layout, table, _note(sizes, marked, categories, when))


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 11}}


def _of(letter: str, categories: Sequence[CategoryRow]) -> NDArray[np.bool_]:
    return np.array([row.frequency == letter for row in categories], np.bool_)


def _points(
    places: NDArray[np.intp], letter: str, instances: Float, sizes: Float,
    categories: Sequence[CategoryRow], dark: bool,
) -> dict[str, Any]:  # fmt: skip
    look = FREQUENCY_LOOKS[letter]
    marked = weak(sizes[places].astype(np.float32))
    names = [escape(categories[i].name, quote=False).replace("%{", "% {") for i in places]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": FREQUENCY_NAMES[letter],
        "x": instances[places].tolist(),
        "y": sizes[places].round(3).tolist(),
        "text": names,
        "customdata": places.tolist(),
        "hovertemplate": "%{text}<br>rests on %{y:,.3~g} objects, of %{x:,d} instances"
        "<extra></extra>",
        "marker": {"color": ground(look.color, dark), "size": 7,
                   "symbol": [f"{look.symbol}-open" if one else look.symbol for one in marked],
                   "opacity": 0.75 if len(places) < 150 else 0.5},
    }  # fmt: skip


def _every_object(ends: Sequence[float], dark: bool) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": list(ends),
        "y": list(ends),
        "hoverinfo": "skip",
        "showlegend": False,
        "line": {"color": ground(INK, dark), "width": 1},
    }


def _note(
    sizes: Float, marked: NDArray[np.bool_], categories: Sequence[CategoryRow], when: str
) -> str:
    """'After epoch 7: 12 of 60 priors rest on fewer than 3 objects (11 rare, 1 common).'"""
    known = np.isfinite(sizes) & (sizes > 0)
    groups = by_letter(marked, categories)
    told = ", ".join(f"{n:,} {FREQUENCY_NAMES[letter]}" for letter, n in groups.items() if n)
    text = f"{when}: {int(marked.sum()):,} of {int(known.sum()):,} priors rest on fewer than "
    text += f"{FEWEST_OBJECTS} objects" + (f" ({told})." if told else ".")
    missing = int((~known).sum())
    verb = "has" if missing == 1 else "have"
    return text + (f" {classes(missing)} {verb} no prior yet." if missing else "")
