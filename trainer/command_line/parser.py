"""The commands of `fasa`, each from its own file, and what they have in common."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from trainer.runs_folder import default_runs_folder


class Parser(argparse.ArgumentParser):
    """A parser that says in one sentence what is wrong, like everything else here."""

    def error(self, message: str) -> NoReturn:
        """Say it and end with exit code 2."""
        self.exit(2, f"fasa: {message}: `{self.prog} --help` says what it takes\n")


def add_command(commands: Any, name: str, run: Any, text: str) -> Parser:
    """A new command that calls `run` with what was given; returns its parser."""
    command: Parser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    command.set_defaults(run=run)
    command.add_argument(
        "--runs",
        type=Path,
        default=default_runs_folder(),
        help="folder of runs and run log (default: FASA_RUNS, or ./runs)",
    )
    return command


def add_run(command: Parser) -> None:
    """The argument RUN: `find_run` understands it."""
    command.add_argument("which", metavar="RUN", help="its id, or its name when only one has it")
