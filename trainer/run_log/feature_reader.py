"""What the run log holds of features: probe objects, snapshots, their pictures and measures.

Reached as `RunLogReader.features`; every method is one short read. Shapes: see `FeatureValues`.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from trainer.run_log.encoding import decode_array, decode_features
from trainer.run_log.history import FEATURE_COLUMNS, SNAPSHOT_BYTES
from trainer.run_log.rows import (
    FeatureLabels,
    FeatureObject,
    FeatureProbeRow,
    FeatureSnapshot,
    FeatureSnapshotHead,
    MeasureRow,
    Projection,
    ProjectionHead,
    SnapshotStates,
)

_OBJECT = ", ".join(FeatureObject._fields)
_SNAPSHOT = f"id, step, epoch, wall_time, {', '.join(FEATURE_COLUMNS)}"
_HEAD = (
    "id, step, epoch, wall_time, feature_dim, length(objects) / 4, length(classes) / 4,"
    f" length(virtual_predicted) / 4, {SNAPSHOT_BYTES}"
)
# Name -> kind of its numbers.
_LABELS = {
    "objects": "i4", "real_predicted": "i4", "real_loss": "f4", "classes": "i4",
    "prior_size": "f4", "virtual_predicted": "i4", "virtual_loss": "f4",
}  # fmt: skip
_MEASURE = (
    "m.snapshot_id, s.step, s.epoch, m.name, m.per_class, m.groups FROM feature_measures AS m"
    " JOIN feature_snapshots AS s ON s.id = m.snapshot_id"
)
_PROJECTED = "FROM projections AS p JOIN feature_snapshots AS s ON s.id = p.snapshot_id"


class FeatureReader:
    """Reads features from a run log.

    Args:
        rows: runs a statement with its values and gives all rows.
    """

    def __init__(self, rows: Callable[[str, Any], list[Any]]) -> None:
        self._rows = rows

    def probes(self, run_id: int) -> list[FeatureProbeRow]:
        """The objects whose features are followed, by ``object_index``."""
        rows = self._rows(
            f"SELECT {_OBJECT}, picture FROM feature_probes WHERE run_id = ? ORDER BY object_index",
            (run_id,),
        )
        return [FeatureProbeRow._make(row) for row in rows]

    def objects(self, run_id: int) -> list[FeatureObject]:
        """The same without their pictures."""
        rows = self._rows(
            f"SELECT {_OBJECT} FROM feature_probes WHERE run_id = ? ORDER BY object_index",
            (run_id,),
        )
        return [FeatureObject._make(row) for row in rows]

    def num_objects(self, run_id: int) -> int:
        """How many objects there are: one more than the highest ``object_index``."""
        rows = self._rows(
            "SELECT coalesce(max(object_index) + 1, 0) FROM feature_probes WHERE run_id = ?",
            (run_id,),
        )
        return int(rows[0][0])

    def picture(self, run_id: int, object_index: int) -> bytes | None:
        """The JPEG of an object; None when there is none."""
        rows = self._rows(
            "SELECT picture FROM feature_probes WHERE run_id = ? AND object_index = ?",
            (run_id, object_index),
        )
        return rows[0][0] if rows else None

    def pictures(self, run_id: int) -> list[bytes]:
        """The JPEGs of all objects, by ``object_index``."""
        rows = self._rows(
            "SELECT picture FROM feature_probes WHERE run_id = ? ORDER BY object_index", (run_id,)
        )
        return [row[0] for row in rows]

    def heads(self, run_id: int) -> list[FeatureSnapshotHead]:
        """The snapshots of a run, oldest first, without their features."""
        rows = self._rows(
            f"SELECT {_HEAD} FROM feature_snapshots WHERE run_id = ? ORDER BY id", (run_id,)
        )
        return [FeatureSnapshotHead._make(row) for row in rows]

    def snapshot(self, snapshot_id: int) -> FeatureSnapshot | None:
        """A snapshot with its features; None when there is none (any more)."""
        rows = self._rows(f"SELECT {_SNAPSHOT} FROM feature_snapshots WHERE id = ?", (snapshot_id,))
        return _snapshot(rows[0]) if rows else None

    def snapshots(self, run_id: int, *, after: int = 0) -> list[FeatureSnapshot]:
        """The snapshots of a run with ids above ``after``, oldest first, with their features."""
        rows = self._rows(
            f"SELECT {_SNAPSHOT} FROM feature_snapshots WHERE run_id = ? AND id > ? ORDER BY id",
            (run_id, after),
        )
        return [_snapshot(row) for row in rows]

    def labels(self, snapshot_id: int) -> FeatureLabels | None:
        """A snapshot without its features; None when there is none (any more)."""
        rows = self._rows(
            f"SELECT id, run_id, virtual_per_class, {', '.join(_LABELS)} FROM feature_snapshots"
            " WHERE id = ?",
            (snapshot_id,),
        )
        if not rows:
            return None
        found, run_id, virtual_per_class, *blobs = rows[0]
        columns = zip(_LABELS.items(), blobs, strict=True)
        return FeatureLabels(
            id=found,
            run_id=run_id,
            virtual_per_class=virtual_per_class,
            **{name: decode_array(blob, kind) for (name, kind), blob in columns},
        )

    def projections(self, run_id: int) -> list[ProjectionHead]:
        """How far the pictures of a run's snapshots are, in the order they were made."""
        rows = self._rows(
            "SELECT p.id, p.snapshot_id, s.step, s.epoch, p.method, p.state, p.started, p.seconds,"
            f" p.error, p.parameters {_PROJECTED} WHERE p.run_id = ? ORDER BY p.id",
            (run_id,),
        )
        return [ProjectionHead._make((*row[:-1], json.loads(row[-1]))) for row in rows]

    def states(self) -> list[SnapshotStates]:
        """How far the pictures of all snapshots are, the newest first; without deleted runs."""
        rows = self._rows(
            "SELECT s.run_id, s.id, (SELECT json_group_object(p.method, p.state)"
            " FROM projections AS p WHERE p.snapshot_id = s.id) FROM feature_snapshots AS s"
            " JOIN runs ON runs.id = s.run_id AND runs.deleted IS NULL ORDER BY s.id DESC",
            (),
        )
        return [SnapshotStates(row[0], row[1], json.loads(row[2])) for row in rows]

    def projection(self, snapshot_id: int, method: str) -> Projection | None:
        """A picture with its coordinates; None while it is not ready."""
        rows = self._rows(
            "SELECT p.id, p.snapshot_id, s.step, s.epoch, p.method, p.seconds, p.parameters,"
            f" p.real, p.virtual, p.ellipses {_PROJECTED}"
            " WHERE p.snapshot_id = ? AND p.method = ? AND p.state = 'ready'",
            (snapshot_id, method),
        )
        if not rows:
            return None
        *row, parameters, real, virtual, ellipses = rows[0]
        names = ("id", "snapshot_id", "step", "epoch", "method", "seconds")
        return Projection(
            **dict(zip(names, row, strict=True)),
            parameters=json.loads(parameters),
            real=decode_array(real, "f4").reshape(-1, 2),
            virtual=decode_array(virtual, "f4").reshape(-1, 2),
            ellipses=decode_array(ellipses, "f4").reshape(-1, 5),
        )

    def measures(self, run_id: int, names: Sequence[str] | None = None) -> list[MeasureRow]:
        """What was measured of a run's snapshots, oldest first; some measures or all."""
        rows = self._rows(
            f"SELECT {_MEASURE} WHERE m.run_id = ?1"
            " AND (?2 IS NULL OR m.name IN (SELECT value FROM json_each(?2)))"
            " ORDER BY m.snapshot_id, m.name",
            (run_id, None if names is None else json.dumps(list(names))),
        )
        return [_measure(row) for row in rows]

    def newest_measures(self, run_id: int) -> dict[str, MeasureRow]:
        """By name, what was measured of the newest snapshot that was; {} before the first."""
        rows = self._rows(
            f"SELECT {_MEASURE} WHERE m.snapshot_id ="
            " (SELECT max(snapshot_id) FROM feature_measures WHERE run_id = ?)",
            (run_id,),
        )
        return {row.name: row for row in map(_measure, rows)}


def _measure(row: Sequence[Any]) -> MeasureRow:
    return MeasureRow._make((*row[:4], decode_array(row[4], "f4"), json.loads(row[5])))


def _snapshot(row: Sequence[Any]) -> FeatureSnapshot:
    arrays: dict[str, Any] = decode_features(row[4:])
    return FeatureSnapshot(id=row[0], step=row[1], epoch=row[2], wall_time=row[3], **arrays)
