"""Classifier: norms, biases and scores of the classes, at two moments or of two runs.

The address holds the run and its moment (`epoch`), and what is overlaid (`with`, `with_epoch`).
"""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app.charts import frequency_counts, group_scores
from app.figure import FigureSpec
from app.live_chart import figure, live
from app.run_page import RunPage, open_run_page, run_label
from app.run_summary import shown_epoch
from app.view_options import choice
from trainer.run_log.rows import Run

X_LABELS = {"epoch": None, "step": None, "time": None}
NEWEST, START = "newest", "start"
NOTHING = ""


def show() -> None:
    """Draw the page."""
    page = open_run_page()
    if page is None:
        return
    with st.container(horizontal=True, gap="small"):
        params = {"epoch": moment("at", "epoch", page.run)}
        other = overlaid(page)
        if other is not None:
            params |= {"with": str(other.id)}
            params |= {"with_epoch": moment("at", "with_epoch", other)}
        else:
            st.query_params.pop("with_epoch", None)
        x = choice("x axis", "x", X_LABELS)
    draw(page, params, x)


def draw(page: RunPage, params: Mapping[str, str], x: str) -> None:
    """The four figures of the page."""
    run = page.run

    def put(spec: FigureSpec) -> None:
        figure(spec, key=f"{spec.name}-{run.id}", run=run.id)

    put(norm_spec(params))
    left, right = st.columns(2, gap="small")
    with left:
        put(score_spec(params))
    with right:
        chart = group_scores(frequency_counts(page.categories))
        view = {"x": x, "smoothing": 0.0}
        live("chart", chart.to_dict(), key=f"{chart.key}-{run.id}", run=run.id, view=view)
    put(bias_spec(params, logged="bias" in page.reader.class_fields(run.id)))


def norm_spec(params: Mapping[str, str]) -> FigureSpec:
    """The words around Figure 4."""
    return FigureSpec(
        "weight_norms",
        "Norm of the classifier's weights",
        "L2 norm of each class's row of the classifier, from the class with most training "
        "instances to the one with fewest (the paper's Figure 4), with the running median. Strokes "
        "below: the frequency group of each class. A plain baseline lets rare classes fall behind.",
        "No weights have been logged of this moment: the first come with the first snapshot.",
        height=380,
        follows="snapshot",
        params=params,
    )


def score_spec(params: Mapping[str, str]) -> FigureSpec:
    """The words around Figure 1b."""
    return FigureSpec(
        "scores",
        "Score on own objects, by group",
        "Mean score, 0 to 1, that classes give objects of their own in training, over rare, common "
        "and frequent classes (the paper's Figure 1b).",
        "No scores have been logged of this moment: the first come with the first snapshot.",
        height=270,
        follows="snapshot",
        params=params,
    )


def bias_spec(params: Mapping[str, str], *, logged: bool) -> FigureSpec:
    """The words around the biases; a low card where a run has logged none."""
    return FigureSpec(
        "biases",
        "Bias of the classifier",
        "Bias of each class in the classifier, from the class with most training instances to the "
        "one with fewest, with the running median.",
        "This run has logged no biases of this moment: its classifier has none, or the run is "
        "older than their log.",
        height=320 if logged else 110,
        follows="snapshot",
        params=params,
    )


def moment(label: str, name: str, run: Run) -> str:
    """Choose a moment of a run: newest, start, or a number of epochs done."""
    options = [NEWEST, *(str(epoch) for epoch in range(shown_epoch(run), 0, -1)), START]
    key = f"{name}-{run.id}"
    if key not in st.session_state:
        st.session_state[key] = st.query_params.get(name)
    if st.session_state[key] not in options:  # of another run, or before the run went back
        st.session_state[key] = NEWEST
    words = {NEWEST: "newest", START: "the start"}
    picked: str = st.selectbox(
        label, options, key=key, width=150, format_func=lambda o: words.get(o, f"epoch {o}")
    )
    _keep(name, picked, NEWEST)
    return picked


def overlaid(page: RunPage) -> Run | None:
    """Choose a run to overlay: the same at another moment, or another one."""
    runs = {str(run.id): run for run in reversed(page.runs)}
    options = [NOTHING, *runs]
    if "with" not in st.session_state:
        st.session_state["with"] = st.query_params.get("with", NOTHING)
    if st.session_state["with"] not in options:
        st.session_state["with"] = NOTHING
    picked: str = st.selectbox(
        "overlaid with", options, key="with", width=420,
        format_func=lambda o: run_label(runs[o]) if o else "nothing",
    )  # fmt: skip
    _keep("with", picked, NOTHING)
    return runs.get(picked)


def _keep(name: str, value: str, first: str) -> None:
    if value != first:
        st.query_params[name] = value
    else:
        st.query_params.pop(name, None)


show()
