"""Adaptive feature sampling: the probability p_c of each class and its steps (Eq. 4, section 3.3).

Shape glossary: C foreground classes; slot C of a count is background.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fasa_core.super_groups import SuperGroups

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Evaluation = tuple[Floats, Floats]  # loss sums and RoI counts, [C + 1] each
GroupLosses = tuple[Mask, float | None, float | None]  # deciding classes [C], before, now
Reason = Literal["fell", "rose", "tie", "baseline", "no validation data", "static"]


@dataclass(frozen=True)
class GroupReport:
    """What happened to one super-group, and why.

    Attributes:
        group: number of the super-group.
        members: its classes.
        noise_members: those that the clustering called noise and that were attached to it.
        with_data: those whose losses decided: with validation data in both evaluations (at the
            baseline, in this one).
        loss_before: loss of the group in the evaluation before; None without one.
        loss_after: loss of the group now; None without data.
        factor: on the probability of every member: alpha, beta or 1.
        reason: why this factor.
        clamped: members whose probability was held at 1.
    """

    group: int
    members: list[int]
    noise_members: list[int]
    with_data: list[int]
    loss_before: float | None
    loss_after: float | None
    factor: float
    reason: Reason
    clamped: list[int]


@dataclass(frozen=True)
class AdaptationReport:
    """Explains every probability after one adaptation.

    Attributes:
        epoch: the epoch that was adapted after.
        eps: DBSCAN's radius; None when DBSCAN did not run.
        eps_quantile: quantile of the k-distances that gave eps; None likewise.
        num_groups: number of super-groups.
        noise_share: share of the clustered classes that were noise.
        largest_group: classes in the largest super-group.
        groups: one entry a super-group.
        group_of_class: [C], -1 for classes that were not clustered: their p_c stays.
        decision: [C] 1 raised, -1 lowered, 0 left.
        probability_before: [C] p_c.
        probability_after: [C] p_c.
    """

    epoch: int
    eps: float | None
    eps_quantile: float | None
    num_groups: int
    noise_share: float
    largest_group: int
    groups: list[GroupReport]
    group_of_class: NDArray[np.int64]
    decision: NDArray[np.int64]
    probability_before: Floats
    probability_after: Floats

    def to_dict(self) -> dict[str, Any]:
        """The report in plain Python values, ready for json."""
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in asdict(self).items()
        }


def inverse_frequency(
    class_counts: Tensor, *, zero_count: Literal["exclude", "error"] = "exclude"
) -> Tensor:
    """(1 / N_c) / sum_k (1 / N_k): Eq. 4 with s_c = 1, as float64 [C].

    Args:
        class_counts: [C] training instances N_c of every class.
        zero_count: a class with N_c = 0 gets 0 and stays outside the sum, or is refused.

    Raises:
        ValueError: for negative or no counts, or zero ones where these are refused.
    """
    counts = class_counts.double()
    if counts.ndim != 1 or not (counts >= 0).all() or not (counts > 0).any():
        raise ValueError(
            f"class_counts must be [C] with no negative and some positive count, not "
            f"{class_counts.tolist()}: count the training instances of every class"
        )
    empty = counts == 0
    if zero_count == "error" and empty.any():
        raise ValueError(
            f"class {int(empty.nonzero()[0])} has 0 training instances, which "
            'zero_count="error" refuses: leave the class out or choose "exclude"'
        )
    inverse = torch.where(empty, 0.0, 1 / counts)
    return inverse / inverse.sum()


class AdaptiveSampling(nn.Module):
    """The probabilities p_c, drawn from every step and adapted every epoch.

    Args:
        class_counts: [C] training instances N_c.
        initial_scale: s_c of Eq. 4 at the start.
        zero_count: see `inverse_frequency`.
        group_statistic: how the loss of a super-group is formed, see `FASAOptions`.
        static: never change p_c.

    Buffers:
        base_probability: [C] Eq. 4 with s_c = 1.
        probability: [C] p_c. float32: a step multiplies it by about 1, so that rounding stays
            near 1e-7 of it; the draw compares in float64, since p_c goes down to 1e-7 itself.
        group_of_class: [C] int64 super-group of the last adaptation, -1 for none.
        previous_loss, previous_count: [C + 1] float64 loss sums and RoI counts of the last
            evaluation, background last.
        evaluations: [] int64, how many there were.
    """

    base_probability: Tensor
    probability: Tensor
    group_of_class: Tensor
    previous_loss: Tensor
    previous_count: Tensor
    evaluations: Tensor

    def __init__(
        self,
        class_counts: Tensor,
        *,
        initial_scale: float = 1.0,
        zero_count: Literal["exclude", "error"] = "exclude",
        group_statistic: Literal["mean", "sum"] = "mean",
        static: bool = False,
    ) -> None:
        super().__init__()
        self.group_statistic = group_statistic
        self.static = static
        base = inverse_frequency(class_counts, zero_count=zero_count)
        slots = len(base) + 1
        self.register_buffer("base_probability", base.float())
        self.register_buffer("probability", (initial_scale * base).clamp(max=1).float())
        self.register_buffer("group_of_class", torch.full((len(base),), -1))
        self.register_buffer("previous_loss", torch.zeros(slots, dtype=torch.float64))
        self.register_buffer("previous_count", torch.zeros(slots, dtype=torch.float64))
        self.register_buffer("evaluations", torch.tensor(0))
        self._on_host: tuple[tuple[int, int], Tensor] | None = None

    def draw(self, generator: torch.Generator | None) -> Tensor:
        """The classes with u_c < p_c, u_c ~ U(0, 1): [M] int64 on the CPU, in order.

        Drawn on the host, so that M is known without waiting for the device.
        """
        p = self._host_probability()
        u = torch.rand(p.shape, dtype=p.dtype, generator=generator)
        return (u < p).nonzero()[:, 0]

    def _host_probability(self) -> Tensor:
        """p_c as float64 on the CPU, copied from the device only after it changed."""
        state = (id(self.probability), self.probability._version)
        if self._on_host is None or self._on_host[0] != state:
            self._on_host = (state, self.probability.cpu().double())
        return self._on_host[1]

    @torch.no_grad()
    def adapt(
        self,
        groups: SuperGroups,
        loss_sum: Tensor,
        count: Tensor,
        *,
        alpha: float,
        beta: float,
        epoch: int,
    ) -> AdaptationReport:
        """Per super-group: its loss fell, p_c <- min(1, alpha p_c); it rose, p_c <- beta p_c.

        Both evaluations are summed over the groups of now. The first one is only stored.

        Args:
            groups: the current super-groups.
            loss_sum: [C] or [C + 1] validation loss of every class, summed over its RoIs.
            count: [C] or [C + 1] number of these RoIs. Slot C is background; it counts only in
                the denominator of `group_statistic="sum"`.
            alpha: factor for a loss that fell.
            beta: factor for a loss that rose.
            epoch: for the report.

        Raises:
            ValueError: for other shapes, or a value that is negative or not finite.
        """
        loss, number = self._per_slot("loss_sum", loss_sum), self._per_slot("count", count)
        before: Evaluation | None = None
        if self.evaluations:
            before = (self.previous_loss.cpu().numpy(), self.previous_count.cpu().numpy())
        old = self.probability.cpu().numpy().astype(np.float64)
        factors = {"fell": alpha, "rose": beta}
        reports = []
        for group, losses in enumerate(
            _group_losses(groups, (loss, number), before, statistic=self.group_statistic)
        ):
            reason = self._reason(losses)
            factor = factors.get(reason, 1.0)
            reports.append(_explain(group, groups, losses, old, reason=reason, factor=factor))
        new, decision = old.copy(), np.zeros(len(old), dtype=np.int64)
        for report in reports:
            new[report.members] = (old[report.members] * report.factor).clip(0, 1)
            decision[report.members] = {"fell": 1, "rose": -1}.get(report.reason, 0)
        self._store(groups, loss, number, new)
        return AdaptationReport(
            epoch=epoch,
            eps=None if np.isnan(groups.eps) else groups.eps,
            eps_quantile=None if np.isnan(groups.eps_quantile) else groups.eps_quantile,
            num_groups=groups.num_groups,
            noise_share=groups.noise_share,
            largest_group=groups.largest_group,
            groups=reports,
            group_of_class=groups.group_of_class,
            decision=decision,
            probability_before=old,
            probability_after=self.probability.cpu().numpy().astype(np.float64),
        )

    def _reason(self, losses: GroupLosses) -> Reason:
        _, before, after = losses
        if after is None:
            return "no validation data"
        if before is None:
            return "baseline"
        if self.static:
            return "static"
        if after == before:
            return "tie"
        return "fell" if after < before else "rose"

    def _store(self, groups: SuperGroups, loss: Floats, number: Floats, p: Floats) -> None:
        self.probability.copy_(torch.from_numpy(p))
        self.group_of_class.copy_(torch.from_numpy(groups.group_of_class))
        self.previous_loss.copy_(torch.from_numpy(loss))
        self.previous_count.copy_(torch.from_numpy(number))
        self.evaluations += 1
        self._host_probability()  # the device is waited for here anyway, not in the next step

    def _per_slot(self, name: str, values: Tensor) -> Floats:
        """Values [C] or [C + 1] as [C + 1], the background 0 when not given."""
        slots = len(self.previous_count)
        given = values.detach().double().cpu()
        if given.shape not in ((slots - 1,), (slots,)):
            raise ValueError(
                f"{name} must be [{slots - 1}], or [{slots}] with background last, not "
                f"{list(given.shape)}: sum over the RoIs of every class"
            )
        if not (given.isfinite() & (given >= 0)).all():
            raise ValueError(
                f"{name} must be finite and not negative, not {given.tolist()}: "
                "the model has diverged or the sums are wrong"
            )
        padded = np.zeros(slots)
        padded[: len(given)] = given.numpy()
        return padded


def _explain(
    group: int,
    groups: SuperGroups,
    losses: GroupLosses,
    probability: Floats,
    *,
    reason: Reason,
    factor: float,
) -> GroupReport:
    with_data, before, after = losses
    members = groups.group_of_class == group
    return GroupReport(
        group=group,
        members=_indices(members),
        noise_members=_indices(members & groups.noise),
        with_data=_indices(with_data),
        loss_before=before,
        loss_after=after,
        factor=factor,
        reason=reason,
        clamped=_indices(members & (probability * factor > 1)),
    )


def _group_losses(
    groups: SuperGroups,
    after: Evaluation,
    before: Evaluation | None,
    *,
    statistic: Literal["mean", "sum"],
) -> list[GroupLosses]:
    """Per super-group: the [C] mask of classes that decide, its loss before and its loss now.

    "mean": the mean over classes with data in both evaluations of S_c / n_c.
    "sum": the sum over classes of S_c, divided by all RoIs of the evaluation.
    """
    has_data = after[1][:-1] > 0
    if before is not None:
        other = before[1][:-1] > 0
        has_data = has_data & other if statistic == "mean" else has_data | other
    now = _class_losses(after, statistic)
    then = None if before is None else _class_losses(before, statistic)
    reduce = np.mean if statistic == "mean" else np.sum
    result: list[GroupLosses] = []
    for group in range(groups.num_groups):
        deciding = has_data & (groups.group_of_class == group)
        if not deciding.any():
            result.append((deciding, None, None))
            continue
        loss_before = None if then is None else float(reduce(then[deciding]))
        result.append((deciding, loss_before, float(reduce(now[deciding]))))
    return result


def _class_losses(evaluation: Evaluation, statistic: Literal["mean", "sum"]) -> Floats:
    loss, number = evaluation
    below = number[:-1] if statistic == "mean" else number.sum()
    return loss[:-1] / np.maximum(below, 1)


def _indices(mask: Mask) -> list[int]:
    indices: list[int] = np.flatnonzero(mask).tolist()
    return indices
