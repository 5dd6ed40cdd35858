"""The adjusted Rand index against arithmetic by hand and against scikit-learn; noise apart."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score
from super_group_builders import grouped

from app.super_group_agreement import adjusted_rand_index, agreement, stability


def test_by_hand() -> None:
    """{0 1 2}{3 4 5} and {0 1}{2 3}{4 5}.

    Together: n = [[2, 1, 0], [0, 1, 2]], so index = 1 + 1 = 2. Pairs: 3 + 3 = 6 and 1 + 1 + 1 = 3
    of 15. chance = 6 * 3 / 15 = 1.2, highest = 4.5: ARI = (2 - 1.2) / (4.5 - 1.2) = 8/33.
    """
    one = np.array([0, 0, 0, 1, 1, 1])
    other = np.array([5, 5, 7, 7, 2, 2])
    assert adjusted_rand_index(one, other) == pytest.approx(8 / 33, abs=1e-15)


def test_less_agreement_than_by_chance_is_below_zero() -> None:
    """{0 1}{2 3} and {0 2}{1 3}: index 0, chance 2 * 2 / 6, highest 2: -(2/3) / (4/3) = -1/2."""
    found = adjusted_rand_index(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    assert found == pytest.approx(-0.5)


@pytest.mark.parametrize("groups", [[0, 0, 0], [0, 1, 2], [0, 0, 1]])
def test_the_same_partition_is_one_whatever_its_numbers(groups: list[int]) -> None:
    assert adjusted_rand_index(np.array(groups), 7 - np.array(groups)) == 1.0


def test_without_a_pair_there_is_no_number() -> None:
    assert math.isnan(adjusted_rand_index(np.array([3]), np.array([4])))


def test_partitions_of_different_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="3 and 2 classes"):
        adjusted_rand_index(np.zeros(3, np.int64), np.zeros(2, np.int64))


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=60))
def test_as_scikit_learn_has_it(pairs: list[tuple[int, int]]) -> None:
    one, other = np.array(pairs, dtype=np.int64).T
    assert adjusted_rand_index(one, other) == pytest.approx(
        adjusted_rand_score(one, other), abs=1e-12
    )


def test_as_scikit_learn_has_it_for_1203_classes() -> None:
    random = np.random.default_rng(0)
    one = random.integers(0, 60, 1203)
    other = np.where(random.random(1203) < 0.7, one, random.integers(0, 60, 1203))
    assert adjusted_rand_index(one, other) == pytest.approx(adjusted_rand_score(one, other))


def test_noise_and_classes_that_were_not_clustered_are_told_apart() -> None:
    """8 classes; 7 is clustered the second time only, 6 is noise the first, 5 the second time.

    Over the 7 that were grouped both times {0 1 2 6}{3 4 5} meets {0 1 2}{3 4 6 5}: together
    [[3, 1], [0, 3]], index 3 + 3 = 6, pairs 6 + 3 and 3 + 6 of 21, chance 81/21 = 27/7, highest 9:
    (6 - 27/7) / (9 - 27/7) = 15/36. Without 5 and 6 nothing changed.
    """
    earlier = grouped([0, 1, 2, 6], [3, 4, 5], noise=[6])
    later = grouped([0, 1, 2], [3, 4, 5, 6, 7], epoch=2, noise=[5])
    found = agreement(earlier, later, 8)
    assert (found.epoch, found.grouped, found.clean) == (2, 7, 5)
    assert found.attached == pytest.approx(15 / 36)
    assert found.without_noise == 1.0


def test_stability_compares_neighbours() -> None:
    history = [grouped([0, 1], [2, 3], epoch=epoch) for epoch in (1, 2)]
    found = stability([*history, grouped([0, 2], [1, 3], epoch=3)], 4)
    assert [one.epoch for one in found] == [2, 3]
    assert [one.attached for one in found] == pytest.approx([1, -0.5])
    assert stability(history[:1], 4) == []


def test_an_epoch_without_groups_has_no_agreement() -> None:
    """As affinity propagation leaves it that did not converge."""
    found = agreement(grouped([0, 1]), grouped(epoch=2), 2)
    assert (found.grouped, math.isnan(found.attached)) == (0, True)
