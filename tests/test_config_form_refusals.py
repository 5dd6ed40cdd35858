"""What the form refuses: values out of bounds, paths outside, markup in what a run holds."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opened_form import DEFAULTS, KNOBS, changes, edited, find, open_form, rerun, texts, widget

from app.config_checks import DATA_VARIABLE, problems_of, shown
from app.source import RUNS_VARIABLE
from trainer.config import RunConfig
from trainer.data_paths import path_knobs

HOSTILE = "<img src=x onerror=alert(1)> **bold** :red[red] $x^2$ [a](javascript:b) `c` \u202e"


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data that the form may name, and an empty runs folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv(DATA_VARIABLE, str(folder))
    monkeypatch.setenv(RUNS_VARIABLE, str(tmp_path / "runs"))
    return folder


# Bounds


def beyond_bounds() -> Iterator[tuple[str, float]]:
    for name, field in RunConfig.model_fields.items():
        for rule in field.metadata:
            least = 1 if isinstance(DEFAULTS[name], int) else 1e-6
            for attribute, move in (("ge", -least), ("gt", 0), ("le", least), ("lt", 0)):
                if hasattr(rule, attribute):
                    yield name, getattr(rule, attribute) + move


@pytest.mark.parametrize(("name", "value"), list(beyond_bounds()))
def test_a_value_out_of_bounds_is_refused_in_a_sentence(name: str, value: float) -> None:
    problem = problems_of(DEFAULTS | {name: value}, given=DEFAULTS)[name]
    assert problem.startswith(f"{name} is ")
    assert " but input should be " in problem


def test_bounds_are_said_in_words() -> None:
    assert KNOBS["alpha"].bounds == "1 to 10"
    assert KNOBS["m"].bounds == "above 0, at most 1"
    assert KNOBS["momentum"].bounds == "at least 0, below 1"
    assert KNOBS["learning_rate"].bounds == "above 0"
    assert KNOBS["device"].bounds == ""


def test_a_value_out_of_bounds_reaches_the_check() -> None:
    """A browser that keeps it to itself would start the run with the last good value."""
    page = open_form()
    widget(page, "alpha").set_value(99.0)
    assert changes(rerun(page)) == {"alpha": 99.0}
    assert problems_of(edited(page), given=DEFAULTS)["alpha"].startswith("alpha is 99.0, but ")


@pytest.mark.parametrize(
    ("name", "content", "value"),
    [
        ("milestones", "8, x", [8, "x"]),
        ("milestones", "9" * 5000, ["9" * 5000]),
        ("anchor_sizes", "16 32", ["16 32"]),
        ("epochs", None, None),
        ("alpha", None, None),
        ("anchor_sizes", "", []),
    ],
)
def test_what_is_no_value_is_refused_not_guessed(name: str, content: Any, value: Any) -> None:
    page = open_form()
    widget(page, name).set_value(content)
    assert changes(rerun(page)) == {name: value}
    assert problems_of(edited(page), given=DEFAULTS)[name].startswith(name)
    assert len(max(texts(page), key=len)) < 200


# Text that may hold anything


def test_hostile_text_is_shown_as_text() -> None:
    page = open_form({"backbone_weights": HOSTILE})
    assert widget(page, "backbone_weights").value == HOSTILE
    widget(page, "backbone_weights").set_value(f"{HOSTILE} more")
    find(rerun(page), HOSTILE)
    said = [element.value for element in (*page.markdown, *page.caption)]
    labels = [element.label for element in (*page.button, *page.text_input, *page.expander)]
    assert not [text for text in (*said, *labels) if "onerror" in text or "bold" in text]
    assert "onerror=alert(1)" in texts(page)[0]
    assert "onerror=alert(1)" in texts(page)[1]


def test_meanings_escape_what_markup_would_take() -> None:
    for caption in open_form().caption:
        bare = re.sub(r"\\[:_\[\]]", "", caption.value)
        assert not set(":_[]*`$<>~") & set(bare.removesuffix("Nothing is changed yet."))


def test_a_long_value_is_cut_in_the_middle_and_takes_one_line() -> None:
    assert shown("a\nb\r\nc") == "a b c"
    assert shown("a" * 9000 + "b" * 9000) == "a" * 59 + "…" + "b" * 60
    assert (shown(None), shown(True), shown([8, 11]), shown(1e-4)) == (
        "none",
        "on",
        "8, 11",
        "0.0001",
    )


# Paths


def outside(data: Path) -> dict[str, str]:
    secret = data.parent / "secret"
    secret.mkdir()
    (secret / "a.json").write_text("{}")
    (data / "link").symlink_to(secret)
    (data / "circle").symlink_to(data / "circle")
    return {
        "absolute": str(secret / "a.json"),
        "dots": str(data / ".." / "secret" / "a.json"),
        "link": str(data / "link" / "a.json"),
        "relative": "../../../../etc/passwd",
        "like the folder": f"{data}-more/a.json",
        "NUL": f"{data}/a\0.json",
        "long": f"{data}/{'x' * 10_000}",
        "home": "~/a.json",
        "address": "http://example.org/a.json",
        "shell": "$(touch x); `touch y`",
    }


KINDS_OUTSIDE = [
    "absolute", "dots", "link", "relative", "like the folder", "NUL", "long", "home", "address",
    "shell",
]  # fmt: skip


@pytest.mark.parametrize("name", ["annotations", "test_images", "backbone_weights"])
@pytest.mark.parametrize("kind", KINDS_OUTSIDE)
def test_a_path_outside_the_data_folders_is_refused(kind: str, name: str, data: Path) -> None:
    text = outside(data)[kind]
    given = DEFAULTS | {
        "images": str(data), "annotations": str(data / "a.json"),
        "test_annotations": str(data / "a.json"), "test_images": str(data),
    }  # fmt: skip
    before = sorted(data.parent.rglob("*"))
    page = open_form(given)
    widget(page, name).set_value(text)
    assert changes(rerun(page)) == {name: text}
    problem = problems_of(edited(page), given=given)[name]
    assert problem.startswith(f"{name} is '")
    assert "not inside" in problem or (kind == "long" and "nothing is there" in problem)
    assert len(problem) < 600
    assert sorted(data.parent.rglob("*")) == before


def test_paths_inside_are_taken_and_those_of_the_parent_stay(data: Path, tmp_path: Path) -> None:
    (data / "inside").symlink_to(data)
    images = tmp_path / "runs" / "datasets" / "own"
    images.mkdir(parents=True)
    inside = {"annotations": f"{data}/inside/a b.json", "images": str(images)}
    problems = problems_of(DEFAULTS | inside, given=DEFAULTS)
    assert problems["annotations"] == (
        f"annotations is '{inside['annotations']}', but nothing is there: check its spelling, or "
        "put the data there"
    )
    (data / "a b.json").touch()
    assert problems_of(DEFAULTS | inside, given=DEFAULTS) == {}
    parent = DEFAULTS | {"annotations": "/elsewhere/a.json", "images": "/elsewhere"}
    assert problems_of(parent | {"alpha": 1.3}, given=parent) == {}  # queued by a command
    problems = problems_of(parent | {"images": "/elsewhere/else"}, given=parent)
    assert problems["images"].startswith("images is '/elsewhere/else'")


def test_without_a_data_folder_only_our_own_data_sets_are_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(DATA_VARIABLE)
    own = tmp_path / "runs" / "datasets"
    own.mkdir(parents=True)
    named = {"annotations": str(own), "images": str(tmp_path)}
    assert problems_of(DEFAULTS | named, given=DEFAULTS)["images"].startswith("images is ")
    monkeypatch.setenv(DATA_VARIABLE, os.pathsep.join([f"{tmp_path}/none", str(tmp_path)]))
    assert problems_of(DEFAULTS | named, given=DEFAULTS) == {}


def test_path_knobs_are_cleared_by_an_empty_text(data: Path) -> None:
    paths = {name: str(data) for name in path_knobs() if name != "backbone_weights"}
    page = open_form(paths)
    for name in paths:
        widget(page, name).set_value("  ")
    assert edited(rerun(page)) == DEFAULTS
