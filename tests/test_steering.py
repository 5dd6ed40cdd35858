"""Commands from the page: bounds and words derived from RunConfig, refusals before any write."""

from pathlib import Path
from typing import Any

import pytest
from browser.synthetic_log import SyntheticRun
from hypothesis import given
from hypothesis import strategies as st

from app.steering import (
    NOT_UNDERSTOOD,
    command_text,
    knobs_of,
    obey,
    steering_spec,
)
from trainer.config import live_knobs
from trainer.run_log.commands import set_status
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Command, Run


def started(runs: Path, **options: Any) -> tuple[SyntheticRun, Run]:
    synthetic = SyntheticRun(runs, classes=4, **options)
    synthetic.start()
    return synthetic, RunLogReader(synthetic.path).run(synthetic.id)


def commands(path: Path) -> list[Command]:
    return RunLogReader(path).commands(1)


def test_knobs_are_those_of_the_configuration_in_the_papers_symbols() -> None:
    shown = knobs_of(fasa=True)
    assert {knob.name for knob in shown} == set(live_knobs())
    assert [knob.label for knob in shown][:4] == ["α", "β", "m", "virtual loss"]
    assert shown[0].allowed == "1 to 10"
    assert shown[1].allowed == "above 0, at most 1"
    assert shown[0].meaning == live_knobs()["alpha"].description
    assert [knob.name for knob in knobs_of(fasa=False)] == ["learning_rate_factor"]


def test_a_baseline_has_no_knob_of_fasa(tmp_path: Path) -> None:
    _, run = started(tmp_path, fasa=False)
    assert [knob["name"] for knob in steering_spec(run)["knobs"]] == ["learning_rate_factor"]


def test_a_command_is_written_as_it_was_asked(tmp_path: Path) -> None:
    synthetic, run = started(tmp_path)
    asked = {"kind": "set", "values": {"alpha": " 1.30 ", "m": "0.2"}, "nonce": "1"}
    assert obey(synthetic.path, run, asked) == ""
    assert obey(synthetic.path, run, {"kind": "pause"}) == ""
    written = commands(synthetic.path)
    assert [(c.kind, c.payload) for c in written] == [("set", {"alpha": 1.3, "m": 0.2}),
                                                      ("pause", {})]  # fmt: skip
    assert all(c.answered is None for c in written)  # only the trainer answers


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"alpha": "12"}, "alpha is 12.0, but input should be less than or equal to 10"),
        ({"alpha": "0.5"}, "alpha is 0.5"),
        ({"m": "0"}, "m is 0.0"),
        ({"beta": "nan"}, "beta is nan"),
        ({"beta": "inf"}, "beta is inf"),
        ({"alpha": "1,3"}, "alpha is '1,3'"),
        ({"alpha": ""}, "alpha is ''"),
        ({"alpha": {"x": 1}}, "alpha is "),
        ({"epochs": "3"}, "'epochs' cannot be changed"),
        ({"alpha": "1.2", "<b>": "3"}, "'<b>' cannot be changed"),
        ({}, "cannot be changed"),
    ],
)
def test_what_breaks_a_rule_is_refused_before_it_is_written(
    values: dict[str, Any], said: str, tmp_path: Path
) -> None:
    synthetic, run = started(tmp_path)
    sentence = obey(synthetic.path, run, {"kind": "set", "values": values})
    assert said in sentence
    assert "\n" not in sentence
    assert commands(synthetic.path) == []


def test_a_baseline_refuses_a_knob_of_fasa(tmp_path: Path) -> None:
    synthetic, run = started(tmp_path, fasa=False)
    sentence = obey(synthetic.path, run, {"kind": "set", "values": {"alpha": "1.2"}})
    assert "'alpha' cannot be changed while this run trains" in sentence
    assert commands(synthetic.path) == []


@pytest.mark.parametrize(
    "asked",
    [None, 3, "stop", [], {}, {"kind": "drop table"}, {"kind": ["stop"]}, {"kind": {"a": 1}},
     {"kind": "set"}, {"kind": "set", "values": "alpha"}, {"kind": "set", "values": [1]}],
)  # fmt: skip
def test_what_no_page_of_ours_sends_is_refused(asked: Any, tmp_path: Path) -> None:
    synthetic, run = started(tmp_path)
    assert obey(synthetic.path, run, asked) == NOT_UNDERSTOOD
    assert commands(synthetic.path) == []


def test_a_run_that_ended_meanwhile_and_one_that_is_gone_say_so(tmp_path: Path) -> None:
    synthetic, run = started(tmp_path)
    set_status(synthetic.path, run.id, "finished")
    assert "Run 1 is finished" in obey(synthetic.path, run, {"kind": "pause"})
    for path in tmp_path.iterdir():
        path.unlink()
    SyntheticRun(tmp_path, name="another file", classes=4)
    gone = obey(synthetic.path, Run(**{**vars(run), "id": 7}), {"kind": "pause"})
    assert "There is no run 7" in gone


def test_commands_in_words() -> None:
    assert command_text("set", {"alpha": 1.3, "m": 0.2}) == "α = 1.3, m = 0.2"
    assert command_text("set", {"learning_rate_factor": 0.5, "command": 4}) == "learning rate × 0.5"
    assert command_text("set", {"alpha": "<img src=x>", "unknown": 3}) == "set"
    assert command_text("snapshot_features", {}) == "snapshot features"


@given(st.dictionaries(st.text(max_size=8), st.none() | st.floats() | st.text(max_size=8)))
def test_no_payload_is_too_strange_for_words(payload: dict[str, Any]) -> None:
    assert command_text("set", payload)
