"""Steering from the command line: real processes on both sides of the run log.

The trainer is the one in small of `supervised_runs`; it applies everything at step 1 but refuses a
beta of 0.5. `test_command_line_life` steers a run that really trains.
"""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_lines import Fasa
from supervised_runs import PATIENCE, ROOT, Runs, until

from trainer.folder_lock import lock_folder
from trainer.process_identity import process_identity
from trainer.run_log.commands import claim_run, set_archived, set_status
from trainer.run_log.reader import RunLogReader


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with contextlib.closing(Runs(tmp_path)) as made:
        yield made


@pytest.fixture
def fasa(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Fasa:
    return Fasa(tmp_path, capsys)


@contextlib.contextmanager
def _supervised(runs: Runs) -> Iterator[None]:
    """A supervisor in a thread, as `fasa supervise` has it."""
    supervisor = runs.supervisor()
    thread = threading.Thread(target=supervisor.run_forever)
    thread.start()
    try:
        yield
    finally:
        supervisor.stop(seconds=5)
        thread.join(PATIENCE)


def _commands(runs: Runs, run_id: int) -> list[tuple[str, bool]]:
    with RunLogReader(runs.log) as reader:
        return [(c.kind, c.answered is not None) for c in reader.commands(run_id)]


# A run that trains


def test_a_run_is_steered_to_its_end(runs: Runs, fasa: Fasa) -> None:
    run_id = runs.queue("wait")
    with _supervised(runs):
        until(lambda: runs.run(run_id).status == "running")
        assert fasa.says("set", "wait", "alpha=1.3", "virtual-loss-weight=0.2") == (
            "alpha = 1.3 took hold at step 1\nvirtual_loss_weight = 0.2 took hold at step 1\n"
        )
        assert fasa.says("checkpoint", "1") == "checkpoint took hold at step 1\n"
        assert fasa.says("snapshot", "1") == "snapshot features took hold at step 1\n"
        fasa.says("pause", "1")
        until(lambda: runs.run(run_id).status == "paused")
        assert fasa.says("resume", "1") == "resume took hold at step 1\n"
        until(lambda: runs.run(run_id).status == "running")
        assert "is running and not over" in fasa.refuses("resume", "1")
        assert fasa.says("stop", "1") == "stop took hold at step 1\n"
        until(lambda: runs.run(run_id).status == "stopped")
        assert "stopped and cannot take the command pause" in fasa.refuses("pause", "1")
        assert "goes on from its last checkpoint" in fasa.says("resume", "1")
        until(lambda: runs.run(run_id).status == "running")


def test_a_refusal_is_said_and_ends_with_1(runs: Runs, fasa: Fasa) -> None:
    runs.queue("wait")
    with _supervised(runs):
        until(lambda: runs.run(1).status == "running")
        said = fasa("set", "1", "beta=0.5")
    assert (said.code, said.out) == (1, "")
    assert said.error == "refused: a half is too little today\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["alpha=0.5"], "alpha is '0.5'"),
        (["alpha=much"], "alpha is 'much'"),
        (["alpha=nan"], "alpha is"),
        (["beta=1", "alpha=11"], "alpha is '11'"),
        (["epochs=3"], "'epochs' cannot be changed"),
        (["alpha"], "'alpha' is no KNOB=VALUE"),
        ([], "KNOB=VALUE"),
    ],
)
def test_a_bad_value_is_never_sent(runs: Runs, fasa: Fasa, words: list[str], sentence: str) -> None:
    runs.queue("wait")
    assert sentence in fasa.refuses("set", "1", *words)
    assert _commands(runs, 1) == []


def test_a_baseline_has_no_knobs_of_fasa(runs: Runs, fasa: Fasa) -> None:
    from trainer.run_log.commands import queue_run

    queue_run(runs.log, name="base", config={"fasa": False}, dataset="d")
    assert "'alpha' cannot be changed" in fasa.refuses("set", "1", "alpha=1.2")
    assert "sent" in fasa.says("set", "1", "learning_rate_factor=0.5")


