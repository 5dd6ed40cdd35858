"""GPUs, forks, deleted runs and runs that are queued again: what a supervisor does all day.

Its processes are real; a GPU is only a name here, which the trainers get in their environment.
"""

import contextlib
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from supervised_runs import ROOT, Runs, until

from trainer.devices import CUDA_DEVICES
from trainer.lineage import checkpoint_file
from trainer.process_identity import process_identity
from trainer.run_log.commands import (
    UNDO_SECONDS,
    claim_run,
    mark_deleted,
    requeue_run,
    send_command,
)
from trainer.run_log.reader import RunLogReader
from trainer.runs_folder import RunsFolder


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv(CUDA_DEVICES, raising=False)
    with contextlib.closing(Runs(tmp_path)) as made:
        yield made


def _gpus(runs: Runs) -> list[str | None]:
    """The GPU each running trainer was given, by run id."""
    with RunLogReader(runs.log) as reader:
        running = [run.id for run in reader.runs() if run.status == "running"]
    return [runs.process(run_id).environ().get(CUDA_DEVICES) for run_id in running]


# Slots and GPUs


def test_each_gpu_gets_one_trainer(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CUDA_DEVICES, "4,GPU-5d5ba0d6")
    for _ in range(3):
        runs.queue("wait")
    supervisor = runs.supervisor(slots=None)
    until(lambda: runs.statuses() == ["running", "running", "queued"], supervisor)
    supervisor.poll()
    assert runs.statuses()[2] == "queued"
    assert _gpus(runs) == ["4", "GPU-5d5ba0d6"]
    runs.finish(1)  # the place that becomes free is the one that is taken
    until(lambda: runs.statuses() == ["finished", "running", "running"], supervisor)
    assert _gpus(runs) == ["GPU-5d5ba0d6", "4"]


def test_more_slots_than_gpus_share_them_evenly(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CUDA_DEVICES, "0,1")
    for _ in range(5):
        runs.queue("wait")
    supervisor = runs.supervisor(slots=5)
    until(lambda: runs.statuses() == ["running"] * 5, supervisor)
    assert sorted(Counter(_gpus(runs)).values()) == [2, 3]


def test_without_a_gpu_there_is_one_slot_and_no_word_of_gpus(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CUDA_DEVICES, "")
    runs.queue("wait")
    runs.queue("wait")
    supervisor = runs.supervisor(slots=None)
    until(lambda: runs.statuses() == ["running", "queued"], supervisor)
    assert _gpus(runs) == [""]


def test_the_gpu_of_a_taken_over_trainer_is_not_given_twice(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CUDA_DEVICES, "0,1")
    runs.queue("wait")
    runs.queue("wait")
    first = runs.supervisor(slots=2)
    until(lambda: runs.statuses() == ["running"] * 2, first)
    runs.finish(1)  # the trainer on GPU 0; the one on GPU 1 stays
    until(lambda: runs.statuses() == ["finished", "running"])
    first.release()  # as if it had been killed
    runs.queue("wait")
    second = runs.supervisor(slots=None)
    until(lambda: runs.statuses() == ["finished", "running", "running"], second)
    assert _gpus(runs) == ["1", "0"]


# Runs of several processes


def test_a_run_of_two_processes_takes_two_gpus_and_lets_none_pass(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CUDA_DEVICES, "0,1")
    first = runs.queue("wait")
    both = runs.queue("wait", config={"processes": 2})
    runs.queue("wait")
    supervisor = runs.supervisor(slots=None)
    until(lambda: runs.statuses()[0] == "running", supervisor)
    supervisor.poll()
    assert runs.statuses() == ["running", "queued", "queued"]  # the last one waits its turn
    runs.finish(first)
    until(lambda: runs.statuses() == ["finished", "running", "queued"], supervisor)
    assert _gpus(runs) == ["0,1"]
    runs.finish(both)
    until(lambda: runs.statuses() == ["finished", "finished", "running"], supervisor)


def test_a_run_of_more_processes_than_gpus_is_refused_in_one_sentence(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CUDA_DEVICES, "0,1")
    three = runs.queue("wait", config={"processes": 3})
    on_the_processor = runs.queue("wait", config={"processes": 3, "device": "cpu"})
    supervisor = runs.supervisor(slots=None)
    until(lambda: runs.statuses() == ["failed", "running"], supervisor)
    assert (runs.run(three).error or "").startswith(
        "Its 3 processes need a GPU each, but this machine has 2: restart it with processes=2"
    )
    assert runs.process(on_the_processor).environ()[CUDA_DEVICES] == "0,1"  # as everybody has it


def test_the_gpus_of_a_taken_over_run_of_two_processes_are_both_taken(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CUDA_DEVICES, "0,1,2")
    runs.queue("wait", config={"processes": 2})
    first = runs.supervisor(slots=None)
    until(lambda: runs.statuses() == ["running"], first)
    first.release()  # as if it had been killed
    runs.queue("wait")
    runs.queue("wait")
    second = runs.supervisor(slots=None)
    until(lambda: runs.statuses() == ["running", "running", "queued"], second)
    assert _gpus(runs) == ["0,1", "2"]


