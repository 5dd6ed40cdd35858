"""`fasa train`, `queue`, `execute`: new runs. Only here torch is loaded."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from trainer.command_line.config_flags import add_config_flags, given_values
from trainer.command_line.parser import add_command
from trainer.command_line.resuming import say_who_trains
from trainer.config import RunConfig, load_config
from trainer.presets import preset_values, scaling_advice
from trainer.process_identity import process_identity
from trainer.run_log.commands import claim_run, queue_run
from trainer.runs_folder import RunsFolder

_GOOD_ENDS = ("finished", "stopped")
_FAILED = 1


def add_commands(commands: Any) -> None:
    """All three."""
    train = add_command(commands, "train", _train, "train a run here, in this terminal")
    queue = add_command(commands, "queue", _queue, "queue a run for the supervisor")
    for command in (train, queue):
        add_config_flags(command, preset="demo")
    execute = add_command(
        commands, "execute", _execute, "train a queued run; the supervisor's part"
    )
    execute.add_argument("run_id", type=int)


def _train(given: argparse.Namespace) -> int:
    config = _config(given)
    folder = RunsFolder(given.runs)
    from trainer.execute import prepare  # torch loads for seconds: not for `--help`

    run_id = _queue_run(given, config, folder, prepare(config, folder).title)
    own = os.getpid()
    if not claim_run(
        folder.run_log, run_id, process_id=own, process_identity=process_identity(own)
    ):
        print(f"the supervisor of {given.runs} was faster and trains run {run_id}: watch it there")
        return 0
    return _train_to_its_end(folder, run_id)


def _queue(given: argparse.Namespace) -> int:
    config = _config(given)
    folder = RunsFolder(given.runs)
    from trainer.execute import prepare

    run_id = _queue_run(given, config, folder, prepare(config, folder).title)
    print(f"queued run {run_id}")
    say_who_trains(folder)
    return 0


def _config(given: argparse.Namespace) -> RunConfig:
    """The run as the flags have it; a batch size that wants other rates is said, not changed."""
    config = load_config(given_values(given))
    advice = scaling_advice(preset_values(given.preset.split(",")), config.model_dump())
    if advice:
        print(f"fasa: {advice}", file=sys.stderr)
    return config


def _queue_run(given: argparse.Namespace, config: RunConfig, folder: RunsFolder, title: str) -> int:
    folder.root.mkdir(parents=True, exist_ok=True)
    return queue_run(
        folder.run_log,
        name=given.name or given.preset,
        config=config.model_dump(mode="json"),
        dataset=title,
    )


def _execute(given: argparse.Namespace) -> int:
    return _train_to_its_end(RunsFolder(given.runs), given.run_id)


def _train_to_its_end(folder: RunsFolder, run_id: int) -> int:
    from trainer.execute import execute
    from trainer.training_step import LossNotFinite, OutOfMemory

    try:
        return 0 if execute(folder, run_id) in _GOOD_ENDS else _FAILED
    except (LossNotFinite, OutOfMemory) as error:
        print(f"fasa: {error}", file=sys.stderr)
        return _FAILED