# A run that does not answer


def test_a_queued_run_is_not_waited_for(runs: Runs, fasa: Fasa) -> None:
    runs.queue("wait")
    assert "waits to be started" in fasa.says("set", "1", "alpha=1.3")
    with _supervised(runs):
        until(lambda: _commands(runs, 1) == [("set", True)])


def test_a_queued_run_is_stopped_by_its_supervisor(runs: Runs, fasa: Fasa) -> None:
    runs.queue("wait")
    second = runs.queue("wait")
    with _supervised(runs):
        until(lambda: runs.run(1).status == "running")
        assert fasa.says("stop", "2") == "stop took hold at step 0\n"
    assert runs.run(second).status == "stopped"


def test_ctrl_c_leaves_the_command_sent(runs: Runs) -> None:
    runs.queue("mute")
    with _supervised(runs):
        until(lambda: runs.run(1).status == "running")
        command = [sys.executable, "-m", "trainer", "pause", "1", f"--runs={runs.root}"]
        waiting = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert waiting.stderr is not None
        assert "Ctrl-C leaves the command sent" in waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        out, error = waiting.communicate(timeout=PATIENCE)
        assert waiting.returncode == 130
        assert "pause: sent to run 1, and it stays sent" in out
        assert "Traceback" not in error
        assert _commands(runs, 1) == [("pause", False)]


def test_no_wait_says_that_it_is_sent(runs: Runs, fasa: Fasa) -> None:
    runs.queue("mute")
    with _supervised(runs):
        until(lambda: runs.run(1).status == "running")
        assert fasa.says("pause", "1", "--no-wait") == "pause: sent to run 1\n"


def test_a_run_that_dies_while_it_is_waited_for(runs: Runs, fasa: Fasa) -> None:
    runs.queue("mute")
    with _supervised(runs):
        until(lambda: runs.run(1).status == "running")
        threading.Timer(0.5, runs.process(1).kill).start()
        said = fasa("pause", "1")
    assert (said.code, said.error) == (1, "refused: the run is crashed\n")


