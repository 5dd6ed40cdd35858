"""How far the virtual features of a class lie from its real ones, from a handful of each.

Shape glossary: n features a, m features b, d feature length.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FEWEST_FEATURES = 2  # on each side, for a variance


def frechet_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Squared Fréchet distance of two normal distributions, one variance for all coordinates.

    |mu_a - mu_b|^2 + (sqrt(V_a) - sqrt(V_b))^2, where V is the sum of the coordinates' variances:
    how far apart the centres are, and how different the radii. A handful of features shows no more
    (benchmarks/bench_frechet_distance.py): a variance of each coordinate, or covariances, would
    mostly measure how few they are. The distance with those is never smaller.

    By how much chance is expected to move the centres is taken off: without, two halves of one
    class would seem far apart. So the estimate of a small distance may be negative.

    Args:
        a: [n, d] of one class.
        b: [m, d] of the same class, not the same objects.

    Returns:
        In squared units of the features; NaN with fewer than `FEWEST_FEATURES` on a side.
    """
    n, m = len(a), len(b)
    if min(n, m) < FEWEST_FEATURES:
        return math.nan
    difference = a.mean(axis=0, dtype=np.float64) - b.mean(axis=0, dtype=np.float64)
    variance_a = float(a.var(axis=0, ddof=1, dtype=np.float64).sum())
    variance_b = float(b.var(axis=0, ddof=1, dtype=np.float64).sum())
    # The mean of n features is off by variance / n.
    centres = float(difference @ difference) - variance_a / n - variance_b / m
    return centres + (math.sqrt(variance_a) - math.sqrt(variance_b)) ** 2
