import dataclasses

import pytest

from data.categories import Category, as_frequency, frequency_from_image_count, is_frequency


@pytest.mark.parametrize(
    ("image_count", "letter"),
    [(0, "r"), (1, "r"), (10, "r"), (11, "c"), (100, "c"), (101, "f"), (100_000, "f")],
)
def test_letters_change_after_10_and_after_100_images(image_count: int, letter: str) -> None:
    assert frequency_from_image_count(image_count) == letter


def test_a_negative_count_is_refused_with_its_value() -> None:
    with pytest.raises(ValueError, match=r"got -1: count"):
        frequency_from_image_count(-1)


@pytest.mark.parametrize("letter", ["", "rare", "R", "rc", None, 3])
def test_only_the_three_letters_are_frequencies(letter: object) -> None:
    assert not is_frequency(letter)
    with pytest.raises(ValueError, match="one of these three"):
        as_frequency(letter)  # type: ignore[arg-type]


def test_a_category_can_not_be_changed() -> None:
    category = Category(0, 1, "tiger", "r", 3, 4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        category.name = "lion"  # type: ignore[misc]


def test_letters_agree_with_lvis_own_table(shared_data) -> None:
    """The official v1 table: letter and train image count of all 1,203 classes."""
    import json

    table = json.loads((shared_data / "lvis_v1_categories.json").read_text())
    assert len(table) == 1203
    for category in table:
        assert frequency_from_image_count(category["image_count"]) == category["frequency"]
