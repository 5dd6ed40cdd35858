"""How far the virtual features of a class lie from its real ones, from a handful of each.

Shape glossary: n features a, m features b, d feature length.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FEWEST_FEATURES = 2  # on each side, for a variance


def frechet_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Squared Fréchet distance of two normal distributions with diagonal covariances.

    |mu_a - mu_b|^2 + sum_j (sigma_aj - sigma_bj)^2, estimated from samples: a prior has a variance
    per coordinate (Eq. 2) and no covariances, and a few objects would not give any. What chance
    adds is taken off: without, two halves of one class would seem as far apart as two classes
    (benchmarks/bench_manifold.py). So the estimate of a small distance may be negative.

    Args:
        a: [n, d] of one class.
        b: [m, d] of the same class, not the same objects.

    Returns:
        In squared units of the features; NaN with fewer than `FEWEST_FEATURES` on a side.
    """
    n, m = len(a), len(b)
    if min(n, m) < FEWEST_FEATURES:
        return math.nan
    mean_a, mean_b = a.mean(axis=0, dtype=np.float64), b.mean(axis=0, dtype=np.float64)
    variance_a = a.var(axis=0, ddof=1, dtype=np.float64)
    variance_b = b.var(axis=0, ddof=1, dtype=np.float64)
    # 1. A mean of n features is off by variance / n.
    between = np.square(mean_a - mean_b) - variance_a / n - variance_b / m
    # 2. A deviation found from n normal values comes out smaller by the factor c4(n).
    product = np.sqrt(variance_a * variance_b) / (_c4(n) * _c4(m))
    # 3. (sigma_a - sigma_b)^2 = sigma_a^2 + sigma_b^2 - 2 sigma_a sigma_b
    return float((between + variance_a + variance_b - 2 * product).sum())


def _c4(n: int) -> float:
    """Expected standard deviation of n normal values (n - 1 below the line), as a share of it."""
    return math.sqrt(2 / (n - 1)) * math.exp(math.lgamma(n / 2) - math.lgamma((n - 1) / 2))
