"""Compare: 2 to 8 runs side by side; results, configurations, curves.

The address holds all that is chosen: `run` (several times), `measure`, `at`, `figures`,
`baseline`, the curves (`show`, several times), `by` and the classes (`class`, several times), `x`,
`smooth`, `y`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import streamlit as st

from app import comparison_results as results
from app.charts import Chart
from app.class_charts import class_labels, first_pins
from app.comparison import (
    MOST_RUNS,
    Compared,
    chosen_class_charts,
    class_field_words,
    fork_starts,
    group_charts,
    run_looks,
    run_name,
    scalar_chart,
    scalar_words,
)
from app.comparison_config import differences, live_changes, origins
from app.comparison_html import config_table, measures_table, result_table
from app.comparison_measures import has_any, measured
from app.live_chart import live
from app.looks import Look
from app.notices import notice, readable_log
from app.precision_figures import SETS, Measure, offered_sets
from app.run_list import run_list
from app.run_page import run_label
from app.view_options import choice, from_address, to_address
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.run_log.schema import FINAL_STATUSES, RunLogError

MEASURES = {"segm": "masks", "bbox": "boxes"}
MOMENTS = {"newest": "newest", "best": "best AP", "same": "same epoch"}
X_LABELS = {"epoch": None, "step": None, "time": "time since start", "fork": "time since fork"}
SMOOTHING = {"none": 0.0, "some": 0.9, "strong": 0.98}
SCALES = {"auto": None, "linear": None, "log": None}
BY = {"groups": "frequency groups", "classes": "chosen classes"}
FIRST_CURVES = ("segm/AP", "segm/AP_r", "loss/total", "validation/loss", "weight_norm")
NO_AVERAGE = frozenset({"super_group", "decision"})  # numbers and signs: a mean says nothing
MOST_CURVES, MOST_CLASSES = 8, 6
REFRESH = 5  # seconds between two looks at the results of runs that train
NO_BASELINE = "none"
FORK_CAPTION = (
    "0 is where a fork left its parent: the moment it was forked, and for the parent the moment it "
    "passed that step. Runs that were not forked begin at 0."
)


def show() -> None:
    """Draw the page."""
    log = readable_log()
    if log is None:
        return
    try:
        reader = log.reader()
        runs = reader.runs() if reader else []
        if reader is None or not runs:
            run_list()
            return
        chosen = choose_runs(runs)
        if chosen:
            draw(reader, chosen)
    except RunLogError as error:
        notice("This run log cannot be read", str(error))


def choose_runs(runs: Sequence[Run]) -> list[Run]:
    """The choice of runs, kept in the address; without one, the newest two."""
    by_id = {run.id: run for run in runs}
    asked = list(dict.fromkeys(st.query_params.get_all("run")))
    if "runs" not in st.session_state:
        known = [run.id for text in asked for run in runs if str(run.id) == text]
        first = known if asked else [run.id for run in runs[-2:]]
        st.session_state["runs"] = first[:MOST_RUNS]
        tell_unknown(asked, [str(i) for i in known])
    kept = [run_id for run_id in st.session_state["runs"] if run_id in by_id]
    if kept != st.session_state["runs"]:  # one was deleted meanwhile
        st.session_state["runs"] = kept
    picked: list[int] = st.multiselect(
        "runs, 2 to 8", [run.id for run in reversed(runs)], key="runs", max_selections=MOST_RUNS,
        format_func=lambda run_id: run_label(by_id[run_id]), placeholder="find runs by name",
    )  # fmt: skip
    st.query_params["run"] = [str(run_id) for run_id in picked] or [""]  # "": none, on purpose
    if len(picked) < 2:
        st.text("Choose at least two runs to compare them.")
    return [by_id[run_id] for run_id in picked]


def tell_unknown(asked: Sequence[str], known: Sequence[str]) -> None:
    """Say which runs of the address are not there, and which are too many."""
    unknown = [text for text in asked if text and text not in known]
    if unknown:
        names = ", ".join(f"'{text[:40]}'" for text in unknown[:MOST_RUNS])
        notice("No such run", f"There is no run {names} here: choose others by name below.")
    if len(known) > MOST_RUNS:
        notice("Too many runs", f"The address names {len(known)} runs; the first {MOST_RUNS} are "
               "shown, as no more can be told apart.")  # fmt: skip


def draw(reader: RunLogReader, runs: Sequence[Run]) -> None:
    """Results, configurations and curves of the chosen runs."""
    looks = run_looks([run.id for run in runs])
    st.subheader("Results", anchor=False)
    with st.container(horizontal=True, gap="small"):
        measure = cast(Measure, choice("average precision of", "measure", MEASURES))
        at = cast(results.Moment, choice("at", "at", MOMENTS))
        columns = choose_figures(reader, runs)
        baseline = choose_baseline(runs)
    live_now = any(run.status not in FINAL_STATUSES for run in runs)
    st.fragment(show_tables, run_every=REFRESH if live_now else None)(
        reader, runs, looks, measure, at, columns, baseline
    )
    st.subheader("Curves", anchor=False)
    show_curves(reader, runs, looks)


def choose_figures(reader: RunLogReader, runs: Sequence[Run]) -> Sequence[str]:
    """The columns of the results: those of the figures that any of the runs has logged."""
    offered = offered_sets({name for run in runs for name in reader.scalar_names(run.id)})
    if st.session_state.get("figures") not in offered:  # other runs, other figures
        st.session_state.pop("figures", None)
    return SETS[choice("figures", "figures", offered)].names


def choose_baseline(runs: Sequence[Run]) -> int | None:
    """The run that differences are taken to; unless one is named, the first without FASA."""
    labels = {str(run.id): run_name(run.id, run.name) for run in runs}
    options = [*labels, NO_BASELINE]
    plain = [str(run.id) for run in runs if run.config.get("fasa") is False]
    first = (plain or options)[0]
    follow_first("baseline", first)
    if st.session_state.get("baseline", first) not in options:
        del st.session_state["baseline"]
    from_address("baseline", options, first)
    picked = st.selectbox("differences to", options, key="baseline", width=300,
                          format_func=lambda o: labels.get(o, "no run"))  # fmt: skip
    to_address("baseline", picked, first)
    return None if picked == NO_BASELINE else int(picked)


def show_tables(
    reader: RunLogReader,
    runs: Sequence[Run],
    looks: dict[int, Look],
    measure: Measure,
    at: results.Moment,
    columns: Sequence[str],
    baseline: int | None,
) -> None:
    """Results and configurations; drawn anew every few seconds while one of the runs trains."""
    try:
        show_results(reader, runs, looks, measure, at, columns, baseline)
        show_measures(reader, runs, looks)
        st.subheader("Configuration", anchor=False)
        show_differences(reader, runs, looks)
    except RunLogError as error:
        notice("This run log cannot be read", str(error))


def show_results(
    reader: RunLogReader,
    runs: Sequence[Run],
    looks: dict[int, Look],
    measure: Measure,
    at: results.Moment,
    columns: Sequence[str],
    baseline: int | None,
) -> None:
    """The table of the figures `columns`, and its Markdown and LaTeX."""
    names = results.unique_names([(run.id, run.name) for run in runs])
    wanted = results.scalar_names(measure, columns)
    histories = [
        results.evaluations(reader.scalars(run.id, wanted), measure, columns) for run in runs
    ]
    same = results.same_epoch(histories)
    rows = results.with_differences(
        [
            results.Result(run.id, name, results.chosen_evaluation(history, at, same))
            for run, name, history in zip(runs, names, histories, strict=True)
        ],
        baseline,
    )
    base = next((row for row in rows if row.run_id == baseline), None)
    against = base.name if base and base.evaluation else ""
    sentence = results.heading(measure, at, same, against)
    st.html(result_table(rows, looks, sentence, columns, dark=is_dark()))
    careful = results.warning(dict(zip(names, histories, strict=True)), at)
    if careful:
        st.text(f"⚠ {careful}")
    with st.expander("Copy as Markdown or LaTeX"):
        st.code(results.markdown(rows, sentence, columns), language=None)
        st.code(results.latex(rows, sentence, columns), language=None)


def show_measures(reader: RunLogReader, runs: Sequence[Run], looks: dict[int, Look]) -> None:
    """What was measured of virtual beside real features, where it was of any of the runs."""
    names = results.unique_names([(run.id, run.name) for run in runs])
    newest = {run.id: reader.features.newest_measures(run.id) for run in runs}
    if has_any(newest):
        st.subheader("Virtual beside real features", anchor=False)
        rows = [measured(run, name, newest[run.id]) for run, name in zip(runs, names, strict=True)]
        st.html(measures_table(rows, looks, dark=is_dark()))


def show_differences(reader: RunLogReader, runs: Sequence[Run], looks: dict[int, Look]) -> None:
    """The settings in which the runs differ, and the knobs that were turned in one of them."""
    changes = [live_changes(reader.scalars(run.id, knob_names(reader, run.id))) for run in runs]
    found = origins(runs) + differences([run.config for run in runs], changes)
    if not found:
        st.text("These runs have the same configuration, and no knob was turned in them."
                if len(runs) > 1 else "One run alone differs from none.")  # fmt: skip
        return
    sentence = (
        "Only settings that differ, or were changed while a run trained: then with the step from "
        "which each value holds. All others are the same; those of FASA do not count without it."
    )
    named = [(run_name(run.id, run.name), looks[run.id]) for run in runs]
    st.html(config_table(found, named, sentence, dark=is_dark()))


def knob_names(reader: RunLogReader, run_id: int) -> list[str]:
    """The curves of a run's knobs."""
    return [name for name in reader.scalar_names(run_id) if name.startswith("knob/")]


