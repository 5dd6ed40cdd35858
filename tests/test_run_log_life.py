"""How a run ends, is taken up again, and whom a command still reaches."""

import time
from pathlib import Path

import pytest

from trainer.run_log.commands import (
    COMMAND_KINDS,
    DEAD_AFTER,
    claim_run,
    mark_deleted,
    queue_run,
    requeue_run,
    send_command,
    set_process,
    set_status,
)
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Attempt, Run
from trainer.run_log.schema import FINAL_STATUSES, RunLogError, open_for_writing
from trainer.run_log.writer import RunLogWriter

RESUMABLE = ("stopped", "failed", "crashed", "interrupted")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "fasa.sqlite"
    queue_run(path, name="first", config={}, dataset="demo")
    queue_run(path, name="neighbour", config={}, dataset="demo")
    return path


def run(path: Path, run_id: int = 1) -> Run:
    with RunLogReader(path) as reader:
        return reader.run(run_id)


def attempts(path: Path, run_id: int = 1) -> list[Attempt]:
    with RunLogReader(path) as reader:
        return reader.attempts(run_id)


def train(
    path: Path, *, first: int, last: int, status: str | None, error: str | None = None
) -> None:
    """Take run 1 up as a trainer does; status None dies without a word."""
    assert claim_run(path, 1, process_id=42, process_identity="boot:1")
    with RunLogWriter(path, 1) as writer:
        writer.begin_attempt(from_step=first)
        writer.status("running")
        writer.progress(step=last, total_steps=9, epoch=0, total_epochs=3, phase="training")
        if status is not None:
            writer.status(status, error=error)


# Attempts.


def test_an_attempt_is_open_until_the_run_ends(path: Path) -> None:
    before = time.time()
    train(path, first=0, last=4, status=None)
    (attempt,) = attempts(path)
    assert (attempt.from_step, attempt.ended, attempt.to_step) == (0, None, None)
    assert attempt.status is attempt.error is None
    set_status(path, 1, "crashed", error="killed")
    (attempt,) = attempts(path)
    assert (attempt.from_step, attempt.to_step) == (0, 4)
    assert (attempt.status, attempt.error) == ("crashed", "killed")
    assert attempt.ended == run(path).ended
    assert before - 1 < attempt.started <= attempt.ended <= time.time()


@pytest.mark.parametrize("status", FINAL_STATUSES)
def test_the_trainers_own_last_word_ends_the_attempt(path: Path, status: str) -> None:
    train(path, first=2, last=6, status=status, error="why")
    (attempt,) = attempts(path)
    assert (attempt.status, attempt.error, attempt.to_step) == (status, "why", 6)


def test_a_pause_is_no_end(path: Path) -> None:
    train(path, first=0, last=4, status="paused")
    assert attempts(path)[0].ended is None


def test_each_attempt_keeps_its_own_end(path: Path) -> None:
    train(path, first=0, last=4, status="crashed", error="first")
    requeue_run(path, 1)
    train(path, first=3, last=9, status="finished")
    found = attempts(path)
    assert [(row.from_step, row.to_step, row.status, row.error) for row in found] == [
        (0, 4, "crashed", "first"),
        (3, 9, "finished", None),
    ]
    with RunLogReader(path) as reader:
        assert reader.attempts(1, after=found[0].id) == found[1:]
    assert attempts(path, 2) == []


def test_the_end_of_one_run_is_not_that_of_another(path: Path) -> None:
    train(path, first=0, last=4, status=None)
    set_status(path, 2, "stopped")
    assert attempts(path)[0].ended is None


def test_checkpoints_are_listed_while_they_are_kept(path: Path) -> None:
    with RunLogWriter(path, 1) as writer, RunLogReader(path) as reader:
        for step, epoch, batch in ((30, 1, 0), (5, 0, 5), (60, 2, 0)):
            writer.checkpoint_kept(step=step, epoch=epoch, batch=batch, size=1000 + step)
        assert writer.flush()
        found = reader.checkpoints(1)
        assert [row.step for row in found] == [5, 30, 60]
        assert [(row.epoch, row.batch, row.bytes) for row in found] == [
            (0, 5, 1005),
            (1, 0, 1030),
            (2, 0, 1060),
        ]
        writer.checkpoint_removed(step=5)
        writer.checkpoint_removed(step=6)  # one that is not listed does no harm
        writer.checkpoint_kept(step=30, epoch=1, batch=0, size=7)  # written anew after a crash
        assert writer.flush()
        assert [(row.step, row.bytes) for row in reader.checkpoints(1)] == [(30, 7), (60, 1060)]
        assert reader.checkpoints(2) == []


# Taking up again.


