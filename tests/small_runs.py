"""Whole runs on a small demo set, for tests that train."""

import threading
from collections.abc import Callable
from typing import Any

from benchmarks.survival import MEASURED, SMALL
from trainer.config import load_config
from trainer.execute import execute
from trainer.run_log.commands import queue_run, send_command
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.runs_folder import RunsFolder

EPOCHS = 3


def queue_small(folder: RunsFolder, **values: Any) -> int:
    """Queue a run that takes some seconds."""
    config = load_config({**SMALL, "epochs": EPOCHS, **values}).model_dump(mode="json")
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


def stop_when(folder: RunsFolder, run_id: int, reached: Callable[[Run], bool]) -> None:
    """Execute a run in a thread's company that asks it to stop."""
    over = threading.Event()

    def ask() -> None:
        with RunLogReader(folder.run_log) as reader:
            while not over.wait(0.02) and not reached(reader.run(run_id)):
                pass
        send_command(folder.run_log, run_id, "stop", {})

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        assert execute(folder, run_id) == "stopped"
    finally:
        over.set()
        thread.join()


def stop_at(folder: RunsFolder, run_id: int, *, step: int, phase: str) -> None:
    """The same at a step and phase."""
    stop_when(
        folder, run_id, lambda run: run.step > step or (run.step == step and run.phase == phase)
    )