def show_curves(reader: RunLogReader, runs: Sequence[Run], looks: dict[int, Look]) -> None:
    """The chosen scalars and class fields, all runs on each chart."""
    categories = [reader.categories(run.id) for run in runs]
    classes = [class_labels(rows) for rows in categories]
    compared = [
        Compared(run.id, run_name(run.id, run.name), looks[run.id],
                 {name: index for index, name in enumerate(labels)})
        for run, labels in zip(runs, classes, strict=True)
    ]  # fmt: skip
    scalars = sorted({name for run in runs for name in reader.scalar_names(run.id)})
    fields = sorted({name for run in runs for name in reader.class_fields(run.id)} - NO_AVERAGE)
    curves = choose_curves(scalars, fields)
    chosen_fields = [name for name in curves if name in fields]
    with st.container(horizontal=True, gap="small"):
        x = choice("x axis", "x", X_LABELS)
        scale = choice("y axis", "y", SCALES)
        smoothing = choice("smoothing", "smooth", dict.fromkeys(SMOOTHING), first="some")
        by = choice("classes by", "by", BY) if chosen_fields else "groups"
    named = next((place for place, rows in enumerate(categories) if rows), 0)
    middle = [classes[named][index] for index in first_pins(categories[named])]
    names = choose_classes(classes, middle) if by == "classes" else []
    view: dict[str, Any] = {"x": x, "smoothing": SMOOTHING[smoothing], "log": scale}
    if x == "fork":
        view["starts"] = {str(run.id): starts_of(reader, run, runs) for run in runs}
        st.caption(FORK_CAPTION)
    charts = [scalar_chart(name, compared) for name in curves if name in scalars]
    put_charts(charts, 2, runs[0].id, view)
    for name in chosen_fields:
        charts = chosen_class_charts(name, names, compared) if by == "classes" else (
            group_charts(name, compared)
        )  # fmt: skip
        put_charts(charts, 3, runs[0].id, view)


