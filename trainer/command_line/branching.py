"""`fasa restart` and `fasa fork`: a new run out of an old one, which stays as it is."""

from __future__ import annotations

import argparse
from typing import Any

from trainer.command_line.config_flags import add_config_flags, given_values
from trainer.command_line.parser import add_command, add_run
from trainer.command_line.resuming import say_who_trains
from trainer.command_line.run_list import find_run
from trainer.config import ConfigError, child_config, dataset_title, fork_knobs, live_knobs
from trainer.lineage import CheckpointMissing, bring_checkpoint, checkpoint_file
from trainer.run_log.commands import queue_run, set_status
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import CheckpointRow, Run
from trainer.run_log.text import NAME_LENGTH
from trainer.runs_folder import RunsFolder


def add_commands(commands: Any) -> None:
    """Both."""
    restart = add_command(
        commands, "restart", _restart, "train a run's configuration anew, with edits, as a new run"
    )
    add_run(restart)
    add_config_flags(restart, preset=None)
    fork = add_command(
        commands, "fork", _fork, "go on from a checkpoint of a run, with edits, as a new run"
    )
    add_run(fork)
    place = fork.add_mutually_exclusive_group()
    place.add_argument(
        "--epoch",
        type=int,
        metavar="E",
        help="go on from the end of epoch E, that is after E whole epochs: the fork's first epoch "
        "is E + 1 (default: the newest checkpoint; `fasa show RUN` lists them)",
    )
    place.add_argument(
        "--step", type=int, metavar="S", help="go on from the checkpoint after S training steps"
    )
    add_config_flags(fork, preset=None, shown=fork_knobs())


def _restart(given: argparse.Namespace) -> int:
    folder = RunsFolder(given.runs)
    with RunLogReader(folder.run_log) as reader:
        run = find_run(reader, given.which)
    config = child_config(run.config, given_values(given), fork=False)
    new = queue_run(
        folder.run_log,
        name=given.name or _name(run, "restart"),
        config=config.model_dump(mode="json"),
        dataset=dataset_title(config),
        parent_run=run.id,
    )
    print(f"queued run {new}: run {run.id} again from the start")
    say_who_trains(folder)
    return 0


def _fork(given: argparse.Namespace) -> int:
    folder = RunsFolder(given.runs)
    with RunLogReader(folder.run_log) as reader:
        run = find_run(reader, given.which)
        checkpoint = chosen_checkpoint(
            run, reader.checkpoints(run.id), epoch=given.epoch, step=given.step
        )
        parent = run.config | _knobs_at(reader, run, checkpoint)
    config = child_config(parent, given_values(given), fork=True)
    if config.epochs <= checkpoint.epoch:
        raise ConfigError(
            f"epochs is {config.epochs}, but the fork goes on after {checkpoint.epoch}: "
            "give --epochs a higher number, or fork from an earlier checkpoint"
        )
    file = checkpoint_file(folder, run.id, checkpoint.step)
    if not file.exists():
        raise CheckpointMissing(f"the checkpoint {file} is gone: fork from another one")
    new = queue_run(
        folder.run_log,
        name=given.name or _name(run, "fork"),
        config=config.model_dump(mode="json"),
        dataset=run.dataset,
        parent_run=run.id,
        parent_epoch=checkpoint.epoch,
        parent_step=checkpoint.step,
    )
    _bring(folder, new)
    print(f"queued run {new}: run {run.id} from step {checkpoint.step} on")
    say_who_trains(folder)
    return 0


def _bring(folder: RunsFolder, run_id: int) -> None:
    """At once, so that the fork has it whatever becomes of the parent."""
    with RunLogReader(folder.run_log) as reader:
        run = reader.run(run_id)
    try:
        bring_checkpoint(folder, run)
    except CheckpointMissing as error:
        set_status(folder.run_log, run_id, "failed", error=str(error))
        raise


def chosen_checkpoint(
    run: Run, kept: list[CheckpointRow], *, epoch: int | None, step: int | None
) -> CheckpointRow:
    """The checkpoint a person means, the newest when none is named.

    Raises:
        ConfigError: it is not kept; the message names those that are.
    """
    if not kept:
        raise ConfigError(
            f"run {run.id} has no checkpoint: wait for one, or ask for one with "
            f"`fasa checkpoint {run.id}`"
        )
    if epoch is not None:
        found = [row for row in kept if (row.epoch, row.batch) == (epoch, 0)]
        place = f"at the end of epoch {epoch}"
    elif step is not None:
        found = [row for row in kept if row.step == step]
        place = f"at step {step}"
    else:
        return kept[-1]
    if not found:
        steps = ", ".join(_place(row) for row in kept)
        raise ConfigError(f"run {run.id} keeps no checkpoint {place}: choose from {steps}")
    return found[-1]


def _place(row: CheckpointRow) -> str:
    return f"--step {row.step}" if row.batch else f"--epoch {row.epoch}"


def _knobs_at(reader: RunLogReader, run: Run, checkpoint: CheckpointRow) -> dict[str, float]:
    """Where the knobs stood that people turned while the run trained."""
    curves = reader.last_scalars(run.id, "knob/", step=checkpoint.step)
    values = {name.removeprefix("knob/"): value for name, value in curves.items()}
    return {name: value for name, value in values.items() if name in live_knobs()}


def _name(run: Run, kind: str) -> str:
    return f"{run.name} ({kind})"[-NAME_LENGTH:]
