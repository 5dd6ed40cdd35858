"""The share of a feature's nearest references that is of its own class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from trainer import nearest_neighbours
from trainer.nearest_neighbours import own_class_share


def column(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)[:, None]


def test_by_pencil() -> None:
    """Class 0 at 0, 1, 10 and class 1 at 3, 4.

    Of class 0 three are asked. From 0.4: 0, 1 and 3, so 2/3. From 8: 10, 4 and 3, so 1/3.
    Of class 1 two are asked. From 2.1: 3 and 1, so 1/2. From 3.4: 3 and 4, so 1.
    Class 2 is not among the references.
    """
    share = own_class_share(
        column(0.4, 8, 2.1, 3.4, 0.4),
        np.array([0, 0, 1, 1, 2]),
        column(0, 3, 1, 10, 4),
        np.array([0, 1, 0, 0, 1]),
    )
    np.testing.assert_allclose(share, [2 / 3, 1 / 3, 1 / 2, 1, np.nan], rtol=1e-6)


def test_a_single_reference_is_asked_alone() -> None:
    """Class 1 has one at 5: from 4 it is the nearest, from 2 the one at 0 is."""
    share = own_class_share(column(4, 2), np.array([1, 1]), column(0, -1, 5), np.array([0, 0, 1]))
    assert share.tolist() == [1, 0]


@pytest.mark.parametrize("labels", [[], [0], [0, 0, 0]])
def test_without_another_class_there_is_nothing_to_be_mistaken_for(labels: list[int]) -> None:
    share = own_class_share(
        column(1), np.array([0]), np.zeros((len(labels), 1), np.float32), np.array(labels, int)
    )
    assert np.isnan(share).all()


def test_no_queries() -> None:
    none = np.empty((0, 2), np.float32)
    references = np.zeros((4, 2), np.float32)
    assert own_class_share(none, np.empty(0, int), references, np.arange(4) % 2).shape == (0,)


def test_features_that_are_all_alike_are_at_chance_level() -> None:
    """4 classes with 2 references each, all at one place: on average 1/4."""
    labels = np.arange(4).repeat(2)
    place = np.ones((8, 5), np.float32)
    assert own_class_share(place, labels, place, labels).mean() == 1 / 4


@given(
    seed=st.integers(0, 2**32 - 1),
    references=st.integers(2, 60),
    classes=st.integers(2, 8),
    offset=st.sampled_from([0, 300]),
)
def test_as_scikit_learn_finds_them(seed: int, references: int, classes: int, offset: int) -> None:
    """In blocks, far from the origin, and whatever the references' order."""
    rng = np.random.default_rng(seed)
    of = rng.integers(0, classes, references)
    x = (rng.standard_normal((references, 4)) + offset).astype(np.float32)
    labels = rng.integers(0, classes, 30)
    queries = (rng.standard_normal((30, 4)) + offset).astype(np.float32)

    finder = NearestNeighbors(n_neighbors=min(3, references), algorithm="kd_tree").fit(x)
    nearest = of[finder.kneighbors(queries, return_distance=False)]
    expected = np.full(30, np.nan)
    for row, label in enumerate(labels):
        k = min(3, (of == label).sum())
        if k and len(set(of)) > 1:
            expected[row] = (nearest[row, :k] == label).mean()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest_neighbours, "_BLOCK", 7 * references)  # 7 queries at a time
        found = own_class_share(queries, labels, x, of)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    order = rng.permutation(references)
    np.testing.assert_array_equal(own_class_share(queries, labels, x[order], of[order]), found)
