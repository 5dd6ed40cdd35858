"""Runs side by side: looks that stay apart, charts of all runs, forks aligned, settings."""

import itertools
import json

import numpy as np
import pytest
from numpy.typing import NDArray
from test_charts import run

from app import comparison
from app.comparison import Compared, first_fork_step, fork_starts, run_looks, run_name
from app.comparison_config import changes_text, differences, label, live_changes, origins
from app.comparison_html import DASHES, MARKERS, config_table
from trainer.config import RunConfig
from trainer.run_log.rows import ScalarRow

# Machado, Oliveira and Fernandes (2009), severity 1: linear RGB as each kind of eye sees it.
EYES = {
    "usual": np.eye(3),
    "protanope": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                           [-0.003882, -0.048116, 1.051998]]),
    "deuteranope": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                             [-0.011820, 0.042940, 0.968881]]),
    "tritanope": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                           [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(color: str, eye: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB of '#RRGGBB' (D65) in those eyes."""
    srgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = XYZ @ np.clip(eye @ linear, 0, 1) / XYZ.sum(axis=1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_the_distance_of_colours_is_computed_right() -> None:
    assert lab("#FFFFFF", EYES["usual"]) == pytest.approx([100, 0, 0], abs=0.01)
    assert lab("#FF0000", EYES["usual"]) == pytest.approx([53.2, 80.1, 67.2], abs=0.1)


@pytest.mark.parametrize("ground", ["light", "dark"])
@pytest.mark.parametrize("eye", EYES)
def test_colour_blind_eyes_keep_eight_runs_apart(ground: str, eye: str) -> None:
    seen = [lab(getattr(look.color, ground), EYES[eye]) for look in comparison.RUN_LOOKS]
    least = min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))
    assert least > 15  # about 2.3 can just be told apart side by side


def test_runs_differ_in_dash_and_in_marker_too() -> None:
    assert len(comparison.RUN_LOOKS) == comparison.MOST_RUNS == 8
    assert len({look.dash for look in comparison.RUN_LOOKS}) == 8
    assert len({look.symbol for look in comparison.RUN_LOOKS}) == 8
    assert {look.symbol for look in comparison.RUN_LOOKS} == set(MARKERS)
    assert all(look.dash in DASHES or "px" in look.dash for look in comparison.RUN_LOOKS)


def test_a_run_keeps_its_look_when_another_comes_or_goes() -> None:
    both, alone = run_looks([3, 5]), run_looks([5])
    assert both[5] == alone[5] == comparison.RUN_LOOKS[4]
    assert len(set(run_looks([1, 9, 17, 2, 25, 33, 8, 16]).values())) == 8


def test_names_in_legends_are_short_and_on_one_line() -> None:
    assert run_name(3, "demo") == "3 · demo"
    assert run_name(12, "a\nvery long name of a run indeed") == "12 · a very long name of a…"


def test_charts_grow_with_their_legend() -> None:
    heights = [comparison.height(240, lines) for lines in range(1, 9)]
    assert heights == [240, 240, 260, 260, 280, 280, 300, 300]


def compared() -> list[Compared]:
    looks = run_looks([1, 4])
    return [Compared(1, "1 · a", looks[1], {"tiger": 0, "owl": 1}),
            Compared(4, "4 · b", looks[4], {"owl": 7})]  # fmt: skip


def test_a_scalar_has_one_line_a_run_in_its_unit() -> None:
    chart = comparison.scalar_chart("segm/AP_r", compared())
    assert [(line.run, line.want, line.series) for line in chart.lines] == [
        (1, "scalars:segm/AP_r", "segm/AP_r"), (4, "scalars:segm/AP_r", "segm/AP_r")]  # fmt: skip
    assert (chart.title, chart.panels[0].title) == ("AP_r of masks", "percent")
    assert chart.caption.endswith("rare classes, one line a run.")
    assert comparison.scalar_chart("loss/mask", compared()).lines[0].smooth
    assert comparison.scalar_chart("knob/alpha", compared()).lines[0].steps
    assert comparison.scalar_chart("system/cpu_percent", compared()).panels[0].title == "%"
    json.dumps(chart.to_dict())


def test_a_class_field_has_a_chart_a_group_or_a_chosen_class() -> None:
    charts = comparison.group_charts("weight_norm", compared())
    assert [chart.title for chart in charts] == [
        "Weight norm: rare classes",
        "Weight norm: common classes",
        "Weight norm: frequent classes",
    ]
    assert [[line.column for line in chart.lines] for chart in charts] == [[0, 0], [1, 1], [2, 2]]
    tiger, owl = comparison.chosen_class_charts("score", ["tiger", "owl"], compared())
    assert [(line.run, line.want) for line in tiger.lines] == [(1, "classes:score:0")]
    assert [(line.run, line.want) for line in owl.lines] == [
        (1, "classes:score:1"),
        (4, "classes:score:7"),
    ]  # by name: indices differ
    keys = [chart.key for chart in [*charts, tiger, owl]]
    assert len(set(keys)) == 5
    assert all(chart.caption.endswith(".") and "{" not in chart.caption for chart in charts)
    assert comparison.group_charts("bias", compared())[0].title == "Bias: rare classes"


PARENT = run(id=1, started=1000.0)
FORK = run(id=2, started=5000.0, parent_run=1, parent_step=30, parent_epoch=3)
LATER = run(id=3, started=9000.0, parent_run=1, parent_step=60, parent_epoch=6)
RESTART = run(id=4, started=7000.0, parent_run=1)
PASSED = [(10, 1010.0), (20, 1020.0), (40, 1060.0), (80, 1100.0)]


def test_runs_are_aligned_where_the_first_fork_left() -> None:
    runs = [PARENT, FORK, LATER, RESTART]
    assert first_fork_step(PARENT, runs) == 30
    # Step 30 is half way between step 20 (at 1020) and step 40 (at 1060).
    assert fork_starts(PARENT, runs, forked=None, passed=PASSED) == [1040.0]
    # What a fork took over counts from when its parent was there, its own from the fork on.
    taken_over = [(20, 1020.0), (30, 1040.0), (31, 5006.0)]
    assert fork_starts(FORK, runs, forked=5003.0, passed=taken_over) == [1040.0, 5003.0]
    assert fork_starts(LATER, runs, forked=None, passed=[]) == [9000.0]
    assert fork_starts(RESTART, runs, forked=None, passed=[(1, 7004.0)]) == [7004.0]


def test_a_parent_without_its_forks_begins_at_its_start() -> None:
    assert fork_starts(PARENT, [PARENT, RESTART], forked=None, passed=PASSED) == [1010.0]
    assert fork_starts(PARENT, [PARENT, FORK], forked=None, passed=PASSED[2:]) == [1060.0]
    queued = run(id=5, started=None, created=123.0)
    assert fork_starts(queued, [queued], forked=None, passed=[]) == [123.0]


def test_only_settings_that_differ_are_shown_in_the_order_of_the_configuration() -> None:
    plain = RunConfig().model_dump(mode="json")
    other = plain | {"fasa": False, "epochs": 24, "milestones": [16, 22], "test_images": "a/b"}
    found = differences([plain, other])
    assert [(d.knob, d.values) for d in found] == [
        ("epochs", ("12", "24")),
        ("test_images", ("not set", "a/b")),
        ("milestones", ("8, 11", "16, 22")),
        ("fasa", ("on", "off")),
    ]
    assert (found[0].unit, found[0].meaning) == ("epochs", "passes over the training set")
    assert differences([plain, dict(plain)]) == []


def test_settings_of_fasa_do_not_count_for_a_run_without_it() -> None:
    baseline, plain = {"fasa": False, "alpha": 1.1}, {"fasa": True, "alpha": 1.3}
    assert [d.knob for d in differences([baseline, plain])] == ["fasa"]
    other = {"fasa": True, "alpha": 1.5}
    assert [d.values for d in differences([baseline, plain, other])] == [
        ("off", "on", "on"), ("–", "1.3", "1.5")]  # fmt: skip


def test_a_setting_that_one_run_does_not_know_is_a_dash() -> None:
    [found] = differences([{"new_knob": {"a": 1}, "epochs": 1}, {"epochs": 1}])
    assert (found.knob, found.values, found.meaning) == ("new_knob", ('{"a": 1}', "–"), "")


def test_knobs_turned_while_training_are_told_with_their_steps() -> None:
    rows = [ScalarRow(i, name, step, 0, 0.0, value) for i, (name, step, value) in enumerate([
        ("knob/alpha", 0, 1.1), ("knob/m", 0, 0.1), ("knob/alpha", 66, 1.1),
        ("knob/alpha", 412, 1.3), ("loss/total", 500, 2.0)])]  # fmt: skip
    changes = live_changes(rows)
    assert changes == {"alpha": [(0, 1.1), (412, 1.3)]}
    [found] = differences([{"alpha": 1.1, "m": 0.1}, {"alpha": 1.1, "m": 0.1}], [{}, changes])
    assert found.values == ("1.1", "1.1 → 1.3 (step 412)")
    many = [(step, float(step)) for step in range(0, 6000, 1000)]
    assert changes_text(many) == "0 → … → 5000 (5 changes, the last at step 5,000)"


def test_forks_and_restarts_say_where_they_came_from() -> None:
    [row] = origins([PARENT, FORK, RESTART])
    assert row.values == ("–", "fork of run 1 after epoch 3", "restart of run 1")
    assert origins([PARENT]) == []


def test_a_symbol_goes_with_the_name_a_form_has() -> None:
    assert label("alpha") == "α (alpha)"
    assert label("epochs") == "epochs"
    assert label("batch_size") == "batch size"


def test_settings_are_text_in_html() -> None:
    found = differences([{"images": "<img src=x>"}, {"images": "b"}])
    table = config_table(found, [("<b>1", run_looks([1])[1]), ("2", run_looks([2])[2])], "s",
                         dark=True)  # fmt: skip
    assert "&lt;img src=x&gt;" in table
    assert "&lt;b&gt;1" in table
    assert "<img src=x" not in table
