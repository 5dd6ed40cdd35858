"""The page Detections' address, and back."""

from typing import Any

import pytest

from app.detection_view import DetectionView, read_choice, read_view

RUNS = {1, 3}


def read(**address: list[str]) -> DetectionView:
    return read_view(address, 1, RUNS)


def test_an_empty_address_is_the_newest_evaluation_of_the_run() -> None:
    assert read() == DetectionView(columns=((1, "newest"),))


def test_a_full_address() -> None:
    view = read(
        step=["120"], beside=["3:newest", "1:60"], show=["confusions"], true=["cat"],
        detected=["dog"], score=["0.55"], hide=["masks", "labels"], image=["1007"],
    )  # fmt: skip
    assert view == DetectionView(
        columns=((1, "120"), (3, "newest"), (1, "60")), show="confusions", pair=("cat", "dog"),
        score=0.55, hidden=("masks", "labels"), image=1007,
    )  # fmt: skip
    assert view.to_dict()["columns"][1] == {"run": 3, "step": "newest"}


@pytest.mark.parametrize(
    "address",
    [{"step": ["-1"]}, {"step": ["1e3"]}, {"beside": ["2:newest", "x", "3", ":5"][:1]},
     {"show": ["everything"]}, {"true": ["cat"], "detected": ["dog"]}, {"score": ["nan"]},
     {"score": ["7"]}, {"score": ["much"]}, {"hide": ["everything"]}, {"image": ["x"]}],
)  # fmt: skip
def test_what_cannot_be_read_is_left_out(address: dict[str, list[str]]) -> None:
    assert read(**address) == read()


def test_at_most_four_columns() -> None:
    assert len(read(beside=["1:1", "1:2", "3:3", "3:4", "3:5"]).columns) == 4


@pytest.mark.parametrize("sent", [None, 7, "text", [], {"run": ["2"], "step": 5}])
def test_a_choice_that_is_none_of_ours_changes_nothing(sent: Any) -> None:
    assert read_choice(sent) == {}


def test_a_choice_is_kept_as_text_within_bounds() -> None:
    sent = {"class": ["<b>" + "x" * 900, 5], "hide": [], "beside": ["1:1"] * 20}
    kept = read_choice(sent)
    assert [len(text) for text in kept["class"]] == [300]
    assert kept["hide"] == []
    assert len(kept["beside"]) == 8
