"""The commands of `fasa`, each from its own file, and what they have in common."""

from __future__ import annotations

import argparse
import difflib
from pathlib import Path
from typing import Any, NoReturn

from trainer.runs_folder import default_runs_folder


class Parser(argparse.ArgumentParser):
    """A parser that says in one sentence what is wrong, like everything else here."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse what the command does not know here, where it has a name to say."""
        given, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"`{self.prog}` takes no '{rest[0]}'{self._meant(rest[0])}")
        return given, rest

    def _meant(self, word: str) -> str:
        flag = word.partition("=")[0]
        known = [name for action in self._actions for name in action.option_strings]
        meant = difflib.get_close_matches(flag, known, n=1)
        return f" (did you mean {meant[0]}?)" if flag.startswith("-") and meant else ""

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
