"""Snapshots of the features of fixed objects, and of virtual ones drawn with fixed noise.

Points of two snapshots can be joined only if they stand for the same thing: the same ground-truth
box each time, or the same noise in its class's prior.

Shape glossary: C foreground classes, N probe objects, d feature length, P classes that have a
prior, K virtual features of a class.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fasa_core.fasa import FASA
from trainer.config import RunConfig
from trainer.probe_batches import ProbeBatches
from trainer.run_log.rows import FeatureValues
from trainer.run_log.writer import RunLogWriter
from trainer.trainable_model import TrainableModel
from trainer.training_data import TrainingData

FEWEST_VIRTUAL = 4  # of a class: fewer show no spread

SECONDS, SHARE = "features/seconds", "features/share"
PREPARATION, SKIPPED = "features/preparation_seconds", "features/skipped"
FEATURE_COSTS = (SECONDS, SHARE, PREPARATION, SKIPPED)

_ROWS_AT_ONCE = 8192  # of features that the classifier judges: their scores take [rows, C + 1]
_MEGABYTE = 1_000_000


class FeatureProbe:
    """Writes the features of a run's probe objects, and of fixed virtual ones, to the run log.

    Real: the classifier's input for the ground-truth box itself, in eval mode. Virtual (with
    FASA alone): x = mu_c + sigma_c * eps (Eq. 3) with K eps a class that never change; a class
    without a prior has none. In a cascade all of it is the first stage's, whose boxes are the
    given ones. The run itself notices nothing: no random number of torch's or FASA's is drawn,
    no buffer changes, and the model gets its mode back.

    What it costs is in the run log: `FEATURE_COSTS`. An attempt at a run prepares the objects once
    (chooses and reads them, makes their pictures), which is measured apart from the snapshots.

    Args:
        config: which objects, how many virtual features, and the bounds on time and size.
        data: whose objects are chosen at the first snapshot.
        model: on `device`.
        writer: the trainer's door to the run log.
        device: where the model is.
        clock: seconds this attempt has been at work, pauses left out.
    """

    def __init__(
        self,
        *,
        config: RunConfig,
        data: TrainingData,
        model: TrainableModel,
        writer: RunLogWriter,
        device: torch.device,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._data = data
        self._model = model
        self._writer = writer
        self._device = device
        self._clock = clock
        self._started = clock()
        self._per_class = virtual_per_class(config, len(data.categories))
        self._batches: ProbeBatches | None = None
        self._named = False
        self._skipped = 0
        self._preparation = 0.0
        self._seconds: list[float] = []  # of the snapshots of this attempt

    def end_epoch(
        self, *, step: int, epoch: int, is_last: bool, between: Callable[[], None] = lambda: None
    ) -> None:
        """The snapshot at the end of an epoch, unless it would take more than `feature_share`.

        The first one of an attempt and that of the last epoch are always taken.

        Args:
            step: training steps done.
            epoch: the epoch that ends.
            is_last: whether it is the run's last.
            between: see `take`.
        """
        if is_last or not self._seconds or self._has_time():
            self.take(step=step, epoch=epoch, between=between)
        else:
            self._skipped += 1
            self._writer.scalars({SKIPPED: self._skipped}, step=step, epoch=epoch)

    def take(self, *, step: int, epoch: int, between: Callable[[], None] = lambda: None) -> None:
        """Write one snapshot; the first call of a process also writes what the objects are.

        Args:
            step: training steps done.
            epoch: the epoch at work.
            between: called after each batch of images; an error it raises ends the snapshot, of
                which nothing is written then.

        Raises:
            AnnotationError: when an image cannot be read.
        """
        was_training = self._model.training
        self._model.eval()
        try:
            started = self._clock()
            batches = self._prepared(between)
            prepared = self._clock()
            self._preparation += prepared - started
            values = self._values(batches, between)
        finally:
            if was_training:
                self._model.train()
        costs = {} if self._named else {PREPARATION: self._preparation}
        if not self._named:
            self._writer.feature_probes(batches.rows)
            self._named = True
        self._writer.feature_snapshot(
            values, step=step, epoch=epoch, most_bytes=self._config.feature_megabytes * _MEGABYTE
        )
        self._seconds.append(self._clock() - prepared)
        costs |= {SECONDS: self._seconds[-1], SHARE: sum(self._seconds) / self._time()}
        self._writer.scalars(costs, step=step, epoch=epoch)

    def _has_time(self) -> bool:
        """Whether another snapshot like the last one keeps within its share of the time so far."""
        last = self._seconds[-1]
        return sum(self._seconds) + last <= self._config.feature_share * (self._time() + last)

    def _time(self) -> float:
        """Seconds this attempt trained, validated, evaluated and took snapshots."""
        return self._clock() - self._started - self._preparation

    def _prepared(self, between: Callable[[], None]) -> ProbeBatches:
        if self._batches is None:
            self._batches = ProbeBatches(
                config=self._config,
                data=self._data,
                model=self._model,
                device=self._device,
                between=between,
            )
        return self._batches

    @torch.no_grad()
    def _values(self, batches: ProbeBatches, between: Callable[[], None]) -> FeatureValues:
        found = [torch.empty(0, self._config.feature_dim, device=self._device)]
        for batch in batches:
            found.append(self._model.box_features(batch))
            between()
        real = torch.cat(found)
        real_predicted, real_loss = self._judge(real, batches.labels)
        classes, mean, deviation, size = _prior(self._model.fasa, real)
        virtual = self._virtual(classes, mean, deviation)
        virtual_predicted, virtual_loss = self._judge(
            virtual, classes.repeat_interleave(self._per_class)
        )
        return FeatureValues(
            objects=np.arange(len(real), dtype=np.int32),
            real=_halves(real),
            real_predicted=real_predicted,
            real_loss=real_loss,
            classes=classes.to("cpu", torch.int32).numpy(),
            mean=_halves(mean),
            deviation=_halves(deviation),
            prior_size=size.to("cpu", torch.float32).numpy(),
            virtual=_halves(virtual),
            virtual_predicted=virtual_predicted,
            virtual_loss=virtual_loss,
        )

    def _judge(
        self, features: Tensor, labels: Tensor
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The class predicted for features [n, d], and their loss."""
        parts = [
            self._model.judge(features[rows], labels[rows].to(self._device))
            for first in range(0, max(1, len(features)), _ROWS_AT_ONCE)
            for rows in [slice(first, first + _ROWS_AT_ONCE)]
        ]
        predicted, loss = (torch.cat(column) for column in zip(*parts, strict=True))
        return (
            predicted.to("cpu", torch.int32).numpy(),
            loss.to("cpu", torch.float32).numpy(),
        )

    def _virtual(self, classes: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        """x = mu_c + sigma_c * eps [P * K, d], class by class."""
        shape = (self._per_class, mean.shape[1])
        noise = np.array(
            [fixed_noise(self._config.seed, label, shape) for label in classes.tolist()], np.float32
        ).reshape(-1, *shape)
        x = mean[:, None] + deviation[:, None] * torch.from_numpy(noise).to(self._device)
        if self._config.clamp_negative:
            x.clamp_(min=0)
        return x.flatten(0, 1)


def virtual_per_class(config: RunConfig, num_classes: int) -> int:
    """K: `probe_objects` bounds all classes together, but each has `FEWEST_VIRTUAL`."""
    bound = max(FEWEST_VIRTUAL, config.probe_objects // num_classes)
    return min(config.probe_virtual_per_class, bound)


def fixed_noise(seed: int, label: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """[K, d] the eps of a class's virtual features: number k is the same whatever K is."""
    return np.random.default_rng([seed, label]).standard_normal(shape, np.float32)


def _prior(fasa: FASA | None, real: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The classes that have a prior [P], their mu and sigma [P, d], and what they rest on [P].

    P is 0 without FASA.
    """
    if fasa is None:
        empty = real[:0]
        return torch.empty(0, dtype=torch.int64, device=real.device), empty, empty, empty[:, 0]
    classes = torch.where(fasa.n_seen > 0)[0]
    deviation = fasa.prior.standard_deviation(classes)
    return classes, fasa.mean[classes], deviation, fasa.effective_samples[classes]


def _halves(features: Tensor) -> NDArray[np.float16]:
    halves: NDArray[np.float16] = features.to("cpu", torch.float16).numpy()
    return halves
