"""Whole runs on a small demo set, for tests that train."""

from typing import Any

from trainer.config import load_config
from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.runs_folder import RunsFolder

SMALL: dict[str, Any] = {
    "demo_classes": 6,
    "epochs": 3,
    "threads": 1,
    "image_min_size": 96,
    "image_max_size": 96,
    "snapshot_every": 3,
    "initial_scale": 15.0,
}
MEASURED = ("images_per_second", "loader_seconds", "step_seconds", "memory_mb")


def queue_small(folder: RunsFolder, **values: Any) -> int:
    """Queue a run that takes some seconds."""
    config = load_config({**SMALL, **values}).model_dump(mode="json")
    return queue_run(folder.run_log, name="small", config=config, dataset="demo")


def curves(
    folder: RunsFolder, run_id: int, *, until: int | None = None
) -> list[tuple[str, int, float]]:
    """Every value of a run but measurements of speed and memory, in the order it was written."""
    with RunLogReader(folder.run_log) as reader:
        rows = reader.scalars(run_id)
    return [
        (row.name, row.step, row.value)
        for row in rows
        if row.name not in MEASURED and (until is None or row.step <= until)
    ]
