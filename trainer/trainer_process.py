"""A process that trains a run: started here, or found running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from trainer.devices import CUDA_DEVICES, gpus_of
from trainer.process_identity import process_identity
from trainer.run_log.rows import Run
from trainer.runs_folder import RunsFolder

TRAINER = (sys.executable, "-m", "trainer", "execute")
_TOKEN = "FASA_TOKEN"  # opens the dashboard; no trainer needs it
_CONSOLE = "console.log"
_CONSOLE_LINES = 20
_CONSOLE_BYTES = 8192


@dataclass
class TrainerProcess:
    """A process that trains a run.

    Attributes:
        process_id: the system's number of it.
        identity: tells it from a later process with the same number.
        gpus: those it trains on; none where they are not ours to hand out.
        places: how many of the supervisor's it takes.
        child: None when an earlier supervisor, or a person, started it.
        console_start: where its output begins in its console file, in bytes.
        is_recorded: whether the run log names this process.
    """

    process_id: int
    identity: str
    gpus: tuple[str, ...]
    places: int = 1
    child: subprocess.Popen[bytes] | None = None
    console_start: int = 0
    is_recorded: bool = True

    def is_alive(self) -> bool:
        """Whether it still runs; a process that got its number later does not count."""
        if self.child is not None:
            return self.child.poll() is None
        return process_identity(self.process_id) == self.identity

    def leads_a_session(self) -> bool:
        """True for what a supervisor started; one that a person started keeps its terminal's."""
        try:
            return os.getsid(self.process_id) == self.process_id
        except ProcessLookupError:
            return False

    def send(self, number: signal.Signals) -> None:
        """Signal it, if it still is that process; SIGKILL goes to its helpers too."""
        if not self.is_alive():
            return
        try:
            if number == signal.SIGKILL and self.leads_a_session():
                os.killpg(self.process_id, number)
            else:
                os.kill(self.process_id, number)
        except ProcessLookupError:
            pass  # it ended meanwhile

    def ending(self) -> str:
        """How it ended, a sentence without its full stop."""
        code = None if self.child is None else self.child.returncode
        if code is None:
            return "The trainer ended without a word, and its exit code is not known here"
        if code >= 0:
            return f"The trainer ended with exit code {code} without a word about the run"
        return f"The trainer {ended_by_signal(-code)}"


def ended_by_signal(number: int) -> str:
    """What is said of a process that a signal ended."""
    name = _signal_name(number)
    cause = " (by a person, or by the system for want of memory)" if name == "SIGKILL" else ""
    return f"was ended by signal {name}{cause}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # Python names only the first and the last of the real-time signals
        return str(number)


def is_launched() -> bool:
    """Whether torchrun, or a first rank, started this process as one of several or the only one."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def launch_trainer(
    folder: RunsFolder, run_id: int, *, gpus: tuple[str, ...], places: int, command: Sequence[str]
) -> TrainerProcess:
    """Start a trainer in a session of its own, its console in the run's folder.

    Args:
        folder: runs and run log.
        run_id: of the run it is to train.
        gpus: the only ones it is to see; none leaves the choice to it.
        places: how many of the supervisor's it takes.
        command: what starts a trainer; `RUN_ID --runs RUNS_DIR` is added.

    Raises:
        OSError: the folder cannot be written, or the system starts no process.
    """
    console = folder.run(run_id) / _CONSOLE
    console.parent.mkdir(exist_ok=True)
    # Its last words must be in the file even when it dies of a signal.
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
    environment.pop(_TOKEN, None)
    if gpus:
        environment[CUDA_DEVICES] = ",".join(gpus)
    with console.open("ab") as output:
        console_start = output.tell()
        child = subprocess.Popen(
            [*command, str(run_id), "--runs", str(folder.root)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the supervisor's terminal does not reach it
            env=environment,
        )
    # None only when it is gone already; then nobody will look for it either.
    identity = process_identity(child.pid) or ""
    return TrainerProcess(
        child.pid, identity, gpus, places, child, console_start, is_recorded=False
    )


def has_process(run: Run) -> bool:
    """Whether the process that trains a run lives; another one under its old id does not count."""
    if run.process_id is None or run.process_identity is None:
        return False
    return process_identity(run.process_id) == run.process_identity


def running_trainer(run: Run, gpus: Sequence[str]) -> TrainerProcess | None:
    """The living process that trains a run, and which of `gpus` it has; None when it is gone."""
    if run.process_id is None or run.process_identity is None or not has_process(run):
        return None
    try:
        used = gpus_of(psutil.Process(run.process_id), gpus, count=gpus_wanted(run))
    except psutil.NoSuchProcess:
        return None
    return TrainerProcess(run.process_id, run.process_identity, used, max(1, len(used)))


def gpus_wanted(run: Run) -> int:
    """How many GPUs a run trains on where there are any; 0 when it is to use none."""
    return 0 if run.config.get("device") == "cpu" else processes_of(run)


def processes_of(run: Run) -> int:
    """How many processes train a run; 1 where its configuration is none: one says so."""
    asked = run.config.get("processes", 1)
    return asked if isinstance(asked, int) and asked >= 1 else 1


def last_console_lines(folder: RunsFolder, run_id: int, start: int = 0) -> str:
    """The last lines a run's trainer wrote; `start` is where its output begins, in bytes."""
    try:
        with (folder.run(run_id) / _CONSOLE).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - _CONSOLE_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    # A carriage return overwrites the line, as progress bars do.
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return "\n".join(lines[-_CONSOLE_LINES - 1 :]).strip("\n")
