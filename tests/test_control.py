"""Commands take hold at a moment of the run, are answered there, and again after a crash."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fasa_core.fasa import FASA
from trainer.config import RunConfig
from trainer.control import PHASES, Moment, RunControl, Signals, StopRequested
from trainer.knobs import Knobs
from trainer.run_log.commands import queue_run, send_command
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Command
from trainer.run_log.writer import RunLogWriter


class Training:
    """A run with a real log, as its control sees it."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.run_id = queue_run(log, name="a", config={}, dataset="none")
        self.writer = RunLogWriter(log, self.run_id, commit_interval=0.01)
        self.fasa = FASA(2, 3, [5, 1])
        self.signals = Signals()
        self.signals.wait_for_moment = True
        knobs = Knobs(RunConfig(), [self.fasa])
        self.control = RunControl(writer=self.writer, knobs=knobs, signals=self.signals)

    def send(self, kind: str, **payload: Any) -> int:
        return send_command(self.log, self.run_id, kind, payload)

    def applied(self, moment: Moment, kind: str) -> set[str]:
        """What took hold once the command of this kind arrived at the trainer."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            applied = self.control.at(moment)
            if kind in applied:
                return applied
            time.sleep(0.01)
        raise AssertionError(f"{kind} did not arrive")

    def command(self, command_id: int) -> Command:
        assert self.writer.flush()
        with RunLogReader(self.log) as reader:
            return next(c for c in reader.commands(self.run_id) if c.id == command_id)


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Training]:
    training = Training(tmp_path / "fasa.sqlite")
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield training
    for number, handler in before.items():
        signal.signal(number, handler)
    training.writer.close()


def test_moments_follow_the_course_of_a_run() -> None:
    training, validation, evaluation = range(len(PHASES))
    course = [
        Moment(0, 0, training),
        Moment(0, 38, training),
        Moment(0, 39, validation),
        Moment(0, 39, evaluation),
        Moment(1, 39, training),  # the next epoch begins at the step the last one ended with
    ]
    assert course == sorted(course)


def test_a_knob_takes_hold_and_says_where(training: Training) -> None:
    sent = training.send("set", alpha=1.3)
    assert training.applied(Moment(0, 7, 0), "set") == {"set"}
    assert training.fasa.alpha == 1.3
    answer = training.command(sent)
    assert (answer.applied_step, answer.refusal) == (7, None)
    (event,) = RunLogReader(training.log).events(training.run_id)
    assert (event.kind, event.text, event.step, event.epoch) == ("set", "alpha = 1.3", 7, 0)
    assert event.payload == {"alpha": 1.3, "command": sent}
    assert (answer.applied_epoch, answer.applied_phase) == (0, "training")


def test_a_value_out_of_bounds_is_refused_by_the_trainer_too(training: Training) -> None:
    sent = training.send("set", alpha=0.5)  # the run log itself knows no bounds
    training.send("checkpoint")
    assert training.applied(Moment(0, 7, 0), "checkpoint") == {"checkpoint"}
    answer = training.command(sent)
    assert answer.applied_step is None
    assert answer.refusal is not None
    assert "alpha is 0.5" in answer.refusal
    assert training.fasa.alpha == 1.1


def test_a_pause_holds_the_training_until_resume(training: Training) -> None:
    training.send("pause")
    seen: list[str] = []

    def person() -> None:
        with RunLogReader(training.log) as reader:
            while reader.run(training.run_id).status != "paused":
                time.sleep(0.01)
            seen.append("paused")
        training.send("set", beta=0.8)
        training.send("resume")

    thread = threading.Thread(target=person)
    thread.start()
    applied = training.applied(Moment(1, 50, 0), "resume")
    thread.join()
    assert seen == ["paused"]
    assert applied == {"pause", "set", "resume"}
    assert training.fasa.beta == 0.8
    assert training.writer.flush()
    assert RunLogReader(training.log).run(training.run_id).status == "running"


def test_a_stop_is_answered_and_ends_the_run(training: Training) -> None:
    sent = training.send("stop")
    with pytest.raises(StopRequested) as caught:
        training.applied(Moment(2, 90, 1), "stop")
    assert caught.value.status == "stopped"
    assert training.command(sent).applied_step == 90


def test_sigterm_ends_the_run_at_the_next_moment(training: Training) -> None:
    training.signals.listen()
    os.kill(os.getpid(), signal.SIGTERM)
    assert training.control.is_ending()
    with pytest.raises(StopRequested, match="SIGTERM") as caught:
        training.control.at(Moment(0, 1, 0))
    assert caught.value.status == "interrupted"


def test_sigterm_before_the_training_ends_the_run_at_once(training: Training) -> None:
    training.signals.listen()
    training.signals.wait_for_moment = False
    with pytest.raises(StopRequested, match="SIGTERM"):
        os.kill(os.getpid(), signal.SIGTERM)


def test_after_a_crash_commands_take_hold_again_where_they_did(training: Training) -> None:
    training.send("set", alpha=1.3)
    training.applied(Moment(0, 7, 0), "set")
    training.send("checkpoint")
    training.applied(Moment(0, 8, 0), "checkpoint")
    training.send("set", alpha=1.5)
    training.applied(Moment(0, 9, 2), "set")
    assert training.writer.flush()
    with RunLogReader(training.log) as reader:
        commands = reader.commands(training.run_id)
    assert len(training.control.applied) == 2  # a checkpoint is not written twice

    training.fasa.set_knobs(alpha=1.1)  # as in the checkpoint the run goes on from
    training.control.repeat(commands, applied=[])
    assert training.control.at(Moment(0, 6, 0)) == set()
    assert training.fasa.alpha == 1.1
    assert training.control.at(Moment(0, 7, 0)) == {"set"}
    assert training.fasa.alpha == 1.3
    assert training.control.at(Moment(0, 9, 1)) == set()
    assert training.control.at(Moment(0, 9, 2)) == {"set"}
    assert training.fasa.alpha == 1.5
    assert training.control.at(Moment(1, 10, 0)) == set()


def test_what_the_checkpoint_holds_is_not_repeated(training: Training) -> None:
    training.send("set", alpha=1.3)
    training.applied(Moment(0, 7, 0), "set")
    in_checkpoint = list(training.control.applied)
    training.send("set", alpha=1.5)
    training.applied(Moment(0, 7, 0), "set")  # the same moment, after the checkpoint
    assert training.writer.flush()
    with RunLogReader(training.log) as reader:
        commands = reader.commands(training.run_id)
    training.fasa.set_knobs(alpha=1.3)
    training.control.repeat(commands, applied=in_checkpoint)
    assert training.control.at(Moment(0, 7, 0)) == {"set"}
    assert training.fasa.alpha == 1.5
    assert training.control.applied == [command.id for command in commands]