def test_a_run_that_falls_silent_is_not_waited_for(
    runs: Runs, fasa: Fasa, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.command_line import steering

    monkeypatch.setattr(steering, "DEAD_AFTER", 1.0)
    runs.queue("mute")
    with _supervised(runs):
        until(lambda: runs.run(1).status == "running")
        process = runs.process(1)
        process.suspend()
        said = fasa("pause", "1")
        process.resume()
    assert said.code == 1
    assert "no sign of life" in said.error
    assert said.error.count("stays sent") == 1


# Going on after the machine, or `fasa up`, stopped


def _gone(runs: Runs, name: str = "wait") -> int:
    """A run that says it trains, whose process is gone."""
    run_id = runs.queue(name)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = process_identity(process.pid)
    claim_run(runs.log, run_id, process_id=process.pid, process_identity=identity)
    set_status(runs.log, run_id, "running")
    process.communicate(b"\n")
    return run_id


def test_one_command_after_a_restart_of_the_machine(runs: Runs, fasa: Fasa) -> None:
    first, second, archived = _gone(runs), _gone(runs), _gone(runs)
    set_archived(runs.log, archived, True)
    waiting = runs.queue("wait")
    said = fasa.says("resume", "--interrupted")
    assert said.count("goes on from its last checkpoint") == 2
    assert "`fasa up --runs" in said
    assert runs.statuses() == ["queued", "queued", "interrupted", "queued"]
    assert "no run" in fasa.says("resume", "--interrupted")
    assert first < second < waiting


def test_a_single_run_goes_on_too(runs: Runs, fasa: Fasa) -> None:
    run_id = _gone(runs)
    assert "no supervisor runs" in fasa.says("resume", str(run_id))
    assert runs.run(run_id).status == "queued"
    assert "is queued and not over" in fasa.refuses("resume", str(run_id))
    assert "goes on" not in fasa.says("resume", "--interrupted")


def test_a_supervisor_is_not_anticipated(runs: Runs, fasa: Fasa) -> None:
    """Where one looks after the folder, it says how a run ended: it may know more."""
    run_id = _gone(runs)
    with lock_folder(runs.root):
        assert "its supervisor marks it crashed in a moment" in fasa.refuses("resume", "1")
        assert "no run" in fasa.says("resume", "--interrupted")
    assert runs.run(run_id).status == "running"


def test_a_live_run_is_not_taken_for_a_dead_one(runs: Runs, fasa: Fasa) -> None:
    """Also when its supervisor was killed, and the clock says it was silent for a day."""
    run_id = runs.queue("mute")
    supervisor = runs.supervisor_process()
    until(lambda: runs.run(run_id).status == "running")
    supervisor.kill()
    supervisor.wait()
    process = runs.process(run_id)
    process.suspend()
    with sqlite3.connect(runs.log) as connection:
        connection.execute("UPDATE runs SET heartbeat = heartbeat - 86400")
    connection.close()
    assert "no run" in fasa.says("resume", "--interrupted")
    assert "is running and not over" in fasa.refuses("resume", str(run_id))
    assert runs.run(run_id).status == "running"
    process.resume()


def test_resume_wants_one_run_or_all(runs: Runs, fasa: Fasa) -> None:
    runs.queue("wait")
    assert "--interrupted" in fasa.refuses("resume")
    assert "--interrupted" in fasa.refuses("resume", "1", "--interrupted")


def test_a_finished_run_does_not_go_on(runs: Runs, fasa: Fasa) -> None:
    runs.queue("finish")
    with _supervised(runs):
        until(lambda: runs.run(1).status == "finished")
    assert "fork it with more epochs" in fasa.refuses("resume", "1")


def test_supervise_with_resume_lets_interrupted_runs_go_on(runs: Runs, fasa: Fasa) -> None:
    """`fasa supervise --resume` as a process: trains, and says so; SIGTERM ends it in order."""
    run_id = _gone(runs, "gone")
    set_archived(runs.log, _gone(runs, "put aside"), True)
    command = [sys.executable, "-m", "trainer", "supervise", "--resume", f"--runs={runs.root}"]
    with subprocess.Popen(
        [*command, "--slots=2", "--grace=20"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as supervisor:
        # The real trainer fails at once, with a sentence: the configuration breaks a rule.
        with sqlite3.connect(runs.log) as connection:
            connection.execute("""UPDATE runs SET config = '{"processes": "two"}'""")
        connection.close()
        until(lambda: runs.run(run_id).status == "failed", seconds=120)
        supervisor.send_signal(signal.SIGTERM)
        out, _ = supervisor.communicate(timeout=PATIENCE)
    assert supervisor.returncode == 0
    assert f"run {run_id} 'gone' goes on" in out
    assert "up to 2 at once" in out
    assert "processes is 'two'" in (runs.run(run_id).error or "")
    assert runs.statuses() == ["failed", "interrupted"]


@pytest.mark.parametrize("flags", [["--slots=0"], ["--slots=x"], ["--grace=-1"], ["--grace=nan"]])
def test_supervise_refuses_bad_numbers(tmp_path: Path, fasa: Fasa, flags: list[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        fasa.refuses("supervise", *flags)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not (tmp_path / "fasa.sqlite").exists()


def test_a_second_supervisor_is_one_sentence(runs: Runs, fasa: Fasa) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with _supervised(runs):
        assert f"already has a supervisor (process {os.getpid()})" in fasa.refuses("supervise")
        began = time.monotonic()
        assert "already has a supervisor" in fasa.refuses("up", "--no-demo")
        assert time.monotonic() - began < PATIENCE
    signal.signal(signal.SIGTERM, before)
