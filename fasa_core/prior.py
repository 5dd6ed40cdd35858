"""The feature prior: a running mean and spread of every class's features.

Shape glossary: C foreground classes, d feature length, N rows (RoIs) of a batch.
A class's statistics in a batch are gathered in the slot of its first row, so that a batch costs
O(N d) whatever C is, and no shape depends on the data: nothing waits for a GPU.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn


class FeaturePrior(nn.Module):
    """Per class the mean and spread of past features (Eq. 2).

    Args:
        num_classes: C.
        feature_dim: d.
        spread: what `spread` averages, see `FASAOptions`.
        unbiased: within-batch variance with n - 1 below the line.
        single: what a class seen once in a batch does to the spread, see `FASAOptions`.

    Buffers:
        mean: [C, d] mu_c; 0 until the class is seen.
        spread: [C, d] sigma_c with `spread="std"`, else the variance sigma_c^2.
        n_seen: [C] int64, rows observed.
        n_spread: [C] int64, batches whose spread counted.
    """

    mean: Tensor
    spread: Tensor
    n_seen: Tensor
    n_spread: Tensor

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        *,
        spread: Literal["std", "variance", "ew"] = "std",
        unbiased: bool = True,
        single: Literal["zero", "keep"] = "zero",
    ) -> None:
        super().__init__()
        for name, value in (("num_classes", num_classes), ("feature_dim", feature_dim)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}: pass the model's own")
        self.spread_kind = spread
        self.unbiased = unbiased
        self.single = single
        self.register_buffer("mean", torch.zeros(num_classes, feature_dim))
        self.register_buffer("spread", torch.zeros(num_classes, feature_dim))
        self.register_buffer("n_seen", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("n_spread", torch.zeros(num_classes, dtype=torch.int64))

    def standard_deviation(self, rows: Tensor | slice = slice(None)) -> Tensor:
        """sigma of the given classes (all by default), [..., d]."""
        spread = self.spread[rows]
        return spread if self.spread_kind == "std" else spread.sqrt()

    @property
    def variance(self) -> Tensor:
        """sigma^2 of every class, [C, d]."""
        return self.spread.square() if self.spread_kind == "std" else self.spread

    @torch.no_grad()
    def observe(self, features: Tensor, labels: Tensor, *, m: float) -> None:
        """Move the prior of the classes in a batch towards the batch's statistics (Eq. 2).

        A class's first batch is taken over whole. Rows that are not finite are left out: one of
        them would spoil its class for good.

        Args:
            features: [N, d] of any float dtype; computed in the buffers' dtype.
            labels: [N] int64; rows outside 0..C-1 (background, ignored) are left out.
            m: momentum, in (0, 1].

        Raises:
            ValueError: for shapes other than these.
        """
        self._check(features, labels)
        if not len(labels):
            return
        x = features.detach().to(self.mean.dtype)
        num_classes = len(self.mean)
        counted = (labels >= 0) & (labels < num_classes) & x.sum(dim=1).isfinite()
        key = torch.where(counted, labels, num_classes)  # rows left out share slot C

        # 1. The slot of every row: the first row of its class.
        row = torch.arange(len(key), device=key.device)
        first = row.new_full((num_classes + 1,), len(key)).scatter_reduce_(0, key, row, "amin")
        slot = first[key]
        leads = counted & (slot == row)  # slots in use; everything below is masked by it

        # 2. mu^t and the variance, as squared deviations from mu^t: no cancellation.
        n = torch.zeros_like(x[:, 0]).index_add_(0, slot, torch.ones_like(x[:, 0]))[:, None]
        batch_mean = torch.zeros_like(x).index_add_(0, slot, x) / n.clamp(min=1)
        deviation = x - batch_mean[slot]
        squares = torch.zeros_like(x).index_add_(0, slot, deviation.square_())
        variance = squares / (n - 1 if self.unbiased else n).clamp(min=1)

        # 3. mu <- mu + r (mu^t - mu), sigma <- sigma + r (s^t - sigma); r = m, or 1 at first.
        target = torch.where(counted, labels, 0)
        known, momentum = self.n_seen[target, None] > 0, torch.full_like(n, m)
        rate = torch.where(known, momentum, 1.0)
        spread_rate, spread_counts = rate, leads
        if self.single == "keep":
            spread_rate = torch.where(self.n_spread[target, None] > 0, momentum, 1.0) * (n > 1)
            spread_counts = leads & (n[:, 0] > 1)
        delta = batch_mean - self.mean[target]
        batch_spread = variance.sqrt() if self.spread_kind == "std" else variance
        spread_change = spread_rate * (batch_spread - self.spread[target])
        if self.spread_kind == "ew":  # v <- (1 - r)(v + r delta^2) + r var^t
            spread_change += spread_rate * (1 - spread_rate) * delta.square()

        # 4. Slots not in use add 0.
        used = leads[:, None]
        self.mean.index_add_(0, target, torch.where(used, rate * delta, 0.0))
        self.spread.index_add_(0, target, torch.where(used, spread_change, 0.0))
        self.n_seen.index_add_(0, target, counted.long())
        self.n_spread.index_add_(0, target, spread_counts.long())

    def _check(self, features: Tensor, labels: Tensor) -> None:
        feature_dim = self.mean.shape[1]
        if features.ndim != 2 or features.shape[1] != feature_dim:
            raise ValueError(
                f"features must be [N, {feature_dim}], not {list(features.shape)}: "
                "pass the classifier's input"
            )
        if labels.shape != features.shape[:1] or labels.dtype != torch.int64:
            raise ValueError(
                f"labels must be int64 [{len(features)}], one a feature, not {labels.dtype} "
                f"{list(labels.shape)}: pass the sampled RoIs' labels"
            )
