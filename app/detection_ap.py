"""Average precision by class: the numbers of its table, and AP against the number of instances.

Shapes: C classes, E evaluations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.figure import Figure, ground
from app.figure_routes import Asked
from app.live_answers import WantError, whole_number
from app.looks import FREQUENCY_LOOKS, FREQUENCY_NAMES, INK
from trainer.run_log.reader import RunLogReader

MEASURES = {"segm": "mask AP", "bbox": "box AP"}
FEWEST = 3  # classes a median stands for
HALF_WIDTH = 0.25  # decades
PLACES = 25  # of the running median
Floats = NDArray[np.float64]


def class_precision(reader: RunLogReader, run_id: int, *, before: int | None) -> dict[str, Any]:
    """AP of each class at the newest evaluation.

    Args:
        reader: of the run log.
        run_id: the run.
        before: step of the evaluation that the change is counted from; None for the one before
            the newest.

    Returns:
        moments: (step, epoch) of each evaluation. step, epoch: of the newest, None before the
        first. before: step the change is counted from, None when there is none. segm, bbox: AP of
        each class in percent. change: of mask AP, in points. NaN for a class without truth.
    """
    segm = reader.class_vectors(run_id, "ap_segm")
    moments = list(zip(segm.steps.tolist(), segm.epochs.tolist(), strict=True))
    nothing: dict[str, Any] = {"moments": moments, "step": None, "epoch": None, "before": None,
                               "segm": [], "bbox": [], "change": []}  # fmt: skip
    if not moments:
        return nothing
    newest = np.asarray(segm.values[-1], np.float64)
    steps = [step for step, _ in moments]
    start = steps.index(before) if before in steps else len(steps) - 2
    change = newest - segm.values[start] if start >= 0 else np.full_like(newest, np.nan)
    boxes = reader.latest_class_vector(run_id, "ap_bbox")
    return {
        **nothing,
        "step": steps[-1],
        "epoch": moments[-1][1],
        "before": steps[start] if start >= 0 else None,
        "segm": _rounded(newest),
        "bbox": _rounded(boxes.values) if boxes is not None else [float("nan")] * len(newest),
        "change": _rounded(change),
    }


def _rounded(values: Any) -> list[float]:
    rounded: list[float] = np.round(np.asarray(values, np.float64), 2).tolist()
    return rounded


def ap_against_instances(asked: Asked) -> Figure:
    """AP of each class at one evaluation over its training instances, with a running median.

    Parameters: measure (segm or bbox), step (of the evaluation; the newest when left out).
    """
    measure = asked.params.get("measure", "segm")
    if measure not in MEASURES:
        raise WantError(f"measure is '{measure[:40]}', but it must be one of {', '.join(MEASURES)}")
    rows = asked.reader.class_vectors(asked.run.id, f"ap_{measure}")
    place = len(rows.ids) - 1
    if "step" in asked.params:
        step = whole_number(asked.params["step"], "step")
        place = next((i for i, at in enumerate(rows.steps) if at == step), -1)
    if place < 0 or rows.values.shape[1] != len(asked.categories):
        return Figure()
    precision = np.asarray(rows.values[place], np.float64)
    instances = np.array([row.instance_count for row in asked.categories], np.float64)
    letters = [row.frequency for row in asked.categories]
    shown = np.isfinite(precision) & (instances > 0)
    if not shown.any():
        return Figure()
    names = [row.name for row in asked.categories]
    traces = [
        _group(letter, [i for i in np.flatnonzero(shown).tolist() if letters[i] == letter],
               instances, precision, names, asked.dark)
        for letter in FREQUENCY_LOOKS
    ]  # fmt: skip
    traces = [trace for trace in traces if trace["x"]]
    traces.append(_median_trace(instances[shown], precision[shown], asked.dark))
    title = {"text": f"{MEASURES[measure]} (%)"}
    top = max(60.0, float(precision[shown].max()) * 1.05)
    return Figure(
        traces,
        layout={
            "xaxis": {"type": "log", "title": {"text": "training instances of the class"},
                      "tickvals": round_numbers(instances[shown]), "tickformat": ",d"},
            "yaxis": {"title": title, "range": [-0.04 * top, top]},
            "hovermode": "closest",
        },
        table={
            "class": names, "frequency": letters,
            "instances": [row.instance_count for row in asked.categories],
            MEASURES[measure]: precision.round(3).tolist(),
        },
        note=_note(letters, instances, precision, shown, int(rows.epochs[place]) + 1),
    )  # fmt: skip


def _group(
    letter: str, places: Sequence[int], instances: Floats, precision: Floats,
    names: Sequence[str], dark: bool,
) -> dict[str, Any]:  # fmt: skip
    look = FREQUENCY_LOOKS[letter]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{FREQUENCY_NAMES[letter]} ({letter})",
        "x": [instances[i] for i in places],
        "y": [precision[i] for i in places],
        # As text of a hover label, Plotly reads some tags: a class name must not be able to.
        "text": [_escape(names[i]) for i in places],
        "customdata": [int(i) for i in places],
        "hovertemplate": "%{text}<br>%{x:,d} instances, AP %{y:.1f}<extra></extra>",
        "marker": {"color": ground(look.color, dark), "symbol": look.symbol, "size": 7,
                   "opacity": 0.75 if len(places) < 150 else 0.5},
    }  # fmt: skip


def _median_trace(instances: Floats, precision: Floats, dark: bool) -> dict[str, Any]:
    x, y = running_median(instances, precision)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "running median",
        "x": x,
        "y": y,
        "line": {"color": ground(INK, dark), "width": 2},
        "hovertemplate": "median of classes around %{x:,.0f} instances: %{y:.1f}<extra></extra>",
    }


def _escape(text: str) -> str:
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe.replace("%{", "% {")


def _note(
    letters: Sequence[str], instances: Floats, precision: Floats, shown: NDArray[np.bool_],
    epoch: int,
) -> str:  # fmt: skip
    rank = rank_correlation(instances[shown], precision[shown])
    group = np.array(letters)
    means = [
        f"{name} {precision[shown & (group == letter)].mean():.1f}"
        for letter, name in FREQUENCY_NAMES.items()
        if (shown & (group == letter)).any()
    ]
    said = "" if np.isnan(rank) else f"Spearman rank correlation {rank:+.2f}; "
    return f"After epoch {epoch}: {said}mean AP {', '.join(means)}."


def running_median(instances: Floats, values: Floats) -> tuple[list[float], list[float]]:
    """Median of `values` over the classes within a quarter of a decade to either side.

    Taken at up to 25 places from the fewest instances to the most; a place with fewer than 3
    classes around it is left out.

    Args:
        instances: [C], above 0.
        values: [C].

    Returns:
        Instances and medians of the places.
    """
    decade = np.log10(instances)
    found = []
    for place in np.unique(np.linspace(decade.min(), decade.max(), PLACES)):
        near = values[np.abs(decade - place) <= HALF_WIDTH + 1e-9]
        if len(near) >= FEWEST:
            found.append((float(10**place), float(np.median(near))))
    return [x for x, _ in found], [y for _, y in found]


def round_numbers(values: Floats) -> list[int]:
    """1, 2, 5, 10, 20 ... from below the least of `values` to above the greatest."""
    low, high = np.floor(np.log10(values.min())), np.ceil(np.log10(values.max()))
    return [digit * 10**power for power in range(int(low), int(high) + 1) for digit in (1, 2, 5)]


def rank_correlation(first: Floats, second: Floats) -> float:
    """Spearman's rank correlation, equal values sharing their mean rank; NaN where undefined."""
    ranks = [_ranks(first), _ranks(second)]
    if len(first) < 2 or any(np.ptp(rank) == 0 for rank in ranks):
        return float("nan")
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Floats = (ends - (counts - 1) / 2)[inverse]
    return ranks
