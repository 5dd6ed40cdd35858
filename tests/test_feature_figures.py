"""Figures of the measures: lines, panels, notes and tables from rows made by hand."""

import json
from typing import Any

import numpy as np
import pytest
from test_charts import category

from app.feature_figures import asked_pins, over_epochs, panel_height, shown_classes, shown_groups
from app.feature_measures import ACCURACY, FRECHET, NEGATIVE, NEIGHBOURS, counted, plain_number
from app.figure import Figure
from app.figure_routes import plain, table_text
from app.live_answers import WantError
from app.sample_size_figure import size_figure
from trainer.run_log.rows import MeasureRow

NAN = float("nan")
CLASSES = [
    category(0, "r", 2, "<b>owl</b>"), category(1, "r", 5, "=fig"), category(2, "f", 200, "cat"),
]  # fmt: skip


def row(snapshot: int, name: str, values: list[float], **groups: float | None) -> MeasureRow:
    return MeasureRow(
        snapshot, 10 * snapshot, snapshot - 1, name, np.array(values, np.float32), groups
    )


def accuracy() -> list[MeasureRow]:
    """Two snapshots: held-out objects of fig and cat alone, priors of owl (later) and cat."""
    return [
        row(1, "accuracy_holdout", [NAN, 0.25, 0.5], rare=0.25, frequent=0.5),
        row(1, "accuracy_virtual", [NAN, NAN, 0.75], rare=None, frequent=0.75),
        row(2, "accuracy_holdout", [NAN, 0.5, 0.6], rare=0.5, frequent=0.6),
        row(2, "accuracy_virtual", [0.9, 1.0, 0.8], rare=1.0, frequent=0.8),
    ]


def drawn(topic: Any, rows: list[MeasureRow], pins: list[int] | None = None) -> Figure:
    shown = shown_classes(pins, CLASSES) if pins else shown_groups(CLASSES)
    return over_epochs(topic, rows, shown, lambda one: one.step / 10, dark=False)


def test_real_and_virtual_have_a_panel_a_group() -> None:
    figure = drawn(ACCURACY, accuracy())
    lines, keys = figure.traces[:4], figure.traces[4:]
    assert [(line["xaxis"], line["name"]) for line in lines] == [
        ("x", "held-out real"), ("x", "virtual"), ("x2", "held-out real"), ("x2", "virtual"),
    ]  # fmt: skip
    assert [line["y"] for line in lines] == [[0.25, 0.5], [None, 1.0], [0.5, 0.6], [0.75, 0.8]]
    assert [line["line"]["dash"] for line in lines] == ["solid", "dash", "solid", "dash"]
    assert [line["marker"]["symbol"] for line in lines] == [
        "circle", "circle-open", "square", "square-open",
    ]  # fmt: skip
    assert lines[0]["x"] == [1.0, 2.0]
    assert [key["name"] for key in keys] == ["held-out real", "virtual"]
    heads = [note["text"] for note in figure.layout["annotations"]]
    assert heads == ["<b>rare</b>", "<b>frequent</b>"]
    assert figure.layout["yaxis"]["range"] == [-0.04, 1.04]
    json.dumps(plain({"traces": figure.traces, "layout": figure.layout}), allow_nan=False)


def test_the_note_says_the_newest_numbers_and_what_they_rest_on() -> None:
    assert drawn(ACCURACY, accuracy()).note == (
        "After epoch 2: rare held-out real 0.50, virtual 1.00 (1 of 2 classes); "
        "frequent held-out real 0.60, virtual 0.80 (1 of 1 classes)."
    )


def test_a_groups_number_counts_classes_where_both_are_known() -> None:
    """At the second snapshot owl has virtual features, but no held-out object: fig alone counts."""
    newest = {one.name: one for one in accuracy()[2:]}
    letters = [one.frequency for one in CLASSES]
    assert counted(newest, "accuracy_virtual", letters, "r").tolist() == [False, True, False]
    alone = {"accuracy_virtual": newest["accuracy_virtual"]}
    assert counted(alone, "accuracy_virtual", letters, "r").tolist() == [True, True, False]


def test_pinned_classes_take_the_place_of_the_groups() -> None:
    figure = drawn(ACCURACY, accuracy(), pins=[0, 2])
    assert figure.traces[1]["y"] == [None, pytest.approx(0.9)]
    heads = [note["text"] for note in figure.layout["annotations"]]
    assert heads == ["<b>&lt;b&gt;owl&lt;/b&gt;</b>", "<b>cat</b>"]
    assert figure.note == (
        "After epoch 2: <b>owl</b> virtual 0.90; cat held-out real 0.60, virtual 0.80."
    )


def test_a_panel_that_cannot_be_judged_says_so() -> None:
    figure = drawn(ACCURACY, accuracy()[:2], pins=[0, 2])
    assert figure.layout["annotations"][0]["text"].endswith("<br>not to be judged")
    assert not figure.layout["annotations"][1]["text"].endswith("judged")


