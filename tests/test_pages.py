"""The pages with Streamlit's AppTest: what each says for every state of a run and of the log."""

import json
from pathlib import Path

import pytest
from browser.synthetic_log import SyntheticRun
from open_pages import mounted, open_page
from streamlit.testing.v1 import AppTest

from trainer.run_log.schema import FILE_NAME


def parts(page: AppTest) -> list[str]:
    return [data["spec"].get("key") or data["kind"] for data in mounted(page)]


FULL = ["header", "diagnosis", "steering", "probability", "losses", "probability_bands",
        "average_precision", "heat_map", "pinned", "classes", "super_groups", "group_scores",
        "processor", "speed", "knobs", "events"]  # fmt: skip
PINNED, CLASSES = FULL.index("pinned"), FULL.index("classes")


def test_runs_page_without_a_log_has_a_clear_sentence(runs: Path) -> None:
    [listing] = mounted(open_page("main.py"))
    assert listing["kind"] == "run_list"
    assert listing["spec"]["empty"]["title"] == "No runs yet"
    assert listing["spec"]["empty"]["button"] == "Start the demo"
    assert listing["spec"]["empty"]["commands"][0][0] == f"fasa up --runs {runs}"


def test_runs_page_lists_what_the_route_sends(runs: Path) -> None:
    SyntheticRun(runs)
    [listing] = mounted(open_page("pages/runs.py"))
    assert listing["run"] is None
    assert listing["assets"].startswith("/live/assets/")


@pytest.mark.parametrize("page", ["pages/runs.py", "pages/live.py"])
@pytest.mark.parametrize("content", [b"nothing of ours " * 200, b"SQLite format 3\0" + b"\1" * 900])
def test_a_file_that_is_no_run_log_is_said_in_a_sentence(
    page: str, content: bytes, runs: Path
) -> None:
    (runs / FILE_NAME).write_bytes(content)
    shown = open_page(page)
    assert shown.markdown[0].value == "**This run log cannot be read**"
    assert str(runs) in shown.text[0].value
    assert not mounted(shown)


def test_live_page_without_runs_says_how_to_start_one(runs: Path) -> None:
    [listing] = mounted(open_page("pages/live.py"))
    assert (listing["kind"], listing["spec"]["empty"]["title"]) == ("run_list", "No runs yet")


def test_live_page_of_an_unknown_run_says_so(runs: Path) -> None:
    SyntheticRun(runs)
    page = open_page("pages/live.py", run="<b>7</b>")
    assert page.markdown[0].value == "**No such run**"
    assert "There is no run '<b>7</b>' here" in page.text[0].value  # as text, not as markup


def test_live_page_of_a_queued_run_waits_for_its_classes(runs: Path) -> None:
    SyntheticRun(runs)
    page = open_page("pages/live.py")
    assert parts(page) == FULL
    assert page.multiselect[0].disabled
    assert {data["run"] for data in mounted(page)} == {1}
    assert mounted(page)[PINNED]["spec"]["lines"] == []


def test_live_page_of_a_run_has_all_charts_and_pins_the_middle_classes(runs: Path) -> None:
    run = SyntheticRun(runs, classes=60)
    run.start()
    page = open_page("pages/live.py", run="1")
    assert parts(page) == FULL
    pinned = mounted(page)[PINNED]["spec"]
    assert [line["name"] for line in pinned["lines"]] == page.multiselect[0].value
    assert len(pinned["lines"]) == 3
    assert mounted(page)[CLASSES]["view"]["pins"] == [
        run.names().index(name) for name in page.multiselect[0].value
    ]


def test_pins_field_and_axes_come_from_the_address_and_go_there(runs: Path) -> None:
    run = SyntheticRun(runs, classes=60)
    run.start()
    page = open_page("pages/live.py", run="1", pin=["tiger", "owl"], field="score", x="step")
    spec = mounted(page)[PINNED]["spec"]
    assert [line["name"] for line in spec["lines"]] == ["tiger", "owl"]
    names = run.names()
    wanted = f"classes:score:{names.index('tiger')},{names.index('owl')}"
    assert spec["lines"][0]["want"] == wanted
    assert {data["view"]["x"] for data in mounted(page) if data["kind"] == "chart"} == {"step"}
    page.multiselect[0].select("goat").run()
    assert page.query_params["pin"] == ["tiger", "owl", "goat"]


def test_unknown_names_in_the_address_are_left_out(runs: Path) -> None:
    SyntheticRun(runs, classes=60).start()
    page = open_page("pages/live.py", run="1", pin=["no such class", "owl"], field="nothing")
    assert [line["name"] for line in mounted(page)[PINNED]["spec"]["lines"]] == ["owl"]
    assert page.selectbox(key="field").value == "probability"


def test_no_pins_on_purpose_stay_none(runs: Path) -> None:
    SyntheticRun(runs, classes=60).start()
    page = open_page("pages/live.py", run="1")
    for name in list(page.multiselect[0].value):
        page.multiselect[0].unselect(name).run()
    assert page.query_params["pin"] == ""
    again = open_page("pages/live.py", run="1", pin=[""])
    assert again.multiselect[0].value == []
    assert "No class is pinned" in mounted(again)[PINNED]["spec"]["empty"]


def test_a_baseline_shows_no_empty_fasa_charts(runs: Path) -> None:
    SyntheticRun(runs, fasa=False).start()
    page = open_page("pages/live.py")
    missing = ("probability", "probability_bands", "super_groups")
    baseline = [part for part in FULL if part not in missing]
    assert parts(page) == baseline
    assert [knob["name"] for knob in mounted(page)[2]["spec"]["knobs"]] == ["learning_rate_factor"]
    assert page.selectbox(key="field").value == "training_loss"


def test_without_a_choice_the_newest_training_run_is_shown(runs: Path) -> None:
    SyntheticRun(runs, name="training").start()
    SyntheticRun(runs, name="queued after it")
    page = open_page("pages/live.py")
    assert page.query_params["run"] == "1"
    assert mounted(page)[0]["run"] == 1


def test_1203_classes_are_not_shipped_with_the_page(runs: Path) -> None:
    SyntheticRun(runs, classes=1203, epochs=1, steps_per_epoch=2).start()
    page = open_page("pages/live.py")
    assert len(page.multiselect[0].options) == 1203
    assert all(len(json.dumps(data)) < 6000 for data in mounted(page))
