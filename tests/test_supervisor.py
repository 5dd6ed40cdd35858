"""The supervisor with real processes that write to a real run log, end, crash and are killed."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from trainer.run_log.commands import claim_run, queue_run, send_command, set_status
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.run_log.schema import RunLogError
from trainer.run_log.writer import RunLogWriter
from trainer.supervisor import Supervisor, SupervisorError

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 30.0

# A trainer in small: what it does is the run's name. It waits until a file appears where a real
# one would train.
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
if kind in ("polite", "wait"):
    signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.append(1))
writer = RunLogWriter(root / "fasa.sqlite", run_id)
print("training", run_id)
writer.status("running")
writer.scalars({"loss/total": 1.5}, step=1, epoch=0)
writer.flush()
if kind == "raise":
    raise RuntimeError("the gradient ate itself")
if kind in ("SIGKILL", "SIGSEGV"):
    os.kill(os.getpid(), signal.Signals[kind])
if kind == "silent":
    sys.exit(0)
while kind != "finish" and not (root / f"finish-{run_id}").exists() and not asked_to_stop:
    time.sleep(0.02)
writer.status("interrupted" if asked_to_stop else "finished")
writer.close()
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

    def queue(self, name: str) -> int:
        return queue_run(self.log, name=name, config={}, dataset="none")

    def run(self, run_id: int) -> Run:
        with RunLogReader(self.log) as reader:
            return reader.run(run_id)

    def statuses(self) -> list[str]:
        with RunLogReader(self.log) as reader:
            return [run.status for run in reader.runs()]

    def supervisor(self, *, slots: int = 1) -> Supervisor:
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


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = Runs(tmp_path)
    yield made
    made.close()


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


# Starting


def test_queued_runs_train_oldest_first_one_at_a_time(runs: Runs) -> None:
    first, second, third = runs.queue("wait"), runs.queue("wait"), runs.queue("wait")
    supervisor = runs.supervisor()
    for position, run_id in enumerate((first, second, third)):
        until(lambda run_id=run_id: runs.run(run_id).status == "running", supervisor)
        assert runs.statuses() == ["finished"] * position + ["running"] + ["queued"] * (
            2 - position
        )
        runs.finish(run_id)
    until(lambda: runs.statuses() == ["finished"] * 3, supervisor)
    started = [runs.run(run_id).started for run_id in (first, second, third)]
    assert started == sorted(started)


def test_two_slots_train_two_runs(runs: Runs) -> None:
    for _ in range(3):
        runs.queue("wait")
    supervisor = runs.supervisor(slots=2)
    until(lambda: runs.statuses() == ["running", "running", "queued"], supervisor)
    supervisor.poll()
    assert runs.statuses()[2] == "queued"
    assert runs.process(1).pid != runs.process(2).pid


def test_the_trainer_has_its_own_session_its_console_and_its_place_in_the_log(runs: Runs) -> None:
    run_id = runs.queue("wait")
    supervisor = runs.supervisor()
    until(lambda: runs.run(run_id).status == "running", supervisor)
    process = runs.process(run_id)
    assert process.pid != os.getpid()
    assert os.getsid(process.pid) == process.pid
    assert runs.run(run_id).process_start == pytest.approx(process.create_time(), abs=2)
    console = runs.root / f"run-{run_id}" / "console.log"
    until(lambda: console.read_text() == f"training {run_id}\n")
    with RunLogReader(runs.log) as reader:
        assert [row.value for row in reader.scalars(run_id, ["loss/total"])] == [1.5]


def test_a_run_that_says_how_it_ended_is_left_alone(runs: Runs) -> None:
    run_id = runs.queue("finish")
    supervisor = runs.supervisor()
    until(lambda: runs.run(run_id).status == "finished", supervisor)
    until(lambda: is_gone(runs.process(run_id)), supervisor)
    supervisor.poll()
    assert runs.run(run_id).status == "finished"
    assert runs.run(run_id).error is None


def test_a_queued_run_can_be_stopped_before_it_starts(runs: Runs) -> None:
    first, second = runs.queue("wait"), runs.queue("wait")
    supervisor = runs.supervisor()
    until(lambda: runs.run(first).status == "running", supervisor)
    send_command(runs.log, second, "stop")
    supervisor.poll()
    assert runs.statuses() == ["running", "stopped"]


def test_a_trainer_that_cannot_be_started_fails_its_run_and_frees_the_slot(runs: Runs) -> None:
    first, second = runs.queue("finish"), runs.queue("finish")
    (runs.root / f"run-{first}").write_text("a file where the run's folder should be")
    supervisor = runs.supervisor()
    until(lambda: runs.run(second).status == "finished", supervisor)
    assert runs.run(first).status == "failed"
    assert "could not be started" in (runs.run(first).error or "")


# Crashing


@pytest.mark.parametrize(
    ("kind", "ending", "console"),
    [
        ("exit early", "exit code 3", "no such data set"),
        ("raise", "exit code 1", "RuntimeError: the gradient ate itself"),
        ("SIGKILL", "signal SIGKILL", "training 1"),
        ("SIGSEGV", "signal SIGSEGV", "Fatal Python error: Segmentation fault"),
        ("silent", "exit code 0 without a word", "training 1"),
    ],
)
def test_a_trainer_that_dies_is_marked_crashed(
    runs: Runs, kind: str, ending: str, console: str
) -> None:
    run_id = runs.queue(kind)
    supervisor = runs.supervisor()
    until(lambda: runs.run(run_id).status == "crashed", supervisor)
    run = runs.run(run_id)
    assert ending in (run.error or "")
    assert console in (run.error or "")
    assert run.ended is not None


def test_a_crash_frees_the_slot_and_refuses_open_commands(runs: Runs) -> None:
    first = runs.queue("wait")
    runs.queue("finish")
    supervisor = runs.supervisor()
    until(lambda: runs.run(first).status == "running", supervisor)
    send_command(runs.log, first, "checkpoint")
    runs.process(first).kill()
    until(lambda: runs.statuses() == ["crashed", "finished"], supervisor)
    with RunLogReader(runs.log) as reader:
        assert [command.refusal for command in reader.commands(first)] == ["the run is crashed"]


def test_the_error_holds_only_the_last_console_lines_of_this_start(runs: Runs) -> None:
    folder = runs.root / "run-1"
    folder.mkdir()
    (folder / "console.log").write_text("from an earlier start\n")
    runs.queue("noisy")
    noise = "".join(f"print('line {n}', end=chr(13)); print('kept {n}')\n" for n in range(3000))
    runs.script.write_text(noise + "raise SystemExit(9)")
    supervisor = runs.supervisor()
    until(lambda: runs.run(1).status == "crashed", supervisor)
    lines = (runs.run(1).error or "").splitlines()
    assert "exit code 9" in lines[0]
    assert lines[1:] == [f"kept {n}" for n in range(2980, 3000)]
    runs.script.write_text("raise SystemExit(9)")
    set_status(runs.log, 1, "queued")
    until(lambda: runs.run(1).status == "crashed", supervisor)
    assert "console" not in (runs.run(1).error or "")


# Supervisors that end


def test_a_killed_supervisors_trainer_is_taken_over(runs: Runs) -> None:
    first, second = runs.queue("wait"), runs.queue("wait")
    old = runs.supervisor_process()
    until(lambda: runs.run(first).status == "running")
    old.kill()
    old.wait()
    trainer = runs.process(first)
    supervisor = runs.supervisor()
    for _ in range(3):
        supervisor.poll()
    assert runs.statuses() == ["running", "queued"]  # not marked, not restarted, slot in use
    assert runs.process(first) == trainer
    assert not is_gone(trainer)
    runs.finish(first)
    until(lambda: runs.run(second).status == "running", supervisor)
    assert runs.run(first).status == "finished"


def test_a_taken_over_trainer_that_is_killed_is_marked_crashed(runs: Runs) -> None:
    run_id = runs.queue("wait")
    old = runs.supervisor_process()
    until(lambda: runs.run(run_id).status == "running")
    old.kill()
    old.wait()
    supervisor = runs.supervisor()
    runs.process(run_id).kill()
    until(lambda: runs.run(run_id).status == "crashed", supervisor)
    assert "exit code is not known" in (runs.run(run_id).error or "")
    assert "training 1" in (runs.run(run_id).error or "")


def test_a_run_whose_process_went_with_the_machine_is_interrupted(runs: Runs) -> None:
    run_id = runs.queue("wait")
    old = runs.supervisor_process()
    until(lambda: runs.run(run_id).status == "running")
    trainer = runs.process(run_id)
    for process in (psutil.Process(old.pid), trainer):
        process.kill()
    old.wait()
    until(lambda: is_gone(trainer))
    runs.supervisor()
    assert runs.run(run_id).status == "interrupted"
    assert "gone when the supervisor started" in (runs.run(run_id).error or "")


def test_another_process_under_an_old_id_is_not_taken_for_the_trainer(runs: Runs) -> None:
    run_id = runs.queue("wait")
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    born = psutil.Process(stranger.pid).create_time()
    claim_run(runs.log, run_id, process_id=stranger.pid, process_start=born - 3600)
    set_status(runs.log, run_id, "running")
    supervisor = runs.supervisor()
    assert runs.run(run_id).status == "interrupted"
    supervisor.stop()
    assert stranger.poll() is None
    stranger.communicate(b"\n")


def test_a_claim_whose_trainer_never_started_is_interrupted(runs: Runs) -> None:
    run_id = runs.queue("wait")
    gone = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    born = psutil.Process(gone.pid).create_time()
    claim_run(runs.log, run_id, process_id=gone.pid, process_start=born)
    gone.kill()
    gone.wait()
    runs.supervisor()
    assert runs.run(run_id).status == "interrupted"


def test_a_claim_of_its_own_that_led_to_no_process_is_not_taken_for_a_trainer(runs: Runs) -> None:
    supervisor = runs.supervisor()
    run_id = runs.queue("wait")
    born = psutil.Process().create_time()
    claim_run(runs.log, run_id, process_id=os.getpid(), process_start=born)
    supervisor.poll()
    assert runs.run(run_id).status == "crashed"


def test_a_second_supervisor_is_refused(runs: Runs) -> None:
    supervisor = runs.supervisor()
    with pytest.raises(SupervisorError, match=rf"already has a supervisor \(process {os.getpid()}"):
        runs.supervisor()
    refused = runs.supervisor_process()
    assert refused.wait(PATIENCE) == 1
    supervisor.stop()
    runs.supervisor()  # the folder is free again


# Trainers that a person started


def test_a_trainer_of_a_terminal_uses_a_slot_and_outlives_stop(runs: Runs) -> None:
    own, queued = runs.queue("wait"), runs.queue("wait")
    process = subprocess.Popen(
        [sys.executable, str(runs.script), str(own), "--runs", str(runs.root)]
    )
    born = psutil.Process(process.pid).create_time()
    assert claim_run(runs.log, own, process_id=process.pid, process_start=born)
    until(lambda: runs.run(own).status == "running")
    supervisor = runs.supervisor()
    supervisor.poll()
    assert runs.statuses() == ["running", "queued"]
    supervisor.stop()
    assert process.poll() is None
    runs.finish(own)
    assert process.wait(PATIENCE) == 0
    assert runs.statuses() == ["finished", "queued"]
    assert runs.run(queued).process_id is None


def test_a_trainer_of_a_terminal_that_dies_is_marked_crashed(runs: Runs) -> None:
    supervisor = runs.supervisor()
    run_id = runs.queue("wait")
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    born = psutil.Process(process.pid).create_time()
    claim_run(runs.log, run_id, process_id=process.pid, process_start=born)
    supervisor.poll()
    assert runs.run(run_id).status == "starting"
    process.kill()
    process.wait()
    supervisor.poll()
    assert runs.run(run_id).status == "crashed"


# Stopping


def test_stop_lets_a_trainer_say_its_last_word(runs: Runs) -> None:
    run_id = runs.queue("polite")
    supervisor = runs.supervisor()
    until(lambda: runs.run(run_id).status == "running", supervisor)
    trainer = runs.process(run_id)
    supervisor.stop(seconds=PATIENCE)
    assert is_gone(trainer)
    assert runs.run(run_id).status == "interrupted"
    assert runs.run(run_id).error is None  # said by the trainer, not for it


def test_stop_kills_what_does_not_listen(runs: Runs) -> None:
    run_id = runs.queue("deaf")
    supervisor = runs.supervisor()
    until(lambda: runs.run(run_id).status == "running", supervisor)
    trainer = runs.process(run_id)
    began = time.monotonic()
    supervisor.stop(seconds=0.5)
    assert 0.5 <= time.monotonic() - began < PATIENCE
    assert is_gone(trainer)
    assert runs.run(run_id).status == "interrupted"
    assert "SIGKILL" in (runs.run(run_id).error or "")


def test_stop_ends_a_taken_over_trainer_too(runs: Runs) -> None:
    run_id = runs.queue("polite")
    old = runs.supervisor_process()
    until(lambda: runs.run(run_id).status == "running")
    old.kill()
    old.wait()
    trainer = runs.process(run_id)
    runs.supervisor().stop(seconds=PATIENCE)
    assert is_gone(trainer)
    assert runs.run(run_id).status == "interrupted"


def test_nothing_starts_after_stop_and_stopping_twice_is_fine(runs: Runs) -> None:
    supervisor = runs.supervisor()
    supervisor.stop()
    run_id = runs.queue("wait")
    supervisor.poll()
    supervisor.stop()
    assert runs.run(run_id).status == "queued"


def test_run_forever_trains_until_it_is_stopped(runs: Runs) -> None:
    run_id = runs.queue("finish")
    supervisor = runs.supervisor()
    thread = threading.Thread(target=supervisor.run_forever)
    thread.start()
    until(lambda: runs.run(run_id).status == "finished")
    supervisor.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_ctrl_c_ends_run_forever_and_leaves_the_trainer_to_stop(runs: Runs) -> None:
    run_id = runs.queue("wait")
    process = runs.supervisor_process()
    until(lambda: runs.run(run_id).status == "running")
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) != 0  # KeyboardInterrupt came out of run_forever
    assert not is_gone(runs.process(run_id))


# Trouble


@pytest.mark.slow
def test_a_crash_is_marked_once_a_locked_run_log_is_free_again(
    runs: Runs, capfd: pytest.CaptureFixture[str]
) -> None:
    run_id = runs.queue("wait")
    supervisor = runs.supervisor()
    thread = threading.Thread(target=supervisor.run_forever)
    thread.start()
    until(lambda: runs.run(run_id).status == "running")
    other = sqlite3.connect(runs.log, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    runs.process(run_id).kill()
    complaints = ""
    deadline = time.monotonic() + PATIENCE
    while "locked" not in complaints and time.monotonic() < deadline:
        time.sleep(0.1)
        complaints += capfd.readouterr().err
    assert "supervisor: The run log" in complaints
    assert runs.run(run_id).status == "running"
    other.execute("ROLLBACK")
    other.close()
    until(lambda: runs.run(run_id).status == "crashed")
    supervisor.stop()
    thread.join(PATIENCE)


def test_a_run_deleted_while_it_trains_does_not_disturb_the_others(runs: Runs) -> None:
    first, second = runs.queue("wait"), runs.queue("finish")
    supervisor = runs.supervisor()
    until(lambda: runs.run(first).status == "running", supervisor)
    trainer = runs.process(first)
    with sqlite3.connect(runs.log) as connection:
        connection.execute("DELETE FROM runs WHERE id = ?", (first,))
    trainer.kill()
    until(lambda: runs.run(second).status == "finished", supervisor)


@pytest.mark.parametrize("slots", [0, -1])
def test_slots_below_one_are_refused(tmp_path: Path, slots: int) -> None:
    with pytest.raises(SupervisorError, match=f"at least 1 slot, got {slots}"):
        Supervisor(tmp_path, slots=slots)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SupervisorError, match="cannot be written"):
        Supervisor(tmp_path / "file" / "runs")


def test_a_foreign_run_log_is_refused_and_the_folder_freed(tmp_path: Path) -> None:
    (tmp_path / "fasa.sqlite").write_bytes(b"this is no database" * 100)
    for _ in range(2):
        with pytest.raises(RunLogError, match="damaged or no SQLite file"):
            Supervisor(tmp_path)


def test_the_writer_of_the_log_is_another_process(runs: Runs) -> None:
    """The supervisor's marks and a trainer's rows do not wait for each other."""
    first = runs.queue("wait")
    supervisor = runs.supervisor()
    until(lambda: runs.run(first).status == "running", supervisor)
    with RunLogWriter(runs.log, first) as writer:
        for step in range(20):
            writer.scalars({"loss/total": 0.5}, step=step + 2, epoch=0)
            supervisor.poll()
        assert writer.flush(5)
    runs.process(first).kill()
    until(lambda: runs.run(first).status == "crashed", supervisor)
    with RunLogReader(runs.log) as reader:
        assert len(reader.scalars(first)) == 21


def test_the_supervisor_loads_no_torch() -> None:
    code = "import sys, trainer.supervisor; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
