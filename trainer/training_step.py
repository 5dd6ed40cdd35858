"""One step of training: the losses of a batch, their gradients, and a step of the optimizers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from trainer.distributed import ALONE, Ranks
from trainer.mixed_precision import GradientScale, Precision, forward_pass
from trainer.trainable_model import TrainableModel

Batch = tuple[list[Tensor], list[dict[str, Tensor]]]


class LossNotFinite(RuntimeError):
    """A loss or gradient became NaN or infinite; the message names step, images and losses."""


class OutOfMemory(RuntimeError):
    """A GPU had no memory left for a step; the message names step, images and remedy."""


class TrainingStep:
    """Moves a model by one batch, of which every rank has a part.

    With several ranks the gradient and the losses are the means over the ranks' own, weighed by
    their images. That is what one process makes of the joined batch for every loss that is a mean
    over images, or over as many RoIs or anchors in each; the mask loss (a mean over positive
    RoIs), images with too few RoIs, and the virtual loss (every rank draws its own features) are
    means of the ranks' means, as with DistributedDataParallel. A batch norm that trains normalises
    by a rank's own images; its running statistics are the mean of all ranks' after every step, so
    that all hold, test and keep the same model.

    Args:
        model: on `device`.
        optimizers: of its parameters.
        gradient_clip: bound on the norm of the gradient; 0 for none.
        device: where the model is.
        precision: of the forward pass, as in `RunConfig`.
        ranks: that train together.
    """

    def __init__(
        self,
        *,
        model: TrainableModel,
        optimizers: list[torch.optim.Optimizer],
        gradient_clip: float,
        device: torch.device,
        precision: Precision = "float32",
        ranks: Ranks = ALONE,
    ) -> None:
        self._model = model
        self._optimizers = optimizers
        self._most = gradient_clip or math.inf
        self._device = device
        self._precision: Precision = precision
        self._scale = GradientScale(precision, device)
        self._ranks = ranks
        self._loss_names: list[str] = []

    def __call__(self, batch: Batch, *, step: int, images: int | None = None) -> dict[str, float]:
        """The losses of a batch, each under its own key, after the step.

        Args:
            batch: images and targets, of this rank; it may have none.
            step: training steps done before; for the messages.
            images: of all ranks together; None where there is one.

        Raises:
            LossNotFinite: a loss or the gradient is not; the weights are as they were.
            OutOfMemory: the batch does not fit on the GPU.
        """
        try:
            share = len(batch[0]) / (images or len(batch[0]))
            losses, gradient = self._optimise(*to_device(batch, self._device), share)
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(
                f"the GPU has no memory left at step {step} on images "
                f"{_image_ids(batch)}: lower batch_size or image_max_size "
                f"({str(error).splitlines()[0]})"
            ) from None
        refuse_not_finite(losses, gradient, batch, step=step, ranks=self._ranks)
        return losses

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the model and the optimizers."""
        return self._scale.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave; a run of another precision begins anew."""
        self._scale.load_state(state)

    def _optimise(
        self, images: list[Tensor], targets: list[dict[str, Tensor]], share: float
    ) -> tuple[dict[str, float], float]:
        """One step; returns the losses and the norm of the gradient before clipping.

        A gradient that float16 could not hold counts as 0: the step is left out.
        """
        for optimizer in self._optimizers:
            optimizer.zero_grad()
        losses: dict[str, Tensor] = {}
        if images:
            with forward_pass(self._precision, self._device):
                losses = self._model(images, targets)
            self._scale.backward(torch.stack(list(losses.values())).sum())
        else:
            self._observe_nothing()
        trainable = [p for p in self._model.parameters() if p.requires_grad]
        self._ranks.sum_gradients(trainable, share)
        if self._ranks.world > 1:
            self._ranks.sum_shares(_moving_statistics(self._model), share)
        losses = self._joined(losses, share)
        total = torch.stack(list(losses.values())).sum()
        self._scale.unscale(self._optimizers)
        norm = torch.nn.utils.clip_grad_norm_(trainable, self._most)
        if bool((total + norm).isfinite()):  # a step on NaN would spoil the weights beyond rescue
            self._scale.step(self._optimizers)
        elif bool(total.isfinite()) and self._scale.can_scale_down:
            self._scale.leave_out()
            norm = torch.zeros_like(norm)
        return {name: float(value.detach()) for name, value in losses.items()}, float(norm)

    def _joined(self, losses: dict[str, Tensor], share: float) -> dict[str, Tensor]:
        """The losses of the joined batch, on every rank."""
        if self._ranks.world == 1:
            return losses
        if not self._loss_names:  # a rank without an image does not know them
            self._loss_names = self._ranks.broadcast(list(losses))
        none = torch.zeros((), device=self._device)
        own = torch.stack([losses.get(name, none).detach().float() for name in self._loss_names])
        joined = self._ranks.sum(own * share)
        return dict(zip(self._loss_names, joined.unbind(), strict=True))

    def _observe_nothing(self) -> None:
        """What a rank without an image adds to the priors, for which all ranks wait."""
        for stage in self._model.stages:
            if stage.fasa is not None:
                fasa = stage.fasa
                fasa.observe(fasa.mean[:0], fasa.n_seen[:0])


def _moving_statistics(model: TrainableModel) -> list[Tensor]:
    """The running means and variances that a training step moves."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    buffers = (buffer for norm in norms for buffer in (norm.running_mean, norm.running_var))
    return [buffer for buffer in buffers if buffer is not None]


def refuse_not_finite(
    losses: dict[str, float], gradient: float, batch: Batch, *, step: int, ranks: Ranks = ALONE
) -> None:
    """Raise `LossNotFinite`, on all ranks, unless all losses and the gradient's norm are finite."""
    if all(map(math.isfinite, (*losses.values(), gradient))):
        return
    shown = ", ".join(f"{name} {value:g}" for name, value in losses.items())
    images = [image for part in ranks.gather_objects(_image_ids(batch)) for image in part]
    raise LossNotFinite(
        f"loss or gradient is not finite at step {step} on images {images} "
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
