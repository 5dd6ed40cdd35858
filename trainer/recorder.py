"""From the state of model and FASA to rows of the run log.

Every call copies what it needs and returns; the writer's thread does the rest. The first stage of a
model is written under plain names, the second as `stage2/...`.

Shape glossary: S stages, C foreground classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fasa_core.adaptive_sampling import AdaptationReport
from trainer.evaluation import EvaluationResult
from trainer.resources import ResourceMonitor
from trainer.run_log.writer import RunLogWriter
from trainer.trainable_model import Stage, TrainableModel


class Recorder:
    """Writes what a run does into the run log.

    Args:
        writer: the trainer's door to the run log.
        model: read at every snapshot, never changed.
        resources: what it measured is written as it comes.
    """

    def __init__(
        self, *, writer: RunLogWriter, model: TrainableModel, resources: ResourceMonitor
    ) -> None:
        self._writer = writer
        self._model = model
        self._resources = resources

    def step(
        self,
        losses: Mapping[str, float],
        *,
        step: int,
        epoch: int,
        learning_rate: float,
        images: int,
        loader_seconds: float,
        step_seconds: float,
    ) -> None:
        """The losses of one step and how fast it went."""
        values = {f"loss/{name}": value for name, value in losses.items()}
        values |= {
            "loss/total": sum(losses.values()),
            "learning_rate": learning_rate,
            "images_per_second": images / (loader_seconds + step_seconds),
            "loader_seconds": loader_seconds,
            "step_seconds": step_seconds,
        }
        self._writer.scalars(values, step=step, epoch=epoch)

    def progress(self, phase: str, *, step: int, total_steps: int, epoch: int, epochs: int) -> None:
        """How far the run is, and what it takes of the machine when that was measured anew."""
        self._writer.progress(
            step=step, total_steps=total_steps, epoch=epoch, total_epochs=epochs, phase=phase
        )
        use = self._resources.take()
        if use is not None:
            self._writer.scalars(use, step=step, epoch=epoch)

    def wait_while_disk_full(self, give_up: Callable[[], bool]) -> None:
        """Wait until rows can be stored again or `give_up` says True; nothing is dropped."""
        self._writer.wait_while_disk_full(give_up)

    def knobs(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """The knobs that can change in a run: their history is a curve too."""
        curves = {f"knob/{name}": value for name, value in values.items()}
        self._writer.scalars(curves, step=step, epoch=epoch)

    def learning_rate_step(self, *, step: int, epoch: int) -> None:
        """The schedule lets the learning rate fall here: a mark for every chart."""
        text = "the learning rate falls to a tenth"
        self._writer.event("learning_rate", text, step=step, epoch=epoch)

    def snapshot(self, *, step: int, epoch: int) -> None:
        """Per-class state within an epoch: RoIs, losses, scores, prior, probabilities, norms."""
        fields = _named([_class_state(stage) for stage in self._model.stages])
        self._writer.class_vectors(fields, step=step, epoch=epoch)

    def validation(self, loss_sum: Tensor, count: Tensor, *, step: int, epoch: int) -> None:
        """The validation-loss pass: per class, and the mean over classes with data.

        Args:
            loss_sum: [S, C + 1] summed classification loss, background last.
            count: [S, C + 1] RoIs.
            step: training steps done.
            epoch: epochs done.
        """
        means = (loss_sum / count)[:, :-1].cpu()
        fields = _named([{"validation_loss": _float32(mean)} for mean in means])
        self._writer.class_vectors(fields, step=step, epoch=epoch)
        values = [
            {} if mean.isnan().all() else {"validation/loss": float(mean.nanmean())}
            for mean in means
        ]
        self._writer.scalars(_named(values), step=step, epoch=epoch)

    def adaptation(self, reports: Sequence[AdaptationReport], *, step: int, epoch: int) -> None:
        """What `adapt` decided in every stage; in the first one also why, per super-group."""
        self._writer.adaptation(reports[0].to_dict(), step=step, epoch=epoch)
        fields = [{"decision": np.asarray(one.decision, dtype=np.int32)} for one in reports]
        self._writer.class_vectors(_named(fields), step=step, epoch=epoch)
        self._writer.scalars(_named([_summary(one) for one in reports]), step=step, epoch=epoch)

    def evaluation(self, result: EvaluationResult, *, step: int, epoch: int) -> None:
        """AP of boxes and masks, in all and per class, in percent."""
        self._writer.scalars(result.metrics, step=step, epoch=epoch)
        fields = {f"ap_{kind}": values for kind, values in result.per_class.items()}
        self._writer.class_vectors(fields, step=step, epoch=epoch)


def _named(stages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all stages give, the first one's under plain names."""
    return {
        f"stage{number}/{name}" if number > 1 else name: value
        for number, stage in enumerate(stages, 1)
        for name, value in stage.items()
    }


def _class_state(stage: Stage) -> dict[str, np.ndarray]:
    """[C] of each field of one stage."""
    statistics = stage.statistics
    fields = {
        "training_loss": _float32(statistics.mean_loss()),
        "score": _float32(statistics.mean_score()),
        "weight_norm": _float32(stage.weight_norms),
        "bias": _float32(stage.classifier_bias),
        "observed_rois": _int32(statistics.observed[:-1]),
    }
    fasa = stage.fasa
    if fasa is not None:
        seen = fasa.n_seen > 0
        fields |= {
            "virtual_features": _int32(fasa.drawn),
            "probability": _float32(fasa.probability),
            "scale": _float32(fasa.scale),
            "super_group": _int32(fasa.group_of_class),
            "prior_norm": _float32(fasa.mean.norm(dim=1).where(seen, torch.nan)),
            "prior_spread": _float32(fasa.spread.mean(dim=1).where(seen, torch.nan)),
            "effective_samples": _float32(fasa.effective_samples),
        }
    return fields


def _summary(report: AdaptationReport) -> dict[str, float]:
    values: dict[str, float] = {
        "adaptation/groups": report.num_groups,
        "adaptation/noise_share": report.noise_share,
    }
    if report.eps is not None:
        values["adaptation/eps"] = report.eps
    return values


def _float32(values: Tensor) -> np.ndarray:
    return values.detach().to("cpu", torch.float32).numpy()


def _int32(values: Tensor) -> np.ndarray:
    return values.detach().to("cpu", torch.int32).numpy()
