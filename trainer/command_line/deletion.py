"""`fasa delete`: a run leaves the disk for good."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from trainer.command_line.parser import add_command, add_run
from trainer.command_line.run_list import find_run
from trainer.config import ConfigError
from trainer.lineage import bring_checkpoints
from trainer.removal import contents, remove_run, waiting_fork
from trainer.run_log.commands import mark_deleted
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import RunLogError
from trainer.runs_folder import RunsFolder

_KEPT = 1  # exit code when a person said no


def add_commands(commands: Any) -> None:
    """`fasa delete`."""
    delete = add_command(commands, "delete", _delete, "remove a run, its checkpoints and its rows")
    add_run(delete)
    delete.add_argument("--yes", action="store_true", help="do not ask")


def _delete(given: argparse.Namespace) -> int:
    folder = RunsFolder(given.runs)
    with RunLogReader(folder.run_log) as reader:
        run = find_run(reader, given.which)
        bring_checkpoints(folder, reader.runs())  # what forks need of this one
        fork = waiting_fork(reader.runs(), run.id)
    if fork is not None:
        raise RunLogError(
            f"run {fork.id} is about to be forked from run {run.id}: "
            "wait until it trains, or delete it first"
        )
    rows, checkpoints, size = contents(folder, run.id)
    what = (
        f"run {run.id} '{run.name}' with {rows:,} rows, {checkpoints} "
        f"checkpoint{'' if checkpoints == 1 else 's'} and {size / 1e6:.1f} MB of files"
    )
    if not given.yes:
        if not sys.stdin.isatty():
            raise ConfigError(f"deleting {what} needs your yes: give --yes")
        if input(f"delete {what} for good? [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing is deleted")
            return _KEPT
    mark_deleted(folder.run_log, run.id, True)
    remove_run(folder, run.id)
    print(f"deleted {what}")
    return 0
