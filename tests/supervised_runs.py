"""A runs folder with trainers in small and real supervisors, for the supervisor's tests."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.supervisor import Supervisor

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 30.0

# A trainer in small: what it does is the run's name. It waits until a file appears where a real
# one would train, and answers commands meanwhile.
TRAINER = """
import os, signal, sys, time
from pathlib import Path
from trainer.run_log.reader import RunLogReader
from trainer.run_log.writer import RunLogWriter

run_id, root = int(sys.argv[1]), Path(sys.argv[3])
kind = RunLogReader(root / "fasa.sqlite").run(run_id).name
if kind == "exit early":
    print("no such data set")
    sys.exit(3)
if kind == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
asked_to_stop = []
if kind in ("polite", "wait", "linger"):
    signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.append(1))
writer = RunLogWriter(root / "fasa.sqlite", run_id)
print("training", run_id)
writer.begin_attempt(from_step=0)
writer.status("running")
writer.progress(step=1, total_steps=4, epoch=0, total_epochs=2, phase="training")
writer.scalars({"loss/total": 1.5}, step=1, epoch=0)
writer.flush()
if kind == "raise":
    raise RuntimeError("the gradient ate itself")
if kind in ("SIGKILL", "SIGSEGV"):
    os.kill(os.getpid(), signal.Signals[kind])
if kind == "silent":
    sys.exit(0)
last = "finished"
while kind != "finish" and not (root / f"finish-{run_id}").exists():
    if asked_to_stop or last == "stopped":
        break
    for command in [] if kind == "mute" else writer.take_commands():
        if command.payload.get("beta") == 0.5:
            writer.refuse_command(command, "a half is too little today")
            continue
        writer.apply_command(command, command.kind, step=1, epoch=0, phase="training")
        if command.kind in ("pause", "resume"):
            writer.status({"pause": "paused", "resume": "running"}[command.kind])
        if command.kind == "stop":
            last = "stopped"
    time.sleep(0.02)
writer.status("interrupted" if asked_to_stop else last)
writer.close()
if kind == "linger":
    time.sleep(1.5)
"""

# A whole supervisor in a process of its own, as `fasa up` runs it.
SUPERVISOR = """
import sys
from pathlib import Path
from trainer.supervisor import Supervisor
Supervisor(
    Path(sys.argv[1]), poll_seconds=0.05, trainer_command=[sys.executable, sys.argv[2]]
).run_forever()
"""


class Runs:
    """A runs folder, its run log, and the supervisors and processes a test leaves behind."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "fasa.sqlite"
        self.script = root / "stand_in_trainer.py"
        self.script.write_text(TRAINER)
        self._supervisors: list[Supervisor] = []
        self._processes: list[psutil.Process] = []

    def queue(self, name: str, **more: Any) -> int:
        config = more.pop("config", {})
        return queue_run(self.log, name=name, config=config, dataset="none", **more)

    def run(self, run_id: int) -> Run:
        with RunLogReader(self.log) as reader:
            return reader.run(run_id)

    def statuses(self) -> list[str]:
        with RunLogReader(self.log) as reader:
            return [run.status for run in reader.runs()]

    def supervisor(self, *, slots: int | None = 1) -> Supervisor:
        command = [sys.executable, str(self.script)]
        made = Supervisor(self.root, slots=slots, poll_seconds=0.05, trainer_command=command)
        self._supervisors.append(made)
        return made

    def supervisor_process(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", SUPERVISOR, str(self.root), str(self.script)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self._processes.append(psutil.Process(process.pid))
        return process

    def process(self, run_id: int) -> psutil.Process:
        """The process the run log names for a run."""
        process_id = self.run(run_id).process_id
        assert process_id is not None
        process = psutil.Process(process_id)
        self._processes.append(process)
        return process

    def finish(self, run_id: int) -> None:
        (self.root / f"finish-{run_id}").touch()

    def close(self) -> None:
        for process in self._processes:
            if process.is_running():
                process.kill()
        for made in self._supervisors:
            made.stop(seconds=0)


def until(
    condition: Callable[[], bool],
    supervisor: Supervisor | None = None,
    *,
    seconds: float = PATIENCE,
) -> None:
    """Wait for the condition, polling the supervisor meanwhile."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        if supervisor is not None:
            supervisor.poll()
        time.sleep(0.02)


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
