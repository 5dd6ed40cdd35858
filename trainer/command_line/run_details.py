"""`fasa show`: all that is known of one run."""

from __future__ import annotations

import argparse
import time
from typing import Any

from trainer.command_line.parser import add_command, add_run
from trainer.command_line.plain_text import plain
from trainer.command_line.run_list import (
    find_run,
    knob_values,
    metrics,
    parent_text,
    progress_text,
    status_text,
)
from trainer.config import RunConfig
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Command, Run
from trainer.runs_folder import RunsFolder

_LAST_COMMANDS = 10
_INDENT = 13  # columns of the labels


def add_commands(commands: Any) -> None:
    """`fasa show`."""
    add_run(add_command(commands, "show", _show, "all that is known of a run"))


def _show(given: argparse.Namespace) -> int:
    folder = RunsFolder(given.runs)
    with RunLogReader(folder.run_log) as reader:
        run = find_run(reader, given.which)
        aps = metrics(reader, run).items()
        _print("run", f"{run.id} '{run.name}'")
        _print("status", ", ".join(filter(None, (status_text(run), progress_text(run)))))
        _print("error", run.error or "")
        _print("data set", run.dataset)
        _print("from run", parent_text(run))
        _print("tags", ", ".join(run.tags))
        _print("note", run.note)
        _print("archived", _clock(run.archived))
        _print("queued", _clock(run.created))
        _print("folder", str(folder.run(run.id)))
        _print("result", "  ".join(f"{name} {ap:.1f}" for name, ap in aps if ap is not None))
        _print("knobs", "  ".join(f"{k} = {v:g}" for k, v in knob_values(reader, run).items()))
        _print("config", _edits(run))
        _print("checkpoints", "\n".join(map(_checkpoint, reader.checkpoints(run.id))))
        _print("attempts", "\n".join(map(_attempt, reader.attempts(run.id))))
        _print("commands", "\n".join(map(_command, reader.commands(run.id)[-_LAST_COMMANDS:])))
    return 0


def _print(label: str, text: str) -> None:
    """A label and its text, if there is any; further lines stand below the first."""
    if text:
        print(f"{label:<{_INDENT}}" + plain(text).rstrip().replace("\n", "\n" + " " * _INDENT))


def _clock(seconds: float | None) -> str:
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _edits(run: Run) -> str:
    """The configuration, where it differs from the defaults."""
    defaults = RunConfig().model_dump(mode="json")
    edits = [f"{k} = {v}" for k, v in run.config.items() if v != defaults.get(k)]
    return "\n".join(edits) or "the defaults"


def _checkpoint(row: Any) -> str:
    place = f"{row.batch} batches into epoch {row.epoch + 1}" if row.batch else (
        f"end of epoch {row.epoch}" if row.epoch else "before the first step")  # fmt: skip
    return f"step {row.step}, {place}, {row.bytes / 1e6:.1f} MB"


def _attempt(row: Any) -> str:
    end = "" if row.ended is None else f" to step {row.to_step}, {row.status} {_clock(row.ended)}"
    return f"{_clock(row.started)} from step {row.from_step}{end}"


def _command(command: Command) -> str:
    payload = ", ".join(f"{name} = {value}" for name, value in command.payload.items())
    what = payload if command.kind == "set" else command.kind.replace("_", " ")
    if command.answered is None:
        answer = "waits for the run"
    elif command.refusal is not None:
        answer = f"refused: {command.refusal}"
    else:
        answer = f"took hold at step {command.applied_step}"
    return f"{_clock(command.created)} {what}: {answer}"
