"""Detections: test images with what is true and what was detected, and AP of each class."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app.detection_view import KEYS, read_choice, read_view
from app.detection_words import ap_figure, ap_table_spec, gallery_spec
from app.live_chart import figure, live
from app.run_page import RunPage, open_run_page
from app.view_options import choice, to_address

LAST = "detections-run"  # of this session: another run starts at its own newest evaluation
PICTURES = "detections-pictures"
PARTS = {"pictures": None, "ap": "AP by class"}
MEASURES = {"segm": "masks", "bbox": "boxes"}  # of the scatter; the table holds both


def show() -> None:
    """Draw the page."""
    page = open_run_page()
    if page is None:
        return
    if st.session_state.get(LAST, page.run.id) != page.run.id:
        for key in ("step", "image", "before"):
            st.query_params.pop(key, None)
    st.session_state[LAST] = page.run.id
    if PICTURES in st.session_state:  # a class was picked: to its pictures
        st.session_state["part"] = st.session_state.pop(PICTURES)
    with st.container(horizontal=True, gap="medium"):
        part = choice("view", "part", PARTS)
        measure = choice("AP of", "measure", MEASURES) if part == "ap" else ""
    if part == "pictures":
        gallery(page)
    else:
        precision(page, measure)


@st.fragment
def gallery(page: RunPage) -> None:
    """The pictures. A fragment: a choice among them redraws nothing else of the page."""
    key = f"gallery-{page.run.id}"

    def take() -> None:
        for name, values in read_choice(st.session_state[key].choose).items():
            if values:
                st.query_params[name] = values
            else:
                st.query_params.pop(name, None)

    address = {name: st.query_params.get_all(name) for name in KEYS}
    view = read_view(address, page.run.id, {run.id for run in page.runs})
    live(
        "gallery", gallery_spec(page.run, page.runs), key=key, run=page.run.id,
        view=view.to_dict(), on_choose_change=take,
    )  # fmt: skip


def precision(page: RunPage, measure: str) -> None:
    """AP of each class: table, and scatter of a measure against the number of instances."""
    key, figure_key = f"ap-table-{page.run.id}", f"ap-figure-{page.run.id}"

    def take() -> None:
        asked: Any = st.session_state[key].arrange
        for name in ("sort", "before"):
            value = asked.get(name) if hasattr(asked, "get") else None
            if isinstance(value, str):
                to_address(name, value[:40], "")

    def pick(source: str) -> None:
        index: Any = st.session_state[source].pick
        if isinstance(index, int | float) and 0 <= int(index) < len(page.categories):
            st.query_params["class"] = page.categories[int(index)].name
            st.session_state[PICTURES] = "pictures"

    table, scatter = st.columns(2, gap="small")
    with table:
        view = {name: st.query_params.get(name, "") for name in ("sort", "before")}
        live(
            "ap_table", ap_table_spec(page.run), key=key, run=page.run.id, view=view,
            on_arrange_change=take, on_pick_change=lambda: pick(key),
        )  # fmt: skip
    with scatter:
        figure(ap_figure(measure), key=figure_key, run=page.run.id,
               on_pick_change=lambda: pick(figure_key))  # fmt: skip


show()
