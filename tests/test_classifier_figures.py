"""Figures 1b and 4: ranks, medians and means by hand; moments of runs read from a real run log."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from browser.synthetic_log import SyntheticRun
from test_charts import category

from app.classifier_figures import biases, field_by_rank, score_bars, scores, weight_norms
from app.classifier_moments import (
    LOOKS,
    Moment,
    asked_moments,
    by_group,
    median_window,
    ranks,
    running_median,
)
from app.figure import Figure
from app.figure_routes import Asked, plain, table_text
from app.live_answers import WantError
from trainer.run_log.reader import RunLogReader

NAN = float("nan")
CLASSES = [
    category(0, "r", 3, "<b>owl</b>"), category(1, "f", 200, "cat"), category(2, "c", 40, "bus"),
    category(3, "c", 40, "fig"), category(4, "r", 1, "=axe"),
]  # fmt: skip


def moment(values: list[float], place: int = 0, name: str = "1 · demo, epoch 2") -> Moment:
    return Moment(name, LOOKS[place], CLASSES, np.array(values))


def test_the_class_with_most_instances_is_first_and_equals_keep_their_order() -> None:
    assert ranks(CLASSES).tolist() == [4, 1, 2, 3, 5]


def test_running_median_leaves_out_missing_classes_and_ends_short() -> None:
    medians = running_median(np.array([1.0, 5.0, NAN, 3.0, NAN, NAN, NAN]), 3)
    # windows: 1 5 | 1 5 - | 5 - 3 | - 3 - | 3 - - | - - - | - -
    assert medians[:5].tolist() == [3.0, 3.0, 4.0, 3.0, 3.0]
    assert np.isnan(medians[5:]).all()
    assert len(running_median(np.array([]), 5)) == 0


def test_median_windows_are_odd_and_grow_with_the_classes() -> None:
    assert [median_window(classes) for classes in (2, 60, 1203)] == [5, 5, 101]


def test_group_numbers_leave_out_classes_without_data() -> None:
    values = np.array([2.0, NAN, 4.0, 6.0, 3.0])
    found = by_group(values, CLASSES, np.mean)
    assert (found["r"], found["c"]) == (2.5, 5.0)
    assert np.isnan(found["f"])


def test_figure_4_is_in_order_of_instances_with_a_point_a_class() -> None:
    figure = field_by_rank([moment([0.1, 0.5, 0.3, 0.2, NAN])], "weight norm", dark=False)
    points, median, *strip = figure.traces
    assert points["x"].tolist() == [1, 2, 3, 4, 5]
    assert points["y"][:4] == [0.5, 0.3, 0.2, 0.1]
    assert median["y"] == pytest.approx([0.3, 0.25, 0.25, 0.2, 0.15])
    assert "&lt;b&gt;owl&lt;/b&gt;, rare, 3 instances" in points["text"]
    rows = {trace["name"]: trace["x"].tolist() for trace in strip}
    assert rows == {"frequent": [1], "common": [2, 3], "rare": [4, 5]}
    assert figure.layout["yaxis2"]["ticktext"] == ["frequent", "common", "rare"]
    assert figure.note == (
        "Median weight norm of 1 · demo, epoch 2: rare 0.1, common 0.25, frequent 0.5."
    )


def test_a_picture_of_1203_classes_stays_small() -> None:
    many = [category(index, "c", 1203 - index, f"class number {index}") for index in range(1203)]
    values = np.random.default_rng(0).normal(0.3, 0.05, 1203)
    figure = field_by_rank([Moment("m", LOOKS[0], many, values)], "weight norm", dark=False)
    body = plain({"traces": figure.traces, "layout": figure.layout})
    assert len(json.dumps(body, separators=(",", ":"))) < 110_000


def test_two_moments_differ_in_colour_dash_and_marker_and_share_one_table() -> None:
    both = [moment([1, 2, 3, 4, 5.0]), moment([5, 4, 3, 2, NAN], 1, "2 · b, newest")]
    figure = field_by_rank(both, "bias", dark=True)
    first, second = (figure.traces[place] for place in (1, 3))
    assert first["line"]["dash"] != second["line"]["dash"]
    assert first["line"]["color"] != second["line"]["color"]
    assert figure.traces[0]["marker"]["symbol"] != figure.traces[2]["marker"]["symbol"]
    lines = table_text(figure.table).splitlines()
    assert lines[0] == "moment,rank,class,frequency,instances,bias"
    assert len(lines) == 11
    assert lines[5] == '"1 · demo, epoch 2",5,\'=axe,r,1,5.0'  # no formula for a spreadsheet
    assert lines[10].endswith("'=axe,r,1,")


def test_a_moment_without_data_is_said_and_the_other_is_drawn() -> None:
    figure = field_by_rank(
        [Moment("2 · b, epoch 9", LOOKS[0], CLASSES, None), moment([1, 1, 1, 1, 1.0], 1)],
        "bias", dark=False,
    )  # fmt: skip
    assert len(figure.traces) == 5
    assert figure.note.startswith("The log holds no bias of 2 · b, epoch 9. Median bias of 1")
    assert field_by_rank([Moment("a", LOOKS[0], CLASSES, None)], "bias", dark=False) == Figure()


def test_figure_1b_has_a_bar_a_group_with_the_mean() -> None:
    figure = score_bars([moment([0.2, NAN, 0.4, 0.6, 0.1])], dark=False)
    [bars] = figure.traces
    assert bars["x"] == ["rare", "common", "frequent"]
    assert bars["y"][:2] == pytest.approx([0.15, 0.5])
    assert bars["text"] == ["0.150", "0.500", "–"]
    assert figure.note == "Mean score of 1 · demo, epoch 2: rare 0.15, common 0.5, frequent –."
    json.dumps(plain({"traces": figure.traces}), allow_nan=False)
    assert score_bars([], dark=False) == Figure()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> RunLogReader:
    """Run 1: FASA, 3 epochs of 4 steps; run 2: a baseline; run 3: queued."""
    folder: Path = tmp_path_factory.mktemp("runs")
    for fasa in (True, False):
        run = SyntheticRun(folder, name=f"fasa {fasa}", classes=9, epochs=3, steps_per_epoch=4,
                           snapshot_every=2, fasa=fasa)  # fmt: skip
        run.start()
        run.finish()
    SyntheticRun(folder, name="queued", classes=9)
    return RunLogReader(folder / "fasa.sqlite")


def asked(reader: RunLogReader, run_id: int, params: Mapping[str, str]) -> Asked:
    return Asked(reader, reader.run(run_id), reader.categories(run_id), params, dark=False)


def test_moments_are_the_newest_the_start_or_the_end_of_an_epoch(reader: RunLogReader) -> None:
    rows = reader.class_vectors(1, "weight_norm")

    def values(epoch: str) -> list[float]:
        run, categories = reader.run(1), reader.categories(1)
        [found] = asked_moments(reader, run, categories, "weight_norm", {"epoch": epoch})
        assert found.values is not None
        return [float(value) for value in found.values]

    assert values("newest") == pytest.approx(rows.values[-1].tolist())
    assert values("start") == pytest.approx(rows.values[0].tolist())
    second = np.flatnonzero(rows.steps <= 8)[-1]  # the last snapshot of the second epoch
    assert values("2") == pytest.approx(rows.values[second].tolist())


def test_two_runs_are_overlaid_and_named(reader: RunLogReader) -> None:
    figure = weight_norms(asked(reader, 1, {"epoch": "1", "with": "2", "with_epoch": "start"}))
    assert [trace["name"] for trace in figure.traces[1:4:2]] == [
        "1 · fasa True, epoch 1", "2 · fasa False, start"]  # fmt: skip
    assert len(scores(asked(reader, 2, {})).traces) == 1


def test_a_run_without_biases_or_snapshots_has_an_empty_figure(reader: RunLogReader) -> None:
    assert biases(asked(reader, 1, {})).traces == ()
    assert weight_norms(asked(reader, 3, {})).traces == ()
    assert weight_norms(asked(reader, 1, {"epoch": "7"})).traces == ()


@pytest.mark.parametrize(
    "params", [{"epoch": "two"}, {"epoch": "-1"}, {"with": "99"}, {"with": "1", "with_epoch": "x"}]
)
def test_a_parameter_that_cannot_be_read_is_one_sentence(
    reader: RunLogReader, params: dict[str, str]
) -> None:
    with pytest.raises(WantError, match="is '"):
        weight_norms(asked(reader, 1, params))
