"""Lists of classes in two arrays against lists of lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.class_lists import ClassLists
from data.repeat_factor import class_repeat_factors, repeat_factors

LISTS = st.lists(st.lists(st.integers(0, 6), max_size=5), max_size=12)


@given(LISTS)
def test_they_are_sorted_lists_of_unique_classes(lists: list[list[int]]) -> None:
    expected = [sorted(set(row)) for row in lists]
    found = ClassLists.of(lists)
    assert list(found) == expected
    assert [found[i] for i in range(len(found))] == expected
    assert found[1:3] == expected[1:3]
    assert found.images.tolist() == [i for i, row in enumerate(expected) for _ in row]
    assert ClassLists.of(found) is found


@given(LISTS, st.floats(0, 1))
def test_repeat_factors_are_the_largest_of_an_images_classes(
    lists: list[list[int]], threshold: float
) -> None:
    found = repeat_factors(ClassLists.of(lists), 7, threshold)
    assert found.tolist() == repeat_factors(lists, 7, threshold).tolist()
    images_with = np.array([sum(c in row for row in lists) for c in range(7)])
    of_class = class_repeat_factors(images_with, len(lists), threshold)
    assert found.tolist() == [max((of_class[c] for c in row), default=1.0) for row in lists]


def test_an_index_outside_is_refused() -> None:
    lists = ClassLists.of([[1], [2]])
    assert lists[-1] == [2]
    for wrong in (2, -3):
        with pytest.raises(IndexError, match=f"image {wrong} of 2"):
            lists[wrong]
