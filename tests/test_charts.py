"""Chart specifications and summaries: pure functions, checked by hand."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import charts, class_charts
from app.live_frames import BAND_NAMES
from app.looks import FREQUENCY_LOOKS, pin_looks
from app.precision_figures import SETS, average_precision
from app.run_summary import (
    DEAD_AFTER,
    STALLED_AFTER,
    heartbeat_age,
    liveness,
    seconds_left,
    shown_epoch,
    summarise,
)
from trainer.run_log.rows import CategoryRow, Run

NOW = 1_000_000.0


def category(index: int, frequency: str, instances: int, name: str = "") -> CategoryRow:
    return CategoryRow(index, index + 1, name or f"class {index}", frequency, instances, instances)


def run(**changes: object) -> Run:
    row = dict.fromkeys((field.name for field in dataclasses.fields(Run)), None) | {
        "id": 1, "name": "demo", "config": {"fasa": True, "alpha": 1.1}, "dataset": "demo",
        "status": "running", "heartbeat": NOW - 1, "created": NOW - 100, "started": NOW - 90,
        "step": 50, "total_steps": 100, "epoch": 4, "total_epochs": 10, "phase": "training",
        "rewinds": 0, "note": "", "tags": [],
    }  # fmt: skip
    return Run(**(row | changes))


def every_chart() -> list[charts.Chart]:
    counts = {"r": 20, "c": 22, "f": 18}
    return [
        charts.losses(),
        charts.losses(cascade=True),
        charts.sampling_probability(counts, absolute=False),
        charts.sampling_probability(counts, absolute=True),
        average_precision(measure="segm"),
        average_precision(measure="bbox"),
        *(average_precision(measure="segm", shown=shown) for shown in SETS if shown != "groups"),
        charts.super_groups(),
        charts.probability_bands(counts),
        charts.probability_bands(counts, absolute=True),
        charts.group_scores(counts),
        *charts.resources(),
        charts.knobs(fasa=True),
        charts.knobs(fasa=False),
        *(class_charts.pinned_classes(name, [1, 0], ["a", "b"], ["r", "f"])
          for name in class_charts.CLASS_FIELDS),
    ]  # fmt: skip


@pytest.mark.parametrize("chart", every_chart(), ids=lambda chart: chart.title)
def test_every_chart_says_what_it_shows_in_which_unit(chart: charts.Chart) -> None:
    assert chart.title
    assert chart.caption.endswith(".")
    assert chart.empty.endswith((".", ":"))
    assert all(panel.title for panel in chart.panels)
    assert all(line.panel < len(chart.panels) for line in chart.lines)
    json.dumps(chart.to_dict())  # the component takes JSON


@pytest.mark.parametrize("chart", every_chart(), ids=lambda chart: chart.title)
def test_no_two_lines_of_a_chart_look_alike_without_colour(chart: charts.Chart) -> None:
    curves = [line for line in chart.lines if line.band is None]
    looks = {(line.look.dash, line.look.symbol) for line in curves}
    by_group = any(line.look == FREQUENCY_LOOKS["r"] for line in curves)
    if chart.key == "average_precision" and by_group:
        # AP itself is told from AP_r by black against colour
        assert len({line.look.dash for line in chart.lines[1:]}) == 3
    else:
        assert len(looks) == len(curves)


def test_frequency_groups_keep_their_look_across_charts() -> None:
    probability = charts.sampling_probability({}, absolute=False).lines
    precision = average_precision(measure="segm").lines[1:]
    assert [line.look for line in probability] == [line.look for line in precision]
    assert [line.column for line in probability] == [0, 1, 2]  # r, c, f as the route sends them


def test_probability_is_shown_as_a_ratio_or_as_virtual_features() -> None:
    relative = charts.sampling_probability({}, absolute=False)
    absolute = charts.sampling_probability({}, absolute=True)
    assert {line.transform for line in relative.lines} == {"ratio"}
    assert not relative.panels[0].log
    assert {line.transform for line in absolute.lines} == {"per_thousand"}
    assert absolute.panels[0].log


def test_bands_name_the_columns_of_the_route() -> None:
    relative, absolute = (
        charts.probability_bands({"r": 20}, absolute=value) for value in (False, True)
    )
    assert {line.want for line in relative.lines} == {"bands:scale"}
    assert {line.want for line in absolute.lines} == {"bands:probability"}
    for place, letter in enumerate("rcf"):
        outer, inner, median = [line for line in relative.lines if line.panel == place]
        named = [BAND_NAMES[column] for column in (*(outer.band or ()), *(inner.band or ()))]
        assert named == [f"{letter} {q} %" for q in (10, 90, 25, 75)]
        assert BAND_NAMES[median.column] == f"{letter} 50 %"
        assert len({outer.name, inner.name, median.name}) == 1  # hidden and shown together
    assert relative.lines[0].name == "rare (20)"
    assert [panel.log for panel in absolute.panels] == [True] * 3


def test_resources_are_the_scalars_the_trainer_logs() -> None:
    logged = Path("docs/run_log.md").read_text()
    for chart in charts.resources():
        for line in chart.lines:
            assert f"`{line.series}`" in logged
            assert not line.rest or f"`{line.rest}`" in logged


def test_pins_of_one_group_differ_and_say_their_group() -> None:
    looks = pin_looks(["r", "r", "f", "r", "c", "r"])
    assert len(set(looks)) == 6
    assert {looks[i].dash for i in (0, 1, 3, 5)} == {"solid"}
    assert (looks[2].dash, looks[4].dash) == ("dot", "dash")


def test_pinned_classes_ask_only_for_their_columns() -> None:
    chart = class_charts.pinned_classes("score", [7, 2], [f"c{i}" for i in range(9)], ["c"] * 9)
    assert {line.want for line in chart.lines} == {"classes:score:7,2"}
    assert [(line.name, line.column) for line in chart.lines] == [("c7", 0), ("c2", 1)]
    assert class_charts.pinned_classes("score", [], [], []).lines == ()


def test_a_baseline_is_not_offered_what_it_does_not_have() -> None:
    assert class_charts.class_fields(fasa=True)[0] == "probability"
    assert "probability" not in class_charts.class_fields(fasa=False)


def test_labels_are_unique_and_first_pins_are_the_middle_of_each_group() -> None:
    rows = [
        category(0, "f", 200, "bat"), category(1, "f", 150, "cat"), category(2, "f", 120, "bat"),
        category(3, "r", 4), category(4, "r", 2),
    ]  # fmt: skip
    assert class_charts.class_labels(rows) == ["bat (#0)", "cat", "bat (#2)", "class 3", "class 4"]
    assert class_charts.first_pins(rows) == [4, 1]
    assert charts.frequency_counts(rows) == {"r": 2, "c": 0, "f": 3}
    assert class_charts.first_pins([]) == []


def test_a_class_without_instances_is_neither_pinned_nor_counted() -> None:
    rows = [category(0, "r", 0), category(1, "r", 0), category(2, "r", 5), category(3, "f", 0)]
    assert class_charts.first_pins(rows) == [2]
    assert charts.frequency_counts(rows) == {"r": 1, "c": 0, "f": 0}


def test_the_losses_of_a_cascades_later_stages_wait_in_the_legend() -> None:
    later = {line.series: line for line in charts.losses(cascade=True).lines
             if line.series[-1] in "23"}  # fmt: skip
    assert later.keys() == {
        f"loss/{part}/{stage}"
        for part in ("classifier", "virtual", "box", "mask")
        for stage in (2, 3)
    }
    assert all(line.hidden for line in later.values())
    assert later["loss/virtual/3"].name == "virtual features, stage 3"


@given(st.lists(st.text(max_size=3), max_size=20))
def test_labels_are_unique_whatever_the_names(names: list[str]) -> None:
    rows = [category(i, "r", 1, name or "x") for i, name in enumerate(names)]
    labels = class_charts.class_labels(rows)
    assert len(labels) == len(names)
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("status", "age", "expected"),
    [
        ("running", 1.0, "alive"),
        ("running", STALLED_AFTER, "alive"),
        ("running", STALLED_AFTER + 1, "stalled"),
        ("paused", DEAD_AFTER, "stalled"),
        ("running", DEAD_AFTER + 1, "dead"),
        ("queued", 1e6, "waiting"),
        ("finished", 1e6, "over"),
        ("crashed", 1e6, "over"),
        ("interrupted", 1e6, "over"),
    ],
)
def test_heartbeat_tells_alive_from_stalled_from_dead(
    status: str, age: float, expected: str
) -> None:
    assert liveness(run(status=status, heartbeat=NOW - age), NOW) == expected


def test_a_run_that_just_started_has_time_for_its_first_heartbeat() -> None:
    assert liveness(run(status="starting", heartbeat=None, started=NOW - 60), NOW) == "alive"
    assert liveness(run(status="starting", heartbeat=None, started=NOW - 61), NOW) == "stalled"
    assert liveness(run(status="starting", heartbeat=None, started=NOW - 300), NOW) == "dead"
    assert heartbeat_age(run(heartbeat=None), NOW) is None
    assert heartbeat_age(run(heartbeat=NOW + 5), NOW) == 0  # clocks that differ a little


def test_time_left_counts_validation_between_epochs_in() -> None:
    # 10 steps an epoch, 1 s a step, then 20 s of validation: 30 s for 10 steps.
    points = [(step, float(step + 20 * (step // 10))) for step in range(1, 21)]
    assert points[-1] == (20, 60.0)
    left = seconds_left(points, total_steps=40, steps_per_epoch=10, now=60.0)
    # From step 10 (wall 30) to step 20 (wall 60): 3 s a step, 20 steps left.
    assert left == pytest.approx(60.0)
    assert seconds_left(points, total_steps=40, steps_per_epoch=10, now=70.0) == pytest.approx(50.0)


def test_time_left_is_unknown_before_two_steps_and_never_negative() -> None:
    assert seconds_left([], total_steps=10, steps_per_epoch=5, now=0) is None
    assert seconds_left([(1, 0.0)], total_steps=10, steps_per_epoch=5, now=0) is None
    assert seconds_left([(3, 0.0), (3, 1.0)], total_steps=10, steps_per_epoch=5, now=0) is None
    assert seconds_left([(1, 0.0), (2, 1.0)], total_steps=3, steps_per_epoch=5, now=99) == 0


def test_a_resumed_run_is_timed_by_what_it_did_since() -> None:
    # 500 steps before the resume are not in the window of one epoch (100 steps).
    points = [(1, 0.0), (500, 50.0), (501, 10_000.0), (601, 10_200.0)]
    left = seconds_left(points, total_steps=701, steps_per_epoch=100, now=10_200.0)
    assert left == pytest.approx(200.0)


def test_epochs_are_counted_as_people_do() -> None:
    assert shown_epoch(run(epoch=0)) == 1
    assert shown_epoch(run(epoch=9)) == 10
    assert shown_epoch(run(epoch=10)) == 10  # over, not an eleventh one
    assert shown_epoch(run(started=None)) == 0


def test_summary_carries_only_numbers_that_json_can() -> None:
    latest = {"segm/AP": math.nan, "images_per_second": math.inf, "knob/alpha": 1.3, "bbox/AP": 9.0}
    summary = summarise(run(), latest, [], NOW)
    assert summary["AP"] is None
    assert summary["images_per_second"] is None
    assert summary["measure"] == "segm"
    assert summary["knobs"]["alpha"] == 1.3  # as it is now, not as it was configured
    json.dumps(summary, allow_nan=False)
    before = summarise(run(), {}, [], NOW)
    assert before["knobs"]["alpha"] == 1.1
    assert before["knobs"]["beta"] is None