@pytest.mark.parametrize("status", RESUMABLE)
def test_a_run_that_ended_is_queued_again_as_if_new(path: Path, status: str) -> None:
    train(path, first=0, last=4, status=status, error="why")
    before = run(path)
    assert before.heartbeat is not None
    requeue_run(path, 1)
    found = run(path)
    assert (found.status, found.phase) == ("queued", "")
    assert found.error is found.started is found.ended is found.heartbeat is None
    assert found.process_id is found.process_identity is None
    # What it has done stands.
    assert (found.step, found.total_steps, found.uid) == (4, 9, before.uid)
    assert attempts(path)[0].status == status
    assert claim_run(path, 1, process_id=43, process_identity="boot:2")


def test_a_finished_run_is_not_taken_up_again(path: Path) -> None:
    set_status(path, 1, "finished")
    with pytest.raises(RunLogError, match=r"Run 1 is finished.*fork it with more epochs"):
        requeue_run(path, 1)
    assert run(path).status == "finished"


@pytest.mark.parametrize("status", ["queued", "starting", "running", "paused"])
def test_a_live_run_is_not_taken_up_again(path: Path, status: str) -> None:
    set_status(path, 1, status)
    with pytest.raises(RunLogError, match=f"Run 1 is {status} and not over"):
        requeue_run(path, 1)


def test_a_deleted_run_is_not_taken_up_again(path: Path) -> None:
    set_status(path, 1, "crashed")
    mark_deleted(path, 1, True)
    with pytest.raises(RunLogError, match="Run 1 is deleted: undo that first"):
        requeue_run(path, 1)
    with pytest.raises(RunLogError, match="no run 7"):
        requeue_run(path, 7)


@pytest.mark.parametrize("status", RESUMABLE)
def test_a_copy_without_checkpoints_is_not_taken_up_again(path: Path, status: str) -> None:
    set_status(path, 1, status)
    connection = open_for_writing(path)
    connection.execute("UPDATE runs SET copied = 1.0 WHERE id = 1")
    connection.close()
    with pytest.raises(RunLogError, match=r"Run 1 was copied.*restart it"):
        requeue_run(path, 1)
    assert run(path).status == status


def test_no_command_is_pending_when_a_run_is_taken_up_again(path: Path) -> None:
    send_command(path, 1, "stop")
    set_status(path, 1, "crashed")
    requeue_run(path, 1)
    with RunLogWriter(path, 1) as writer:
        writer.begin_attempt(from_step=4)
        assert writer.flush()  # commands are looked up before that is committed
        assert writer.take_commands() == []


# Whom a command reaches.


def beat(path: Path, seconds_ago: float | None) -> None:
    connection = open_for_writing(path)
    heartbeat = None if seconds_ago is None else time.time() - seconds_ago
    connection.execute("UPDATE runs SET heartbeat = ? WHERE id = 1", (heartbeat,))
    connection.close()


@pytest.mark.parametrize("kind", COMMAND_KINDS)
@pytest.mark.parametrize("status", ["starting", "running", "paused"])
def test_a_run_without_a_sign_of_life_takes_no_command(path: Path, kind: str, status: str) -> None:
    set_status(path, 1, status)
    beat(path, DEAD_AFTER + 4.4)
    with pytest.raises(RunLogError, match=rf"Run 1 is {status} but gave no sign of life for 19 s"):
        send_command(path, 1, kind)
    with RunLogReader(path) as reader:
        assert reader.commands(1) == []


@pytest.mark.parametrize("seconds_ago", [None, 0.0, DEAD_AFTER - 3, -3600.0])
@pytest.mark.parametrize("status", ["starting", "running", "paused"])
def test_a_run_that_may_live_takes_commands(
    path: Path, status: str, seconds_ago: float | None
) -> None:
    """Also one whose heartbeat lies ahead of a clock that was set back."""
    set_status(path, 1, status)
    beat(path, seconds_ago)
    assert send_command(path, 1, "pause") == 1


def test_a_run_queued_again_takes_commands_before_its_new_trainer_beats(path: Path) -> None:
    train(path, first=0, last=4, status="crashed")
    beat(path, 3600.0)
    requeue_run(path, 1)
    send_command(path, 1, "set", {"alpha": 1.3})
    assert claim_run(path, 1, process_id=43, process_identity="boot:2")
    send_command(path, 1, "checkpoint")
    set_process(path, 1, process_id=44, process_identity="boot:3")
    with RunLogWriter(path, 1) as writer:
        writer.begin_attempt(from_step=4)
        assert writer.flush()  # commands are looked up before that is committed
        assert [command.kind for command in writer.take_commands()] == ["set", "checkpoint"]


def test_a_deleted_run_takes_no_command(path: Path) -> None:
    mark_deleted(path, 1, True)
    with pytest.raises(RunLogError, match="Run 1 is deleted"):
        send_command(path, 1, "stop")
