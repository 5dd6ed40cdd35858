"""Live run: one training run as it goes. The address holds run, pins and axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import streamlit as st

from app import charts
from app.live_chart import live
from app.notices import notice, readable_log
from trainer.run_log.rows import CategoryRow, Run
from trainer.run_log.schema import FINAL_STATUSES, QUEUED, RunLogError

MOST_PINS = 8
X_LABELS = {"epoch": None, "step": None, "time": None}
P_LABELS = {"ratio": "relative to start", "absolute": "per 1,000 steps"}
LOSS_LABELS = {"linear": None, "log": None}
SMOOTHING = {"none": 0.0, "some": 0.9, "strong": 0.98}


def chosen_run(runs: Sequence[Run], asked: str | None) -> Run | None:
    """The run the address asks for; without one, the newest that trains, else the newest."""
    if asked is not None:
        return next((run for run in runs if str(run.id) == asked), None)
    training = [run for run in runs if run.status not in (*FINAL_STATUSES, QUEUED)]
    return next(reversed(training or list(runs)), None)


def show() -> None:
    """Draw the page."""
    log = readable_log()
    if log is None:
        return
    reader = log.reader()
    asked = st.query_params.get("run")
    try:
        runs = reader.runs() if reader else []
        run = chosen_run(runs, asked)
        if run is None:
            explain_missing(asked, bool(runs))
            return
        st.query_params["run"] = str(run.id)
        categories = reader.categories(run.id) if reader else []
    except RunLogError as error:
        notice("This run log cannot be read", str(error))
        return
    draw(run, categories)


def explain_missing(asked: str | None, any_runs: bool) -> None:
    """Say why there is nothing to show, and what to do."""
    if asked is not None and any_runs:
        notice("No such run", f"There is no run '{asked[:40]}' here: choose one on the page Runs.")
    else:
        notice("No runs yet", "Start one with 'fasa train', or the demo with 'fasa up'.")


def draw(run: Run, categories: Sequence[CategoryRow]) -> None:
    """The page of one run: head, charts, pinned classes, class table."""
    counts = charts.frequency_counts(categories)
    fasa = bool(run.config.get("fasa", True))
    live("header", {}, key="header", run=run.id, on_stage_change=lambda: None)
    view, absolute, log_loss = view_options(fasa)

    def chart(spec: charts.Chart) -> None:
        live("chart", spec.to_dict(), key=spec.key, run=run.id, view=view)

    losses = charts.losses(log=log_loss)
    precision = charts.average_precision(counts, measure="segm")
    left, right = st.columns(2, gap="small")
    if fasa:  # a baseline samples no virtual features and adapts nothing
        with left:
            chart(charts.sampling_probability(counts, absolute=absolute))
        with right:
            chart(losses)
        left, right = st.columns(2, gap="small")
        with left:
            chart(precision)
        with right:
            chart(charts.super_groups())
    else:
        with left:
            chart(losses)
        with right:
            chart(precision)
    pins = pinned_classes(categories, chart, fasa)
    live(
        "class_table",
        asdict(charts.class_table(fasa=fasa)),
        key="class_table",
        run=run.id,
        view={"pins": pins},
        on_toggle_change=lambda: toggle_pin(categories),
    )


def view_options(fasa: bool) -> tuple[dict[str, Any], bool, bool]:
    """One quiet row of choices for all charts; each lives in the address."""
    unit = "ratio"
    with st.container(horizontal=True, gap="medium"):
        x = choice("x axis", "x", X_LABELS)
        if fasa:
            unit = choice("sampling probability", "p", P_LABELS)
        scale = choice("loss axis", "loss", LOSS_LABELS)
        smoothing = choice("loss smoothing", "smooth", dict.fromkeys(SMOOTHING), first="some")
    return {"x": x, "smoothing": SMOOTHING[smoothing]}, unit == "absolute", scale == "log"


def choice(label: str, key: str, options: Mapping[str, str | None], first: str = "") -> str:
    """One of a few, in the address as `key`; the first one unless another is named."""
    picked = st.segmented_control(
        label, list(options), format_func=lambda option: options[option] or option,
        default=first or next(iter(options)), required=True, key=key, bind="query-params",
    )  # fmt: skip
    return str(picked)


def pinned_classes(categories: Sequence[CategoryRow], chart: Any, fasa: bool) -> list[int]:
    """Choose classes by name and a field; draw it; return the pinned indices."""
    labels = charts.class_labels(categories)
    index_of = {label: index for index, label in enumerate(labels)}
    names, fields = st.columns([3, 1], gap="small")
    with names:
        pinned = st.multiselect(
            "pinned classes", labels, default=[labels[i] for i in charts.first_pins(categories)],
            max_selections=MOST_PINS, key="pin", bind="query-params", disabled=not labels,
            placeholder="find classes by name" if labels else "named when the run starts")
    with fields:
        class_field = st.selectbox(
            "field", charts.class_fields(fasa=fasa), key="field", bind="query-params",
            format_func=lambda name: charts.CLASS_FIELDS[name].label)  # fmt: skip
    pins = [index_of[name] for name in pinned if name in index_of]
    frequencies = [row.frequency for row in categories]
    chart(charts.pinned_classes(class_field, pins, labels, frequencies))
    return pins


def toggle_pin(categories: Sequence[CategoryRow]) -> None:
    """A row of the class table was clicked: pin or unpin its class."""
    clicked: float | None = st.session_state["class_table"].toggle
    labels = charts.class_labels(categories)
    if clicked is None or not 0 <= int(clicked) < len(labels):
        return
    label = labels[int(clicked)]
    pinned: list[str] = list(st.session_state.get("pin", []))
    if label in pinned:
        pinned.remove(label)
    elif len(pinned) < MOST_PINS:
        pinned.append(label)
    st.session_state["pin"] = pinned


show()
