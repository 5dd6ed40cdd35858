"""`fasa runs`, and how every command finds the run a person means."""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict
from typing import Any

from trainer.command_line.parser import add_command
from trainer.command_line.plain_text import plain
from trainer.command_line.table import print_table
from trainer.config import RunConfig, live_knobs
from trainer.run_log.commands import DEAD_AFTER
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.run_log.schema import FINAL_STATUSES, QUEUED
from trainer.runs_folder import RunsFolder

_METRICS = ("AP", "AP_r")
_COLUMNS = ("id", "name", "status", "progress", *_METRICS, "knobs", "parent", "tags")


class NoSuchRunError(ValueError):
    """What a person typed names no run, or several; the message is one sentence."""


def add_commands(commands: Any) -> None:
    """`fasa runs`."""
    command = add_command(commands, "runs", _runs, "list the runs")
    command.add_argument("--all", action="store_true", help="with archived ones")
    command.add_argument("--json", action="store_true", help="all that is known, for programs")


def find_run(reader: RunLogReader, which: str) -> Run:
    """The run with this id, or the only one with this name.

    Raises:
        NoSuchRunError: there is none, or several have the name.
        RunLogError: the run log cannot be read.
    """
    runs = reader.runs()
    for run in runs:
        if str(run.id) == which:
            return run
    named = [run for run in runs if run.name == which]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(str(run.id) for run in named)
        raise NoSuchRunError(f"the runs {ids} are all called '{which}': give an id")
    raise NoSuchRunError(f"there is no run '{plain(which)[:80]}': `fasa runs --all` lists them")


def status_text(run: Run) -> str:
    """The status, and for how long a live run has been silent when that is long."""
    if run.status in (*FINAL_STATUSES, QUEUED) or run.heartbeat is None:
        return run.status
    silence = time.time() - run.heartbeat
    return f"{run.status}, silent for {silence:.0f} s" if silence > DEAD_AFTER else run.status


def progress_text(run: Run) -> str:
    """How far a run has come: "34 %, epoch 5 of 12"."""
    if not run.total_steps or not run.total_epochs:
        return ""
    epoch = min(run.epoch + 1, run.total_epochs)
    return f"{100 * run.step // run.total_steps} %, epoch {epoch} of {run.total_epochs}"


def parent_text(run: Run) -> str:
    """Where a run comes from: "3", or "3 after epoch 6" for a fork."""
    if run.parent_run is None:
        return ""
    fork = "" if run.parent_epoch is None else f" after epoch {run.parent_epoch}"
    return f"{run.parent_run}{fork}"


def knob_values(reader: RunLogReader, run: Run) -> dict[str, float]:
    """Where the live knobs of a run stand now."""
    configured = {**RunConfig().model_dump(), **run.config}
    curves = reader.last_scalars(run.id, "knob/", step=run.step)
    return {
        name: float(curves.get(f"knob/{name}", configured[name]))
        for name, field in live_knobs().items()
        if configured["fasa"] or field.json_schema_extra["group"] != "FASA"
    }


def metrics(reader: RunLogReader, run: Run) -> dict[str, float | None]:
    """The newest AP and AP_r of the masks, in percent; None where there is none."""
    values = reader.last_scalars(run.id, "segm/AP", step=run.step)
    found = {name: values.get(f"segm/{name}", math.nan) for name in _METRICS}
    return {name: value if math.isfinite(value) else None for name, value in found.items()}


def _runs(given: argparse.Namespace) -> int:
    with RunLogReader(RunsFolder(given.runs).run_log) as reader:
        runs = [run for run in reader.runs() if given.all or run.archived is None]
        if given.json:
            known = [
                asdict(run) | metrics(reader, run) | {"knobs": knob_values(reader, run)}
                for run in runs
            ]
            print(json.dumps(known, indent=2))
        elif runs:
            print_table(_COLUMNS, [_row(reader, run) for run in runs])
        else:
            print(f"no run in {given.runs}: `fasa up` or `fasa queue` begins one")
    return 0


def _row(reader: RunLogReader, run: Run) -> list[str]:
    """The columns of a run; knobs only where they differ from the defaults."""
    defaults = {name: field.default for name, field in live_knobs().items()}
    knobs = knob_values(reader, run).items()
    return [
        str(run.id),
        run.name,
        status_text(run),
        progress_text(run),
        *("" if value is None else f"{value:.1f}" for value in metrics(reader, run).values()),
        " ".join(f"{name}={value:g}" for name, value in knobs if value != defaults[name]),
        parent_text(run),
        ", ".join(run.tags),
    ]
