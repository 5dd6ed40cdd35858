"""Claim: the Fisher-ratio matrix at C = 1203, d = 1024 takes under 2 s on 2 cores.

No C x C x d array is made, which the peak of the process's memory shows; some rows are compared
with a plain evaluation in float64.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
from torch import Tensor

from benchmarks.peak_memory import MEGABYTE, peak_growth
from fasa_core.super_groups import fisher_ratio

NUM_CLASSES, FEATURE_DIM = 1203, 1024
ROUNDS, THREADS, CHECKED_ROWS = 7, 2, 20
TARGET_SECONDS = 2.0
TARGET_ERROR = 1e-5
FLOOR = 1e-3


def random_prior() -> tuple[Tensor, Tensor]:
    """Means after a ReLU and variances over four decades: [C, d] each."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(NUM_CLASSES, FEATURE_DIM, generator=generator).clamp(min=0)
    decade = 4 * torch.rand(NUM_CLASSES, FEATURE_DIM, generator=generator) - 4
    return mean, 10**decade * (mean > 0)


def seconds(mean: Tensor, variance: Tensor) -> float:
    started = time.perf_counter()
    fisher_ratio(mean, variance, floor=FLOOR)
    return time.perf_counter() - started


def largest_error(mean: Tensor, variance: Tensor) -> float:
    """The largest relative error of some rows against the formula in float64."""
    distance = fisher_ratio(mean, variance, floor=FLOOR).double()
    mean, variance = mean.double(), variance.double()
    worst = 0.0
    for row in range(0, NUM_CLASSES, NUM_CLASSES // CHECKED_ROWS):
        ratio = (mean[row] - mean).square() / (variance[row] + variance + FLOOR)
        expected = ratio.mean(dim=1)
        error = (distance[row] - expected).abs() / expected.clamp(min=1e-30)
        worst = max(worst, float(error.max()))
    return worst


def main() -> int:
    torch.set_num_threads(THREADS)
    mean, variance = random_prior()
    seconds(mean[:100], variance[:100])  # starts the threads
    memory = peak_growth(lambda: fisher_ratio(mean, variance, floor=FLOOR))
    times = [seconds(mean, variance) for _ in range(ROUNDS)]
    error = largest_error(mean, variance)
    whole = NUM_CLASSES**2 * FEATURE_DIM * 4 / MEGABYTE
    median = statistics.median(times)
    print(
        f"C={NUM_CLASSES} d={FEATURE_DIM}, {THREADS} threads, {ROUNDS} rounds: median "
        f"{median:.2f} s, best {min(times):.2f} s (target {TARGET_SECONDS:.0f} s)\n"
        f"peak memory grows by {memory:.0f} MB (a C x C x d array: {whole:.0f} MB); "
        f"largest relative error {error:.1e} (target {TARGET_ERROR:.0e})"
    )
    met = median < TARGET_SECONDS and error < TARGET_ERROR and memory < whole / 10
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
