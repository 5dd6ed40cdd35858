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
        n_spread: [C] int64, batches whose spread counted; kept with `single="keep"` only.
        weight_squares: [C] sum of the squared weights of all rows in the mean, which sum to 1;
            0 until the class is seen.
    """

    mean: Tensor
    spread: Tensor
    n_seen: Tensor
    n_spread: Tensor
    weight_squares: Tensor

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
        self.register_buffer("weight_squares", torch.zeros(num_classes))

    def standard_deviation(self, rows: Tensor | slice = slice(None)) -> Tensor:
        """sigma of the given classes (all by default), [..., d]."""
        spread = self.spread[rows]
        return spread if self.spread_kind == "std" else spread.sqrt()

    @property
    def variance(self) -> Tensor:
        """sigma^2 of every class, [C, d]."""
        return self.spread.square() if self.spread_kind == "std" else self.spread

    @property
    def effective_samples(self) -> Tensor:
        """[C] Kish's effective sample size of mu_c, in rows: 1 / sum of w^2; 0 if never seen.

        So many rows of equal weight would give a mean as sure. Batches long past weigh nothing:
        with n rows a batch it goes towards n (2 - m) / m, however many were seen.
        """
        return torch.where(self.weight_squares > 0, 1 / self.weight_squares, 0.0)

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
        row = torch.arange(len(labels), device=labels.device)
        counted = (labels >= 0) & (labels < len(self.mean)) & x.sum(dim=1).isfinite()
        target = torch.where(counted, labels, 0)
        slot = self._slots(target, torch.where(counted, row, len(row)))
        n, total, squares = _sums(x, slot)

        # The rate r: m, or 1 for a class's first batch; 0 for slots that stand for no class.
        leads = slot == row
        rate = spread_rate = _rate(self.n_seen.index_select(0, target), leads, m, x.dtype)
        if self.single == "keep":
            gives_spread = leads & (n[:, 0] > 1)
            spread_rate = _rate(self.n_spread.index_select(0, target), gives_spread, m, x.dtype)
            self.n_spread.index_add_(0, target, gives_spread.long())

        # mu <- (1 - r) mu + r mu^t as a change: -r mu + r mu^t; sigma likewise.
        mean_change = self.mean.index_select(0, target).mul_(-rate)
        mean_change.addcmul_(total, rate / n.clamp(min=1))
        change = self.spread.index_select(0, target).mul_(-spread_rate)
        freedom = (n - 1 if self.unbiased else n).clamp(min=1)
        if self.spread_kind == "std":  # sqrt_ would be several times slower where there are zeros
            change.addcdiv_(spread_rate / freedom.sqrt(), squares.rsqrt_())
        else:
            change.addcmul_(squares, spread_rate / freedom)
        if self.spread_kind == "ew":  # v <- (1 - r)(v + r delta^2) + r var^t, delta = mu^t - mu
            by_rate = spread_rate * (1 - spread_rate) / rate.clamp(min=m).square()
            change.addcmul_(mean_change.square(), by_rate)
        # The rows' weights: (1 - r) w for those before, r / n for each new one. Summed squares:
        # q <- (1 - r)^2 q + r^2 / n, as a change -r (2 - r) q + r^2 / n.
        r, q = rate[:, 0], self.weight_squares.index_select(0, target)
        self.weight_squares.index_add_(0, target, r * (r / n[:, 0].clamp(min=1) - (2 - r) * q))
        self.mean.index_add_(0, target, mean_change)
        self.spread.index_add_(0, target, change)
        self.n_seen.index_add_(0, target, counted.long())

    def _slots(self, target: Tensor, row: Tensor) -> Tensor:
        """[N] the slot of each row: the first row of its class, or N for rows left out."""
        outside = len(row)
        first = torch.full_like(self.n_seen, outside).scatter_reduce_(0, target, row, "amin")
        return torch.where(row < outside, first.index_select(0, target), outside)

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


def _sums(x: Tensor, slot: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Per slot the number of rows n [N, 1], their sum [N, d] and squared deviations [N, d].

    The deviations are from the slot's mean: E[x^2] - E[x]^2 would cancel. A slot without rows
    holds zeros. Row N of the sums, which takes in what is left out, is cut off.
    """
    rows, dim = x.shape
    n = x.new_zeros(rows + 1).index_add_(0, slot, x.new_ones(rows))[:, None]
    total = x.new_zeros(rows + 1, dim).index_add_(0, slot, x)
    share = (1 / n).index_select(0, slot)
    deviation = torch.addcmul(x, total.index_select(0, slot), share, value=-1)
    squares = x.new_zeros(rows + 1, dim).index_add_(0, slot, deviation.square_())
    return n[:rows], total[:rows], squares[:rows]


def _rate(past: Tensor, used: Tensor, m: float, dtype: torch.dtype) -> Tensor:
    """[N, 1]: m where there is a past, 1 where there is none, 0 where not used."""
    momentum = torch.full(past.shape, m, dtype=dtype, device=past.device)
    return (torch.where(past > 0, momentum, 1.0) * used)[:, None]
