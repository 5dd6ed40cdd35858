"""Claim: 2 objects a side are enough for the mean of the classes' Fréchet distances.

Made features, correlated and most coordinates 0 after a ReLU; so the true distances are known, as
shares of a class's variance (the sum over coordinates). Of several ways to compute it, what each
says of

- other real features of the class, and a prior of the same mean and deviations: 0 is true (with
  full covariances, which a prior has none of, only the first);
- a prior that lost most of its spread: it must come out as farther than real features, and that by
  the same amount however few the objects are.

With variances per coordinate, and with the full covariance of all classes' features together (as
in FID), most of the distance between few features is chance, and more of it between real ones
than to virtual ones: that flatters the virtual features.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.frechet_distance import frechet_distance

CLASSES, DIM, FACTORS = 100, 256, 20
MEAN, BETWEEN, WITHIN = -1.0, 1.0, 0.8  # before the ReLU: overall, of class means, of objects
SIZES = ((2, 2, 4), (4, 4, 8), (16, 16, 16))  # held out, trained on, virtual
LOST = 0.2  # of the deviation, what the poor prior kept
MANY = 5_000  # features that the true mean and deviation are found from
MOST_ERROR = 0.1  # of a class's variance

Sample = NDArray[np.float64]


class Moments(NamedTuple):
    """Of one class: all that a prior knows."""

    mean: Sample
    deviation: Sample


def real(rng: np.random.Generator, centre: Sample, loading: Sample, count: int) -> Sample:
    """[count, d] features whose coordinates vary together, after a ReLU."""
    return np.maximum(centre + WITHIN * rng.standard_normal((count, FACTORS)) @ loading, 0)


def virtual(rng: np.random.Generator, prior: Moments, count: int, *, kept: float) -> Sample:
    """[count, d] of a prior that kept this share of the deviation (Eq. 3)."""
    return prior.mean + kept * prior.deviation * rng.standard_normal((count, DIM))


def one_variance(held: Sequence[Sample], other: Sequence[Sample]) -> float:
    """What the run log has: the mean over classes."""
    return _mean(frechet_distance(a, b) for a, b in zip(held, other, strict=True))


def per_coordinate(held: Sequence[Sample], other: Sequence[Sample]) -> float:
    """A variance per coordinate; what normal features have by chance is taken off."""

    def distance(a: Sample, b: Sample) -> float:
        first, second = a.var(axis=0, ddof=1), b.var(axis=0, ddof=1)
        centres = np.square(a.mean(axis=0) - b.mean(axis=0)) - first / len(a) - second / len(b)
        product = np.sqrt(first * second) / (_c4(len(a)) * _c4(len(b)))
        return float((centres + first + second - 2 * product).sum())

    return _mean(distance(a, b) for a, b in zip(held, other, strict=True))


def uncorrected(held: Sequence[Sample], other: Sequence[Sample]) -> float:
    """A variance per coordinate, nothing taken off."""

    def distance(a: Sample, b: Sample) -> float:
        spread = a.std(axis=0, ddof=1) - b.std(axis=0, ddof=1)
        return float(np.square(a.mean(axis=0) - b.mean(axis=0)).sum() + spread @ spread)

    return _mean(distance(a, b) for a, b in zip(held, other, strict=True))


def full_covariance(held: Sequence[Sample], other: Sequence[Sample]) -> float:
    """All classes together: tr (A B)^(1/2) is the sum of the singular values of a b^T."""
    (mean_a, a), (mean_b, b) = _centred(held), _centred(other)
    root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(np.square(mean_a - mean_b).sum() + (a * a).sum() + (b * b).sum() - 2 * root)


def _centred(samples: Sequence[Sample]) -> tuple[Sample, Sample]:
    """The mean [d], and [n, d] whose Gram matrix is the covariance."""
    x = np.concatenate(samples)
    return x.mean(axis=0), (x - x.mean(axis=0)) / math.sqrt(len(x))


def _c4(n: int) -> float:
    """Expected deviation of n normal values (n - 1 below the line), as a share of the true one."""
    return math.sqrt(2 / (n - 1)) * math.exp(math.lgamma(n / 2) - math.lgamma((n - 1) / 2))


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def main() -> int:
    rng = np.random.default_rng(0)
    centres = MEAN + BETWEEN * rng.standard_normal((CLASSES, DIM))
    loading = rng.standard_normal((FACTORS, DIM)) / math.sqrt(FACTORS)
    many = [real(rng, centre, loading, MANY) for centre in centres]
    priors = [Moments(x.mean(axis=0), x.std(axis=0)) for x in many]
    variance = _mean(float(np.square(prior.deviation).sum()) for prior in priors)
    print(
        f"{CLASSES} classes, d = {DIM}, {np.mean(np.array(many) == 0):.0%} of the coordinates 0\n"
        "Distance to held-out features as a share of a class's variance; true are 0, 0 and "
        f"{(1 - LOST) ** 2:.2f}:\n"
        "held out, trained on, virtual | way             | trained on | prior | poor prior"
    )
    met = True
    for held_out, trained_on, drawn in SIZES:
        held = [real(rng, centre, loading, held_out) for centre in centres]
        others = (
            [real(rng, centre, loading, trained_on) for centre in centres],
            [virtual(rng, prior, drawn, kept=1.0) for prior in priors],
            [virtual(rng, prior, drawn, kept=LOST) for prior in priors],
        )
        for way in (one_variance, per_coordinate, uncorrected, full_covariance):
            # What is not corrected depends on the number of features: the same on both sides.
            corrected = way in (one_variance, per_coordinate)
            most = drawn if corrected else trained_on
            found = [way(held, [x[:most] for x in other]) / variance for other in others]
            print(
                f"{held_out:8}, {trained_on:10}, {drawn:7} | {way.__name__:15} | {found[0]:10.2f} "
                f"| {found[1]:5.2f} | {found[2]:10.2f}"
            )
            if way is one_variance:
                true = np.array([0, 0, (1 - LOST) ** 2])
                met &= bool(np.abs(found - true).max() < MOST_ERROR)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
