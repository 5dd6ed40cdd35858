"""The page of super-groups with AppTest: what it shows for every state of a run and of the log."""

from pathlib import Path
from typing import Any

from browser.adapted_log import AdaptedRun
from browser.synthetic_log import SyntheticRun
from streamlit.testing.v1 import AppTest
from test_pages import mounted, open_page

from trainer.run_log.schema import FILE_NAME

PAGE = "pages/super_groups.py"
STEPS = 4  # an epoch


def adapted(runs: Path, *, epochs: int, classes: int = 60, **values: Any) -> AdaptedRun:
    """A run that trains, with so many epochs adapted."""
    run = AdaptedRun(runs, classes=classes, epochs=5, steps_per_epoch=STEPS, **values)
    run.start()
    run.advance(epochs * STEPS + 1)
    assert run.writer
    assert run.writer.flush()
    return run


def figures(page: AppTest) -> dict[str, dict[str, Any]]:
    """The specifications of the page's figures by name."""
    return {one["spec"]["name"]: one["spec"] for one in mounted(page) if one["kind"] == "figure"}


def text(page: AppTest) -> str:
    return " ".join(element.value for element in page.text)


def test_a_run_has_its_figures_and_says_why(runs: Path) -> None:
    run = adapted(runs, epochs=3)
    page = open_page(PAGE, run="1")
    assert list(figures(page)) == ["groups_map", "groups_losses", "groups_flow", "groups_stability"]
    name = page.selectbox(key="groups-class-1").value
    assert figures(page)["groups_map"]["params"] == {
        "epoch": "newest", "class": str(run.names().index(name)), "area": "classes"}  # fmt: skip
    assert text(page).startswith("After epoch 3 (step 12) ")
    assert f"p of {name} " in text(page)
    assert page.dataframe[0].value["class"][0] == name
    assert "epoch" not in page.query_params


def test_the_address_says_epochs_and_class_and_choices_go_there(runs: Path) -> None:
    run = adapted(runs, epochs=3)
    page = open_page(PAGE, run="1", epoch="2", **{"from": "1", "class": "tiger"})
    tiger = str(run.names().index("tiger"))
    assert "After epoch 2 (step 8)" in text(page)
    assert "tiger" in text(page)
    flow = figures(page)["groups_flow"]["params"]
    assert flow == {"epoch": "2", "class": tiger, "from": "1"}
    page.selectbox(key="groups-epoch-1").set_value("1").run()
    page.selectbox(key="groups-class-1").set_value("owl").run()
    assert page.query_params["epoch"] == "1"
    assert page.query_params["class"] == "owl"
    assert "is only stored, to be compared with the next one" in text(page)


def test_an_unknown_epoch_or_class_in_the_address_is_passed_over(runs: Path) -> None:
    adapted(runs, epochs=1)
    page = open_page(PAGE, run="1", epoch="77", **{"class": "<b>no such</b>"})
    assert page.selectbox(key="groups-epoch-1").value == "newest"
    assert "After epoch 1 " in text(page)


def test_before_the_first_adaptation_it_says_so(runs: Path) -> None:
    adapted(runs, epochs=0)
    page = open_page(PAGE, run="1")
    assert "No epoch has been adapted yet" in text(page)
    assert "groups_map" in figures(page)


def test_a_queued_run_has_no_class_to_choose(runs: Path) -> None:
    SyntheticRun(runs)
    page = open_page(PAGE, run="1")
    assert "No epoch has been adapted yet" in text(page)
    assert len(page.selectbox) == 3  # run, epoch, compared epoch


def test_a_baseline_has_no_super_groups(runs: Path) -> None:
    adapted(runs, epochs=2, fasa=False)
    page = open_page(PAGE, run="1")
    assert page.markdown[0].value == "**A baseline has no super-groups**"
    assert "draws no virtual features" in text(page)
    assert not figures(page)


def test_1203_classes(runs: Path) -> None:
    adapted(runs, epochs=2, classes=1203)
    page = open_page(PAGE, run="1")
    assert len(page.selectbox(key="groups-class-1").options) == 1203
    assert "After epoch 2 " in text(page)


def test_a_damaged_log_is_said(runs: Path) -> None:
    (runs / FILE_NAME).write_bytes(b"SQLite format 3\0" + b"\1" * 900)
    page = open_page(PAGE)
    assert page.markdown[0].value == "**This run log cannot be read**"


def test_rows_of_classes_that_the_run_has_not_are_passed_over(runs: Path) -> None:
    run = adapted(runs, epochs=1)
    assert run.writer
    group = {"group": 0, "members": [0, 900], "noise_members": [900], "with_data": [900],
             "clamped": [901], "loss_before": 1.0, "loss_after": 2.0, "factor": 0.9,
             "reason": "rose"}  # fmt: skip
    report = {"eps": None, "num_groups": 1, "groups": [group]}
    run.writer.adaptation(report, step=STEPS * 2, epoch=1)
    assert run.writer.flush()
    page = open_page(PAGE, run="1", **{"class": run.names()[0]})
    assert "After epoch 2 (step 8) " in text(page)
    assert page.dataframe[0].value["class"].tolist() == [run.names()[0]]
