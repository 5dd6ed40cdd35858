"""Train, adapt, evaluate, keep: the life of one run. No SQL, no torchvision internals.

Several ranks go through it side by side: each has a part of every batch, all decide alike, and
the first one alone writes.

The epoch number is that of the epoch at work, counted from 0.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from trainer.checkpoint_keeper import CheckpointKeeper
from trainer.config import RunConfig
from trainer.console import Console
from trainer.control import PHASES, Moment, RunControl, StopRequested
from trainer.distributed import ALONE, Ranks
from trainer.evaluation import EvaluationResult
from trainer.feature_probe import FeatureProbe
from trainer.knobs import Knobs
from trainer.mixed_precision import forward_pass
from trainer.predictions import PredictionGallery
from trainer.rank_state import adapt_probabilities, join_counts
from trainer.recorder import Recorder
from trainer.schedule import learning_rate_factor, set_learning_rate
from trainer.trainable_model import TrainableModel
from trainer.training_data import TrainingData, adaptation_loader, train_indices, train_loader
from trainer.training_state import Position, TrainingState
from trainer.training_step import Batch, TrainingStep, to_device

Evaluate = Callable[[Callable[[int], None], Callable[[], None]], EvaluationResult | None]

_LAST_CHECKPOINT_SECONDS = 5.0  # an ending run waits so long for a full disk or a locked log


@dataclass(frozen=True)
class FirstRank:
    """What the first rank alone has: it writes to the run log and keeps the checkpoints.

    Attributes:
        recorder: writes to the run log.
        probe: takes snapshots of features.
        gallery: keeps what evaluations predict on some test images.
        keeper: of the checkpoints.
    """

    recorder: Recorder
    probe: FeatureProbe
    gallery: PredictionGallery
    keeper: CheckpointKeeper


class Trainer:
    """Runs the epochs of one run; ready objects come in.

    Args:
        config: the run's configuration.
        data: its data sets.
        model: on `device`.
        optimizers: the first one trains the classifier.
        evaluate: gives the AP, or None without a test set; it is handed a function to call
            after each batch with the number of batches there are, and one to call about every
            second while it computes the AP. On the other ranks it gives None.
        control: what people ask of the run.
        knobs: what they can turn while it trains.
        first: what the first rank has; None on the others.
        console: what the terminal shows.
        device: where the model is.
        ranks: that train together.
    """

    def __init__(
        self,
        *,
        config: RunConfig,
        data: TrainingData,
        model: TrainableModel,
        optimizers: list[torch.optim.Optimizer],
        evaluate: Evaluate,
        control: RunControl,
        knobs: Knobs,
        first: FirstRank | None,
        console: Console,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        self.config = config
        self.data = data
        self.model = model
        self.optimizers = optimizers
        self.evaluate = evaluate
        self.control = control
        self.knobs = knobs
        self.first = first
        self.console = console
        self.device = device
        self.ranks = ranks
        self._train_step = TrainingStep(
            model=model,
            optimizers=optimizers,
            gradient_clip=config.gradient_clip,
            device=device,
            precision=config.precision,
            ranks=ranks,
        )
        self.state = TrainingState(
            model=model,
            optimizers=optimizers,
            train_step=self._train_step,
            knobs=knobs,
            ranks=ranks,
        )
        self._phase = PHASES[0]
        self._last_reason = ""
        self.total_steps = self._batches(self.images_in_epoch(0)) * config.epochs

    @property
    def at(self) -> Position:
        """How far the run has come."""
        return self.state.at

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
                self.state.at = Position(self.at.step, self.at.epoch + 1)
                if self._is_checkpoint_due():
                    self.keep()
            self._progress("done")
        except StopRequested as stop:
            self._keep_last(stop)
            raise

    def _progress(self, phase: str) -> None:
        if self.first is None:
            return
        self.first.recorder.progress(
            phase,
            step=self.at.step,
            total_steps=self.total_steps,
            epoch=self.at.epoch,
            epochs=self.config.epochs,
        )

    def images_in_epoch(self, epoch: int) -> int:
        """That an epoch, from 0, trains on; those that are repeated as often as they are."""
        return len(train_indices(self.config, self.data.train, epoch=epoch))

    def _batches(self, images: int) -> int:
        return math.ceil(images / self.config.batch_size)

    def _train_epoch(self) -> None:
        for stage in self.model.stages:
            if stage.fasa is not None:
                stage.fasa.set_epoch(self.at.epoch)
            if self.at.batch == 0:
                stage.statistics.reset()
        is_milestone = self.config.schedule == "steps" and self.at.epoch in self.config.milestones
        if self.at.batch == 0 and is_milestone and self.first is not None:
            self.first.recorder.learning_rate_step(step=self.at.step, epoch=self.at.epoch)
        self.model.train()
        images = self.images_in_epoch(self.at.epoch)
        loader = train_loader(
            self.config,
            self.data.train,
            epoch=self.at.epoch,
            skip_batches=self.at.batch,
            ranks=self.ranks,
        )
        self._enter("training", done=self.at.batch)
        for batch, loader_seconds in _timed(loader):
            self._listen()
            self._step(batch, loader_seconds, images)

    def _step(self, batch: Batch, loader_seconds: float, images_in_epoch: int) -> None:
        started = time.perf_counter()
        batches = self._batches(images_in_epoch)
        before = self.at.batch * self.config.batch_size
        images = min(self.config.batch_size, images_in_epoch - before)
        fraction = self.at.epoch + self.at.batch / batches
        factor = learning_rate_factor(self.config, step=self.at.step, epoch=fraction)
        set_learning_rate(self.optimizers, factor * self.knobs.learning_rate_factor)
        losses = self._train_step(batch, step=self.at.step, images=images)
        self.at.step += 1
        self.at.batch += 1
        if self.first is not None:
            self.first.recorder.step(
                losses,
                step=self.at.step,
                epoch=self.at.epoch,
                learning_rate=self.optimizers[-1].param_groups[0]["lr"],
                images=images,
                loader_seconds=loader_seconds,
                step_seconds=time.perf_counter() - started,
            )
        self._progress("training")
        if self.at.step == 1 or self.at.step % self.config.snapshot_every == 0:
            self._snapshot()
        self.console.advance(f"loss {sum(losses.values()):.3f}", total=batches)

    def _snapshot(self) -> None:
        """The state of every class, with what all ranks counted."""
        join_counts(self.model, self.ranks)
        if self.first is not None:
            self.first.recorder.snapshot(step=self.at.step, epoch=self.at.epoch)

    def _listen(self) -> None:
        """Take commands, on all ranks: before every step of training and every batch of a pass.

        Where the first rank works alone, the others follow what it hears until it is done.
        """
        is_held = True
        while is_held:
            moment = Moment(self.at.epoch, self.at.step, PHASES.index(self._phase))
            applied = self.control.at(moment)
            is_held = self.control.is_held
            if "set" in applied:
                self.record_knobs()
            if "snapshot_features" in applied:
                self._by_first(
                    lambda first: first.probe.take(step=self.at.step, epoch=self.at.epoch)
                )
            if "checkpoint" in applied:
                self.keep()

    def _by_first(self, work: Callable[[FirstRank], None]) -> None:
        """Let the first rank work alone; the others take the commands that it gets meanwhile."""
        if self.first is not None:
            with self.control.holding():
                work(self.first)
        self._meet()

    def _meet(self) -> None:
        """The end of what the first rank does alone."""
        if self.ranks.is_first:
            self.control.meet()
        else:
            self._listen()

    def record_knobs(self) -> None:
        """Note in the run log where every knob stands."""
        if self.first is not None:
            values = self.knobs.values()
            self.first.recorder.knobs(values, step=self.at.step, epoch=self.at.epoch)

    def _adapt(self) -> None:
        """The validation-loss pass, and FASA's decision on every probability of every stage.

        A baseline runs the pass too, so that its validation losses can be compared.
        """
        self.model.eval()
        shape = len(self.model.stages), len(self.data.categories) + 1
        loss_sum = torch.zeros(shape, dtype=torch.float64, device=self.device)
        count = torch.zeros(shape, dtype=torch.int64, device=self.device)
        loader = adaptation_loader(
            self.config, self.data.holdout, epoch=self.at.epoch, ranks=self.ranks
        )
        self._enter("validation")
        for batch in loader:
            self._listen()
            self._progress("validation")
            if batch[0]:
                with forward_pass(self.config.precision, self.device):
                    batch_sum, batch_count = self.model.validation_losses(
                        *to_device(batch, self.device),
                        same_rois=self.config.validation_pipeline == "test",
                    )
                loss_sum += batch_sum
                count += batch_count
            self.console.advance(total=len(loader))
        loss_sum, count = self.ranks.sum(loss_sum), self.ranks.sum(count)
        reports = adapt_probabilities(
            self.model, loss_sum, count, reduce=self.config.validation_reduce, ranks=self.ranks
        )
        if self.first is not None:
            where = {"step": self.at.step, "epoch": self.at.epoch}
            self.first.recorder.validation(loss_sum, count, **where)
            if reports:
                self.first.recorder.adaptation(reports, **where)
        self._snapshot()

    def _evaluate(self) -> None:
        done = self.at.epoch + 1
        if done % self.config.evaluate_every and done < self.config.epochs:
            return
        self._enter("evaluation")
        result = self.evaluate(self._evaluated_batch, self._listen_alone)
        self._meet()
        if result is None or self.first is None:
            return
        self.first.recorder.evaluation(result, step=self.at.step, epoch=self.at.epoch)
        self.first.gallery.record(result.records, step=self.at.step, epoch=self.at.epoch)
        is_coco_lt = self.config.data == "coco_lt"  # which is reported by bins of class size
        shown = "  ".join(
            f"{name} {result.metrics[f'segm/{name}']:.1f}"
            for name in ("AP", *(f"AP_{group}" for group in ("1234" if is_coco_lt else "rcf")))
            if f"segm/{name}" in result.metrics  # a group without objects has no figure
        )
        self.console.say(f"epoch {done}/{self.config.epochs}  mask {shown}")

    def _evaluated_batch(self, total: int) -> None:
        self._listen()
        self._progress("evaluation")
        self.console.advance(total=total)

    def _listen_alone(self) -> None:
        with self.control.holding():
            self._listen()

    def _follow_features(self) -> None:
        """The feature snapshot at the end of the epoch: no command takes hold in it."""
        self._progress("feature snapshot")
        self._by_first(
            lambda first: first.probe.end_epoch(
                step=self.at.step,
                epoch=self.at.epoch,
                is_last=self.at.epoch + 1 == self.config.epochs,
                between=self.control.raise_if_ending,
            )
        )

    def _is_checkpoint_due(self) -> bool:
        """At the end of every `checkpoint_every`-th epoch, and at the end of the run."""
        epoch = self.at.epoch
        return epoch % self.config.checkpoint_every == 0 or epoch == self.config.epochs

    def keep(self) -> None:
        """Write a checkpoint; while there is no room for it, wait and say so."""
        ranks = self.state.of_ranks()
        self._by_first(
            lambda first: first.keeper.save(lambda: self._content(ranks), wait=self._wait)
        )

    def _content(self, ranks: list[dict[str, Any]]) -> dict[str, Any]:
        return self.state.content(ranks, self.control.applied)

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

        ranks = self.state.of_ranks()
        if self.first is not None:
            self.first.keeper.save(lambda: self._content(ranks), wait=wait)

    def _enter(self, phase: str, *, done: int = 0) -> None:
        self._phase = phase
        self.console.phase(f"{phase} {self.at.epoch + 1}/{self.config.epochs}", done=done)


def _timed(loader: torch.utils.data.DataLoader) -> Iterator[tuple[Batch, float]]:
    """Each batch with the seconds spent waiting for it."""
    batches = iter(loader)
    while True:
        started = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - started
