"""Runs whose process went with its machine, and how they go on."""

from __future__ import annotations

from trainer.folder_lock import has_supervisor
from trainer.run_log.commands import requeue_run, set_status
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.run_log.schema import FINAL_STATUSES, QUEUED
from trainer.runs_folder import RunsFolder
from trainer.trainer_process import has_process

INTERRUPTED = "interrupted"


def mark_interrupted(folder: RunsFolder) -> None:
    """Do what the next supervisor would: mark the runs whose process is gone.

    Where a supervisor looks after the folder, it does so by itself and nothing happens here.

    Raises:
        RunLogError: the run log cannot be used.
    """
    with RunLogReader(folder.run_log) as reader:
        runs = reader.runs(include_deleted=True)
    for run in runs:
        if run.status in (*FINAL_STATUSES, QUEUED) or has_process(run):
            continue
        if has_supervisor(folder.root):
            return
        text = "Its process was gone (machine restarted?)."
        set_status(folder.run_log, run.id, INTERRUPTED, error=text)


def requeue_interrupted(folder: RunsFolder) -> list[Run]:
    """Let every interrupted run go on, but for archived ones; returns them.

    Raises:
        RunLogError: the run log cannot be used.
    """
    with RunLogReader(folder.run_log) as reader:
        runs = [run for run in reader.runs() if _can_go_on(run)]
    for run in runs:
        requeue_run(folder.run_log, run.id)
    return runs


def _can_go_on(run: Run) -> bool:
    return run.status == INTERRUPTED and run.archived is None and run.copied is None
