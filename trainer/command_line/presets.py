"""`fasa presets`: which presets there are, and what one of them sets."""

from __future__ import annotations

import argparse
import itertools
from typing import Any

from trainer.command_line.parser import add_command
from trainer.presets import PRESETS, data_set_of, find_preset


def add_commands(commands: Any) -> None:
    """The one."""
    command = add_command(commands, "presets", _presets, "list the presets, or what one sets")
    command.add_argument("name", nargs="?", metavar="NAME", help="the preset to print")


def _presets(given: argparse.Namespace) -> int:
    """One preset's file as it stands, with its comments; without a name all, by data set."""
    if given.name is not None:
        print(find_preset(given.name).text, end="")
        return 0
    width = max(map(len, PRESETS))
    for number, (title, names) in enumerate(itertools.groupby(PRESETS, key=data_set_of)):
        print(f"{chr(10) if number else ''}{title}")
        for name in names:
            print(f"  {name:<{width}}  {PRESETS[name].purpose}")
    return 0
