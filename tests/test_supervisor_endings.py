"""Trainers that crash, supervisors that are killed or stopped, and what the run log says then."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from supervised_runs import PATIENCE, ROOT, Runs, is_gone, until

from trainer.process_identity import process_identity
from trainer.run_log.commands import claim_run, send_command, set_status
from trainer.run_log.reader import RunLogReader
from trainer.supervisor import SupervisorError


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with contextlib.closing(Runs(tmp_path)) as made:
        yield made


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
    boot, ticks = (process_identity(stranger.pid) or "").split(":")
    earlier = f"{boot}:{int(ticks) - 1}"
    claim_run(runs.log, run_id, process_id=stranger.pid, process_identity=earlier)
    set_status(runs.log, run_id, "running")
    supervisor = runs.supervisor()
    assert runs.run(run_id).status == "interrupted"
    supervisor.stop()
    assert stranger.poll() is None
    stranger.communicate(b"\n")


def test_a_claim_whose_trainer_never_started_is_interrupted(runs: Runs) -> None:
    run_id = runs.queue("wait")
    gone = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    claim_run(runs.log, run_id, process_id=gone.pid, process_identity=process_identity(gone.pid))
    gone.kill()
    gone.wait()
    runs.supervisor()
    assert runs.run(run_id).status == "interrupted"


def test_a_claim_of_its_own_that_led_to_no_process_is_not_taken_for_a_trainer(runs: Runs) -> None:
    supervisor = runs.supervisor()
    run_id = runs.queue("wait")
    claim_run(
        runs.log, run_id, process_id=os.getpid(), process_identity=process_identity(os.getpid())
    )
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