def put_charts(charts: Sequence[Chart], across: int, run_id: int, view: dict[str, Any]) -> None:
    """Charts side by side, `across` in a row; one below the other on a narrow screen."""
    for start in range(0, len(charts), across):
        row = charts[start : start + across]
        for column, chart in zip(st.columns(across, gap="small"), row, strict=False):
            with column:
                live("chart", chart.to_dict(), key=chart.key, run=run_id, view=view)


def choose_curves(scalars: Sequence[str], fields: Sequence[str]) -> list[str]:
    """What to draw, kept in the address."""
    options = [*scalars, *(name for name in fields if name not in scalars)]
    first = [name for name in FIRST_CURVES if name in options]

    def words(name: str) -> str:
        if name in scalars:
            return scalar_words(name)[0]
        return f"{class_field_words(name).label} (of classes)"

    return choose_several("curves", "show", options, first, MOST_CURVES, words)


def choose_classes(classes: Sequence[Sequence[str]], first: Sequence[str]) -> list[str]:
    """Classes by name, of any of the runs."""
    options = list(dict.fromkeys(name for labels in classes for name in labels))
    return choose_several("classes", "class", options, first, MOST_CLASSES, str)


def choose_several(
    label: str, key: str, options: Sequence[str], first: Sequence[str], most: int, words: Any
) -> list[str]:
    """Several of many, in the address as `key`, once for each."""
    follow_first(key, list(first))
    asked = st.query_params.get_all(key)
    state = st.session_state.setdefault(key, asked or list(first))
    known = [name for name in dict.fromkeys(state) if name in options][:most]
    if known != state:
        st.session_state[key] = known
    picked: list[str] = st.multiselect(label, options, key=key, max_selections=most,
                                       format_func=words, placeholder="find by name")  # fmt: skip
    if picked != list(first):
        st.query_params[key] = picked or [""]  # "" says: none, on purpose
    else:
        st.query_params.pop(key, None)
    return picked


def follow_first(key: str, first: Any) -> None:
    """A choice that nobody made stays the usual one, which depends on the chosen runs."""
    before = st.session_state.get(f"{key}-first")
    if key in st.session_state and st.session_state[key] == before:
        st.session_state[key] = first
    st.session_state[f"{key}-first"] = first


def starts_of(reader: RunLogReader, run: Run, runs: Sequence[Run]) -> list[float]:
    """The moment that is 0 on an axis of time since the fork."""
    forks = [e.wall_time for e in reader.events(run.id) if e.kind == "fork"]
    passed = [(row.step, row.wall_time) for row in reader.scalars(run.id, ["learning_rate"])]
    return fork_starts(run, runs, forked=forks[-1] if forks else None, passed=passed)


def is_dark() -> bool:
    """Whether the page is dark, as far as the browser has said."""
    return bool(st.context.theme.type == "dark")


show()
