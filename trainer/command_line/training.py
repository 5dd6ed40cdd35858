"""`fasa train`, `queue`, `execute`: new runs. Only here torch is loaded."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from trainer.command_line.config_flags import add_config_flags, given_values
from trainer.command_line.parser import add_command
from trainer.command_line.resuming import say_who_trains
from trainer.config import RunConfig, load_config
from trainer.data_layouts import data_files
from trainer.devices import gpus
from trainer.presets import preset_values, scaling_advice
from trainer.process_identity import process_identity
from trainer.run_log.commands import claim_run, queue_run
from trainer.run_log.reader import RunLogReader
from trainer.runs_folder import RunsFolder
from trainer.trainer_process import is_launched, processes_of

if TYPE_CHECKING:
    from trainer.rank_processes import Party

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
    folder = RunsFolder(given.runs)
    if not is_launched():
        run_id = _claimed_run(given, _config(given), folder)
        return 0 if run_id is None else _train_to_its_end(folder, run_id)

    def claim(party: Party) -> int | None:
        """torchrun started all ranks; the first one makes the run."""
        run_id = None
        if party.ranks.is_first:
            config = {**_config(given).model_dump(), "processes": party.ranks.world}
            run_id = _claimed_run(given, load_config(config), folder)
        return party.ranks.broadcast(run_id)

    return _train_together(folder, claim)


def _claimed_run(given: argparse.Namespace, config: RunConfig, folder: RunsFolder) -> int | None:
    """A new run that is this process's to train; None when a supervisor was faster."""
    from trainer.execute import prepare

    run_id = _queue_run(given, config, folder, prepare(config, folder).title)
    own = os.getpid()
    if not claim_run(
        folder.run_log, run_id, process_id=own, process_identity=process_identity(own)
    ):
        print(f"the supervisor of {given.runs} was faster and trains run {run_id}: watch it there")
        return None
    return run_id


def _queue(given: argparse.Namespace) -> int:
    config = _config(given)
    folder = RunsFolder(given.runs)
    from trainer.execute import prepare

    run_id = _queue_run(given, config, folder, prepare(config, folder).title)
    print(f"queued run {run_id}")
    say_who_trains(folder)
    return 0


def _config(given: argparse.Namespace) -> RunConfig:
    """The run as the flags have it; what its flags do not fit is said, not changed."""
    config = load_config(given_values(given))
    if config.data != "demo":
        data_files(config)  # a missing folder is said before torch loads for seconds
    advice = scaling_advice(preset_values(given.preset.split(",")), config.model_dump())
    if advice:
        print(f"fasa: {advice}", file=sys.stderr)
    if config.precision == "float16" and (config.device == "cpu" or not gpus()):
        print(
            "fasa: precision is float16, which a processor computes many times slower than "
            "float32: give --precision bfloat16 or float32",
            file=sys.stderr,
        )
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
    """Train a run in this process, and in as many more as it asks for."""
    processes = 1
    if not is_launched():
        with RunLogReader(folder.run_log) as reader:
            processes = processes_of(reader.run(run_id))
    rank = (sys.executable, "-m", "trainer", "execute", str(run_id), "--runs", str(folder.root))
    return _train_together(
        folder, lambda party: run_id, run_id=run_id, processes=processes, command=rank
    )


def _train_together(
    folder: RunsFolder,
    claim: Callable[[Party], int | None],
    *,
    run_id: int | None = None,
    processes: int = 1,
    command: Sequence[str] = (),
) -> int:
    """Join the ranks, and train with them the run that `claim` gives, if any.

    `run_id` is that run where it is known before: it ends too if a rank dies before all have met.
    """
    from trainer.distributed import RankLost  # torch loads for seconds: not for `--help`
    from trainer.execute import execute, note_death
    from trainer.lifelines import Death
    from trainer.rank_processes import joined
    from trainer.training_step import LossNotFinite, OutOfMemory

    def note(death: Death) -> None:
        if run_id is not None:
            note_death(folder, run_id, death)

    try:  # around the ranks: they are told why one of them ends
        with joined(processes, command, note=note) as party:
            claimed = claim(party)
            if claimed is None:
                return 0
            return 0 if execute(folder, claimed, party=party) in _GOOD_ENDS else _FAILED
    except (LossNotFinite, OutOfMemory, RankLost) as error:
        print(f"fasa: {error}", file=sys.stderr)
        return _FAILED
