"""Starts queued runs, each in a process of its own, and says how those ended that could not.

Trainers outlive a supervisor that is killed: the next one finds them by process id and start time
and looks after them as if it had started them. It holds no tensors and never loads torch.
"""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import psutil

from trainer.run_log.commands import claim_run, pending_commands, set_process, set_status
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.run_log.schema import FINAL_STATUSES, QUEUED, RunLogError, open_for_writing
from trainer.runs_folder import RunsFolder

_TRAINER = (sys.executable, "-m", "trainer", "execute")
_LOCK = "supervisor.lock"
_CONSOLE = "console.log"
_CONSOLE_LINES = 20
_CONSOLE_BYTES = 8192
_STOP_SECONDS = 30.0
_STOP_POLL_SECONDS = 0.05
_KILL_SECONDS = 5.0
# Start times rest on the kernel's boot time, which is rounded to seconds and wavers.
_SAME_START_SECONDS = 2.0


class SupervisorError(ValueError):
    """The supervisor cannot look after a folder; the message is one sentence with the remedy."""


@dataclass
class _Trainer:
    """A process that trains a run.

    Attributes:
        start: when it started, seconds since 1970.
        child: None when an earlier supervisor, or a person, started it.
        console_start: where its output begins in its console file, in bytes.
        is_recorded: whether the run log names this process.
    """

    process: psutil.Process
    start: float
    child: subprocess.Popen[bytes] | None = None
    console_start: int = 0
    is_recorded: bool = True

    def is_alive(self) -> bool:
        if self.child is not None:
            return self.child.poll() is None
        return _is_alive(self.process)

    def leads_a_session(self) -> bool:
        """True for what a supervisor started; one that a person started keeps its terminal's."""
        try:
            return os.getsid(self.process.pid) == self.process.pid
        except ProcessLookupError:
            return False

    def send(self, number: signal.Signals) -> None:
        """Signal it, if it still is that process; SIGKILL goes to its helpers too."""
        try:
            if number == signal.SIGKILL and self.is_alive() and self.leads_a_session():
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)
        except (ProcessLookupError, psutil.NoSuchProcess):
            pass

    def ending(self) -> str:
        """How it ended, a sentence without its full stop."""
        code = None if self.child is None else self.child.returncode
        if code is None:
            return "The trainer ended without a word, and its exit code is not known here"
        if code >= 0:
            return f"The trainer ended with exit code {code} without a word about the run"
        name = signal.Signals(-code).name
        cause = " (by a person, or by the system for want of memory)" if name == "SIGKILL" else ""
        return f"The trainer was ended by signal {name}{cause}"


