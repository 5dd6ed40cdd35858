"""Live run: one training run as it goes. The address holds run, pins and axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import streamlit as st

from app import charts, class_charts
from app.branch_dialog import branch_dialog
from app.live_chart import live
from app.notices import notice
from app.run_actions import act, answer, is_run_id
from app.run_list import find
from app.run_page import open_run_page
from app.source import run_log_path
from app.steering import obey, steering_spec
from app.view_options import choice, from_address, to_address
from trainer.run_log.rows import CategoryRow, Run
from trainer.run_log.schema import RunLogError

MOST_PINS = 8
X_LABELS = {"epoch": None, "step": None, "time": None}
P_LABELS = {"ratio": "relative to start", "absolute": "per 1,000 steps"}
LOSS_LABELS = {"linear": None, "log": None}
SMOOTHING = {"none": 0.0, "some": 0.9, "strong": 0.98}


def show() -> None:
    """Draw the page."""
    page = open_run_page(picker=False)
    if page is not None:
        draw(page.run, page.categories)


def draw(run: Run, categories: Sequence[CategoryRow]) -> None:
    """The page of one run: head, steering, charts, pinned classes, class table, history."""
    counts = charts.frequency_counts(categories)
    fasa = bool(run.config.get("fasa", True))
    head = live("header", {}, key=f"header-{run.id}", run=run.id,
                on_stage_change=lambda: None, on_open_change=lambda: None)  # fmt: skip
    if is_run_id(head.open):
        st.query_params["run"] = str(int(head.open))
        st.rerun()
    steering(run)
    view, absolute, log_loss = view_options(fasa)

    def chart(spec: charts.Chart) -> None:
        live("chart", spec.to_dict(), key=f"{spec.key}-{run.id}", run=run.id, view=view)

    losses = charts.losses(log=log_loss)
    precision = charts.average_precision(counts, measure="segm")
    if fasa:
        pair(chart, charts.sampling_probability(counts, absolute=absolute), losses)
        pair(chart, precision, charts.super_groups())
    else:  # a baseline samples no virtual features and adapts nothing
        pair(chart, losses, precision)
    pins = Pins(run, categories)
    offered = class_charts.class_fields(fasa=fasa)
    class_field = pins.choose(offered)
    frequencies = [row.frequency for row in categories]
    chart(class_charts.pinned_classes(class_field, pins.indices(), pins.labels, frequencies))
    live(
        "class_table", asdict(class_charts.class_table(fasa=fasa)), key=pins.table_key, run=run.id,
        view={"pins": pins.indices()}, on_toggle_change=pins.toggle,
    )  # fmt: skip
    knobs, events = st.columns(2, gap="small")
    with knobs:
        chart(charts.knobs(fasa=fasa))
    with events:
        live("events", asdict(charts.Events()), key=f"events-{run.id}", run=run.id)


@st.fragment
def steering(run: Run) -> None:
    """The steering bar. A fragment: what it asks for redraws nothing else of the page."""
    key, kept = f"steering-{run.id}", f"steering-answer-{run.id}"

    def take() -> None:
        asked: Any = st.session_state[key].ask
        if isinstance(asked, Mapping):
            st.session_state[kept] = answer(asked, do(run, asked))

    result = live(
        "steering", steering_spec(run), key=key, run=run.id,
        view={"answer": st.session_state.get(kept)},
        on_ask_change=take, on_branch_change=lambda: None,
    )  # fmt: skip
    if result.branch not in ("restart", "fork"):
        return
    try:
        parent = find(run.id)
    except RunLogError as error:
        notice(f"Run {run.id} cannot be the parent of another", str(error))
    else:
        branch_dialog(parent, result.branch)


def do(run: Run, asked: Mapping[str, Any]) -> str:
    """Do what the steering bar asked for; "" when it is done or sent, else why not."""
    ended = {"take_up": "resume", "undo": "undo"}  # what an ended or deleted run offers
    kind = asked.get("kind")
    if isinstance(kind, str) and kind in ended:
        return act(run_log_path(), run.id, ended[kind])
    return obey(run_log_path(), run, asked)


def pair(chart: Callable[[charts.Chart], None], left: charts.Chart, right: charts.Chart) -> None:
    """Two charts side by side, one below the other on a narrow screen."""
    for column, spec in zip(st.columns(2, gap="small"), (left, right), strict=True):
        with column:
            chart(spec)


def view_options(fasa: bool) -> tuple[dict[str, Any], bool, bool]:
    """One quiet row of choices for all charts; each lives in the address."""
    unit = "ratio"
    with st.container(horizontal=True, gap="small"):
        x = choice("x axis", "x", X_LABELS)
        if fasa:
            unit = choice("sampling probability", "p", P_LABELS)
        scale = choice("loss axis", "loss", LOSS_LABELS)
        smoothing = choice("loss smoothing", "smooth", dict.fromkeys(SMOOTHING), first="some")
    return {"x": x, "smoothing": SMOOTHING[smoothing]}, unit == "absolute", scale == "log"


def field_label(name: str) -> str:
    """A class field as people read it."""
    return class_charts.CLASS_FIELDS[name].label


class Pins:
    """The pinned classes of one run: chosen by name or in the table, kept in the address."""

    def __init__(self, run: Run, categories: Sequence[CategoryRow]) -> None:
        self.labels = class_charts.class_labels(categories)
        self.key, self.table_key = f"pin-{run.id}", f"class_table-{run.id}"
        self._first = [self.labels[index] for index in class_charts.first_pins(categories)]
        if self.labels and self.key not in st.session_state:
            asked = st.query_params.get_all("pin")
            known = [name for name in dict.fromkeys(asked) if name in self.labels]
            st.session_state[self.key] = known[:MOST_PINS] if asked else self._first

    def choose(self, fields: Sequence[str]) -> str:
        """Draw the two choices above the chart; returns the class field."""
        names, field = st.columns([3, 1], gap="small")
        with names:
            if self.labels:
                pinned = st.multiselect(
                    "pinned classes", self.labels, key=self.key, max_selections=MOST_PINS,
                    placeholder="find classes by name",
                )  # fmt: skip
                self._to_address(pinned)
            else:
                st.multiselect("pinned classes", [], disabled=True,
                               placeholder="named when the run starts")  # fmt: skip
        with field:
            from_address("field", fields, fields[0])
            chosen = st.selectbox("field", fields, key="field", format_func=field_label)
            to_address("field", chosen, fields[0])
        return chosen

    def indices(self) -> list[int]:
        """Class indices in the order of pinning."""
        return [self.labels.index(name) for name in st.session_state.get(self.key, [])]

    def toggle(self) -> None:
        """A row of the class table was clicked: pin or unpin its class."""
        clicked: float | None = st.session_state[self.table_key].toggle
        if clicked is None or not 0 <= int(clicked) < len(self.labels):
            return
        label = self.labels[int(clicked)]
        pinned: list[str] = list(st.session_state.get(self.key, []))
        if label in pinned:
            pinned.remove(label)
        elif len(pinned) < MOST_PINS:
            pinned.append(label)
        else:
            st.toast(f"At most {MOST_PINS} classes can be pinned: unpin one first.")
        st.session_state[self.key] = pinned

    def _to_address(self, pinned: Sequence[str]) -> None:
        if list(pinned) != self._first:
            st.query_params["pin"] = list(pinned) or [""]  # "" says: none, on purpose
        elif "pin" in st.query_params:
            del st.query_params["pin"]


show()
