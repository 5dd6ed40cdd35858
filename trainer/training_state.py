"""Everything that decides how a run goes on: what a checkpoint holds and gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from trainer.checkpoint import CheckpointError
from trainer.distributed import Ranks
from trainer.knobs import Knobs
from trainer.rank_state import forget_counts, join_counts, own_state, set_own_state
from trainer.schedule import load_memory
from trainer.trainable_model import TrainableModel
from trainer.training_step import TrainingStep


@dataclass
class Position:
    """How far a run has come.

    Attributes:
        step: training steps done.
        epoch: the epoch at work, from 0; equal to the number of epochs when all are done.
        batch: batches done in it.
        passes: how many of the passes after it are done: adaptation, evaluation, features.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    passes: int = 0


class TrainingState:
    """Where a run stands, on every rank.

    Args:
        model: that is trained.
        optimizers: the first one trains the classifier.
        train_step: that moves them.
        knobs: what people can turn.
        ranks: that train together.

    Attributes:
        at: how far it has come.
    """

    def __init__(
        self,
        *,
        model: TrainableModel,
        optimizers: list[torch.optim.Optimizer],
        train_step: TrainingStep,
        knobs: Knobs,
        ranks: Ranks,
    ) -> None:
        self._model = model
        self._optimizers = optimizers
        self._train_step = train_step
        self._knobs = knobs
        self._ranks = ranks
        self.at = Position()

    def of_ranks(self) -> list[dict[str, Any]]:
        """`own_state` of every rank, once their counts are joined; all ranks call it."""
        join_counts(self._model, self._ranks)
        return self._ranks.gather_objects(own_state(self._model))

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to where `content` gave `state`. Rates and decays stay as configured.

        Raises:
            CheckpointError: one sentence, when it is of another model.
        """
        own = own_state(self._model)
        own["priors"] = []
        try:
            self._model.load_state_dict(_with_own_fasa(state["model"], self._model.state_dict()))
            for optimizer, values in zip(self._optimizers, state["optimizers"], strict=True):
                load_memory(optimizer, values)
            self._train_step.load_state(state["train_step"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                "the checkpoint does not fit this run's model: " + str(error).splitlines()[0]
            ) from None
        self._knobs.learning_rate_factor = state["learning_rate_factor"]
        states = state["ranks"]  # there may have been fewer ranks, or more
        set_own_state(
            self._model, states[self._ranks.rank] if self._ranks.rank < len(states) else own
        )
        if not self._ranks.is_first:
            forget_counts(self._model)
        self.at = Position(**state["progress"])

    def content(self, ranks: list[dict[str, Any]], commands: list[int]) -> dict[str, Any]:
        """Everything that decides how the run goes on from here.

        Args:
            ranks: from `of_ranks`.
            commands: ids of those that have taken hold.
        """
        return {
            "model": self._model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "train_step": self._train_step.state(),
            "learning_rate_factor": self._knobs.learning_rate_factor,
            "commands": list(commands),
            "ranks": ranks,
            "progress": dict(vars(self.at)),
        }


def _with_own_fasa(stored: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """`stored` for a model with or without FASA, as `own` is: a fork may switch it on or off."""
    fasa = {name for name in stored.keys() ^ own.keys() if "fasa" in name.split(".")}
    kept = {name: value for name, value in stored.items() if name not in fasa}
    return kept | {name: own[name] for name in fasa & own.keys()}
