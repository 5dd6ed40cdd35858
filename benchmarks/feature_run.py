"""A run whose probe objects and feature snapshots are those of a `FeatureCloud`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from benchmarks.feature_cloud import FeatureCloud
from trainer.run_log.commands import queue_run, set_status
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import FeatureSnapshot, FeatureValues
from trainer.run_log.writer import RunLogWriter

_VALUES = [field.name for field in fields(FeatureValues)]


class FeatureRun:
    """A run in a run log, to which snapshots are added epoch by epoch.

    Args:
        path: of the run log; made when missing.
        cloud: its features.
    """

    def __init__(self, path: Path, cloud: FeatureCloud) -> None:
        self.path, self.cloud = path, cloud
        self.run_id = queue_run(path, name="features", config={}, dataset="cloud")
        with RunLogWriter(path, self.run_id) as writer:
            writer.register_categories(
                [
                    {
                        "index": index,
                        "id": index + 1,
                        "name": f"class {index}",
                        "frequency": "rcf"[index % 3],
                        "image_count": 10,
                        "instance_count": 10,
                    }
                    for index in range(cloud.classes)
                ]
            )
            writer.feature_probes(
                [
                    {
                        "object_index": index,
                        "class_index": int(label),
                        "split": "holdout" if index % 2 else "train",
                        "image_id": index,
                        "x1": 0.0,
                        "y1": 0.0,
                        "x2": 9.0,
                        "y2": 9.0,
                        "picture": b"jpeg",
                    }
                    for index, label in enumerate(cloud.class_of)
                ]
            )
            writer.flush()
        set_status(path, self.run_id, "finished")  # nobody shall train it

    def add(self, *epochs: int) -> list[int]:
        """A snapshot of each epoch; returns their ids."""
        with RunLogWriter(self.path, self.run_id) as writer:
            for epoch in epochs:
                taken = self.cloud.snapshot(epoch)
                writer.feature_snapshot(_values(taken), step=taken.step, epoch=epoch)
            writer.flush()
        with RunLogReader(self.path) as reader:
            return [head.id for head in reader.features.heads(self.run_id)][-len(epochs) :]


def _values(snapshot: FeatureSnapshot) -> FeatureValues:
    return FeatureValues(**{name: getattr(snapshot, name) for name in _VALUES})
