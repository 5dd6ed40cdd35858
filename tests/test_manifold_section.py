"""The section 'Is it on the manifold?' with Streamlit's AppTest, on runs in a real run log."""

import json
from pathlib import Path
from typing import Any

import pytest
from browser.synthetic_log import SyntheticRun
from streamlit.testing.v1 import AppTest
from test_measure_routes import measured_run

FIGURES = ["feature_neighbours", "feature_accuracy", "feature_frechet", "feature_negative",
           "feature_sizes"]  # fmt: skip


def section() -> None:
    from app.manifold_section import draw_manifold
    from app.pins import Pins
    from app.run_page import open_run_page

    page = open_run_page()
    if page is not None:
        draw_manifold(page.run, page.categories, Pins(page.run, page.categories).indices())


def opened(**query: Any) -> AppTest:
    page = AppTest.from_function(section, default_timeout=30)
    for key, value in query.items():
        page.query_params[key.replace("_", "-") if key.startswith("table") else key] = value
    page.run()
    assert not page.exception
    return page


def mounted(page: AppTest) -> list[dict[str, Any]]:
    return [json.loads(element.proto.json) for element in page.get("bidi_component")]


def names(page: AppTest) -> list[str]:
    return [data["spec"].get("name") or data["spec"]["key"] for data in mounted(page)]


def test_a_run_of_fasa_has_headline_figures_and_table(runs: Path) -> None:
    measured_run(runs, classes=60)
    page = opened()
    assert page.subheader[0].value == "Is it on the manifold?"
    assert page.text[0].value.startswith(
        "After epoch 1: virtual features of rare classes sit about"
    )
    assert "2 of 59 priors" in page.caption[-1].value
    assert names(page) == [*FIGURES, "measures"]
    assert all(data["spec"].get("follows", "feature") == "feature" for data in mounted(page))
    assert all("docs/feature_space.md" in data["spec"]["caption"] for data in mounted(page))
    assert mounted(page)[-1]["spec"]["reasons"] == "measures"


def test_a_baseline_has_what_there_is_of_real_features(runs: Path) -> None:
    measured_run(runs, classes=60, fasa=False)
    page = opened()
    assert "a baseline draws no virtual features" in page.text[0].value
    assert names(page) == [*FIGURES[:2], "measures"]


@pytest.mark.parametrize("started", [True, False])
def test_before_the_first_measures_it_says_when_they_come(runs: Path, started: bool) -> None:
    run = SyntheticRun(runs, classes=60)
    if started:
        run.start()
    page = opened()
    assert page.text[0].value.startswith("Nothing has been measured yet")
    assert names(page) == [*FIGURES, "measures"]


def test_pinned_classes_and_the_tables_arrangement_come_from_the_address(runs: Path) -> None:
    run = measured_run(runs, classes=60)
    page = opened(of="pins", pin=["owl", "tiger"], table_sort="-negative_share", table_find="a")
    wanted = ",".join(str(run.names().index(name)) for name in ("owl", "tiger"))
    shown = mounted(page)
    assert {data["spec"]["params"].get("pins") for data in shown[:4]} == {wanted}
    assert shown[-1]["view"]["arrangement"] == {
        "find": "a", "sort": "negative_share", "down": False, "groups": ["r", "c", "f"],
    }  # fmt: skip
    assert opened(of="pins", pin=[""]).text[1].value.startswith("No class is pinned")


def test_1203_classes_are_not_shipped_with_the_page(runs: Path) -> None:
    measured_run(runs, classes=1203)
    assert all(len(json.dumps(data)) < 6000 for data in mounted(opened()))
