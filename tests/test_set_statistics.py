"""Statistics of a set: equal to counts by hand, to repeat-factor sampling, and to LVIS's own."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.repeat_factor import repeat_factors
from data.set_statistics import GroupStatistics, Labels, set_statistics


def test_counts_by_hand() -> None:
    """Four images; class 0 in three of them, class 1 in one, class 2 as a crowd only."""
    labels = Labels(
        num_images=4,
        num_classes=3,
        images=np.array([0, 0, 1, 2, 2, 2]),
        classes=np.array([0, 0, 0, 0, 1, 2]),
        crowds=np.array([False] * 5 + [True]),
    )
    found = set_statistics(
        labels,
        {
            "all": np.array([True, True, True]),
            "f": np.array([True, False, False]),
            "r": np.array([False, True, True]),
            "none": np.array([False, False, False]),
        },
        threshold=1.0,
    )
    # r_0 = sqrt(1 / (3/4)) = 1.1547, r_1 = sqrt(1 / (1/4)) = 2, r_2 = 1 as no image shows it.
    # r_I: 1.1547, 1.1547, 2, 1.
    assert (found.images, found.unannotated) == (4, 1)
    assert found.epoch_ceil == 2 + 2 + 2 + 1
    assert found.epoch_stochastic == pytest.approx(2 * 1.1547005 + 2 + 1)
    assert found.groups["all"] == GroupStatistics(3, 1, 3, 5, 1, 2.5, 4, 1, 2, 2.0)
    assert found.groups["f"] == GroupStatistics(
        1, 0, 3, 4, 4, 4.0, 4, 0, 1, pytest.approx(1.1547005)
    )
    assert found.groups["r"] == GroupStatistics(2, 1, 1, 1, 1, 1.0, 1, 1, 1, 2.0)
    assert found.groups["none"] == GroupStatistics(0, 0, 0, 0, 0, 0.0, 0, 0, 0, 1.0)


@given(
    st.lists(st.lists(st.integers(0, 5), max_size=5), min_size=1, max_size=20),
    st.floats(0, 1, allow_subnormal=False),
)
def test_an_epoch_has_the_images_that_sampling_draws(
    objects: list[list[int]], threshold: float
) -> None:
    pairs = [(image, label) for image, labels in enumerate(objects) for label in labels]
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    labels = Labels(len(objects), 6, array[:, 0], array[:, 1], np.zeros(len(array), dtype=bool))
    found = set_statistics(labels, {"all": np.ones(6, dtype=bool)}, threshold=threshold)
    factors = repeat_factors(objects, 6, threshold)
    assert found.epoch_ceil == np.ceil(factors).sum()
    assert found.epoch_stochastic == pytest.approx(factors.sum())
    assert found.unannotated == sum(not labels for labels in objects)


def test_lvis_repeats_the_classes_that_are_known_to_be_repeated(shared_data: Path) -> None:
    """Of LVIS v1 train 798 classes with all 100,170 images, 796 with the 99,388 annotated ones.

    Every class is put into images of its own, as only the counts by class decide.
    """
    table = json.loads((shared_data / "lvis_v1_categories.json").read_text())
    counts = np.array([row["image_count"] for row in table])
    classes = np.repeat(np.arange(1203), counts)
    letters = np.array([row["frequency"] for row in table])
    for num_images, repeated in ((100_170, 798), (99_388, 796)):
        images, crowds = np.arange(len(classes)) % num_images, np.zeros(len(classes), dtype=bool)
        found = set_statistics(
            Labels(num_images, 1203, images, classes, crowds),
            {"all": letters != "", "r": letters == "r", "f": letters == "f"},
        )
        assert found.groups["all"].repeated == repeated
        largest = (1e-3 * num_images / 1) ** 0.5  # of a class in one image
        assert found.groups["all"].largest_factor == pytest.approx(largest)
        assert (found.groups["r"].classes, found.groups["f"].classes) == (337, 405)
        assert found.groups["r"].repeated == 337
