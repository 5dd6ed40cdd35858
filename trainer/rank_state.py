"""What each rank has of its own: random numbers, its part of the counts, and priors not shared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from torch import Tensor

from fasa_core.adaptive_sampling import AdaptationReport
from fasa_core.fasa import FASA
from trainer.checkpoint import random_state, set_random_state
from trainer.distributed import Ranks
from trainer.trainable_model import TrainableModel


def own_state(model: TrainableModel) -> dict[str, Any]:
    """What a checkpoint keeps of this rank beside what all have in common."""
    fasas = _fasas(model)
    return {
        "random": random_state(),
        "generators": [fasa.get_extra_state()["generator"] for fasa in fasas],
        "priors": [fasa.state_dict() for fasa in fasas if not is_shared(fasa)],
    }


def set_own_state(model: TrainableModel, state: dict[str, Any]) -> None:
    """Take over what `own_state` gave, after the state that all have in common."""
    set_random_state(state["random"])
    fasas = _fasas(model)
    for fasa, generator in zip(fasas, state["generators"], strict=False):
        fasa.set_extra_state({**fasa.get_extra_state(), "generator": generator})
    for fasa, prior in zip([f for f in fasas if not is_shared(f)], state["priors"], strict=False):
        fasa.load_state_dict(prior)


def is_shared(fasa: FASA) -> bool:
    """Whether all ranks have one prior, and so one probability."""
    return fasa.options.prior_sync == "gather"


def adapt_probabilities(
    model: TrainableModel,
    loss_sum: Tensor,
    count: Tensor,
    *,
    reduce: Literal["sum", "mean"],
    ranks: Ranks,
) -> list[AdaptationReport]:
    """FASA's decisions, stage by stage; without FASA, or on a rank that decides nothing, none.

    The first rank decides for all and hands out its priors with it (a GPU adds in no fixed order,
    so that they differ by rounding), unless each rank has a prior of its own.

    Args:
        model: its stages' FASA is adapted.
        loss_sum: [S, C + 1] validation losses of all ranks.
        count: [S, C + 1] RoIs of all ranks.
        reduce: what FASA gets: these sums, or their mean over the ranks.
        ranks: that train together.
    """
    parts = ranks.world if reduce == "mean" else 1
    reports = []
    for stage, stage_sum, stage_count in zip(model.stages, loss_sum, count, strict=True):
        fasa = stage.fasa
        if fasa is None:
            continue
        if ranks.is_first or not is_shared(fasa):
            reports.append(fasa.adapt(stage_sum / parts, stage_count / parts))
        if is_shared(fasa):
            ranks.make_equal([*fasa.prior.buffers(), *fasa.sampling.buffers()])
    return reports


def join_counts(model: TrainableModel, ranks: Ranks) -> None:
    """Add up on the first rank what each counted and summed per class; the others begin anew."""
    if ranks.world == 1:
        return
    for count in _counts(model):
        total = ranks.sum(count)
        count.copy_(total if ranks.is_first else total.zero_())


def forget_counts(model: TrainableModel) -> None:
    """Begin to count anew: the first rank has the counts so far."""
    for count in _counts(model):
        count.zero_()


def _counts(model: TrainableModel) -> Iterator[Tensor]:
    for stage in model.stages:
        yield from stage.statistics.buffers()
    for fasa in _fasas(model):
        yield fasa.drawn


def _fasas(model: TrainableModel) -> list[FASA]:
    return [stage.fasa for stage in model.stages if stage.fasa is not None]
