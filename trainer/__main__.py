"""The `fasa` command."""

from __future__ import annotations

import os
import sqlite3
import sys
import warnings
from collections.abc import Sequence

from trainer.command_line import (
    branching,
    data,
    deletion,
    evaluating,
    exchange,
    features,
    labels,
    presets,
    resuming,
    run_details,
    run_list,
    services,
    steering,
    training,
)
from trainer.command_line.parser import Parser
from trainer.command_line.plain_text import plain
from trainer.plain_warnings import show_plainly
from trainer.run_log.schema import RunLogError

_BAD_INPUT = 2  # exit code of everything a person can mend
_INTERRUPTED = 130
_NOBODY_READS = 1
_PARTS = (
    services,
    training,
    presets,
    data,
    run_list,
    run_details,
    steering,
    resuming,
    branching,
    labels,
    deletion,
    exchange,
    features,
    evaluating,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, 2 for bad input."""
    try:
        try:
            with warnings.catch_warnings():  # whoever calls this in Python shows them as before
                show_plainly()
                return _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # As in `fasa runs | head`; Python would complain once more while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NOBODY_READS
    except KeyboardInterrupt:
        return _INTERRUPTED


def _run(arguments: Sequence[str] | None) -> int:
    given = _parser().parse_args(arguments)
    try:
        return int(given.run(given))
    except BrokenPipeError:
        raise
    except (ValueError, RunLogError, OSError, sqlite3.Error) as error:
        print(f"fasa: {plain(_sentence(error))}", file=sys.stderr)
        return _BAD_INPUT


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}: check that it is there and can be written"
    return str(error)


def _parser() -> Parser:
    parser = Parser(prog="fasa", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for part in _PARTS:
        part.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
