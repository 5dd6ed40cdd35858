"""`fasa rename`, `tag`, `note`, `archive`: what people add to a run."""

from __future__ import annotations

import argparse
from typing import Any

from trainer.command_line.parser import Parser, add_command, add_run
from trainer.command_line.plain_text import plain
from trainer.command_line.run_list import find_run
from trainer.run_log.commands import rename_run, set_archived, set_note, set_tags
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.runs_folder import RunsFolder


def add_commands(commands: Any) -> None:
    """All four."""
    rename = _add(commands, "rename", _rename, "give a run another name")
    rename.add_argument("name", metavar="NAME")
    tag = _add(commands, "tag", _tag, "add tags to a run")
    tag.add_argument("tags", metavar="TAG", nargs="+")
    tag.add_argument("--remove", action="store_true", help="take them away instead")
    note = _add(commands, "note", _note, "replace a run's note; '' takes it away")
    note.add_argument("text", metavar="TEXT")
    archive = _add(commands, "archive", _archive, "leave a run out of the lists; it goes on")
    archive.add_argument("--undo", action="store_true", help="bring it back")


def _add(commands: Any, name: str, run: Any, text: str) -> Parser:
    command = add_command(commands, name, run, text)
    add_run(command)
    return command


def _found(given: argparse.Namespace) -> tuple[RunsFolder, Run]:
    folder = RunsFolder(given.runs)
    with RunLogReader(folder.run_log) as reader:
        return folder, find_run(reader, given.which)


def _rename(given: argparse.Namespace) -> int:
    folder, run = _found(given)
    rename_run(folder.run_log, run.id, given.name)
    print(f"run {run.id} is called '{plain(given.name.strip())}'")
    return 0


def _tag(given: argparse.Namespace) -> int:
    folder, run = _found(given)
    if given.remove:
        tags = [tag for tag in run.tags if tag not in {tag.strip() for tag in given.tags}]
    else:
        tags = [*run.tags, *given.tags]
    set_tags(folder.run_log, run.id, tags)
    with RunLogReader(folder.run_log) as reader:
        kept = reader.run(run.id).tags
    print(f"tags of run {run.id}: {plain(', '.join(kept)) or 'none'}")
    return 0


def _note(given: argparse.Namespace) -> int:
    folder, run = _found(given)
    set_note(folder.run_log, run.id, given.text)
    print(f"noted for run {run.id}" if given.text else f"run {run.id} has no note now")
    return 0


def _archive(given: argparse.Namespace) -> int:
    folder, run = _found(given)
    set_archived(folder.run_log, run.id, not given.undo)
    print(f"run {run.id} is {'back in the lists' if given.undo else 'archived'}")
    return 0
