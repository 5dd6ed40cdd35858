"""What the page Feature space needs to know of a run beside the points themselves.

Epochs are counted from 0, as the run log has them. Shapes: C classes, S snapshots.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from app.figure_routes import plain
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import (
    FEWEST_OBJECTS,
    METHODS,
    FeatureObject,
    FeatureSnapshotHead,
    ProjectionHead,
    Run,
)
from trainer.run_log.schema import RunLogError

MEGABYTE = 1_000_000
NEVER = np.iinfo(np.int64).max  # no epoch
NEWEST_STEP = 2**62


def describe(reader: RunLogReader, run: Run) -> dict[str, Any]:
    """The answer of `/live/runs/ID/features`, see `app/feature_routes.py`.

    Raises:
        RunLogError: the run log is damaged, or its rows do not belong together.
    """
    categories = reader.categories(run.id)
    objects = reader.features.objects(run.id)
    heads = reader.features.heads(run.id)
    return {
        "uid": run.uid,
        "classes": [
            {"name": row.name, "frequency": row.frequency, "instances": row.instance_count}
            for row in categories
        ],
        "objects": object_columns(objects, len(categories)),
        "snapshots": snapshot_rows(heads, reader.features.projections(run.id)),
        "cost": cost(reader, run, heads),
        "first_seen": first_seen(reader, run, len(categories)),
        "weak": weak_classes(reader, run, len(categories)),
    }


def object_columns(objects: Sequence[FeatureObject], num_classes: int) -> dict[str, list[Any]]:
    """The probe objects column by column, in the order of their indices.

    Raises:
        RunLogError: their indices have gaps, or their classes are not of the run.
    """
    for place, row in enumerate(objects):
        if row.object_index != place or not 0 <= row.class_index < num_classes:
            raise RunLogError(
                f"Probe object {row.object_index} of class {row.class_index} has no place in this "
                f"run of {num_classes} classes: delete this run, it was not written by this "
                "program."
            )
    boxes = np.array([row[4:] for row in objects], np.float64).reshape(-1, 4)
    if not np.isfinite(boxes).all():
        raise RunLogError(
            "A probe object's box is not finite: delete this run, it was not written by this "
            "program."
        )
    return {
        "class": [row.class_index for row in objects],
        "holdout": [int(row.split == "holdout") for row in objects],
        "image": [row.image_id for row in objects],
        "box": boxes.round(1).tolist(),
    }


def snapshot_rows(
    heads: Sequence[FeatureSnapshotHead], projections: Sequence[ProjectionHead]
) -> list[dict[str, Any]]:
    """The snapshots, oldest first, each with how far its pictures are."""
    methods: dict[int, dict[str, Any]] = {head.id: {} for head in heads}
    for one in projections:
        # A snapshot may have come, or been thinned away, between the two reads.
        if one.snapshot_id in methods and one.method in METHODS:
            methods[one.snapshot_id][one.method] = {
                "state": one.state,
                "seconds": _number(one.seconds),
                "error": one.error,
                "parameters": plain(one.parameters),
            }
    return [
        {
            "id": head.id,
            "step": head.step,
            "epoch": head.epoch,
            "time": _number(head.wall_time),
            "objects": head.num_objects,
            "classes": head.num_classes,
            "virtual": head.num_virtual,
            "bytes": head.bytes,
            "methods": methods[head.id],
        }
        for head in heads
    ]


def cost(
    reader: RunLogReader, run: Run, heads: Sequence[FeatureSnapshotHead]
) -> dict[str, float | None]:
    """What the snapshots take, and what they may take: bytes, seconds, share of an epoch."""
    newest = reader.last_scalars(run.id, "features/", step=NEWEST_STEP)
    megabytes = _number(run.config.get("feature_megabytes"))
    return {
        "bytes": sum(head.bytes for head in heads),
        "most_bytes": None if megabytes is None else megabytes * MEGABYTE,
        "seconds": _number(newest.get("features/seconds")),
        "share": _number(newest.get("features/share")),
        "most_share": _number(run.config.get("feature_share")),
    }


def weak_classes(reader: RunLogReader, run: Run, num_classes: int) -> list[int]:
    """The classes whose prior rests on too few objects, at the newest snapshot that was measured.

    Raises:
        RunLogError: the measure is of another number of classes.
    """
    measured = reader.features.newest_measures(run.id).get("effective_sample_size")
    if measured is None:
        return []
    sizes = measured.per_class
    if len(sizes) != num_classes:
        raise RunLogError(
            f"Run {run.id} has {num_classes} classes, but {len(sizes)} effective sample sizes: "
            "delete this run, it was not written by this program."
        )
    found: list[int] = np.flatnonzero(sizes < FEWEST_OBJECTS).tolist()  # NaN is not below
    return found


@dataclass
class _Seen:
    """What has been read of one run so far: [C] epoch of the first sight, NEVER before it."""

    rewinds: int
    epochs: NDArray[np.int64]
    last_row: int = 0


_seen: WeakKeyDictionary[RunLogReader, dict[str, _Seen]] = WeakKeyDictionary()
_lock = threading.Lock()


def first_seen(reader: RunLogReader, run: Run, num_classes: int) -> list[int | None]:
    """[C] the epoch in which training first saw a class: its first RoI; None before that.

    Remembers what it read: a call costs only what is new.

    Raises:
        RunLogError: the run log is damaged, or the counts are of another number of classes.
    """
    with _lock:
        memories = _seen.setdefault(reader, {})
        memory = memories.get(run.uid)
        if memory is None or memory.rewinds != run.rewinds or len(memory.epochs) != num_classes:
            memory = memories[run.uid] = _Seen(run.rewinds, np.full(num_classes, NEVER))
        counts = reader.class_vectors(run.id, "observed_rois", after=memory.last_row)
        if len(counts.ids):
            if counts.values.shape[1] != num_classes:
                raise RunLogError(
                    f"Run {run.id} has {num_classes} classes, but {counts.values.shape[1]} counts "
                    "of RoIs: delete this run, it was not written by this program."
                )
            np.minimum(memory.epochs, first_epochs(counts.epochs, counts.values),
                       out=memory.epochs)  # fmt: skip
            memory.last_row = int(counts.ids[-1])
        return [None if epoch == NEVER else epoch for epoch in memory.epochs.tolist()]


def first_epochs(epochs: NDArray[np.int64], counts: NDArray[Any]) -> NDArray[np.int64]:
    """[C] epoch of the first of S snapshots (at least one) in which counts [S, C] are positive."""
    is_seen = counts > 0
    first = epochs[is_seen.argmax(axis=0)]
    return np.where(is_seen.any(axis=0), first, NEVER)


def _number(value: Any) -> float | None:
    """A number of a foreign configuration, or None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None
