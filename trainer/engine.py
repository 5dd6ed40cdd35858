"""Train, adapt, evaluate, keep: the life of one run. No SQL, no torchvision internals.

The epoch number is that of the epoch at work, counted from 0.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from trainer.checkpoint import CheckpointError, random_state, set_random_state
from trainer.checkpoint_keeper import CheckpointKeeper
from trainer.config import RunConfig
from trainer.console import Console
from trainer.control import PHASES, Moment, RunControl, StopRequested
from trainer.evaluation import EvaluationResult
from trainer.feature_probe import FeatureProbe
from trainer.knobs import Knobs
from trainer.predictions import PredictionGallery
from trainer.recorder import Recorder
from trainer.schedule import learning_rate_factor, load_memory, set_learning_rate
from trainer.trainable_model import TrainableModel
from trainer.training_data import TrainingData, adaptation_loader, train_indices, train_loader
from trainer.training_step import Batch, TrainingStep, to_device

Evaluate = Callable[[Callable[[int], None], Callable[[], None]], EvaluationResult | None]

_LAST_CHECKPOINT_SECONDS = 5.0  # an ending run waits so long for a full disk or a locked log


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


class Trainer:
    """Runs the epochs of one run; ready objects come in.

    Args:
        config: the run's configuration.
        data: its data sets.
        model: on `device`.
        optimizers: the first one trains the classifier.
        evaluate: gives the AP, or None without a test set; it is handed a function to call
            after each batch with the number of batches there are, and one to call about every
            second while it computes the AP.
        recorder: writes to the run log.
        control: what people ask of the run.
        knobs: what they can turn while it trains.
        probe: takes snapshots of features.
        gallery: keeps what evaluations predict on some test images.
        keeper: of the checkpoints.
        console: what the terminal shows.
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
        knobs: Knobs,
        probe: FeatureProbe,
        gallery: PredictionGallery,
        keeper: CheckpointKeeper,
        console: Console,
        device: torch.device,
    ) -> None:
        self.config = config
        self.data = data
        self.model = model
        self.optimizers = optimizers
        self.evaluate = evaluate
        self.recorder = recorder
        self.control = control
        self.knobs = knobs
        self.probe = probe
        self.gallery = gallery
        self.keeper = keeper
        self.console = console
        self.device = device
        self._train_step = TrainingStep(
            model=model, optimizers=optimizers, gradient_clip=config.gradient_clip, device=device
        )
        self.at = Position()
        self._phase = PHASES[0]
        self._last_reason = ""
        self.total_steps = self._batches_in_epoch(0) * config.epochs

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to where `content` gave `state`. Rates and decays stay as configured.

        Raises:
            CheckpointError: one sentence, when it is of another model.
        """
        try:
            self.model.load_state_dict(_with_own_fasa(state["model"], self.model.state_dict()))
            for optimizer, values in zip(self.optimizers, state["optimizers"], strict=True):
                load_memory(optimizer, values)
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                "the checkpoint does not fit this run's model: " + str(error).splitlines()[0]
            ) from None
        self.knobs.learning_rate_factor = state["learning_rate_factor"]
        set_random_state(state["random"])
        self.at = Position(**state["progress"])

    def content(self) -> dict[str, Any]:
        """Everything that decides how the run goes on from here."""
        return {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "learning_rate_factor": self.knobs.learning_rate_factor,
            "commands": list(self.control.applied),
            "random": random_state(),
            "progress": dict(vars(self.at)),
        }

    def run(self) -> None:
        """All epochs that are left.

        Raises:
            StopRequested: when somebody ended the run; a checkpoint is written first.
            LossNotFinite: when training diverged; the last checkpoint is kept.
            OutOfMemory: when a step does not fit on the GPU.
        """
        self._progress("training")
        if self.at.step == 0:
            self.record_knobs()
        try:
            while self.at.epoch < self.config.epochs:
                self._train_epoch()
                passes = (self._adapt, self._evaluate, self._follow_features)
                for number, work in enumerate(passes[self.at.passes :], self.at.passes + 1):
                    work()
                    self.at.passes = number
                self.at = Position(self.at.step, self.at.epoch + 1)
                if self._is_checkpoint_due():
                    self.keep()
            self._progress("done")
        except StopRequested as stop:
            self._keep_last(stop)
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
        for stage in self.model.stages:
            if stage.fasa is not None:
                stage.fasa.set_epoch(self.at.epoch)
            if self.at.batch == 0:
                stage.statistics.reset()
        is_milestone = self.config.schedule == "steps" and self.at.epoch in self.config.milestones
        if self.at.batch == 0 and is_milestone:
            self.recorder.learning_rate_step(step=self.at.step, epoch=self.at.epoch)
        self.model.train()
        batches = self._batches_in_epoch(self.at.epoch)
        loader = train_loader(
            self.config, self.data.train, epoch=self.at.epoch, skip_batches=self.at.batch
        )
        self._enter("training", done=self.at.batch)
        for batch, loader_seconds in _timed(loader):
            self._listen()
            self._step(batch, loader_seconds, batches)

    def _step(self, batch: Batch, loader_seconds: float, batches: int) -> None:
        started = time.perf_counter()
        fraction = self.at.epoch + self.at.batch / batches
        factor = learning_rate_factor(self.config, step=self.at.step, epoch=fraction)
        set_learning_rate(self.optimizers, factor * self.knobs.learning_rate_factor)
        losses = self._train_step(batch, step=self.at.step)
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
        applied = self.control.at(Moment(self.at.epoch, self.at.step, PHASES.index(self._phase)))
        if "set" in applied:
            self.record_knobs()
        if "snapshot_features" in applied:
            self.probe.take(step=self.at.step, epoch=self.at.epoch)
        if "checkpoint" in applied:
            self.keep()

    def record_knobs(self) -> None:
        """Note in the run log where every knob stands."""
        self.recorder.knobs(self.knobs.values(), step=self.at.step, epoch=self.at.epoch)

    def _adapt(self) -> None:
        """The validation-loss pass, and FASA's decision on every probability of every stage.

        A baseline runs the pass too, so that its validation losses can be compared.
        """
        self.model.eval()
        shape = len(self.model.stages), len(self.data.categories) + 1
        loss_sum = torch.zeros(shape, dtype=torch.float64, device=self.device)
        count = torch.zeros(shape, dtype=torch.int64, device=self.device)
        loader = adaptation_loader(self.config, self.data.holdout, epoch=self.at.epoch)
        self._enter("validation")
        for batch in loader:
            self._listen()
            self._progress("validation")
            batch_sum, batch_count = self.model.validation_losses(
                *to_device(batch, self.device), same_rois=self.config.validation_pipeline == "test"
            )
            loss_sum += batch_sum
            count += batch_count
            self.console.advance(total=len(loader))
        where = {"step": self.at.step, "epoch": self.at.epoch}
        self.recorder.validation(loss_sum, count, **where)
        reports = [
            stage.fasa.adapt(stage_sum, stage_count)
            for stage, stage_sum, stage_count in zip(
                self.model.stages, loss_sum, count, strict=True
            )
            if stage.fasa is not None
        ]
        if reports:
            self.recorder.adaptation(reports, **where)
        self.recorder.snapshot(**where)

    def _evaluate(self) -> None:
        done = self.at.epoch + 1
        if done % self.config.evaluate_every and done < self.config.epochs:
            return
        self._enter("evaluation")
        result = self.evaluate(self._evaluated_batch, self._listen)
        if result is None:
            return
        self.recorder.evaluation(result, step=self.at.step, epoch=self.at.epoch)
        self.gallery.record(result.records, step=self.at.step, epoch=self.at.epoch)
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

    def _follow_features(self) -> None:
        """The feature snapshot at the end of the epoch: no command takes hold in it."""
        self._progress("feature snapshot")
        self.probe.end_epoch(
            step=self.at.step,
            epoch=self.at.epoch,
            is_last=self.at.epoch + 1 == self.config.epochs,
            between=self.control.raise_if_ending,
        )

    def _is_checkpoint_due(self) -> bool:
        """At the end of every `checkpoint_every`-th epoch, and at the end of the run."""
        epoch = self.at.epoch
        return epoch % self.config.checkpoint_every == 0 or epoch == self.config.epochs

    def keep(self) -> None:
        """Write a checkpoint; while there is no room for it, wait and say so."""
        self.keeper.save(self.content, wait=self._wait)

    def _wait(self, reason: str) -> None:
        if reason != self._last_reason:
            self.console.say(f"waiting: {reason}")
        self._last_reason = reason
        self._progress("waiting to write a checkpoint")
        self._listen()

    def _keep_last(self, stop: StopRequested) -> None:
        """The checkpoint of a run that was asked to end: it waits for room only a few seconds."""
        deadline = time.monotonic() + _LAST_CHECKPOINT_SECONDS

        def wait(reason: str) -> None:
            if time.monotonic() > deadline:
                problem = f"its last checkpoint could not be written: {reason}"
                raise StopRequested(stop.status, str(stop), problem=problem) from None

        self.keeper.save(self.content, wait=wait)

    def _enter(self, phase: str, *, done: int = 0) -> None:
        self._phase = phase
        self.console.phase(f"{phase} {self.at.epoch + 1}/{self.config.epochs}", done=done)


def _with_own_fasa(stored: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """`stored` for a model with or without FASA, as `own` is: a fork may switch it on or off."""
    fasa = {name for name in stored.keys() ^ own.keys() if "fasa" in name.split(".")}
    kept = {name: value for name, value in stored.items() if name not in fasa}
    return kept | {name: own[name] for name in fasa & own.keys()}


def _timed(loader: torch.utils.data.DataLoader) -> Iterator[tuple[Batch, float]]:
    """Each batch with the seconds spent waiting for it."""
    batches = iter(loader)
    while True:
        started = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - started
