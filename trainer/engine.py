"""Train, adapt, evaluate, keep: the life of one run. No SQL, no torchvision internals.

The epoch number is that of the epoch at work, counted from 0.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from trainer.checkpoint import load_checkpoint, save_checkpoint
from trainer.config import RunConfig
from trainer.console import Console
from trainer.control import RunControl, StopRequested
from trainer.evaluation import EvaluationResult
from trainer.recorder import Recorder
from trainer.schedule import learning_rate_factor, set_learning_rate
from trainer.trainable_model import TrainableModel
from trainer.training_data import TrainingData, adaptation_loader, train_indices, train_loader

Batch = tuple[list[Tensor], list[dict[str, Tensor]]]


Evaluate = Callable[[Callable[[int], None]], EvaluationResult | None]


class LossNotFinite(RuntimeError):
    """A training loss became NaN or infinite; the message names step, images and losses."""


@dataclass
class Position:
    """How far a run has come.

    Attributes:
        step: training steps done.
        epoch: the epoch at work, from 0; equal to the number of epochs when all are done.
        batch: batches done in it.
        adapted: whether its adaptation is done too.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    adapted: bool = False


class Trainer:
    """Runs the epochs of one run; ready objects come in.

    Args:
        config: the run's configuration.
        data: its data sets.
        model: on `device`.
        optimizers: the first one trains the classifier.
        evaluate: gives the AP, or None without a test set; it is handed a function to call
            after each batch with the number of batches there are.
        recorder: writes to the run log.
        control: what people ask of the run.
        console: what the terminal shows.
        checkpoints: folder for them.
        device: where the model is.
    """

    def __init__(
        self,
        *,
        config: RunConfig,
        data: TrainingData,
        model: TrainableModel,
        optimizers: list[torch.optim.Optimizer],
        evaluate: Evaluate,
        recorder: Recorder,
        control: RunControl,
        console: Console,
        checkpoints: Path,
        device: torch.device,
    ) -> None:
        self.config = config
        self.data = data
        self.model = model
        self.optimizers = optimizers
        self.evaluate = evaluate
        self.recorder = recorder
        self.control = control
        self.console = console
        self.checkpoints = checkpoints
        self.device = device
        self.at = Position()
        self.total_steps = self._batches_in_epoch(0) * config.epochs

    def resume(self, checkpoint: Path) -> None:
        """Go back to where `checkpoint` was written."""
        self.at = Position(
            **load_checkpoint(checkpoint, model=self.model, optimizers=self.optimizers)
        )

    def run(self) -> None:
        """All epochs that are left.

        Raises:
            StopRequested: when somebody ended the run; a checkpoint is written first.
            LossNotFinite: when training diverged; the last checkpoint is kept.
        """
        self._progress("training")
        if self.at.step == 0:
            self.recorder.knobs(step=0, epoch=0)
        try:
            while self.at.epoch < self.config.epochs:
                self._train_epoch()
                if not self.at.adapted:
                    self._adapt()
                    self.at.adapted = True
                self._evaluate()
                self.at = Position(self.at.step, self.at.epoch + 1)
                self._keep(every=self.config.checkpoint_every)
            self._progress("done")
        except StopRequested:
            self._keep()
            raise

    def _progress(self, phase: str) -> None:
        self.recorder.progress(
            phase,
            step=self.at.step,
            total_steps=self.total_steps,
            epoch=self.at.epoch,
            epochs=self.config.epochs,
        )
        self.recorder.wait_while_disk_full(give_up=self.control.is_ending)

    def _batches_in_epoch(self, epoch: int) -> int:
        images = len(train_indices(self.config, self.data.train, epoch=epoch))
        return math.ceil(images / self.config.batch_size)

    def _train_epoch(self) -> None:
        if self.model.fasa is not None:
            self.model.fasa.set_epoch(self.at.epoch)
        if self.at.batch == 0:
            self.model.statistics.reset()
        self.model.train()
        batches = self._batches_in_epoch(self.at.epoch)
        loader = train_loader(
            self.config, self.data.train, epoch=self.at.epoch, skip_batches=self.at.batch
        )
        self.console.phase(self._label("training"), done=self.at.batch)
        for batch, loader_seconds in _timed(loader):
            self._listen()
            self._step(batch, loader_seconds, batches)

    def _step(self, batch: Batch, loader_seconds: float, batches: int) -> None:
        started = time.perf_counter()
        fraction = self.at.epoch + self.at.batch / batches
        factor = learning_rate_factor(self.config, step=self.at.step, epoch=fraction)
        set_learning_rate(self.optimizers, factor)
        losses = self._optimise(*self._to_device(batch))
        self._refuse_not_finite(losses, batch)
        self.at.step += 1
        self.at.batch += 1
        self.recorder.step(
            losses,
            step=self.at.step,
            epoch=self.at.epoch,
            learning_rate=self.optimizers[-1].param_groups[0]["lr"],
            images=len(batch[0]),
            loader_seconds=loader_seconds,
            step_seconds=time.perf_counter() - started,
        )
        self._progress("training")
        if self.at.step == 1 or self.at.step % self.config.snapshot_every == 0:
            self.recorder.snapshot(step=self.at.step, epoch=self.at.epoch)
        self.console.advance(f"loss {sum(losses.values()):.3f}", total=batches)

    def _listen(self) -> None:
        """Take commands: before every step of training, and every batch of a pass."""
        where = {"step": self.at.step, "epoch": self.at.epoch}
        applied = self.control.at_step(**where)
        if "set" in applied:
            self.recorder.knobs(**where)
        if "checkpoint" in applied:
            self._keep()

    def _optimise(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, float]:
        losses: dict[str, Tensor] = self.model(images, targets)
        total = torch.stack(list(losses.values())).sum()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        if self.config.gradient_clip:
            trainable = [p for p in self.model.parameters() if p.requires_grad]
            torch.nn.utils.clip_grad_norm_(trainable, self.config.gradient_clip)
        if bool(total.isfinite()):  # a step on NaN would spoil the weights beyond rescue
            for optimizer in self.optimizers:
                optimizer.step()
        return {name: float(value.detach()) for name, value in losses.items()}

    def _refuse_not_finite(self, losses: dict[str, float], batch: Batch) -> None:
        if all(math.isfinite(value) for value in losses.values()):
            return
        images = [int(target["image_id"]) for target in batch[1]]
        shown = ", ".join(f"{name} {value:g}" for name, value in losses.items())
        raise LossNotFinite(
            f"the loss is not finite at step {self.at.step} on images {images} ({shown}): "
            "lower the learning rate or the gradient clip, and go on from the last checkpoint"
        )

    def _adapt(self) -> None:
        """The validation-loss pass, and FASA's decision on every probability.

        A baseline runs the pass too, so that its validation losses can be compared.
        """
        self.model.eval()
        num = len(self.data.categories) + 1
        loss_sum = torch.zeros(num, dtype=torch.float64, device=self.device)
        count = torch.zeros(num, dtype=torch.int64, device=self.device)
        loader = adaptation_loader(self.config, self.data.holdout, epoch=self.at.epoch)
        self.console.phase(self._label("validation"))
        for batch in loader:
            self._listen()
            self._progress("validation")
            batch_sum, batch_count = self.model.validation_losses(
                *self._to_device(batch), same_rois=self.config.validation_pipeline == "test"
            )
            loss_sum += batch_sum
            count += batch_count
            self.console.advance(total=len(loader))
        where = {"step": self.at.step, "epoch": self.at.epoch}
        self.recorder.validation(loss_sum, count, **where)
        if self.model.fasa is not None:
            self.recorder.adaptation(self.model.fasa.adapt(loss_sum, count), **where)
        self.recorder.snapshot(**where)

    def _evaluate(self) -> None:
        done = self.at.epoch + 1
        if done % self.config.evaluate_every and done < self.config.epochs:
            return
        self.console.phase(self._label("evaluation"))
        result = self.evaluate(self._evaluated_batch)
        if result is None:
            return
        self.recorder.evaluation(result, step=self.at.step, epoch=self.at.epoch)
        shown = "  ".join(
            f"{name} {result.metrics[f'segm/{name}']:.1f}"
            for name in ("AP", "AP_r", "AP_c", "AP_f")
            if f"segm/{name}" in result.metrics  # a group without objects has no figure
        )
        self.console.say(f"epoch {done}/{self.config.epochs}  mask {shown}")

    def _evaluated_batch(self, total: int) -> None:
        self._listen()
        self._progress("evaluation")
        self.console.advance(total=total)

    def _keep(self, every: int = 1) -> None:
        """Write a checkpoint at the end of every `every`-th epoch, and at the end of the run."""
        if self.at.epoch % every and self.at.epoch < self.config.epochs:
            return
        self.recorder.flush()
        save_checkpoint(
            self.checkpoints,
            model=self.model,
            optimizers=self.optimizers,
            progress=vars(self.at),
            keep=self.config.keep_checkpoints,
        )

    def _label(self, phase: str) -> str:
        return f"{phase} {self.at.epoch + 1}/{self.config.epochs}"

    def _to_device(self, batch: Batch) -> Batch:
        images, targets = batch
        return (
            [image.to(self.device, non_blocking=True) for image in images],
            [
                {
                    name: value.to(self.device, non_blocking=True)
                    if isinstance(value, Tensor)
                    else value
                    for name, value in target.items()
                }
                for target in targets
            ],
        )


def _timed(loader: torch.utils.data.DataLoader) -> Iterator[tuple[Batch, float]]:
    """Each batch with the seconds spent waiting for it."""
    batches = iter(loader)
    while True:
        started = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - started
