"""The Fréchet distance of two small samples: by pencil, against scipy, and what chance adds."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from scipy.special import gamma

from trainer.frechet_distance import frechet_distance

SIZES = st.integers(2, 6)
SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, n: int, d: int = 3, *, mean: float = 0.0) -> NDArray[np.float64]:
    return mean + np.random.default_rng(seed).standard_normal((n, d))


def plain(a: NDArray[Any], b: NDArray[Any], *, diagonal: bool = True) -> float:
    """|mu_a - mu_b|^2 + tr(A + B - 2 (A B)^(1/2)), nothing taken off."""
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    if diagonal:
        first, second = np.diag(np.diag(first)), np.diag(np.diag(second))
    between = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    return float(between + np.trace(first + second - 2 * sqrtm(first @ second).real))


def test_by_pencil() -> None:
    """a: means 1, 2; variances 2, 8 (n = 2).  b: means 3, 1; variances 4, 0 (m = 3).

    Means:      (1 - 3)^2 - 2/2 - 4/3 = 5/3,  (2 - 1)^2 - 8/2 - 0/3 = -3
    c4(2) c4(3) = sqrt(2 / pi) * sqrt(pi) / 2 = 1 / sqrt(2)
    Deviations: 2 + 4 - 2 sqrt(2 * 4) sqrt(2) = -2,  8 + 0 - 0 = 8
    In all:     5/3 - 3 - 2 + 8 = 14/3
    """
    a = np.array([[0, 0], [2, 4]], np.float32)
    b = np.array([[1, 1], [3, 1], [5, 1]], np.float32)
    assert frechet_distance(a, b) == pytest.approx(14 / 3)


@pytest.mark.parametrize(("n", "m"), [(1, 5), (5, 1), (0, 5), (0, 0)])
def test_one_feature_has_no_variance(n: int, m: int) -> None:
    assert math.isnan(frechet_distance(drawn(0, n), drawn(1, m)))


def test_against_the_matrix_square_root_of_scipy() -> None:
    """What is taken off, from scipy too: variance / n, and the deviations' c4."""
    n, m = 7, 5
    a, b = drawn(0, n), 2 * drawn(1, m) + 1
    c4 = [math.sqrt(2 / (k - 1)) * gamma(k / 2) / gamma((k - 1) / 2) for k in (n, m)]
    first, second = a.var(axis=0, ddof=1), b.var(axis=0, ddof=1)
    root = np.trace(sqrtm(np.diag(first) @ np.diag(second)).real)
    taken_off = first.sum() / n + second.sum() / m + 2 * root * (1 / (c4[0] * c4[1]) - 1)
    assert frechet_distance(a, b) == pytest.approx(plain(a, b) - taken_off)


def test_many_features_without_correlations_give_the_full_covariances_distance() -> None:
    a = drawn(0, 20_000, 4)
    b = drawn(1, 20_000, 4) * [1, 2, 0.5, 1] + [0, 0, 1, 3]
    # By hand: means 1 + 9, deviations (1 - 2)^2 + (1 - 0.5)^2
    assert frechet_distance(a, b) == pytest.approx(11.25, rel=0.02)
    assert frechet_distance(a, b) == pytest.approx(plain(a, b, diagonal=False), rel=0.02)


def test_one_distribution_is_at_distance_zero_on_average_and_far_without_the_correction() -> None:
    """2 and 4 features of 50 coordinates: the plain distance is more than the whole variance."""
    pairs = [(drawn(seed, 2, 50), drawn(seed + 10_000, 4, 50)) for seed in range(1000)]
    found = np.array([frechet_distance(a, b) for a, b in pairs])
    error = found.std() / math.sqrt(len(found))
    assert abs(found.mean()) < 4 * error < 4
    assert np.mean([plain(a, b) for a, b in pairs[:50]]) > 50


def test_on_average_it_is_the_true_distance() -> None:
    """Means 1 apart and deviations 1 and 3 in 50 coordinates: 50 (1 + 4) = 250."""
    found = [
        frechet_distance(drawn(seed, 3, 50), 3 * drawn(seed + 10_000, 2, 50) + 1)
        for seed in range(2000)
    ]
    error = np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found) - 250) < 4 * error < 15


@given(seed=SEEDS, n=SIZES, m=SIZES)
def test_order_and_side_do_not_matter(seed: int, n: int, m: int) -> None:
    a, b = drawn(seed, n), drawn(seed + 1, m, mean=2)
    distance = frechet_distance(a, b)
    order = np.random.default_rng(seed).permutation
    assert frechet_distance(b, a) == pytest.approx(distance)
    assert frechet_distance(a[order(n)], b[order(m)]) == pytest.approx(distance)
    coordinates = order(3)
    assert frechet_distance(a[:, coordinates], b[:, coordinates]) == pytest.approx(distance)


@given(seed=SEEDS, n=SIZES, m=SIZES, scale=st.floats(0.1, 10), shift=st.floats(-10, 10))
def test_shift_and_scale(seed: int, n: int, m: int, scale: float, shift: float) -> None:
    """It is in squared units of the features, and where both lie does not matter."""
    a, b = drawn(seed, n), drawn(seed + 1, m, mean=2)
    moved = frechet_distance(scale * a + shift, scale * b + shift)
    assert moved == pytest.approx(scale**2 * frechet_distance(a, b), rel=1e-6, abs=1e-6)


@given(seed=SEEDS, n=SIZES, copies=st.integers(2, 4))
def test_features_that_are_all_alike(seed: int, n: int, copies: int) -> None:
    """A prior of no spread: |mu_a - x|^2 less chance, and all of a's variance: exact for any a."""
    a, point = drawn(seed, n), drawn(seed + 1, 1)
    variance = a.var(axis=0, ddof=1)
    expected = np.square(a.mean(axis=0) - point[0]).sum() + (variance * (1 - 1 / n)).sum()
    assert frechet_distance(a, point.repeat(copies, axis=0)) == pytest.approx(expected)
