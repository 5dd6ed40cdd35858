"""`fasa resume`: a paused run trains on, one that ended goes on from its last checkpoint."""

from __future__ import annotations

import argparse
from typing import Any

from trainer.command_line.parser import add_command
from trainer.command_line.run_list import find_run
from trainer.command_line.steering import add_no_wait, steer
from trainer.config import ConfigError
from trainer.folder_lock import has_supervisor
from trainer.resumption import mark_interrupted, requeue_interrupted
from trainer.run_log.commands import requeue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.run_log.schema import FINAL_STATUSES, PAUSED, QUEUED, RunLogError
from trainer.runs_folder import RunsFolder
from trainer.trainer_process import has_process


def add_commands(commands: Any) -> None:
    """`fasa resume`."""
    resume = add_command(
        commands,
        "resume",
        _resume,
        "let a paused run train on, or one that ended go on from its last checkpoint",
    )
    resume.add_argument("which", metavar="RUN", nargs="?", help="its id, or its name")
    resume.add_argument(
        "--interrupted",
        action="store_true",
        help="all that were at work when the machine or `fasa up` stopped, but archived ones",
    )
    add_no_wait(resume)


def _resume(given: argparse.Namespace) -> int:
    if (given.which is None) != given.interrupted:
        raise ConfigError("name one run, or give --interrupted for all that were interrupted")
    folder = RunsFolder(given.runs)
    mark_interrupted(folder)
    if given.interrupted:
        return _resume_all(folder)
    with RunLogReader(folder.run_log) as reader:
        run = find_run(reader, given.which)
    if run.status == PAUSED and has_process(run):
        return steer(given, run, "resume")
    if run.status not in (*FINAL_STATUSES, QUEUED) and not has_process(run):
        raise RunLogError(
            f"run {run.id} is {run.status} but its process is gone: "
            "its supervisor marks it crashed in a moment, then resume it"
        )
    requeue_run(folder.run_log, run.id)
    print(_queued_again(run))
    say_who_trains(folder)
    return 0


def _resume_all(folder: RunsFolder) -> int:
    runs = requeue_interrupted(folder)
    for run in runs:
        print(_queued_again(run))
    if runs:
        say_who_trains(folder)
    else:
        print(f"no run of {folder.root} is interrupted")
    return 0


def say_who_trains(folder: RunsFolder) -> None:
    """Where nobody will start what was queued, say what does."""
    if not has_supervisor(folder.root):
        print(f"no supervisor runs: `fasa up --runs {folder.root}` trains what is queued")


def _queued_again(run: Run) -> str:
    return f"run {run.id} '{run.name}' is queued again and goes on from its last checkpoint"
