"""Whole runs on a small demo set, for tests that train."""

import threading
from typing import Any

from benchmarks.survival import MEASURED, SMALL
from trainer.config import load_config
from trainer.execute import execute
from trainer.run_log.commands import queue_run, send_command
from trainer.run_log.reader import RunLogReader
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


def stop_at(folder: RunsFolder, run_id: int, *, step: int, phase: str) -> None:
    """Execute a run in a thread's company that asks it to stop at a step and phase."""
    over = threading.Event()

    def ask() -> None:
        reader = RunLogReader(folder.run_log)
        while not over.wait(0.02):
            run = reader.run(run_id)
            if run.step > step or (run.step == step and run.phase == phase):
                break
        send_command(folder.run_log, run_id, "stop", {})

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        assert execute(folder, run_id) == "stopped"
    finally:
        over.set()
        thread.join()
