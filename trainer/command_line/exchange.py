"""`fasa export` and `fasa import`: runs out of an installation, and into one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from trainer.command_line.parser import add_command
from trainer.command_line.plain_text import plain
from trainer.command_line.run_list import find_run
from trainer.run_log.reader import RunLogReader
from trainer.runs_folder import RunsFolder


def add_commands(commands: Any) -> None:
    """Both."""
    export = add_command(
        commands, "export", _export, "write runs as tables, or as a file to import elsewhere"
    )
    export.add_argument(
        "which", metavar="RUN", nargs="*", help="ids or names (default: all but archived runs)"
    )
    export.add_argument(
        "--format",
        choices=("csv", "parquet", "sqlite"),
        default="sqlite",
        help="sqlite: one file for `fasa import`; csv, parquet: a folder of tables",
    )
    export.add_argument(
        "--to", type=Path, required=True, metavar="PATH", help="the new file or folder"
    )
    bring = add_command(commands, "import", _import, "take over the runs of an exported file")
    bring.add_argument("source", type=Path, metavar="FILE", help="made by `fasa export`")


def _export(given: argparse.Namespace) -> int:
    from trainer.transfer.export import export_runs

    folder = RunsFolder(given.runs)
    with RunLogReader(folder.run_log) as reader:
        if given.which:
            ids = [find_run(reader, which).id for which in given.which]
        else:
            ids = [run.id for run in reader.runs() if run.archived is None]
    for path in export_runs(folder, ids, format=given.format, to=given.to):
        print(path)
    return 0


def _import(given: argparse.Namespace) -> int:
    from trainer.transfer.merge import import_runs

    folder = RunsFolder(given.runs)
    ids = import_runs(folder, given.source)
    with RunLogReader(folder.run_log) as reader:
        for run_id in ids:
            print(f"run {run_id} '{plain(reader.run(run_id).name)}'")
    return 0
