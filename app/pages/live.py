"""Live run: one training run as it goes. The address holds run, pins, axes and arrangement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import streamlit as st

from app import charts, class_charts
from app.class_table import address_of, arrangement_of, class_table
from app.diagnosis_panel import diagnosis_panel
from app.heat_map import heat_choices, heat_map
from app.live_chart import live
from app.pins import Pins
from app.precision_figures import average_precision, sets_of_run
from app.run_actions import act, answer, is_run_id
from app.run_page import open_run_page
from app.source import run_log_path
from app.steering import obey, steering_spec
from app.view_options import choice, from_address, to_address
from trainer.run_log.rows import CategoryRow, Run

X_LABELS = {"epoch": None, "step": None, "time": None}
Y_LABELS = {"auto": None, "linear": None, "log": None}
P_LABELS = {"ratio": "relative to start", "absolute": "per 1,000 steps"}
SMOOTHING = {"none": 0.0, "some": 0.9, "strong": 0.98}
PINNED_HEIGHT = 490  # pixels: the card ends where the heat map's beside it does


def show() -> None:
    """Draw the page."""
    page = open_run_page(picker=False)
    if page is not None:
        draw(page.run, page.categories)


def draw(run: Run, categories: Sequence[CategoryRow]) -> None:
    """The page of one run: head, diagnosis, steering, charts, classes, history."""
    fasa = bool(run.config.get("fasa", True))
    head = live("header", {}, key=f"header-{run.id}", run=run.id,
                on_stage_change=lambda: None, on_open_change=lambda: None)  # fmt: skip
    if is_run_id(head.open):
        st.query_params["run"] = str(int(head.open))
        st.rerun()
    diagnosis_panel(run.id)
    steering(run)
    view, absolute, figures = view_options(run, fasa)

    def chart(spec: charts.Chart) -> Callable[[], object]:
        return partial(live, "chart", spec.to_dict(), key=f"{spec.key}-{run.id}", run=run.id,
                       view=view)  # fmt: skip

    counts = charts.frequency_counts(categories)
    losses = charts.losses(cascade=run.config.get("detector") == "cascade_mask_rcnn")
    first, rest = [losses, average_precision(measure="segm", shown=figures)], []
    if fasa:  # a baseline samples no virtual features and adapts nothing
        spread = charts.probability_bands(counts, absolute=absolute)
        probability = charts.sampling_probability(counts, absolute=absolute)
        first = [probability, first[0], spread, replace(first[1], height=spread.height)]
        rest = [charts.super_groups()]
    rest += [charts.group_scores(counts), *charts.resources(), charts.knobs(fasa=fasa)]
    grid([chart(spec) for spec in first])
    classes(run, categories, view)
    events = partial(live, "events", asdict(charts.Events()), key=f"events-{run.id}", run=run.id)
    grid([*(chart(spec) for spec in rest), events])


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
    if result.branch in ("restart", "fork"):
        asked = {"parent": str(run.id), "how": str(result.branch)}
        st.switch_page("pages/new_run.py", query_params=asked)


def do(run: Run, asked: Mapping[str, Any]) -> str:
    """Do what the steering bar asked for; "" when it is done or sent, else why not."""
    ended = {"take_up": "resume", "undo": "undo"}  # what an ended or deleted run offers
    kind = asked.get("kind")
    if isinstance(kind, str) and kind in ended:
        return act(run_log_path(), run.id, ended[kind])
    return obey(run_log_path(), run, asked)


def view_options(run: Run, fasa: bool) -> tuple[dict[str, Any], bool, str]:
    """One quiet row of choices for all charts; each lives in the address.

    Returns:
        How charts show their lines; whether p is shown as it is (else relative to its start);
        which figures the chart of average precision shows.
    """
    unit = "ratio"
    with st.container(horizontal=True, gap="small"):
        x = choice("x axis", "x", X_LABELS)
        y = choice("y axis", "y", Y_LABELS)
        smoothing = choice("smoothing", "smooth", dict.fromkeys(SMOOTHING), first="some")
        if fasa:
            unit = choice("sampling probability", "p", P_LABELS)
        figures = choice("average precision", "ap", sets_of_run(run.config))
    view = {"x": x, "log": y, "smoothing": SMOOTHING[smoothing]}
    return view, unit == "absolute", figures


def grid(draws: Sequence[Callable[[], object]]) -> None:
    """Draw two by two, one below the other on a narrow screen."""
    for first in range(0, len(draws), 2):
        for place, draw_one in zip(st.columns(2, gap="small"), draws[first : first + 2],
                                   strict=False):  # fmt: skip
            with place:
                draw_one()


@st.fragment
def classes(run: Run, categories: Sequence[CategoryRow], view: Mapping[str, Any]) -> None:
    """Heat map, pinned classes and table: a fragment, as a pin redraws these three only."""
    fasa = bool(run.config.get("fasa", True))
    pins = Pins(run, categories)
    heat, curves = st.columns(2, gap="small")
    with curves:
        chosen = pins.choose(class_charts.class_fields(fasa=fasa))
        frequencies = [row.frequency for row in categories]
        spec = class_charts.pinned_classes(chosen, pins.indices(), pins.labels, frequencies)
        live("chart", replace(spec, height=PINNED_HEIGHT).to_dict(), key=f"pinned-{run.id}",
             run=run.id, view=dict(view))  # fmt: skip
    with heat:
        draw_heat_map(run, pins, fasa=fasa)
    draw_table(run, pins, fasa=fasa)


def draw_heat_map(run: Run, pins: Pins, *, fasa: bool) -> None:
    """The heat map, below the choice of what its colours mean."""
    options, key = heat_choices(fasa=fasa), f"heat_map-{run.id}"
    first = next(iter(options))
    from_address("heat", options, first)
    chosen = st.selectbox("heat map shows", options, key="heat", format_func=options.__getitem__)
    to_address("heat", chosen, first)
    live(
        "heat_map", heat_map(chosen).to_dict(), key=key, run=run.id, view={"pins": pins.indices()},
        on_toggle_change=lambda: pins.toggle(st.session_state[key].toggle),
    )  # fmt: skip


def draw_table(run: Run, pins: Pins, *, fasa: bool) -> None:
    """The class table, arranged as the address says."""
    table, key = class_table(fasa=fasa), f"class_table-{run.id}"

    def arrange() -> None:
        address = address_of(st.session_state[key].arrange, table)
        for name in ("find", "sort", "groups"):
            to_address(name, address.get(name, ""), "")

    live(
        "class_table", table.to_dict(), key=key, run=run.id,
        view={
            "pins": pins.indices(),
            "arrangement": asdict(arrangement_of(st.query_params.to_dict(), table)),
        },
        on_toggle_change=lambda: pins.toggle(st.session_state[key].toggle),
        on_arrange_change=arrange,
    )  # fmt: skip


show()
