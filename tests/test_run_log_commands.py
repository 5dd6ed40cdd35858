"""What the dashboard, the command line and the supervisor write."""

import multiprocessing
import threading
import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from trainer.run_log.commands import (
    COMMAND_KINDS,
    claim_run,
    pending_commands,
    queue_run,
    refuse_pending,
    send_command,
    set_process,
    set_status,
)
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Command, Run
from trainer.run_log.schema import (
    FINAL_STATUSES,
    LIVE_STATUSES,
    RunLogError,
    open_for_reading,
    open_for_writing,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "fasa.sqlite"
    queue_run(path, name="first", config={"alpha": 1.1}, dataset="demo")
    return path


def run(path: Path, run_id: int = 1) -> Run:
    with RunLogReader(path) as reader:
        return reader.run(run_id)


def commands(path: Path) -> list[Command]:
    with RunLogReader(path) as reader:
        return reader.commands(1)


def test_a_queued_run_holds_what_was_given(path: Path) -> None:
    before = time.time()
    second = queue_run(
        path, name="fork", config={"m": 0.2}, dataset="lvis", parent_run=1, parent_epoch=6
    )
    assert second == 2
    found = run(path, 2)
    assert (found.name, found.config, found.dataset) == ("fork", {"m": 0.2}, "lvis")
    assert (found.parent_run, found.parent_epoch) == (1, 6)
    assert (found.status, found.step, found.epoch, found.rewinds) == ("queued", 0, 0, 0)
    assert found.process_id is found.started is found.ended is found.heartbeat is None
    assert before - 1 < found.created <= time.time()


def test_a_run_cannot_come_from_one_that_is_not_there(path: Path) -> None:
    with pytest.raises(RunLogError, match="no run 9"):
        queue_run(path, name="fork", config={}, dataset="demo", parent_run=9)
    with RunLogReader(path) as reader:
        assert len(reader.runs()) == 1


def test_a_configuration_that_is_no_json_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="finite"):
        queue_run(path, name="bad", config={"alpha": float("nan")}, dataset="demo")


def test_a_name_from_a_file_system_that_is_no_utf8(path: Path) -> None:
    name = b"run \xff".decode("utf-8", "surrogateescape")
    assert run(path, queue_run(path, name=name, config={}, dataset="demo")).name == "run ?"


def test_a_run_is_claimed_once(path: Path) -> None:
    assert claim_run(path, 1, process_id=42, process_identity="boot:1")
    assert not claim_run(path, 1, process_id=43, process_identity="boot:2")
    found = run(path)
    assert (found.status, found.process_id, found.process_identity) == (
        "starting",
        42,
        "boot:1",
    )
    assert found.started is not None
    set_process(path, 1, process_id=44, process_identity="boot:3")
    assert (run(path).process_id, run(path).process_identity) == (44, "boot:3")


def _claim(path: Path, number: int, answers: Connection, together: Barrier) -> None:
    together.wait(60)
    answers.send((number, claim_run(path, 1, process_id=number, process_identity=None)))


def test_of_many_processes_one_claims(path: Path) -> None:
    # A fork of this process would copy the locks that its threads hold at that moment.
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    given = (sender, context.Barrier(6))
    processes = [context.Process(target=_claim, args=(path, n, *given)) for n in range(6)]
    for process in processes:
        process.start()
    answers = dict(receiver.recv() for _ in processes)
    for process in processes:
        process.join()
    winners = [number for number, won in answers.items() if won]
    assert winners == [run(path).process_id]


def test_commands_wait_in_order(path: Path) -> None:
    first = send_command(path, 1, "set", {"alpha": 1.3})
    second = send_command(path, 1, "checkpoint")
    waiting = pending_commands(path, 1)
    assert [command.id for command in waiting] == [first, second]
    assert [command.kind for command in waiting] == ["set", "checkpoint"]
    assert [command.payload for command in waiting] == [{"alpha": 1.3}, {}]
    connection = open_for_reading(path)
    assert pending_commands(connection, 1) == waiting
    connection.close()


@pytest.mark.parametrize("kind", COMMAND_KINDS)
@pytest.mark.parametrize("status", LIVE_STATUSES)
def test_a_live_run_takes_every_command(path: Path, kind: str, status: str) -> None:
    set_status(path, 1, status)
    send_command(path, 1, kind)
    assert [command.kind for command in pending_commands(path, 1)] == [kind]


@pytest.mark.parametrize("status", FINAL_STATUSES)
def test_a_dead_run_takes_none(path: Path, status: str) -> None:
    set_status(path, 1, status)
    with pytest.raises(RunLogError, match=f"Run 1 is {status}"):
        send_command(path, 1, "pause")
    assert commands(path) == []


@pytest.mark.parametrize("status", FINAL_STATUSES)
def test_the_end_of_a_run_refuses_what_is_pending(path: Path, status: str) -> None:
    send_command(path, 1, "pause")
    set_status(path, 1, status, error="why")
    (command,) = commands(path)
    assert command.refusal == f"the run is {status}"
    assert command.applied_step is None
    assert command.answered is not None
    found = run(path)
    assert (found.status, found.error) == (status, "why")
    assert found.ended is not None


def test_a_resumed_run_has_neither_end_nor_error(path: Path) -> None:
    set_status(path, 1, "crashed", error="killed by SIGKILL")
    set_status(path, 1, "running")
    found = run(path)
    assert found.ended is found.error is None


def test_pending_commands_are_refused_with_the_reason(path: Path) -> None:
    send_command(path, 1, "pause")
    send_command(path, 1, "stop")
    assert refuse_pending(path, 1, "the trainer is gone") == 2
    assert refuse_pending(path, 1, "again") == 0
    assert {command.refusal for command in commands(path)} == {"the trainer is gone"}
    assert pending_commands(path, 1) == []


def test_words_outside_the_vocabulary_are_refused(path: Path) -> None:
    with pytest.raises(ValueError, match=r"set, pause.*'explode'"):
        send_command(path, 1, "explode")
    with pytest.raises(ValueError, match=r"queued.*'asleep'"):
        set_status(path, 1, "asleep")
    with pytest.raises(ValueError, match="finite"):
        send_command(path, 1, "set", {"alpha": float("inf")})
    assert run(path).status == "queued"
    assert commands(path) == []


def test_a_run_that_is_not_there(path: Path) -> None:
    with pytest.raises(RunLogError, match="no run 7"):
        send_command(path, 7, "pause")
    with pytest.raises(RunLogError, match="no run 7"):
        set_status(path, 7, "crashed")
    with pytest.raises(RunLogError, match="no run 7"):
        claim_run(path, 7, process_id=1, process_identity=None)


def test_a_lock_held_by_another_is_waited_for(path: Path) -> None:
    holder = open_for_writing(path)
    holder.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.5, holder.execute, ["COMMIT"])
    start = time.monotonic()
    release.start()
    send_command(path, 1, "pause")
    assert time.monotonic() - start > 0.4
    release.join()
    holder.close()
    assert len(pending_commands(path, 1)) == 1