def test_a_baseline_has_real_lines_alone() -> None:
    rows = [one for one in accuracy() if one.name == "accuracy_holdout"]
    rows += [row(s, "accuracy_virtual", [NAN] * 3, rare=None, frequent=None) for s in (1, 2)]
    figure = drawn(ACCURACY, rows)
    assert [trace["name"] for trace in figure.traces[4:]] == ["held-out real"]
    assert "virtual" not in figure.note


def test_one_measure_is_one_plot_in_the_looks_of_the_groups() -> None:
    rows = [row(1, "negative_share", [0.1, 0.2, 0.4], rare=0.15, frequent=0.4)]
    figure = drawn(NEGATIVE, rows)
    assert [(t["name"], t["line"]["dash"]) for t in figure.traces] == [
        ("rare", "solid"), ("frequent", "dot"),
    ]  # fmt: skip
    assert "annotations" not in figure.layout
    assert (
        figure.note == "After epoch 1: rare 0.15 (2 of 2 classes); frequent 0.4 (1 of 1 classes)."
    )


def test_a_distance_has_a_free_axis_and_large_numbers_without_exponent() -> None:
    rows = [
        row(1, "frechet_distance", [NAN, NAN, 2514.4], rare=None, frequent=2514.4),
        row(1, "frechet_distance_real", [NAN, NAN, -1.234], rare=None, frequent=-1.234),
    ]
    figure = drawn(FRECHET, rows)
    assert "range" not in figure.layout["yaxis"]
    assert figure.note == (
        "After epoch 1: frequent real, trained on -1.23, virtual 2,514 (1 of 1 classes)."
    )
    assert [plain_number(x) for x in (0.01234, 12.3, 999.6, 1234567.0)] == [
        "0.0123", "12.3", "1e+03", "1,234,567",
    ]  # fmt: skip


def test_the_table_is_a_row_a_snapshot_and_measure_and_no_formula() -> None:
    lines = table_text(drawn(ACCURACY, accuracy(), pins=[1]).table).splitlines()
    assert lines == [
        "snapshot,step,epochs_done,of,measure,value",
        "1,10,1.0,'=fig,accuracy_holdout,0.25",
        "2,20,2.0,'=fig,accuracy_holdout,0.5",
        "1,10,1.0,'=fig,accuracy_virtual,",
        "2,20,2.0,'=fig,accuracy_virtual,1.0",
    ]


def test_nothing_measured_draws_nothing() -> None:
    assert drawn(NEIGHBOURS, []) == Figure()
    assert drawn(NEIGHBOURS, [row(1, "neighbours_virtual", [NAN] * 3, rare=None)]) == Figure()
    foreign = [row(1, "neighbours_virtual", [0.5], rare=None)]  # of another number of classes
    assert drawn(NEIGHBOURS, foreign, pins=[2]) == Figure()


def test_panels_grow_by_rows_of_three() -> None:
    assert [panel_height(ACCURACY, shown) for shown in (1, 3, 4, 8)] == [280, 280, 490, 700]
    assert panel_height(NEGATIVE, 8) == 280


def test_pins_are_indices_of_the_run() -> None:
    assert asked_pins("", 3) == []
    assert asked_pins("2,0,2,7", 3) == [2, 0]
    for text in ("1,x", "-1", "1,,2", "0,1,2,3,4,5,6,7,8"):
        with pytest.raises(WantError, match="pins is '"):
            asked_pins(text, 3)


# What the priors rest on


def test_sample_sizes_are_drawn_over_instances_and_weak_ones_open() -> None:
    classes = [*CLASSES, category(3, "c", 40, "bus")]
    figure = size_figure(np.array([1.5, 4.0, 120.0, NAN]), classes, "After epoch 2", dark=True)
    points = [trace for trace in figure.traces if trace["mode"] == "markers"]
    assert [trace["name"] for trace in points] == ["rare", "frequent"]
    rare = points[0]
    assert (rare["x"], rare["y"], rare["customdata"]) == ([2.0, 5.0], [1.5, 4.0], [0, 1])
    assert rare["marker"]["symbol"] == ["circle-open", "circle"]
    assert rare["text"][0] == "&lt;b&gt;owl&lt;/b&gt;"
    assert figure.layout["shapes"][0]["y0"] == 3
    assert (figure.layout["xaxis"]["type"], figure.layout["yaxis"]["type"]) == ("log", "log")
    assert figure.note == (
        "After epoch 2: 1 of 3 priors rest on fewer than 3 objects (1 rare). 1 class has no prior "
        "yet."
    )
    assert table_text(figure.table).splitlines()[1:3] == [
        "<b>owl</b>,r,2,1.5,yes", "'=fig,r,5,4.0,",
    ]  # fmt: skip


def test_without_any_prior_there_is_nothing_to_draw() -> None:
    assert size_figure(np.array([NAN, 0.0, NAN]), CLASSES, "After epoch 1", dark=False) == Figure()


def test_1203_classes_stay_small() -> None:
    many = [category(index, "c", 1 + index, f"class number {index}") for index in range(1203)]
    figure = size_figure(np.arange(1203) + 1.0, many, "After epoch 1", dark=False)
    body = plain({"traces": figure.traces, "layout": figure.layout})
    assert len(json.dumps(body, separators=(",", ":"))) < 110_000