class Supervisor:
    """Looks after the trainers of one runs folder. Only one may do so at a time.

    At construction, runs whose process is gone are marked interrupted, and trainers that still
    run are taken over. From then on a trainer that ends without having said how is marked
    crashed, with the signal or exit code and the last lines of its console.

    Args:
        runs_dir: the runs folder; made when missing. A run's console goes to
            `run-<id>/console.log` in it.
        slots: how many runs may train at once. Trainers found running count, whoever started them.
        poll_seconds: time between two looks at the processes and the run log.
        trainer_command: what starts a trainer; `RUN_ID --runs RUNS_DIR` is added.

    Raises:
        SupervisorError: another supervisor has the folder, it cannot be written, or slots < 1.
        RunLogError: the run log cannot be used.
    """

    def __init__(
        self,
        runs_dir: Path,
        *,
        slots: int = 1,
        poll_seconds: float = 0.5,
        trainer_command: Sequence[str] | None = None,
    ) -> None:
        if slots < 1:
            raise SupervisorError(
                f"A supervisor needs at least 1 slot, got {slots}: give the number of runs that "
                "may train at once."
            )
        self._folder = RunsFolder(runs_dir.absolute())
        self._slots = slots
        self._poll_seconds = poll_seconds
        self._command = list(_TRAINER if trainer_command is None else trainer_command)
        self._own_start = psutil.Process().create_time()
        self._trainers: dict[int, _Trainer] = {}  # by run id
        self._ending = threading.Event()
        self._polling = threading.Lock()
        self._lock_file = _lock(self._folder.root)
        try:
            open_for_writing(self._folder.run_log).close()
            self._reader = RunLogReader(self._folder.run_log)
            self._take_over(if_gone="interrupted")
        except BaseException:
            self._lock_file.close()
            raise

    def run_forever(self) -> None:
        """Poll until `stop` is called or an exception such as KeyboardInterrupt ends the wait.

        Trainers go on either way; `stop` ends them.
        """
        # In a thread of its own, so that a signal handler that raises in this one never cuts
        # the start of a trainer in two.
        with ThreadPoolExecutor(1, thread_name_prefix="supervisor") as thread:
            try:
                thread.submit(self._poll_until_ended).result()
            finally:
                self._ending.set()

    def poll(self) -> None:
        """One round: note what ended, take over what is new, start what waits.

        Raises:
            RunLogError: the run log cannot be used now; the next round catches up.
        """
        with self._polling:
            if self._ending.is_set():
                return
            self._reap("crashed")
            self._record_processes()
            self._take_over(if_gone="crashed")
            self._start_queued()

    def stop(self, *, seconds: float = _STOP_SECONDS) -> None:
        """End the trainers that supervisors started, and let go of the folder.

        SIGTERM lets them write a checkpoint; those not gone after `seconds` are killed and their
        runs marked interrupted. Trainers that a person started in a terminal go on.
        """
        self._ending.set()
        with self._polling:
            if self._lock_file.closed:
                return
            for run_id, trainer in list(self._trainers.items()):
                if trainer.leads_a_session() or not trainer.is_alive():
                    trainer.send(signal.SIGTERM)
                else:
                    del self._trainers[run_id]
            if not self._wait(seconds):
                for trainer in self._trainers.values():
                    trainer.send(signal.SIGKILL)
                self._wait(_KILL_SECONDS)
            try:
                self._reap("interrupted")
            except RunLogError as error:
                # The next supervisor marks them.
                _complain(error)
            self._reader.close()
            self._lock_file.close()

    def _poll_until_ended(self) -> None:
        last = ""
        while not self._ending.is_set():
            try:
                self.poll()
                last = ""
            except RunLogError as error:
                if str(error) != last:
                    _complain(error)
                last = str(error)
            self._ending.wait(self._poll_seconds)

    def _wait(self, seconds: float) -> bool:
        """Whether all trainers ended within `seconds`."""
        deadline = time.monotonic() + seconds
        while any(trainer.is_alive() for trainer in self._trainers.values()):
            if time.monotonic() > deadline:
                return False
            time.sleep(_STOP_POLL_SECONDS)
        return True

    def _reap(self, status: str) -> None:
        """Forget trainers that ended; those that said nothing get `status`."""
        for run_id, trainer in list(self._trainers.items()):
            if not trainer.is_alive():
                self._mark(run_id, status, trainer.ending(), trainer.console_start)
                del self._trainers[run_id]

    def _take_over(self, *, if_gone: str) -> None:
        """Look after trainers that others started; those already gone get `if_gone`."""
        for run in self._reader.runs():
            if run.status in (*FINAL_STATUSES, QUEUED) or run.id in self._trainers:
                continue
            process = _process_of(run)
            if process is not None and process.pid != os.getpid():
                self._trainers[run.id] = _Trainer(process, process.create_time())
                _say(f"run {run.id} is trained by process {process.pid}")
            elif if_gone == "interrupted":
                text = "Its process was gone when the supervisor started (machine restarted?)"
                self._mark(run.id, if_gone, text, 0)
            else:
                self._mark(run.id, if_gone, "The trainer is gone without a word", 0)

    def _mark(self, run_id: int, status: str, text: str, console_start: int) -> None:
        # Looked up only now that the process is gone: its own last word stands. A run may have
        # been deleted meanwhile.
        statuses = {run.id: run.status for run in self._reader.runs()}
        if statuses.get(run_id, "stopped") in FINAL_STATUSES:
            return
        lines = _last_lines(self._console(run_id), console_start)
        error = f"{text}. Last lines of its console:\n{lines}" if lines else f"{text}."
        set_status(self._folder.run_log, run_id, status, error=error)
        _say(f"run {run_id} {status}: {text}")

    def _record_processes(self) -> None:
        for run_id, trainer in self._trainers.items():
            if not trainer.is_recorded:
                set_process(
                    self._folder.run_log,
                    run_id,
                    process_id=trainer.process.pid,
                    process_start=trainer.start,
                )
                trainer.is_recorded = True

    def _start_queued(self) -> None:
        for run in self._reader.runs():
            if run.status != QUEUED:
                continue
            commands = pending_commands(self._folder.run_log, run.id)
            if any(command.kind == "stop" for command in commands):
                set_status(self._folder.run_log, run.id, "stopped")
            elif len(self._trainers) < self._slots:
                self._start(run)

    def _start(self, run: Run) -> None:
        # Claimed in the supervisor's own name first, so that no two processes train one run.
        log = self._folder.run_log
        if not claim_run(log, run.id, process_id=os.getpid(), process_start=self._own_start):
            return
        try:
            trainer = self._launch(run.id)
        except OSError as error:
            text = (
                f"The trainer could not be started ({error}): check the disk and the runs folder."
            )
            set_status(log, run.id, "failed", error=text)
            _say(f"run {run.id} failed: {text}")
            return
        self._trainers[run.id] = trainer
        _say(f"run {run.id} '{run.name}' started as process {trainer.process.pid}")
        self._record_processes()

    def _launch(self, run_id: int) -> _Trainer:
        console = self._console(run_id)
        console.parent.mkdir(exist_ok=True)
        with console.open("ab") as output:
            console_start = output.tell()
            child = subprocess.Popen(
                [*self._command, str(run_id), "--runs", str(self._folder.root)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A session of its own: Ctrl-C in the supervisor's terminal does not reach it.
                start_new_session=True,
                # Its last words must be in the file even when it dies of a signal.
                env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"},
            )
        process = psutil.Process(child.pid)
        return _Trainer(process, process.create_time(), child, console_start, is_recorded=False)

    def _console(self, run_id: int) -> Path:
        return self._folder.run(run_id) / _CONSOLE


def _lock(folder: Path) -> BinaryIO:
    """The folder's lock file, locked for as long as it stays open, even if the process is killed.

    Raises:
        SupervisorError: it is taken, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _LOCK).open("a+b")
    except OSError as error:
        raise SupervisorError(
            f"The runs folder {folder} cannot be written ({error.strerror}): make it writable, or "
            "choose another one with --runs."
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        owner = file.read(20).decode("ascii", "replace") or "of unknown id"
        file.close()
        raise SupervisorError(
            f"The runs folder {folder} already has a supervisor (process {owner}): stop that one "
            "first, or choose another folder with --runs."
        ) from error
    file.truncate(0)
    file.write(str(os.getpid()).encode("ascii"))
    file.flush()
    return file


def _process_of(run: Run) -> psutil.Process | None:
    """The living process that trains a run; None also when its id now belongs to another one."""
    if run.process_id is None or run.process_start is None:
        return None
    try:
        process = psutil.Process(run.process_id)
        is_same = abs(process.create_time() - run.process_start) < _SAME_START_SECONDS
    except psutil.NoSuchProcess:
        return None
    return process if is_same and _is_alive(process) else None


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _last_lines(console: Path, start: int) -> str:
    """The last lines a trainer wrote; `start` is where its output begins, in bytes."""
    try:
        with console.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - _CONSOLE_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    # A carriage return overwrites the line, as progress bars do.
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return "\n".join(lines[-_CONSOLE_LINES - 1 :]).strip("\n")


def _say(text: str) -> None:
    print(f"supervisor: {text}", flush=True)


def _complain(error: RunLogError) -> None:
    print(f"supervisor: {error}", file=sys.stderr, flush=True)
