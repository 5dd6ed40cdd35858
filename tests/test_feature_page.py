"""The page Feature space: what it hands to its component, what it reads from the address."""

import json
from pathlib import Path
from typing import Any

import pytest
from browser.synthetic_log import SyntheticRun
from hypothesis import given
from hypothesis import strategies as st
from open_pages import mounted, open_page
from streamlit.testing.v1 import AppTest

from app.feature_space_look import pin_colors
from app.feature_space_view import KEYS, FeatureView, read_choice, read_view
from app.looks import pin_looks
from app.pins import MOST_PINS

PAGE = "pages/feature_space.py"


def space(page: AppTest) -> dict[str, Any]:
    """What the picture's component was given; it is the first one of the page."""
    first: dict[str, Any] = mounted(page)[0]
    return first


def test_the_component_shows_what_the_address_says(runs: Path) -> None:
    run = SyntheticRun(runs)
    run.start()
    SyntheticRun(runs, name="<i>other</i>", fasa=False)
    name = run.names()[7]
    page = open_page(
        PAGE, run="1", step="40", color="loss", method="pca", beside="2", pin=[name],
        hide="virtual", rest="shown", prior="group", at="1,-2.5,40", lasso="O0-3", find="cat",
    )  # fmt: skip
    given = space(page)
    assert (given["kind"], given["run"]) == ("feature_space", 1)
    pins = given["view"].pop("pins")
    assert [(pin["index"], pin["name"]) for pin in pins] == [(7, name)]
    assert given["view"] == {
        "step": 40, "color": "loss", "method": "pca", "beside": 2, "hidden": ["virtual"],
        "dims": False, "prior": "group", "find": "cat", "lasso": "O0-3", "at": [1, -2.5, 40],
    }  # fmt: skip
    labels = [one["label"] for one in given["spec"]["runs"]]
    assert labels == ["2 · <i>other</i> · queued", "1 · demo · running"]


def test_without_choices_it_follows_the_newest_snapshot_with_three_pins(runs: Path) -> None:
    SyntheticRun(runs, classes=1203).start()
    page = open_page(PAGE)
    given = space(page)
    view = given["view"]
    assert [view[name] for name in ("step", "method", "beside", "at")] == [None, "umap", None, None]
    assert len(view["pins"]) == 3  # the middle class of each frequency group, as on the live page
    assert len(json.dumps(given)) < 4000  # no class travels with the page
    assert "pin" not in page.query_params


def test_another_run_starts_at_its_own_newest_snapshot(runs: Path) -> None:
    for name in ("first", "second", "third"):
        SyntheticRun(runs, name=name).start()
    page = open_page(PAGE, run="1", step="40", beside="2", lasso="O1", at="0,0,1", color="split")
    page.selectbox(key="run-of-page-1").select(3).run()
    assert not page.exception
    view = space(page)["view"]
    assert (view["step"], view["beside"], view["lasso"], view["at"]) == (None, None, "", None)
    assert view["color"] == "split"


def test_without_runs_it_says_how_to_start_one(runs: Path) -> None:
    assert space(open_page(PAGE))["kind"] == "run_list"


def test_a_queued_run_has_no_classes_to_pin_yet(runs: Path) -> None:
    SyntheticRun(runs)
    assert space(open_page(PAGE, pin="tiger"))["view"]["pins"] == []


@pytest.mark.parametrize(
    ("address", "field", "value"),
    [
        ({"step": ["x"]}, "step", None),
        ({"step": ["-3"]}, "step", None),
        ({"color": ["red"]}, "color", "class"),
        ({"method": ["tsne"]}, "method", "umap"),
        ({"beside": ["1"]}, "beside", None),  # the page's own run
        ({"beside": ["9"]}, "beside", None),  # no such run
        ({"beside": ["2"]}, "beside", 2),
        ({"hide": ["virtual", "real"]}, "hidden", ("real",)),  # something stays to be seen
        ({"rest": ["dimmed"]}, "dims", True),
        ({"at": ["1,2"]}, "at", None),
        ({"at": ["1,nan,2"]}, "at", None),
        ({"at": ["0,0,0"]}, "at", None),
        ({"at": ["1e-3,2,3"]}, "at", (0.001, 2.0, 3.0)),
    ],
)
def test_what_cannot_be_read_is_left_out(address: Any, field: str, value: Any) -> None:
    assert getattr(read_view(address, 1, {1, 2}), field) == value


def test_an_empty_address_is_the_usual_view() -> None:
    assert read_view({}, 1, {1}) == FeatureView()


def test_only_texts_under_known_names_reach_the_address() -> None:
    sent = {"color": ["loss"], "pin": ["tiger"], "find": ["a" * 5000], "step": [3], "at": "no list"}
    assert read_choice(sent) == {"color": ["loss"], "find": ["a" * 2000], "step": []}
    assert read_choice("nothing of ours") == {}
    assert "pin" not in KEYS  # pins have a way of their own, app/pins.py


@given(st.lists(st.sampled_from(["r", "c", "f", "?"]), max_size=MOST_PINS))
def test_no_two_pins_wear_one_colour(letters: list[str]) -> None:
    colors = pin_colors(letters)
    assert len(set(colors)) == len(letters)
    assert len({color.dark for color in colors}) == len(letters)


def test_a_pin_wears_the_colour_of_its_curve_on_the_live_page() -> None:
    letters = ["r", "c", "r", "f", "r"]
    assert pin_colors(letters) == [look.color for look in pin_looks(letters)]
