"""What earlier runs of a log teach about the next one: pace, pauses between epochs, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.config import ConfigError, RunConfig, load_config
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run, ScalarRow

PACE = "step_seconds"  # logged once a step: its rows tell when each step was taken
GPU_MEMORY = "system/gpu_memory_mb"
MEMORY = ("system/memory_mb", "memory_mb")
FEWEST_STEPS = 10  # a run with fewer teaches nothing
MOST_ROWS = 2000  # of one curve that are read

# What makes an epoch as long as another one's.
DATA_KNOBS = (
    "data", "demo_classes", "data_folder", "coco_lt_list", "coco_lt_part",
    "annotations", "images", "holdout_annotations", "holdout_images", "holdout_share", "adapt_on",
    "skip_unannotated", "train_sampler", "repeat_threshold", "repeat_rounding",
)  # fmt: skip
# What decides how long a step takes, beside batch and image size, which are scaled by.
COST_KNOBS = (
    "device", "processes", "precision", "channels_last", "compile", "detector", "backbone",
    "trainable_layers", "threads", "workers", "fasa", "rois_per_image", "rpn_batch",
    "rpn_candidates_train", "rpn_candidates_test", "proposals_train", "proposals_test",
    "fpn_channels", "feature_dim", "mask_layers", "mask_channels", "class_agnostic_box",
    "class_agnostic_mask", "optimizer", "data", "detections_per_image", "validation_pipeline",
)  # fmt: skip
# A run that differs in one of these teaches nothing about time.
INCOMPARABLE = (
    "device", "processes", "precision", "detector", "backbone", "trainable_layers",
)  # fmt: skip


@dataclass(frozen=True)
class Experience:
    """What one run showed.

    Attributes:
        run_id: of the run.
        config: of the run.
        steps: that were seen.
        epoch_images: training images of an epoch, to within a batch; None when it is not known.
        classes: C.
        pace: seconds a step, one number an epoch.
        between: seconds from an epoch's last step to the next one's first, without those steps:
            validation, evaluation, checkpoint; one number each.
        memory_mb: near the most that was used, in MB; None when it was not logged.
        on_gpu: whether that memory is a GPU's.
    """

    run_id: int
    config: RunConfig
    steps: int
    epoch_images: int | None
    classes: int
    pace: Sequence[float]
    between: Sequence[float]
    memory_mb: float | None
    on_gpu: bool


def alike(config: RunConfig, other: RunConfig) -> bool:
    """Whether a run with `other` teaches anything about the time of one with `config`."""
    return all(getattr(config, name) == getattr(other, name) for name in INCOMPARABLE)


def differences(config: RunConfig, other: RunConfig) -> list[str]:
    """The knobs that change the cost of a step in ways that are not scaled by."""
    return [name for name in COST_KNOBS if getattr(config, name) != getattr(other, name)]


def same_data(config: RunConfig, other: RunConfig) -> bool:
    """Whether the epochs of both have the same images."""
    return all(getattr(config, name) == getattr(other, name) for name in DATA_KNOBS)


class Memory:
    """Reads what runs taught; a run is read again only when it has gone on."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[Any, ...], Experience | None]] = {}

    def best(self, reader: RunLogReader, config: RunConfig, *, most: int = 3) -> list[Experience]:
        """The runs that teach most about `config`: least different first, then newest.

        Raises:
            RunLogError: the run log cannot be read.
        """
        found: list[tuple[int, int, Run, RunConfig]] = []
        for run in reader.runs():
            if run.step < FEWEST_STEPS or run.copied is not None:
                continue  # a copied run was trained on another machine
            try:
                own = load_config(run.config)
            except ConfigError:
                continue  # written by another version of this program
            if alike(config, own):
                unlike = len(differences(config, own)) + (not same_data(config, own))
                found.append((unlike, -run.id, run, own))
        found.sort(key=lambda row: row[:2])
        closest = [self._of(reader, run, own) for unlike, _, run, own in found[: 2 * most]
                   if unlike <= found[0][0] + 1]  # fmt: skip
        return [known for known in closest if known is not None][:most]

    def _of(self, reader: RunLogReader, run: Run, config: RunConfig) -> Experience | None:
        stand = (run.rewinds, run.step, run.status)
        known = self._known.get(run.uid)
        if known is None or known[0] != stand:
            names = [PACE, GPU_MEMORY, *MEMORY]
            rows = reader.scalars(run.id, names, most=MOST_ROWS)
            classes = len(reader.categories(run.id))
            known = self._known[run.uid] = (stand, learn(run, config, classes, rows))
        return known[1]


def learn(
    run: Run, config: RunConfig, classes: int, rows: Sequence[ScalarRow]
) -> Experience | None:
    """What the rows of a run teach; None when they are too few.

    Args:
        run: the run's row.
        config: of the run.
        classes: C.
        rows: values of `PACE` and of the curves of memory, oldest first.
    """
    steps = [row for row in rows if row.name == PACE]
    pace, between = paces(steps)
    if not pace:
        return None
    curves: Mapping[str, list[float]] = {
        name: [row.value for row in rows if row.name == name and row.value == row.value]
        for name in (GPU_MEMORY, *MEMORY)
    }
    used = next((name for name in (GPU_MEMORY, *MEMORY) if curves[name]), None)
    images = None
    if run.total_steps and run.total_epochs:
        images = run.total_steps // run.total_epochs * config.batch_size
    return Experience(
        run.id, config, run.step, images, classes, pace, between,
        None if used is None else float(np.quantile(curves[used], 0.95)), used == GPU_MEMORY,
    )  # fmt: skip


def paces(rows: Sequence[ScalarRow]) -> tuple[list[float], list[float]]:
    """Seconds a step of every epoch, and seconds between epochs, from rows with step and time.

    Times, not logged durations: they hold what happens between two steps too, and stay right when
    rows in between are left out.
    """
    epochs: dict[int, list[tuple[int, float]]] = {}
    for row in rows:
        epochs.setdefault(row.epoch, []).append((row.step, row.wall_time))
    pace: dict[int, float] = {}
    for epoch, points in epochs.items():
        steps = points[-1][0] - points[0][0]
        if steps >= min(FEWEST_STEPS, len(points) - 1) and steps > 0:
            pace[epoch] = max(0.0, points[-1][1] - points[0][1]) / steps
    between = []
    for epoch, points in epochs.items():
        if epoch + 1 in epochs and epoch in pace:
            step, wall = epochs[epoch + 1][0]
            walk = wall - points[-1][1] - pace[epoch] * (step - points[-1][0])
            between.append(max(0.0, walk))
    return list(pace.values()), between
