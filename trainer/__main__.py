"""The `fasa` command."""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.config import RunConfig, load_config
from trainer.presets import PRESETS, preset_values
from trainer.process_identity import process_identity
from trainer.run_log.commands import claim_run, queue_run
from trainer.run_log.schema import RunLogError
from trainer.runs_folder import RunsFolder, default_runs_folder

_BAD_INPUT = 2  # exit code of everything a person can mend


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, 2 for bad input."""
    given = _parser().parse_args(arguments)
    try:
        return int(given.run(given))
    except (ValueError, RunLogError, OSError, sqlite3.Error) as error:
        print(f"fasa: {_sentence(error)}", file=sys.stderr)
        return _BAD_INPUT


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}: check that it is there and can be written"
    return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fasa", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = _add(commands, "train", _train, "train a run here, in this terminal")
    queue = _add(commands, "queue", _queue, "queue a run for the supervisor")
    for command in (train, queue):
        _add_config(command)
    up = _add(commands, "up", _up, "start the supervisor and the dashboard")
    up.add_argument("--port", type=int, default=8501, help="of the dashboard (default 8501)")
    up.add_argument("--address", default="127.0.0.1", help="of the dashboard")
    up.add_argument("--no-demo", action="store_true", help="queue no demo run when there is none")
    execute = _add(commands, "execute", _execute, "train a queued run; the supervisor's part")
    execute.add_argument("run_id", type=int)
    _add(commands, "presets", _presets, "list the presets")
    return parser


def _add(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, allow_abbrev=False
    )
    command.set_defaults(run=run)
    command.add_argument(
        "--runs",
        type=Path,
        default=default_runs_folder(),
        help="folder of runs and run log (default: FASA_RUNS, or ./runs)",
    )
    return command


def _add_config(command: argparse.ArgumentParser) -> None:
    """A flag for every field of `RunConfig`; pydantic converts and checks the values."""
    command.add_argument("--name", help="what the run is called (default: its preset)")
    command.add_argument(
        "--preset",
        default="demo",
        help="values to start from; several, separated by commas, are laid over one another",
    )
    groups: dict[str, Any] = {}
    for name, field in RunConfig.model_fields.items():
        extra: Any = field.json_schema_extra
        group = groups.setdefault(extra["group"], command.add_argument_group(extra["group"]))
        unit = f" [{extra['unit']}]" if extra["unit"] else ""
        text = f"{field.description}{unit} (default {_shown(field.default)})".replace("%", "%%")
        flag = f"--{name.replace('_', '-')}"
        if isinstance(field.default, bool):
            group.add_argument(flag, default=None, action=argparse.BooleanOptionalAction, help=text)
        else:
            group.add_argument(flag, default=None, metavar="VALUE", help=text)


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _config(given: argparse.Namespace) -> RunConfig:
    values = preset_values(given.preset.split(","))
    for name, field in RunConfig.model_fields.items():
        value = getattr(given, name)
        if value is not None:
            values[name] = value.split(",") if isinstance(field.default, tuple) else value
    return load_config(values)


def _train(given: argparse.Namespace) -> int:
    config = _config(given)
    folder = RunsFolder(given.runs)
    from trainer.execute import execute, prepare  # torch loads for seconds: not for `--help`

    title = prepare(config, folder).title
    run_id = _queue_run(given, config, folder, title)
    own = os.getpid()
    identity = process_identity(own)
    if not claim_run(folder.run_log, run_id, process_id=own, process_identity=identity):
        print(f"the supervisor of {given.runs} was faster and trains run {run_id}: watch it there")
        return 0
    return 0 if execute(folder, run_id) in ("finished", "stopped") else 1


def _queue(given: argparse.Namespace) -> int:
    config = _config(given)
    folder = RunsFolder(given.runs)
    from trainer.execute import prepare

    run_id = _queue_run(given, config, folder, prepare(config, folder).title)
    print(f"queued run {run_id}: `fasa up --runs {given.runs}` trains it")
    return 0


def _queue_run(given: argparse.Namespace, config: RunConfig, folder: RunsFolder, title: str) -> int:
    folder.root.mkdir(parents=True, exist_ok=True)
    return queue_run(
        folder.run_log,
        name=given.name or given.preset,
        config=config.model_dump(mode="json"),
        dataset=title,
    )


def _execute(given: argparse.Namespace) -> int:
    from trainer.execute import execute

    return 0 if execute(RunsFolder(given.runs), given.run_id) in ("finished", "stopped") else 1


def _up(given: argparse.Namespace) -> int:
    from trainer.up import up

    return up(
        RunsFolder(given.runs), port=given.port, address=given.address, demo=not given.no_demo
    )


def _presets(given: argparse.Namespace) -> int:
    for name, preset in PRESETS.items():
        print(f"{name:<15} {preset.purpose}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
