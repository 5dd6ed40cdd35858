"""FASA: feature augmentation and sampling adaptation, for any classifier of feature vectors.

A training step calls `observe` with the classifier's input and adds `virtual_loss` to the real
loss; an epoch ends with `adapt`. Nothing here knows of detection.

Shape glossary: C foreground classes, d feature length, N RoIs (or images) of a step,
M virtual features of a step, K logits of the classifier. Labels are 0..C-1; background is C.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fasa_core.adaptive_sampling import AdaptationReport, AdaptiveSampling
from fasa_core.options import PAPER, FASAOptions
from fasa_core.prior import FeaturePrior
from fasa_core.super_groups import form_super_groups
from fasa_core.virtual_features import draw_virtual_features

_KNOBS = ("m", "alpha", "beta", "virtual_loss_weight")


class ClassificationLoss(Protocol):
    """The mean loss of logits [rows, K] over rows with a label >= 0; 0 when there is none.

    `virtual=True` forbids any change of the loss's own state.
    """

    def __call__(self, logits: Tensor, labels: Tensor, *, virtual: bool) -> Tensor:
        """The scalar loss."""


class GatherRows(Protocol):
    """Joins the rows of all processes that train together; each of them calls it."""

    def __call__(self, rows: Tensor) -> Tensor:
        """[N, ...] rows of all processes [n, ...], in the same order everywhere; n may be 0."""


class FASA(nn.Module):
    """Feature augmentation (the prior and its draws) and adaptive feature sampling.

    Where several processes train together, `gather` gives all of them one prior. For one
    probability everywhere, sum `loss_sum` and `count` over them, call `adapt` in one, and copy the
    buffers of its `prior` and `sampling` to the others. Without `gather`, or with
    `prior_sync="none"`, each holds its own prior, as in the official code.

    Args:
        num_classes: C.
        feature_dim: d.
        class_counts: [C] training instances N_c.
        options: every choice left open; `PAPER` or `OFFICIAL`, or your own.
        seed: of the draws.
        rank: of this process among those that train together, so that each draws its own.
        gather: joins the observed rows of these processes; None where there is one.

    Raises:
        ValueError: for counts that are negative, missing or (with `zero_count="error"`) zero.
    """

    drawn: Tensor

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        class_counts: Tensor | Sequence[int],
        options: FASAOptions = PAPER,
        *,
        seed: int = 0,
        rank: int = 0,
        gather: GatherRows | None = None,
    ) -> None:
        super().__init__()
        counts = torch.as_tensor(class_counts)
        if counts.shape != (num_classes,):
            raise ValueError(
                f"class_counts must be [{num_classes}], one a class, not {list(counts.shape)}: "
                "count the training instances of every class"
            )
        self.options = options
        self.epoch = 0
        self.prior = FeaturePrior(
            num_classes,
            feature_dim,
            spread=options.spread,
            unbiased=options.unbiased,
            single=options.single,
        )
        self.sampling = AdaptiveSampling(
            counts,
            initial_scale=options.initial_scale,
            zero_count=options.zero_count,
            group_statistic=options.group_statistic,
            static=options.sampling == "static",
        )
        self._gather = gather if options.prior_sync == "gather" else None
        self.register_buffer("drawn", torch.zeros(num_classes, dtype=torch.int64))
        self._generator: torch.Generator | None = None
        if options.generator == "own":
            entropy = np.random.SeedSequence((seed, rank)).generate_state(1, np.uint64)
            self._generator = torch.Generator().manual_seed(int(entropy[0]))

    # A training step

    def observe(self, features: Tensor, labels: Tensor) -> None:
        """Move the prior towards the features of a step (Eq. 2), those of all processes.

        With `gather` every process calls it in every step, without features too.

        Args:
            features: [N, d] input of the classifier, of any float dtype.
            labels: [N] int64; rows outside 0..C-1 are left out.
        """
        if self._gather is not None:
            counted = (labels >= 0) & (labels < len(self.mean))  # background need not travel
            features = self._gather(features.detach()[counted].to(self.mean.dtype))
            labels = self._gather(labels[counted])
        self.prior.observe(features, labels, m=self.m)

    @torch.no_grad()
    def sample(self) -> tuple[Tensor, Tensor]:
        """Draw the virtual features of a step (Eq. 3): one for each class with u_c < p_c.

        Returns:
            x [M, d] and y [M]. M is 0 before `start_epoch`. A class without a prior keeps its
            row, with the label `IGNORE`.
        """
        classes = torch.empty(0, dtype=torch.int64)
        if self.epoch >= self.options.start_epoch:
            classes = self.sampling.draw(self._generator)
        x, y = draw_virtual_features(
            self.prior,
            classes,
            generator=self._generator,
            clamp_negative=self.options.clamp_negative,
        )
        self.drawn.index_add_(0, y.clamp(min=0), (y >= 0).long())
        return x, y

    def virtual_loss(
        self,
        classify: Callable[[Tensor], Tensor],
        cls_loss: ClassificationLoss,
        *,
        real_loss: Tensor | None = None,
        real_count: Tensor | int | None = None,
    ) -> Tensor:
        """The loss of this step's virtual features: a scalar to add to the real loss.

        "separate": virtual_loss_weight * cls_loss(classify(x), y).
        "concat": w (virtual - real) with w = M / (M + N), which makes the sum the mean over
        real and virtual rows together.

        With M = 0 the classifier still takes part, with gradients of 0, so that no process of
        a distributed run is left with unused parameters.

        Args:
            classify: features [M, d] to logits [M, K].
            cls_loss: see `ClassificationLoss`.
            real_loss: the real rows' mean loss; "concat" needs it.
            real_count: N, the number of real rows in that mean; "concat" needs it.
        """
        x, y = self.sample()
        logits = classify(x)
        if not len(y):
            return 0.0 * logits.sum()
        loss = cls_loss(logits, y, virtual=True)
        if self.options.combine == "separate":
            return self.virtual_loss_weight * loss
        if real_loss is None or real_count is None:
            raise ValueError(
                'combine="concat" averages over real and virtual rows, but real_loss or '
                "real_count is None: pass both"
            )
        virtual_count = (y >= 0).sum()
        return virtual_count / (virtual_count + real_count) * (loss - real_loss)

    # The end of an epoch

    def adapt(self, loss_sum: Tensor, count: Tensor) -> AdaptationReport:
        """Form super-groups and move their probabilities by their validation losses.

        Args:
            loss_sum: [C] or [C + 1] validation loss summed over the RoIs of each class.
            count: [C] or [C + 1] number of these RoIs, background last; the official
                statistic ("sum") divides by all of them, so give it background too.

        Returns:
            Why every probability is what it is.
        """
        groups = form_super_groups(self.mean, self.prior.variance, self.n_seen, self.options)
        return self.sampling.adapt(
            groups, loss_sum, count, alpha=self.alpha, beta=self.beta, epoch=self.epoch
        )

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch, counted from 0; virtual features start at `options.start_epoch`."""
        self.epoch = epoch

    # Knobs that can turn between two steps

    def set_knobs(
        self,
        *,
        alpha: float | None = None,
        beta: float | None = None,
        m: float | None = None,
        virtual_loss_weight: float | None = None,
    ) -> None:
        """Change knobs from the next step on. None leaves one as it is.

        Raises:
            ValueError: for a value that breaks its rule; then nothing has changed.
        """
        given = {
            "alpha": alpha,
            "beta": beta,
            "m": m,
            "virtual_loss_weight": virtual_loss_weight,
        }
        changes: dict[str, Any] = {name: v for name, v in given.items() if v is not None}
        self.options = replace(self.options, **changes)

    @property
    def m(self) -> float:
        """Momentum of the prior."""
        return self.options.m

    @property
    def alpha(self) -> float:
        """Factor on p_c when the loss fell."""
        return self.options.alpha

    @property
    def beta(self) -> float:
        """Factor on p_c when the loss rose."""
        return self.options.beta

    @property
    def virtual_loss_weight(self) -> float:
        """Weight of the virtual loss."""
        return self.options.virtual_loss_weight

    # What can be looked at

    @property
    def mean(self) -> Tensor:
        """[C, d] mu_c."""
        return self.prior.mean

    @property
    def spread(self) -> Tensor:
        """[C, d] sigma_c, or sigma_c^2 as `options.spread` says."""
        return self.prior.spread

    @property
    def n_seen(self) -> Tensor:
        """[C] int64 rows observed."""
        return self.prior.n_seen

    @property
    def effective_samples(self) -> Tensor:
        """[C] effective number of rows behind mu_c; 0 if never seen, see `FeaturePrior`."""
        return self.prior.effective_samples

    @property
    def probability(self) -> Tensor:
        """[C] p_c."""
        return self.sampling.probability

    @property
    def base_probability(self) -> Tensor:
        """[C] p_c of Eq. 4 with s_c = 1."""
        return self.sampling.base_probability

    @property
    def scale(self) -> Tensor:
        """[C] s_c of Eq. 4: p_c relative to `base_probability`; 0 where that is 0."""
        base = self.base_probability
        return torch.where(base > 0, self.probability / base, 0.0)

    @property
    def group_of_class(self) -> Tensor:
        """[C] int64 super-group of the last adaptation, -1 for none."""
        return self.sampling.group_of_class

    # What a checkpoint holds besides the buffers

    def get_extra_state(self) -> dict[str, Any]:
        """Knobs, epoch and the generator's state, in types that `weights_only=True` loads."""
        generator = None if self._generator is None else self._generator.get_state()
        knobs = {name: getattr(self.options, name) for name in _KNOBS}
        return {"knobs": knobs, "epoch": self.epoch, "generator": generator}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take over what `get_extra_state` gave."""
        self.set_knobs(**state["knobs"])
        self.set_epoch(state["epoch"])
        if self._generator is not None and state["generator"] is not None:
            self._generator.set_state(state["generator"].cpu())
