"""The pages Compare and Classifier with Streamlit's AppTest: what the address says is shown."""

from pathlib import Path

import pytest
from browser.synthetic_log import SyntheticRun
from streamlit.testing.v1 import AppTest
from test_pages import mounted, open_page

from trainer.run_log.schema import FILE_NAME

COMPARE, CLASSIFIER = "pages/compare.py", "pages/classifier.py"


@pytest.fixture
def three(runs: Path) -> Path:
    """Run 1: a baseline, 2: FASA, both finished; 3: queued."""
    for name, fasa in (("base|line", False), ("FASA", True)):
        run = SyntheticRun(runs, name=name, epochs=2, steps_per_epoch=4, fasa=fasa, classes=9)
        run.start()
        run.finish()
    SyntheticRun(runs, name="queued")
    return runs


def titles(page: AppTest) -> list[str]:
    return [data["spec"]["title"] for data in mounted(page)]


def html(page: AppTest) -> str:
    return " ".join(element.proto.body for element in page.get("html"))


@pytest.mark.parametrize("page", [COMPARE, CLASSIFIER])
def test_without_a_run_the_list_says_how_to_start_one(page: str, runs: Path) -> None:
    [listing] = mounted(open_page(page))
    assert listing["kind"] == "run_list"


@pytest.mark.parametrize("page", [COMPARE, CLASSIFIER])
def test_a_file_that_is_no_run_log_is_said_in_a_sentence(page: str, runs: Path) -> None:
    (runs / FILE_NAME).write_bytes(b"SQLite format 3\0" + b"\1" * 900)
    shown = open_page(page)
    assert shown.markdown[0].value == "**This run log cannot be read**"
    assert not mounted(shown)


def test_two_runs_are_compared_by_results_configuration_and_curves(three: Path) -> None:
    page = open_page(COMPARE, run=["1", "2"])
    results, settings = html(page).split("Differences of configuration")
    assert "base|line" in results
    assert "FASA" in results
    assert "in parentheses the difference to base|line" in results
    assert "<td>off</td><td>on</td>" in settings
    assert titles(page) == [
        "AP of masks", "AP_r of masks", "Loss: total", "Hold-out loss", "Weight norm: rare classes",
        "Weight norm: common classes", "Weight norm: frequent classes"]  # fmt: skip
    lines = mounted(page)[0]["spec"]["lines"]
    assert [(line["run"], line["name"]) for line in lines] == [
        (1, "1 · base|line"),
        (2, "2 · FASA"),
    ]
    markdown, latex = (code.value for code in page.code)
    assert "| base\\|line | 2 | " in markdown
    assert r"\toprule" in latex


def test_all_choices_of_the_address_are_shown_and_kept(three: Path) -> None:
    choices = {
        "run": ["2", "1"], "measure": "bbox", "at": "best", "baseline": "2", "x": "fork",
        "show": ["score", "loss/mask"], "by": "classes", "class": ["tiger", "owl"], "y": "log",
        "smooth": "none",
    }  # fmt: skip
    page = open_page(COMPARE, **choices)
    assert titles(page) == ["Loss: mask", "Score on own objects: tiger",
                            "Score on own objects: owl"]  # fmt: skip
    view = mounted(page)[0]["view"]
    assert (view["x"], view["smoothing"], view["log"]) == ("fork", 0.0, "log")
    assert set(view["starts"]) == {"1", "2"}
    assert "Box AP in percent at the epoch with each run" in html(page)
    assert dict(page.query_params) == choices


def test_what_is_chosen_on_the_page_goes_to_the_address(three: Path) -> None:
    page = open_page(COMPARE)
    assert page.query_params["run"] == ["2", "3"]  # the newest two
    page.multiselect(key="runs").set_value([2, 1]).run()
    page.multiselect(key="show").unselect("loss/total").run()
    assert page.selectbox(key="baseline").value == "1"  # the one without FASA
    page.selectbox(key="baseline").set_value("2").run()
    assert not page.exception
    assert page.query_params["run"] == ["2", "1"]
    assert page.query_params["show"] == ["segm/AP", "segm/AP_r", "validation/loss", "weight_norm"]
    assert page.query_params["baseline"] == "2"
    page.multiselect(key="runs").set_value([1]).run()  # the baseline went away
    assert not page.exception
    assert "baseline" not in page.query_params
    assert "Choose at least two runs" in page.text[0].value


def test_unknown_and_too_many_runs_of_the_address_are_said(three: Path) -> None:
    page = open_page(COMPARE, run=["1", "<b>7</b>", "2"])
    assert "There is no run '<b>7</b>' here" in page.text[0].value
    assert page.multiselect(key="runs").value == [1, 2]
    for number in range(8):
        SyntheticRun(three, name=f"more {number}")
    page = open_page(COMPARE, run=[str(number) for number in range(1, 12)])
    assert "names 11 runs; the first 8" in page.text[0].value
    assert len(page.multiselect(key="runs").value) == 8


def test_a_queued_run_has_dashes_and_no_curves(three: Path) -> None:
    page = open_page(COMPARE, run=["3"])
    assert "–" in html(page)
    assert mounted(page) == []


def test_curves_that_nobody_chose_follow_the_runs(three: Path) -> None:
    page = open_page(COMPARE, run=["3"])
    page.multiselect(key="runs").set_value([1, 2]).run()
    assert titles(page)[0] == "AP of masks"
    assert "show" not in page.query_params


def test_1203_classes_are_not_shipped_with_the_charts(runs: Path) -> None:
    for _ in range(2):
        SyntheticRun(runs, classes=1203, epochs=1, steps_per_epoch=2).start()
    page = open_page(COMPARE, by="classes")
    assert len(page.multiselect(key="class").options) == 1203
    assert all(len(str(data)) < 6000 for data in mounted(page))


def test_classifier_figures_are_of_the_moments_in_the_address(three: Path) -> None:
    page = open_page(CLASSIFIER, run="2", epoch="1", **{"with": "1", "with_epoch": "start"})
    figures = [data["spec"] for data in mounted(page) if data["kind"] == "figure"]
    assert [figure["name"] for figure in figures] == ["weight_norms", "scores", "biases"]
    wanted = {"epoch": "1", "with": "1", "with_epoch": "start"}
    assert all(figure["params"] == wanted for figure in figures)
    assert "Figure 4" in figures[0]["caption"]
    assert "Figure 1b" in figures[1]["caption"]
    assert "no biases" in figures[2]["empty"]
    assert {data["run"] for data in mounted(page)} == {2}


def test_classifier_choices_go_to_the_address_and_another_run_forgets_its_epochs(
    three: Path,
) -> None:
    page = open_page(CLASSIFIER, run="2", epoch="9", **{"with": "no run"})  # neither exists
    assert "epoch" not in page.query_params
    assert "with" not in page.query_params
    page.selectbox(key="epoch-2").set_value("2").run()
    page.selectbox(key="with").set_value("1").run()
    page.selectbox(key="with_epoch-1").set_value("start").run()
    assert not page.exception
    told = {key: page.query_params[key] for key in ("epoch", "with", "with_epoch")}
    assert told == {"epoch": "2", "with": "1", "with_epoch": "start"}
    page.selectbox(key="with").set_value("").run()
    assert "with_epoch" not in page.query_params
