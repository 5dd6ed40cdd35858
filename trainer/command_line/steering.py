"""`fasa set`, `pause`, `stop`, `checkpoint`, `snapshot`: what is asked of a run that trains."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import Any

from trainer.command_line.parser import Parser, add_command, add_run
from trainer.command_line.plain_text import plain
from trainer.command_line.run_list import find_run
from trainer.config import ConfigError, check_live, live_knobs, load_config
from trainer.folder_lock import has_supervisor
from trainer.run_log.commands import DEAD_AFTER, send_command
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Command, Run
from trainer.run_log.schema import QUEUED
from trainer.runs_folder import RunsFolder

REFUSED = 1  # exit code when the trainer says no
_INTERRUPTED = 130  # exit code of what Ctrl-C ended
_POLL_SECONDS = 0.05
_SAY_SO_AFTER_SECONDS = 2.0


class NoAnswerError(Exception):
    """Nobody will answer a command soon; the message is one sentence."""


def add_commands(commands: Any) -> None:
    """All of them but `fasa resume`, which means more than a command."""
    knobs = ", ".join(live_knobs())
    turn = _add(commands, "set", _set, f"turn knobs of a run that trains: {knobs}")
    turn.add_argument("values", nargs="+", metavar="KNOB=VALUE", help="as in alpha=1.3")
    _add(commands, "pause", _send, "hold a run; `fasa resume` lets it go on")
    _add(commands, "stop", _send, "end a run with a checkpoint; `fasa resume` takes it up again")
    _add(commands, "checkpoint", _send, "keep a checkpoint of a run now")
    _add(commands, "snapshot", _snapshot, "keep the features of a run as they are now")


def _add(commands: Any, name: str, run: Any, text: str) -> Parser:
    command = add_command(commands, name, run, text)
    command.set_defaults(kind=name)
    add_run(command)
    add_no_wait(command)
    return command


def add_no_wait(command: Parser) -> None:
    """The flag `--no-wait`."""
    command.add_argument(
        "--no-wait", action="store_true", help="do not wait until the run says whether it took hold"
    )


def _set(given: argparse.Namespace) -> int:
    with RunLogReader(RunsFolder(given.runs).run_log) as reader:
        run = find_run(reader, given.which)
    values = check_live(dict(map(_pair, given.values)), load_config(run.config))
    return steer(given, run, "set", values)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"'{plain(text)[:80]}' is no KNOB=VALUE: write it as in alpha=1.3")
    return name.strip().replace("-", "_"), value.strip()


def _send(given: argparse.Namespace) -> int:
    with RunLogReader(RunsFolder(given.runs).run_log) as reader:
        run = find_run(reader, given.which)
    return steer(given, run, given.kind)


def _snapshot(given: argparse.Namespace) -> int:
    given.kind = "snapshot_features"
    return _send(given)


def steer(
    given: argparse.Namespace, run: Run, kind: str, payload: Mapping[str, float] | None = None
) -> int:
    """Send a command and say what became of it; returns the exit code.

    Raises:
        RunLogError: the run is over, or shows no sign of life.
    """
    folder = RunsFolder(given.runs)
    payload = payload or {}
    wishes = [f"{name} = {value:g}" for name, value in payload.items()] or [kind.replace("_", " ")]
    command_id = send_command(folder.run_log, run.id, kind, payload)
    sent = f"{', '.join(wishes)}: sent to run {run.id}"
    if given.no_wait:
        print(sent)
        return 0
    if run.status == QUEUED and not (kind == "stop" and has_supervisor(folder.root)):
        print(f"{sent}, which waits to be started: it takes hold then")
        return 0
    try:
        with RunLogReader(folder.run_log) as reader:
            answer = _wait_for_answer(reader, run.id, command_id)
    except NoAnswerError as error:
        print(f"fasa: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print(f"\n{sent}, and it stays sent: `fasa show {run.id}` says what became of it")
        return _INTERRUPTED
    if answer.refusal is None:
        for wish in wishes:
            print(f"{wish} took hold at step {answer.applied_step}")
        return 0
    print(f"refused: {plain(answer.refusal)}", file=sys.stderr)
    return REFUSED


def _wait_for_answer(reader: RunLogReader, run_id: int, command_id: int) -> Command:
    """The command once it is answered.

    Raises:
        NoAnswerError: the run was deleted, or its trainer fell silent.
    """
    began = time.monotonic()
    has_said_so = False
    while True:
        commands = reader.commands(run_id, after=command_id - 1)
        if not commands:
            raise NoAnswerError(f"run {run_id} was deleted before it answered")
        if commands[0].answered is not None:
            return commands[0]
        heartbeat = reader.run(run_id).heartbeat
        silence = 0.0 if heartbeat is None else time.time() - heartbeat
        if silence > DEAD_AFTER:
            raise NoAnswerError(
                f"run {run_id} gave no sign of life for {silence:.0f} s: the command stays sent, "
                f"and `fasa show {run_id}` says what became of it"
            )
        if not has_said_so and time.monotonic() - began > _SAY_SO_AFTER_SECONDS:
            print(f"waiting for run {run_id}; Ctrl-C leaves the command sent", file=sys.stderr)
            has_said_so = True
        time.sleep(_POLL_SECONDS)
