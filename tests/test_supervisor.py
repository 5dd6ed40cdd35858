"""The supervisor starts runs, leaves a person's trainers alone and bears trouble.

Its processes are real: they write to a real run log, end and are killed.
"""

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from supervised_runs import PATIENCE, ROOT, Runs, is_gone, until

from trainer.process_identity import process_identity
from trainer.run_log.commands import claim_run, send_command
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import RunLogError
from trainer.run_log.writer import RunLogWriter
from trainer.supervisor import Supervisor, SupervisorError


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with contextlib.closing(Runs(tmp_path)) as made:
        yield made


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
    assert runs.run(run_id).process_identity == process_identity(process.pid)
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
    with RunLogReader(runs.log) as reader:
        (command,) = reader.commands(second)
    assert (command.applied_step, command.refusal) == (0, None)


def test_a_trainer_that_cannot_be_started_fails_its_run_and_frees_the_slot(runs: Runs) -> None:
    first, second = runs.queue("finish"), runs.queue("finish")
    (runs.root / f"run-{first}").write_text("a file where the run's folder should be")
    supervisor = runs.supervisor()
    until(lambda: runs.run(second).status == "finished", supervisor)
    assert runs.run(first).status == "failed"
    assert "could not be started" in (runs.run(first).error or "")


# Trainers that a person started


def test_a_trainer_of_a_terminal_uses_a_slot_and_outlives_stop(runs: Runs) -> None:
    own, queued = runs.queue("wait"), runs.queue("wait")
    process = subprocess.Popen(
        [sys.executable, str(runs.script), str(own), "--runs", str(runs.root)]
    )
    assert claim_run(
        runs.log, own, process_id=process.pid, process_identity=process_identity(process.pid)
    )
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
    claim_run(
        runs.log, run_id, process_id=process.pid, process_identity=process_identity(process.pid)
    )
    supervisor.poll()
    assert runs.run(run_id).status == "starting"
    process.kill()
    process.wait()
    supervisor.poll()
    assert runs.run(run_id).status == "crashed"


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
