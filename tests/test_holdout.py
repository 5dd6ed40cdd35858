"""Held-out images: every class that can spare one gives some, none loses its last."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from data.holdout import holdout_indices

IMAGES = st.lists(st.lists(st.integers(0, 7), unique=True, max_size=4), max_size=60)


def test_a_class_with_one_image_keeps_it() -> None:
    assert holdout_indices([[0], [1], [1]], 2, share=0.5, seed=0) in ([1], [2])


def test_the_share_is_met_for_a_frequent_class() -> None:
    assert len(holdout_indices([[0]] * 100, 1, share=0.05, seed=3)) == 5


def test_nothing_to_hold_out() -> None:
    assert holdout_indices([], 3, share=0.1, seed=0) == []
    assert holdout_indices([[], []], 3, share=0.1, seed=0) == []


@given(images=IMAGES, share=st.floats(0.01, 0.5), seed=st.integers(0, 99))
def test_no_class_loses_its_last_image(images: list[list[int]], share: float, seed: int) -> None:
    held = set(holdout_indices(images, 8, share=share, seed=seed))
    before = Counter(category for image in images for category in image)
    after = Counter(c for index, image in enumerate(images) if index not in held for c in image)
    assert all(after[category] >= 1 for category in before)
    assert held == set(holdout_indices(images, 8, share=share, seed=seed))
