"""Super-groups: classes whose features look alike, found by density-based clustering (Eq. 5).

Shape glossary: C foreground classes, K of them clustered, d feature length.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN, AffinityPropagation
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from fasa_core.options import FASAOptions

_SMALLEST_DENOMINATOR = 1e-30  # only where no class has a spread; far from float32's limits
_SMALLEST_EPS = 1e-12  # DBSCAN refuses 0, which coincident classes do give
_QUANTILE_STEP = 0.1
_ALWAYS_ALLOWED = 3  # classes: a cluster of this size never counts as too large

# Elements of one block of differences: two such buffers fit into a CPU's last-level cache.
_BLOCK_ELEMENTS = {"cpu": 2**20, "cuda": 2**24}


@dataclass(frozen=True)
class SuperGroups:
    """A partition of the classes.

    Attributes:
        group_of_class: [C] int64, -1 for classes that were not clustered.
        noise: [C] bool, classes that DBSCAN called noise, before they were attached.
        eps: DBSCAN's radius; NaN when it did not run.
        eps_quantile: the quantile of the k-distances that gave eps; NaN likewise.
    """

    group_of_class: NDArray[np.int64]
    noise: NDArray[np.bool_]
    eps: float = math.nan
    eps_quantile: float = math.nan

    @property
    def num_groups(self) -> int:
        """Number of super-groups, numbered 0..num_groups-1."""
        return int(self.group_of_class.max(initial=-1)) + 1

    @property
    def noise_share(self) -> float:
        """Share of the clustered classes that were noise; 0 when none was clustered."""
        return float(self.noise.sum() / max(1, (self.group_of_class >= 0).sum()))

    @property
    def largest_group(self) -> int:
        """Number of classes in the largest super-group."""
        clustered = self.group_of_class[self.group_of_class >= 0]
        return int(np.bincount(clustered).max(initial=0))


def form_super_groups(
    mean: Tensor, variance: Tensor, n_seen: Tensor, options: FASAOptions
) -> SuperGroups:
    """Cluster the classes by their priors. Deterministic; classes are ordered by index.

    Args:
        mean: [C, d] mu.
        variance: [C, d] sigma^2.
        n_seen: [C]; classes with 0 have no prior and are left out, unless
            `options.cluster_unseen`.
        options: clustering, distance, floor, eps_quantile, largest_share, min_samples, noise.
    """
    seen = n_seen > 0
    chosen = torch.ones_like(seen) if options.cluster_unseen else seen
    members = chosen.nonzero()[:, 0]
    group_of_class = np.full(len(mean), -1, dtype=np.int64)
    noise = np.zeros(len(mean), dtype=np.bool_)
    if not seen.any():
        return SuperGroups(group_of_class, noise)
    index = members.cpu().numpy()
    if options.clustering != "dbscan":
        sign = 1 if options.clustering == "affinity_propagation" else -1
        group_of_class[index] = _propagate_affinity(mean[members], sign)
        return SuperGroups(group_of_class, noise)
    distance = fisher_ratio(
        mean[members],
        variance[members],
        reduction=options.distance,
        floor=options.floor * float(variance[seen].double().mean()),
    )
    found = _scan_density(distance.double().cpu().numpy(), options)
    group_of_class[index] = found.group_of_class
    noise[index] = found.noise
    return SuperGroups(group_of_class, noise, found.eps, found.eps_quantile)


@torch.no_grad()
def fisher_ratio(
    mean: Tensor,
    variance: Tensor,
    *,
    reduction: Literal["mean_of_ratios", "ratio_of_sums"] = "mean_of_ratios",
    floor: float = 0.0,
) -> Tensor:
    """d_ij = (mu_i - mu_j)^2 / (sigma_i^2 + sigma_j^2 + floor), reduced over d (Eq. 5).

    Args:
        mean: [K, d] mu.
        variance: [K, d] sigma^2.
        reduction: "mean_of_ratios" averages the ratio over d; "ratio_of_sums" sums numerator
            and denominator over d first.
        floor: added to every dimension's denominator, in units of a variance.

    Returns:
        [K, K] in the inputs' dtype, exactly symmetric, finite, with a diagonal of 0. Computed
        in blocks of the upper triangle: memory is O(K^2), never K x K x d.
    """
    half_floor = max(floor, _SMALLEST_DENOMINATOR) / 2
    spread = variance + half_floor  # so that the sum of two holds the whole floor
    num_classes, dim = mean.shape
    budget = _BLOCK_ELEMENTS.get(mean.device.type, _BLOCK_ELEMENTS["cpu"])
    side = max(1, min(num_classes, math.isqrt(budget // dim)))
    differences = mean.new_empty(side * side * dim)
    denominators = torch.empty_like(differences)
    distance = mean.new_zeros(num_classes, num_classes)
    for top in range(0, num_classes, side):
        rows = slice(top, top + side)
        for left in range(top, num_classes, side):
            columns = slice(left, left + side)
            block = distance[rows, columns]
            size = block.numel() * dim
            x = differences[:size].view(*block.shape, dim)
            y = denominators[:size].view(*block.shape, dim)
            torch.sub(mean[rows, None], mean[None, columns], out=x)
            torch.add(spread[rows, None], spread[None, columns], out=y)
            if reduction == "mean_of_ratios":
                torch.mean(torch.mul(torch.div(x, y, out=y), x, out=x), dim=-1, out=block)
            else:
                torch.div(x.square_().sum(dim=-1), y.sum(dim=-1), out=block)
    # A dimension without any spread may overflow when floor is 0: infinitely far, but a number.
    upper = distance.clamp_(max=torch.finfo(distance.dtype).max).triu_(diagonal=1)
    return upper + upper.T


def _scan_density(distance: NDArray[np.float64], options: FASAOptions) -> SuperGroups:
    """DBSCAN on a [K, K] distance matrix, with an eps that fits this matrix.

    eps is a quantile of the distances to the `min_samples`-th nearest class (itself included),
    so that at least this share of the classes are core samples; the quantile falls step by
    step until no cluster is too large.
    """
    num_classes = len(distance)
    neighbours = min(options.min_samples, num_classes)
    k_distance = np.partition(distance, neighbours - 1, axis=1)[:, neighbours - 1]
    limit = max(_ALWAYS_ALLOWED, options.largest_share * num_classes)
    for quantile in _falling_quantiles(options.eps_quantile):
        eps = max(float(np.quantile(k_distance, quantile)), _SMALLEST_EPS)
        scan = DBSCAN(eps=eps, min_samples=neighbours, metric="precomputed").fit(distance)
        if np.bincount(scan.labels_[scan.labels_ >= 0], minlength=1).max() <= limit:
            break
    group = scan.labels_.astype(np.int64)
    noise = group == -1
    if options.noise == "nearest":
        core = scan.core_sample_indices_  # never empty: the nearest k-distance is within eps
        group[noise] = group[core[distance[np.ix_(noise, core)].argmin(axis=1)]]
    else:
        group[noise] = group.max() + 1 + np.arange(noise.sum())
    return SuperGroups(group, noise, eps, quantile)


def _falling_quantiles(start: float) -> list[float]:
    """start, start - 0.1, ... as far as 0.1, and start itself at least."""
    steps = max(1, int(start / _QUANTILE_STEP + 1e-9))
    return [round(start - step * _QUANTILE_STEP, 9) for step in range(steps)]


def _propagate_affinity(mean: Tensor, sign: int) -> NDArray[np.int64]:
    """Affinity propagation on sign * ||mu_i - mu_j||^2, as the official code calls it.

    Returns:
        [K] groups, or -1 everywhere when it did not converge: then no probability moves.
    """
    exact = mean.double()
    distance = torch.cdist(exact, exact, compute_mode="donot_use_mm_for_euclid_dist")
    similarity = sign * distance.square().cpu().numpy()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = AffinityPropagation(random_state=1, affinity="precomputed").fit(similarity)
    if any(issubclass(warning.category, ConvergenceWarning) for warning in caught):
        return np.full(len(mean), -1, dtype=np.int64)
    return np.asarray(model.labels_, dtype=np.int64)
