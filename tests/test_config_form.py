"""The form for a configuration, with Streamlit's AppTest: every knob, its edits, its refusals."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opened_form import (
    DEFAULTS,
    KNOBS,
    WIDGETS,
    changes,
    edited,
    find,
    open_form,
    rerun,
    texts,
    widget,
)
from streamlit.testing.v1 import AppTest

from app.config_checks import DATA_VARIABLE, command_line, problems_of
from app.source import RUNS_VARIABLE
from trainer.config import RunConfig, fork_knobs, load_config


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data that the form may name, and an empty runs folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv(DATA_VARIABLE, str(folder))
    monkeypatch.setenv(RUNS_VARIABLE, str(tmp_path / "runs"))
    return folder


# Every field


@pytest.fixture(scope="module")
def unedited() -> Iterator[AppTest]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "__main__", sys.modules["__main__"])
        yield open_form()


@pytest.mark.parametrize("name", RunConfig.model_fields)
def test_every_field_has_a_widget_of_its_kind(name: str, unedited: AppTest) -> None:
    found = widget(unedited, name)
    kind = {bool: "toggle", int: "number_input", float: "number_input", str: "selectbox"}.get(
        type(DEFAULTS[name]), "text_input"
    )
    if name == "backbone_weights":
        kind = "text_input"  # words or a path
    assert found.type == kind
    assert found.label == name
    assert not found.disabled


def test_every_field_says_what_it_means(unedited: AppTest) -> None:
    said = [caption.value.replace("\\", "") for caption in unedited.caption]
    for field in RunConfig.model_fields.values():
        assert [text for text in said if text.startswith(str(field.description))]
    assert "shorter side of the input · in px, at least 1" in said
    assert "factor on p_c when the super-group's loss fell · 1 to 10" in said
    assert "where to train; auto takes a GPU when there is one" in said


def test_an_unedited_form_returns_exactly_the_values(unedited: AppTest) -> None:
    assert edited(unedited) == DEFAULTS
    assert all(type(value) is type(DEFAULTS[name]) for name, value in edited(unedited).items())
    assert "Nothing is changed yet." in [caption.value for caption in unedited.caption]


def test_groups_are_expanders_and_fasa_is_open(unedited: AppTest) -> None:
    assert {group.label: group.proto.expanded for group in unedited.expander} == {
        name: name == "FASA" for name in dict.fromkeys(knob.group for knob in KNOBS.values())
    }


# Other values


def other(name: str, data: Path) -> Any:
    """A value that differs from the default and keeps every rule."""
    value, knob = DEFAULTS[name], KNOBS[name]
    if isinstance(value, bool):
        return not value
    if knob.choices:
        return next((choice for choice in knob.choices if choice != value), value)
    if isinstance(value, float):
        return 0.25 if load_or_none({name: 0.25}) and value != 0.25 else value + 0.125
    if isinstance(value, int):
        return value + 1
    if isinstance(value, list):
        return [*value, 120]
    file = data / f"{name} ünd, more"
    file.touch()
    return str(file)


def load_or_none(values: dict[str, Any]) -> RunConfig | None:
    try:
        return load_config(DEFAULTS | values)
    except ValueError:
        return None


@pytest.fixture
def others(data: Path) -> dict[str, Any]:
    values = {name: other(name, data) for name in RunConfig.model_fields}
    assert load_config(values).model_dump(mode="json") == values
    same = [name for name in values if values[name] == DEFAULTS[name]]
    assert same == ["classification_loss"]  # it has one choice only
    return values


def test_other_values_are_shown_and_returned_exactly(others: dict[str, Any]) -> None:
    page = open_form(others)
    assert edited(page) == others
    assert changes(page) == {}


def test_every_knob_can_be_edited(others: dict[str, Any]) -> None:
    page = open_form()
    for name, value in others.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        widget(page, name).set_value(text)
    rerun(page)
    assert edited(page) == others
    assert len(texts(page)) == len(others) - 1
    assert problems_of(edited(page), given=DEFAULTS) == {}


@given(st.data())
def test_widgets_give_back_any_value_they_were_given(drawn: st.DataObject) -> None:
    name = drawn.draw(st.sampled_from(sorted(KNOBS)))
    knob = KNOBS[name]
    strategies: dict[type, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: st.integers(),
        float: st.floats(allow_nan=False, allow_infinity=False),
        list: st.lists(st.integers()),
        str: st.sampled_from(knob.choices) if knob.choices else st.text(min_size=1).map(str.strip),
    }
    value = drawn.draw(strategies.get(type(DEFAULTS[name]), st.none()))
    back = knob.from_widget(knob.to_widget(value))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("value", [2**53 - 1, 2**53, 2**63 - 1])
def test_a_number_too_large_for_a_browser_is_kept_to_the_last_digit(value: int) -> None:
    page = open_form({"seed": value})
    assert edited(page)["seed"] == value
    found = widget(page, "seed")
    assert found.type == ("number_input" if value < 2**53 else "text_input")
    found.set_value(value - 1 if value < 2**53 else str(value - 1))
    assert changes(rerun(page)) == {"seed": value - 1}


# Changes, and the way back


def test_changes_are_listed_marked_and_set_back() -> None:
    page = open_form()
    widget(page, "alpha").set_value(1.3)
    widget(page, "fasa").set_value(False)
    rerun(page)
    assert texts(page) == ["fasa  on → off", "alpha  1.1 → 1.3"]
    marked = [text.value for text in page.caption if ":primary-background[changed]" in text.value]
    assert [text.split("] ")[1][:10] for text in marked] == ["off\\: the ", "factor on "]
    assert "FASA · 2 changed" in [group.label for group in page.expander]
    page.button(key="form-back-alpha").click()
    rerun(page)
    assert texts(page) == ["fasa  on → off"]
    assert widget(page, "alpha").value == 1.1
    assert edited(page) == DEFAULTS | {"fasa": False}


def test_edits_survive_a_search_and_can_be_set_back_in_it() -> None:
    page = open_form()
    widget(page, "alpha").set_value(1.3)
    widget(page, "epochs").set_value(24)
    widget(page, "milestones").set_value("3, 4")
    find(page, "frequency of the evaluation nobody has")
    assert "No knob has" in texts(page)[-1]
    assert len(page.number_input) == 0
    page.button(key="form-back-epochs").click()
    find(rerun(page), "")
    assert changes(page) == {"alpha": 1.3, "milestones": [3, 4]}
    assert widget(page, "alpha").value == 1.3
    assert widget(page, "epochs").value == 12


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("alpha", {"alpha"}),
        ("LEARNING rate", {"learning_rate", "classifier_learning_rate", "learning_rate_factor"}),
        ("repeat_factor", {"train_sampler", "validation_sampler"}),
        ("affinity", {"clustering"}),
        ("px", {"image_min_size", "image_max_size", "anchor_sizes", "canonical_scale"}),
        ("validation", {"adapt_on", "evaluate_every", "holdout_annotations"}),
    ],
)
def test_a_search_finds_by_name_meaning_unit_group_and_choice(words: str, names: set[str]) -> None:
    page = find(open_form(), words)
    found = [element for kind in WIDGETS for element in page.get(kind)]
    keys = {element.key.removeprefix("form-knob-") for element in found} - {"form-find"}
    assert names <= keys
    assert len(keys) < 12
    assert len(page.expander) == 0


def test_unedited_knobs_follow_the_values_given_and_edited_ones_stay() -> None:
    page = open_form()
    widget(page, "alpha").set_value(1.3)
    rerun(page)
    page.session_state["given"] = DEFAULTS | {"alpha": 1.2, "m": 0.2}  # another checkpoint
    rerun(page)
    assert edited(page) == DEFAULTS | {"alpha": 1.3, "m": 0.2}
    assert widget(page, "m").value == 0.2
    assert texts(page) == ["alpha  1.2 → 1.3"]


def test_what_a_fork_may_not_change_is_greyed_out_with_the_reason() -> None:
    page = open_form(changeable=fork_knobs())
    assert not widget(page, "alpha").disabled
    seed = widget(page, "seed")
    assert seed.disabled
    assert seed.value == 0
    assert seed.help == (
        "This is fixed in a fork, because the parent's checkpoint rests on it: "
        "restart the run to change it."
    )
    disabled = {
        element.key.removeprefix("form-knob-")
        for kind in WIDGETS for element in page.get(kind) if element.disabled
    }  # fmt: skip
    assert disabled == set(RunConfig.model_fields) - set(fork_knobs())
    find(page, "optimizer")
    assert [box.disabled for box in page.selectbox] == sorted(
        box.disabled for box in page.selectbox
    )
    page.session_state["form-knob-seed"] = 7  # as if it came from elsewhere all the same
    assert changes(rerun(page)) == {}


# The command that does the same


def test_the_command_is_quoted_for_a_shell() -> None:
    changed = {
        "alpha": 1.3, "fasa": False, "trainable_layers": 3, "milestones": [8, 11],
        "test_images": None, "images": "/data/my photos; rm -rf ~", "name": "-x", "epochs": 24,
    }  # fmt: skip
    text = command_line(["fasa", "fork", "3", "--epoch", "6"], changed)
    assert text == (
        "fasa fork 3 --epoch 6 --alpha 1.3 --no-fasa --trainable-layers 3 --milestones 8,11 "
        "--test-images none --images '/data/my photos; rm -rf ~' --name=-x --epochs 24"
    )
    assert "/data/my photos; rm -rf ~" in shlex.split(text)
