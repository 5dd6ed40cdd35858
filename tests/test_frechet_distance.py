"""The Fréchet distance of two small samples: by pencil, against scipy, and what chance adds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from trainer.frechet_distance import frechet_distance

Sample = NDArray[np.float64]

SIZES = st.integers(2, 6)
SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, n: int, d: int = 3, *, mean: float = 0.0) -> Sample:
    return mean + np.random.default_rng(seed).standard_normal((n, d))


def plain(a: Sample, b: Sample, first: Sample, second: Sample) -> float:
    """|mu_a - mu_b|^2 + tr(A + B - 2 (A B)^(1/2)) of two covariances, nothing taken off."""
    between = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    return float(between + np.trace(first + second - 2 * sqrtm(first @ second).real))


def one_variance(x: Sample) -> Sample:
    """The covariance [d, d] of a normal distribution as wide in every direction."""
    covariance = np.atleast_2d(np.cov(x, rowvar=False))
    return np.eye(len(covariance)) * np.trace(covariance) / len(covariance)


def test_by_pencil() -> None:
    """a: means 1, 2; variances 2 and 8, so V = 10 (n = 2).  b: 7, 1; 36 and 4, V = 40 (m = 3).

    Centres: (1 - 7)^2 + (2 - 1)^2 - 10/2 - 40/3 = 56/3
    Radii:   10 + 40 - 2 sqrt(10 * 40) = 10
    In all:  86/3
    """
    a = np.array([[0, 0], [2, 4]], np.float32)
    b = np.array([[1, -1], [7, 1], [13, 3]], np.float32)
    assert frechet_distance(a, b) == pytest.approx(86 / 3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("n", "m"), [(1, 5), (5, 1), (0, 5), (0, 0)])
def test_one_feature_has_no_variance(n: int, m: int) -> None:
    assert math.isnan(frechet_distance(drawn(0, n), drawn(1, m)))


@given(seed=SEEDS, n=SIZES, m=SIZES, d=st.integers(1, 5))
def test_against_the_matrix_square_root_of_scipy(seed: int, n: int, m: int, d: int) -> None:
    a, b = drawn(seed, n, d), 2 * drawn(seed + 1, m, d) + 1
    first, second = one_variance(a), one_variance(b)
    chance = np.trace(first) / n + np.trace(second) / m
    assert frechet_distance(a, b) == pytest.approx(plain(a, b, first, second) - chance)


def test_full_covariances_are_never_closer() -> None:
    """Many features, so that chance adds next to nothing; equal where all directions are alike."""
    a, b = drawn(0, 20_000, 4), 3 * drawn(1, 20_000, 4) + 1
    mixed = drawn(2, 20_000, 4) @ drawn(3, 4, 4)
    # By hand: means 4 * 1, deviations 4 (1 - 3)^2
    assert frechet_distance(a, b) == pytest.approx(20, rel=0.02)
    full = [plain(x, y, np.cov(x.T), np.cov(y.T)) for x, y in ((a, b), (a, mixed), (b, mixed))]
    assert full[0] == pytest.approx(20, rel=0.02)
    assert frechet_distance(a, mixed) < full[1]
    assert frechet_distance(b, mixed) < full[2]


def test_one_distribution_is_at_distance_zero_on_average_and_far_without_the_correction() -> None:
    """2 and 4 features of variance 50: chance moves the centres by 50/2 + 50/4."""
    pairs = [(drawn(seed, 2, 50), drawn(seed + 10_000, 4, 50)) for seed in range(1000)]
    found = np.mean([frechet_distance(a, b) for a, b in pairs])
    assert abs(found) < 2
    without = np.mean([plain(a, b, one_variance(a), one_variance(b)) for a, b in pairs[:50]])
    assert without == pytest.approx(37.5, abs=5)


def test_on_average_it_is_the_true_distance() -> None:
    """Means 1 apart and deviations 1 and 3 in 50 coordinates: 50 (1 + 4) = 250."""
    found = [
        frechet_distance(drawn(seed, 3, 50), 3 * drawn(seed + 10_000, 2, 50) + 1)
        for seed in range(1000)
    ]
    assert np.mean(found) == pytest.approx(250, rel=0.05)


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
    """A prior of no spread: |mu_a - x|^2 less chance, and all of a's variance."""
    a, point = drawn(seed, n), drawn(seed + 1, 1)
    variance = a.var(axis=0, ddof=1).sum()
    expected = np.square(a.mean(axis=0) - point[0]).sum() + variance - variance / n
    assert frechet_distance(a, point.repeat(copies, axis=0)) == pytest.approx(expected)
