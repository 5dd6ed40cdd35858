"""One step of training: the losses of a batch, their gradients, and a step of the optimizers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainer.trainable_model import TrainableModel

Batch = tuple[list[Tensor], list[dict[str, Tensor]]]


class LossNotFinite(RuntimeError):
    """A loss or gradient became NaN or infinite; the message names step, images and losses."""


class OutOfMemory(RuntimeError):
    """A GPU had no memory left for a step; the message names step, images and remedy."""


class TrainingStep:
    """Moves a model by one batch.

    Args:
        model: on `device`.
        optimizers: of its parameters.
        gradient_clip: bound on the norm of the gradient; 0 for none.
        device: where the model is.
    """

    def __init__(
        self,
        *,
        model: TrainableModel,
        optimizers: list[torch.optim.Optimizer],
        gradient_clip: float,
        device: torch.device,
    ) -> None:
        self._model = model
        self._optimizers = optimizers
        self._most = gradient_clip or math.inf
        self._device = device

    def __call__(self, batch: Batch, *, step: int) -> dict[str, float]:
        """The losses of a batch, each under its own key, after the step.

        Args:
            batch: images and targets.
            step: training steps done before; for the messages.

        Raises:
            LossNotFinite: a loss or the gradient is not; the weights are as they were.
            OutOfMemory: the batch does not fit on the GPU.
        """
        try:
            losses, gradient = self._optimise(*to_device(batch, self._device))
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(
                f"the GPU has no memory left at step {step} on images "
                f"{_image_ids(batch)}: lower batch_size or image_max_size "
                f"({str(error).splitlines()[0]})"
            ) from None
        refuse_not_finite(losses, gradient, batch, step=step)
        return losses

    def _optimise(
        self, images: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> tuple[dict[str, float], float]:
        """One step; returns the losses and the norm of the gradient before clipping."""
        losses: dict[str, Tensor] = self._model(images, targets)
        total = torch.stack(list(losses.values())).sum()
        for optimizer in self._optimizers:
            optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        trainable = [p for p in self._model.parameters() if p.requires_grad]
        norm = torch.nn.utils.clip_grad_norm_(trainable, self._most)
        if bool((total + norm).isfinite()):  # a step on NaN would spoil the weights beyond rescue
            for optimizer in self._optimizers:
                optimizer.step()
        return {name: float(value.detach()) for name, value in losses.items()}, float(norm)


def refuse_not_finite(
    losses: dict[str, float], gradient: float, batch: Batch, *, step: int
) -> None:
    """Raise `LossNotFinite` unless all losses and the gradient's norm are finite."""
    if all(map(math.isfinite, (*losses.values(), gradient))):
        return
    shown = ", ".join(f"{name} {value:g}" for name, value in losses.items())
    raise LossNotFinite(
        f"loss or gradient is not finite at step {step} on images {_image_ids(batch)} "
        f"({shown}, gradient norm {gradient:g}): lower the learning rate or the gradient "
        "clip, and fork the run from its last checkpoint"
    )


def to_device(batch: Batch, device: torch.device) -> Batch:
    """A batch whose tensors are on `device`."""
    images, targets = batch
    return (
        [image.to(device, non_blocking=True) for image in images],
        [
            {
                name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
                for name, value in target.items()
            }
            for target in targets
        ],
    )


def _image_ids(batch: Batch) -> list[int]:
    return [int(target["image_id"]) for target in batch[1]]
