"""Facts of a run with which nothing is wrong, to be spoilt in one place by a test."""

from dataclasses import replace
from typing import Any

import numpy as np

from app.diagnosis import Diagnosis, diagnose
from app.diagnosis_facts import Facts
from app.finding import Finding
from trainer.config import RunConfig
from trainer.run_log.rows import (
    AdaptationSummary,
    CheckpointRow,
    FeatureSnapshotHead,
    MeasureRow,
    ProjectionHead,
    Run,
)

NOW = 1_000_000.0
CLASSES = 20
MEGABYTE = 10**6


def run(**changes: Any) -> Run:
    """A run of FASA in its seventh epoch of twelve."""
    values: dict[str, Any] = {
        "id": 1, "name": "demo", "config": {}, "dataset": "demo", "status": "running",
        "uid": "0" * 32, "parent_run": None, "parent_epoch": None, "parent_step": None,
        "process_id": 7, "process_identity": "7", "heartbeat": NOW - 0.5, "created": NOW - 900,
        "started": NOW - 800, "ended": None, "step": 390, "total_steps": 720, "epoch": 6,
        "total_epochs": 12, "phase": "training", "error": None, "rewinds": 0, "note": "",
        "tags": [], "archived": None, "deleted": None, "copied": None,
    }  # fmt: skip
    return Run(**values | changes)


def ended(status: str, **changes: Any) -> Run:
    """A run that is over: all epochs done where it finished."""
    at = {"step": 720, "epoch": 12} if status == "finished" else {}
    return run(**{"status": status, "ended": NOW - 60, "heartbeat": NOW - 60, **at, **changes})


def adaptation(epoch: int, *, largest: int = 5, noise: float = 0.2, **changes: Any) -> Any:
    """What was clustered after an epoch."""
    values = {"eps": 1.0, "eps_quantile": 0.5, "num_groups": 6, **changes}
    return AdaptationSummary(
        id=epoch, step=60 * (epoch + 1), epoch=epoch, wall_time=NOW - 60, noise_share=noise,
        largest_group=largest, **values,
    )  # fmt: skip


def measure(name: str, values: Any, **groups: float) -> MeasureRow:
    """A measure of the second snapshot: per class, and of the groups as named."""
    return MeasureRow(2, 360, 5, name, np.asarray(values, np.float32), {**groups})


def measures(num: int = CLASSES, **changes: Any) -> dict[str, MeasureRow]:
    """Measures of virtual features that lie where the real ones do; all classes alike."""
    values = {
        "neighbours_virtual": 0.7, "neighbours_holdout": 0.72, "accuracy_virtual": 0.8,
        "accuracy_holdout": 0.6, "negative_share": 0.05, "effective_sample_size": 12.0,
    }  # fmt: skip
    groups = ("all", "rare", "common", "frequent")
    return {
        name: measure(name, np.full(num, value), **dict.fromkeys(groups, value))
        for name, value in {**values, **changes}.items()
    }


def snapshot(number: int, *, age: float = 60.0) -> FeatureSnapshotHead:
    """A feature snapshot taken so many seconds ago."""
    return FeatureSnapshotHead(number, 180 * number, 2, NOW - age, 64, 80, CLASSES, 160, 50_000)


def projection(number: int, state: str = "ready", error: str | None = None) -> ProjectionHead:
    """How far the picture of that snapshot is."""
    return ProjectionHead(
        number, number, 180 * number, 2, "pca", state, NOW - 50, 1.0, error, {"seed": 0}
    )


def healthy(num: int = CLASSES, **changes: Any) -> Facts:
    """Facts of a run with which nothing is wrong; `config` and `vectors` are added to."""
    instances = np.arange(1, num + 1) * 3
    vectors = {
        "observed_rois": instances * 6,
        "virtual_features": 60 // np.arange(1, num + 1),
        "probability": np.linspace(0.5, 0.001, num).astype(np.float32),
        "scale": np.full(num, 1.2, np.float32),
        "super_group": np.arange(num) % 6,
    }
    facts = Facts(
        run=run(),
        config=RunConfig(**changes.pop("config", {})),
        now=NOW,
        names=[f"class {index}" for index in range(num)],
        instances=instances,
        letters=["r"] * 6 + ["c"] * 7 + ["f"] * (num - 13),
        losses={"loss/total": 2.0, "loss/box": 0.5, "validation/loss": 3.0},
        loader_seconds=[0.01] * 100,
        step_seconds=[0.2] * 100,
        vectors=vectors | changes.pop("vectors", {}),
        before={"observed_rois": instances * 3, "virtual_features": np.zeros(num, np.int32)},
        validation_loss=np.linspace(1, 4, num),
        validation_epoch=5,
        adaptations=[adaptation(epoch) for epoch in (3, 4, 5)],
        memory_mb=1200.0,
        memory_available_mb=20_000.0,
        disk_free=40 * 10**9,
        checkpoints=[CheckpointRow(60 * e, e, 0, NOW, 26 * MEGABYTE) for e in (4, 5, 6)],
        writing_problem=None,
        measures=measures(num),
        snapshots=[snapshot(1), snapshot(2)],
        projections=[projection(1), projection(2)],
        snapshots_skipped=0,
    )
    return replace(facts, **changes)


def found(facts: Facts) -> dict[str, Finding]:
    """The findings by their keys; every key is there at most once."""
    diagnosis: Diagnosis = diagnose(facts)
    by_key = {finding.key: finding for finding in diagnosis.findings}
    assert len(by_key) == len(diagnosis.findings)
    return by_key


def only(facts: Facts) -> Finding:
    """The one finding there is."""
    (finding,) = diagnose(facts).findings
    return finding
