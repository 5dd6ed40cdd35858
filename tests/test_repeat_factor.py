import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.repeat_factor import epoch_indices, repeat_factors, uniform_indices

# Ten images, t = 0.4. Class 0 is in all 10, class 1 in 2, class 2 in 1, class 3 in none.
# r_0 = max(1, sqrt(0.4 / 1)) = 1; r_1 = sqrt(0.4 / 0.2) = sqrt(2); r_2 = sqrt(0.4 / 0.1) = 2.
TEN_IMAGES = [[0, 1], [0, 1, 2]] + [[0]] * 8


def test_by_hand() -> None:
    factors = repeat_factors(TEN_IMAGES, 4, threshold=0.4)
    assert factors.dtype == np.float64
    assert factors.tolist() == pytest.approx([math.sqrt(2), 2.0] + [1.0] * 8, abs=1e-15)


def test_an_image_without_objects_counts_as_an_image_and_has_factor_1() -> None:
    # Class 0 is in 1 of 4 images: sqrt(1 / (1 / 4)) = 2.
    assert repeat_factors([[0], [], [], []], 1, threshold=1.0).tolist() == [2.0, 1.0, 1.0, 1.0]


def test_naming_a_class_twice_in_an_image_changes_nothing() -> None:
    once = repeat_factors(TEN_IMAGES, 4, threshold=0.4)
    twice = repeat_factors([image + image for image in TEN_IMAGES], 4, threshold=0.4)
    assert twice.tolist() == once.tolist()


def test_no_images_and_no_classes() -> None:
    assert repeat_factors([], 3).shape == (0,)
    assert repeat_factors([[], []], 0).tolist() == [1.0, 1.0]
    assert epoch_indices(np.ones(0), epoch=0, seed=0) == []
    assert uniform_indices(0, epoch=0, seed=0) == []


def test_threshold_0_repeats_nothing() -> None:
    assert repeat_factors(TEN_IMAGES, 4, threshold=0.0).tolist() == [1.0] * 10


def test_lvis_repeats_796_classes_at_most_ten_times(shared_data) -> None:
    """With the 99,388 annotated images of LVIS v1 train and t = 0.001."""
    table = json.loads((shared_data / "lvis_v1_categories.json").read_text())
    images: list[list[int]] = [[] for _ in range(99_388)]
    for c, category in enumerate(table):
        for i in range(category["image_count"]):
            images[i].append(c)  # which images does not matter for the largest factor of each
    factors = repeat_factors(images, len(table), threshold=1e-3)
    rarest = min(category["image_count"] for category in table)
    assert factors.max() == pytest.approx(math.sqrt(1e-3 * 99_388 / rarest))
    assert 9.9 < factors.max() < 10.0
    repeated = sum(category["image_count"] < 1e-3 * 99_388 for category in table)
    assert repeated == 796


@pytest.mark.parametrize("wrong", [-1, 4])
def test_an_unknown_class_is_refused(wrong: int) -> None:
    with pytest.raises(ValueError, match=rf"from 0 to 3, got {wrong}: pass"):
        repeat_factors([[0], [wrong]], 4)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, math.nan])
def test_a_threshold_that_is_no_share_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        repeat_factors(TEN_IMAGES, 4, threshold=threshold)


def test_ceil_rounds_every_factor_up_in_every_epoch() -> None:
    factors = np.array([1.0, 1.2, 2.0, 2.7])
    for epoch in range(3):
        counted = Counter(epoch_indices(factors, epoch=epoch, seed=0, rounding="ceil"))
        assert counted == {0: 1, 1: 2, 2: 2, 3: 3}


def test_stochastic_rounds_up_as_often_as_the_remainder_says() -> None:
    factors = np.array([1.0, 1.25, 2.0, 2.75])
    epochs = 2000
    total: Counter[int] = Counter()
    for epoch in range(epochs):
        counted = Counter(epoch_indices(factors, epoch=epoch, seed=3, rounding="stochastic"))
        assert counted[0] == 1
        assert counted[1] in (1, 2)
        assert counted[2] == 2
        assert counted[3] in (2, 3)
        total += counted
    # Five standard deviations of a mean of 2000 Bernoulli draws are 0.05.
    assert [total[i] / epochs for i in range(4)] == pytest.approx(factors.tolist(), abs=0.05)


def test_an_unknown_rounding_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'round': choose"):
        epoch_indices(np.ones(3), epoch=0, seed=0, rounding="round")  # type: ignore[arg-type]


@given(st.integers(0, 200), st.integers(0, 50), st.integers(0, 5))
def test_uniform_is_a_permutation_fixed_by_seed_and_epoch(n: int, epoch: int, seed: int) -> None:
    indices = uniform_indices(n, epoch=epoch, seed=seed)
    assert sorted(indices) == list(range(n))
    assert indices == uniform_indices(n, epoch=epoch, seed=seed)
    if n > 20:
        assert indices != uniform_indices(n, epoch=epoch + 1, seed=seed)
        assert indices != uniform_indices(n, epoch=epoch, seed=seed + 1)


@given(
    st.lists(st.lists(st.integers(0, 6), max_size=5), max_size=30),
    st.floats(0, 1),
    st.sampled_from(["ceil", "stochastic"]),
)
def test_repetitions_stay_within_one_of_the_factor(images, threshold, rounding) -> None:
    factors = repeat_factors(images, 7, threshold)
    assert (factors >= 1).all()
    indices = epoch_indices(factors, epoch=1, seed=2, rounding=rounding)
    assert indices == epoch_indices(factors, epoch=1, seed=2, rounding=rounding)
    repetitions = np.bincount(indices, minlength=len(images)) if indices else np.zeros(len(images))
    assert (repetitions >= np.floor(factors)).all()
    assert (repetitions <= np.ceil(factors)).all()
    assert all(type(i) is int for i in indices)