# Forks


def _parent_with_checkpoint(runs: Runs) -> Path:
    parent = runs.queue("finish")
    until(lambda: runs.run(parent).status == "finished", runs.supervisor())
    file = checkpoint_file(RunsFolder(runs.root), parent, 12)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    return file


def test_a_fork_gets_its_checkpoint_before_there_is_a_slot(runs: Runs) -> None:
    file = _parent_with_checkpoint(runs)
    runs.close()
    busy = runs.queue("wait")
    supervisor = runs.supervisor()
    until(lambda: runs.run(busy).status == "running", supervisor)
    fork = runs.queue("finish", parent_run=1, parent_epoch=1, parent_step=12)
    supervisor.poll()
    assert runs.run(fork).status == "queued"
    file.unlink()  # the parent drops it
    assert checkpoint_file(RunsFolder(runs.root), fork, 12).read_bytes() == b"weights"
    runs.finish(busy)
    until(lambda: runs.run(fork).status == "finished", supervisor)


def test_a_fork_whose_checkpoint_is_gone_fails_with_one_sentence(runs: Runs) -> None:
    _parent_with_checkpoint(runs).unlink()
    runs.close()
    fork = runs.queue("finish", parent_run=1, parent_epoch=1, parent_step=12)
    after = runs.queue("finish")
    supervisor = runs.supervisor()
    until(lambda: runs.run(after).status == "finished", supervisor)
    run = runs.run(fork)
    assert run.status == "failed"
    assert (run.error or "").startswith(f"Run {fork} was to go on from step 12 of run 1, ")
    assert run.process_id is None


# Deleted runs


def test_deleted_runs_are_removed_when_nobody_will_take_them_back(runs: Runs) -> None:
    first, second = runs.queue("finish"), runs.queue("finish")
    supervisor = runs.supervisor()
    until(lambda: runs.statuses() == ["finished"] * 2, supervisor)
    mark_deleted(runs.log, first, True)
    for _ in range(5):
        supervisor.poll()
    assert (runs.root / f"run-{first}").exists()
    with sqlite3.connect(runs.log) as connection:
        connection.execute("UPDATE runs SET deleted = deleted - ?", (UNDO_SECONDS,))
    connection.close()
    until(lambda: not (runs.root / f"run-{first}").exists(), supervisor)
    with RunLogReader(runs.log) as reader:
        until(lambda: [run.id for run in reader.runs(include_deleted=True)] == [second])
    assert (runs.root / f"run-{second}" / "console.log").exists()


def test_a_deleted_run_is_not_started(runs: Runs) -> None:
    first, second = runs.queue("finish"), runs.queue("finish")
    mark_deleted(runs.log, first, True)
    supervisor = runs.supervisor()
    until(lambda: runs.run(second).status == "finished", supervisor)
    assert runs.run(first).status == "queued"


# Queued again


def test_a_run_queued_again_while_its_old_trainer_still_ends(runs: Runs) -> None:
    """The old process is not taken for a crash of the new life, nor do two train at once."""
    run_id = runs.queue("linger")
    supervisor = runs.supervisor()
    until(lambda: runs.run(run_id).status == "running", supervisor)
    old = runs.process(run_id)
    send_command(runs.log, run_id, "stop")
    until(lambda: runs.run(run_id).status == "stopped", supervisor)
    assert old.is_running()
    requeue_run(runs.log, run_id)
    looks = 0
    while True:
        supervisor.poll()
        status = runs.run(run_id).status
        if not old.is_running() or old.status() == psutil.STATUS_ZOMBIE:
            break  # it may have been started anew by now
        assert status == "queued"
        looks += 1
        time.sleep(0.02)
    assert looks
    until(lambda: runs.run(run_id).status == "running", supervisor)
    assert runs.process(run_id) != old


def test_a_crash_ends_the_attempt(runs: Runs) -> None:
    run_id = runs.queue("SIGKILL")
    supervisor = runs.supervisor()
    began = time.monotonic()
    until(lambda: runs.run(run_id).status == "crashed", supervisor)
    assert time.monotonic() - began < 15
    with RunLogReader(runs.log) as reader:
        (attempt,) = reader.attempts(run_id)
    assert attempt.status == "crashed"
    assert attempt.ended == runs.run(run_id).ended
    assert "signal SIGKILL" in (attempt.error or "")


@pytest.mark.skipif(sys.platform != "linux", reason="the id of a boot is Linux's")
def test_after_a_restart_of_the_machine_a_run_is_interrupted(runs: Runs) -> None:
    """The same process id, and even the same age: another boot is another process."""
    run_id = runs.queue("wait")
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    _, ticks = (process_identity(stranger.pid) or "").split(":")
    before = f"00000000-aaaa-bbbb-cccc-000000000000:{ticks}"
    claim_run(runs.log, run_id, process_id=stranger.pid, process_identity=before)
    supervisor = runs.supervisor()
    assert runs.run(run_id).status == "interrupted"
    supervisor.stop()
    assert stranger.poll() is None
    stranger.communicate(b"\n")
