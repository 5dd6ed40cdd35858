"""Every choice that FASA leaves open, by name: what the paper says, or what its code does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints


@dataclass(frozen=True)
class FASAOptions:
    """The settings of `FASA`. The defaults follow the paper; `OFFICIAL` follows its code.

    Attributes:
        m: momentum of the prior (Eq. 2), in (0, 1].
        alpha: factor on p_c when the loss of its super-group fell, at least 1.
        beta: factor on p_c when the loss rose, in (0, 1].
        virtual_loss_weight: weight of the virtual loss with `combine="separate"`.
        start_epoch: first epoch with virtual features, counted from 0.
        initial_scale: s_c of Eq. 4 at the start; the paper's static study takes 1, 5, 15.
        sampling: "static" keeps p_c as Eq. 4 sets it (FA without FS).
        spread: what the prior averages: the standard deviation (paper), the "variance"
            (official code), or "ew", the exact variance of the exponentially weighted mixture.
        unbiased: divide a batch's sum of squares by n - 1, not n.
        single: a class seen once in a batch brings spread 0 into the average, or with "keep"
            updates the mean only.
        combine: "separate" adds the weighted mean loss of the virtual features, "concat" makes
            the sum the unweighted mean over real and virtual features together.
        zero_count: a class without instances gets p = 0, or is refused.
        clamp_negative: clamp virtual features at 0, as a ReLU would.
        clustering: "affinity_propagation" takes the squared distance itself as similarity, so
            that it joins far classes, as the official code does; "..._fixed" takes its negative.
        distance: reduction of Eq. 5 over the d dimensions.
        floor: added to the denominator of Eq. 5, relative to the mean variance.
        eps_quantile: quantile of the k-distances at which the search for DBSCAN's eps starts.
        largest_share: eps shrinks until no cluster holds a larger share of the classes.
        min_samples: classes within eps, itself included, that make a class a core sample.
        noise: a noise class joins the cluster of its nearest core sample, or stays alone.
        cluster_unseen: cluster classes without a prior too, with mean 0.
        group_statistic: a super-group's loss: "mean" over its classes of the mean loss a RoI, or
            the "sum" over its classes of the loss sums, divided by the number of all RoIs.
        generator: random numbers from FASA's own generator, or torch's global one.
        prior_sync: processes that train together "gather" their features into one prior, or each
            has a prior, super-groups and probabilities of its own ("none", the official code).
        validation_reduce: validation losses and counts of these processes are summed, or their
            mean is taken (the official code); FASA gets the result.

    Raises:
        ValueError: for a value that breaks its rule.
    """

    m: float = 0.1
    alpha: float = 1.1
    beta: float = 0.9
    virtual_loss_weight: float = 0.1
    start_epoch: int = 1
    initial_scale: float = 1.0
    sampling: Literal["adaptive", "static"] = "adaptive"
    spread: Literal["std", "variance", "ew"] = "std"
    unbiased: bool = True
    single: Literal["zero", "keep"] = "zero"
    combine: Literal["separate", "concat"] = "separate"
    zero_count: Literal["exclude", "error"] = "exclude"
    clamp_negative: bool = False
    clustering: Literal["dbscan", "affinity_propagation", "affinity_propagation_fixed"] = "dbscan"
    distance: Literal["mean_of_ratios", "ratio_of_sums"] = "mean_of_ratios"
    floor: float = 1e-2
    eps_quantile: float = 0.5
    largest_share: float = 0.25
    min_samples: int = 2
    noise: Literal["nearest", "singleton"] = "nearest"
    cluster_unseen: bool = False
    group_statistic: Literal["mean", "sum"] = "mean"
    generator: Literal["own", "global"] = "own"
    prior_sync: Literal["gather", "none"] = "gather"
    validation_reduce: Literal["sum", "mean"] = "sum"

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Raise a ValueError that names the first rule broken, the value and the remedy."""
        for name, kind in _KINDS.items():
            _check_kind(name, kind, getattr(self, name))
        for name, (lowest, highest, includes_lowest) in _BOUNDS.items():
            value = getattr(self, name)
            above = value >= lowest if includes_lowest else value > lowest
            if not (above and value <= highest and math.isfinite(value)):
                left, right = "[" if includes_lowest else "(", ")" if highest == math.inf else "]"
                interval = f"{left}{lowest:g}, {highest:g}{right}"
                raise ValueError(f"{name} must lie in {interval}, not {value!r}: choose it there")


def _check_kind(name: str, kind: type, value: object) -> None:
    choices = get_args(kind)
    if choices and value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}: choose one")
    if not choices:
        accepted = (int, float) if kind is float else kind
        is_flag = isinstance(value, bool)
        if not isinstance(value, accepted) or is_flag != (kind is bool):
            raise ValueError(f"{name} must be of type {kind.__name__}, not {value!r}: pass one")


_KINDS = get_type_hints(FASAOptions)

# Lowest and highest value, and whether the lowest is allowed itself.
_BOUNDS = {
    "m": (0, 1, False),
    "alpha": (1, math.inf, True),
    "beta": (0, 1, False),
    "virtual_loss_weight": (0, math.inf, True),
    "start_epoch": (0, math.inf, True),
    "initial_scale": (0, math.inf, False),
    "floor": (0, math.inf, True),
    "eps_quantile": (0, 1, False),
    "largest_share": (0, 1, False),
    "min_samples": (1, math.inf, True),
}

PAPER = FASAOptions()

OFFICIAL = FASAOptions(
    spread="variance",
    zero_count="error",
    clustering="affinity_propagation",
    cluster_unseen=True,
    group_statistic="sum",
    generator="global",
    prior_sync="none",
    validation_reduce="mean",
)
