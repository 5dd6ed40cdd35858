"""What a diagnosis is made from: a run's newest rows, read in a few milliseconds.

Shapes: C classes.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.run_summary import liveness
from trainer.config import ConfigError, RunConfig, load_config
from trainer.run_log.newest import newest_scalars
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import (
    AdaptationSummary,
    CategoryRow,
    CheckpointRow,
    FeatureSnapshotHead,
    MeasureRow,
    ProjectionHead,
    Run,
    ScalarRow,
)
from trainer.run_log.transaction import reading, writing_problem

STILL_EPOCHS = 3  # with a plain shuffle a rare class can miss one epoch by chance, hardly three
RECENT_STEPS = 100  # long enough to even out single slow batches, short enough to be the present
RECENT_ADAPTATIONS = 3  # groups change from epoch to epoch: what stays so long is no accident
LATELY = 60.0  # seconds: an older measurement of memory says nothing about now
MEGABYTE = 1e6

VALIDATION = "validation/loss"
SKIPPED = "features/skipped"
VECTORS = ("observed_rois", "virtual_features", "probability", "scale", "super_group")

Vector = NDArray[Any]


@dataclass(frozen=True)
class Facts:
    """A run as its log has it at one moment; None, or nothing, for what is not there (yet).

    Attributes:
        run: its row.
        config: its configuration; the defaults where that of the row cannot be read.
        now: server time, seconds since 1970.
        names: of the C classes.
        instances: [C] training instances.
        letters: [C] frequency of each class, r, c or f.
        losses: newest value of every `loss/*` and of `validation/loss`.
        loader_seconds: wait for the batch, of the last steps.
        step_seconds: the rest of these steps.
        vectors: newest snapshot [C] of each of `VECTORS` that has one.
        before: the same, `STILL_EPOCHS` epochs ago; only observed_rois and virtual_features.
        validation_loss: [C] newest, NaN for a class without data.
        validation_epoch: the epoch it was computed after, counted from 0.
        adaptations: the last ones, oldest first.
        memory_mb: of the trainer and its loaders, if measured lately.
        memory_available_mb: that can still be had there, if measured lately.
        disk_free: bytes on the disk of the run log, as this server sees it.
        checkpoints: kept on disk now, by step.
        writing_problem: why the run log cannot be written; looked for while no heartbeat comes.
        measures: newest of virtual beside real features, by name.
        snapshots: of features, oldest first, without the features.
        projections: how far their pictures are.
        snapshots_skipped: epochs without one since the trainer started, for want of time.
    """

    run: Run
    config: RunConfig
    now: float
    names: Sequence[str]
    instances: Vector
    letters: Sequence[str]
    losses: Mapping[str, float]
    loader_seconds: Sequence[float]
    step_seconds: Sequence[float]
    vectors: Mapping[str, Vector]
    before: Mapping[str, Vector]
    validation_loss: Vector | None
    validation_epoch: int | None
    adaptations: Sequence[AdaptationSummary]
    memory_mb: float | None
    memory_available_mb: float | None
    disk_free: int | None
    checkpoints: Sequence[CheckpointRow]
    writing_problem: str | None
    measures: Mapping[str, MeasureRow]
    snapshots: Sequence[FeatureSnapshotHead]
    projections: Sequence[ProjectionHead]
    snapshots_skipped: int

    @property
    def liveness(self) -> str:
        """Waiting, alive, stalled, dead or over, by heartbeat."""
        return liveness(self.run, self.now)

    @property
    def fasa(self) -> bool:
        """Whether the run is one of FASA, not a baseline."""
        return bool(self.run.config.get("fasa", True))


def read_facts(
    reader: RunLogReader,
    path: Path,
    run: Run,
    *,
    categories: Sequence[CategoryRow],
    before: Mapping[str, Vector],
    now: float,
) -> Facts:
    """The facts of a run.

    Args:
        reader: of the run log.
        path: of the run log.
        run: its row.
        categories: its classes.
        before: what `vectors_before` gives.
        now: server time, seconds since 1970.

    Raises:
        RunLogError: the run log cannot be read.
    """
    num = len(categories)
    curves = [n for n in reader.scalar_names(run.id) if n.startswith("loss/") or n == VALIDATION]
    validation = reader.latest_class_vector(run.id, "validation_loss")
    silent = liveness(run, now) in ("stalled", "dead")
    with reading(path) as connection:

        def newest(name: str, count: int) -> list[ScalarRow]:
            return newest_scalars(connection, run.id, name, count)

        def lately(name: str) -> float | None:
            rows = newest(name, 1)
            return rows[0].value if rows and now - rows[0].wall_time < LATELY else None

        return Facts(
            run=run,
            config=_config(run),
            now=now,
            names=[row.name for row in categories],
            instances=np.array([row.instance_count for row in categories], np.int64),
            letters=[row.frequency for row in categories],
            losses={name: row.value for name in curves for row in newest(name, 1)},
            loader_seconds=[row.value for row in newest("loader_seconds", RECENT_STEPS)],
            step_seconds=[row.value for row in newest("step_seconds", RECENT_STEPS)],
            vectors=_vectors(reader, run, VECTORS, num),
            before=before,
            validation_loss=validation.values if validation and len(validation.values) == num
            else None,
            validation_epoch=validation.epoch if validation else None,
            adaptations=reader.adaptation_summaries(run.id)[-RECENT_ADAPTATIONS:],
            memory_mb=lately("system/memory_mb"),
            memory_available_mb=lately("system/memory_available_mb"),
            disk_free=_disk_free(path),
            checkpoints=reader.checkpoints(run.id),
            writing_problem=writing_problem(path) if silent else None,
            **_of_features(reader, run, newest(SKIPPED, 1)),
        )  # fmt: skip


def _of_features(reader: RunLogReader, run: Run, skipped: Sequence[ScalarRow]) -> dict[str, Any]:
    features = reader.features
    return {
        "measures": features.newest_measures(run.id),
        "snapshots": features.heads(run.id),
        "projections": features.projections(run.id),
        "snapshots_skipped": sum(int(row.value) for row in skipped if np.isfinite(row.value)),
    }


def vectors_before(reader: RunLogReader, run: Run, num: int) -> Mapping[str, Vector]:
    """RoIs seen and features drawn `STILL_EPOCHS` before the end of the newest whole epoch.

    The same all through an epoch, and dearer to look up than all the rest: worth keeping.
    """
    epochs = run.epoch - STILL_EPOCHS
    if epochs < 1 or not run.total_steps or not run.total_epochs:
        return {}
    step = epochs * run.total_steps // run.total_epochs
    return _vectors(reader, run, ("observed_rois", "virtual_features"), num, step)


def _vectors(
    reader: RunLogReader, run: Run, fields: Sequence[str], num: int, step: int | None = None
) -> dict[str, Vector]:
    found = {field: reader.latest_class_vector(run.id, field, step=step) for field in fields}
    return {f: row.values for f, row in found.items() if row is not None and len(row.values) == num}


def _config(run: Run) -> RunConfig:
    try:
        return load_config(run.config)
    except ConfigError:  # of another version, or of another program
        return RunConfig()


def _disk_free(path: Path) -> int | None:
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return None
