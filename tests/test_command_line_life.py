"""One run that really trains, from its first step to its forks, held by the command line alone."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_lines import Fasa
from small_runs import SMALL, curves
from supervised_runs import ROOT

from trainer.folder_lock import has_supervisor
from trainer.process_identity import process_identity
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.runs_folder import RunsFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LONG = 200  # epochs: nobody waits for them
HELD = r"^(.+) took hold at step (\d+)$"


class Life:
    """A runs folder with `fasa supervise` at work in a process of its own."""

    def __init__(self, root: Path) -> None:
        self.folder = RunsFolder(root)
        self._output = (root / "supervise.log").open("ab")
        self.supervise()

    def supervise(self) -> None:
        command = [sys.executable, "-m", "trainer", "supervise", f"--runs={self.folder.root}"]
        self.supervisor = subprocess.Popen(
            command, cwd=ROOT, stdout=self._output, stderr=self._output
        )
        self.until(lambda: has_supervisor(self.folder.root), "the supervisor")

    def run(self, run_id: int) -> Run:
        with RunLogReader(self.folder.run_log) as reader:
            return reader.run(run_id)

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 240) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{what} did not happen within {seconds:g} s"
            time.sleep(0.1)

    def until_status(self, run_id: int, status: str) -> Run:
        self.until(lambda: self.run(run_id).status == status, f"run {run_id} {status}")
        return self.run(run_id)

    def until_trains(self, run_id: int, *, beyond: int) -> None:
        def trains() -> bool:
            run = self.run(run_id)
            return run.status == "running" and run.step > beyond

        self.until(trains, f"a step of run {run_id} beyond {beyond}")

    def end_supervisor(self) -> float:
        """Ask it to end; returns the seconds that took."""
        began = time.monotonic()
        self.supervisor.send_signal(signal.SIGTERM)
        assert self.supervisor.wait(60) == 0
        return time.monotonic() - began

    def close(self) -> None:
        if self.supervisor.poll() is None:
            self.supervisor.send_signal(signal.SIGTERM)
            self.supervisor.wait(60)
        self._output.close()


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    made = Life(tmp_path)
    yield made
    made.close()


@pytest.fixture
def fasa(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Fasa:
    return Fasa(tmp_path, capsys)


def _queue(fasa: Fasa, **values: object) -> None:
    knobs = {**SMALL, **values}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in knobs.items()]
    assert fasa.says("queue", "--name=tiny", *flags) == "queued run 1\n"


def _held(said: str) -> int:
    """The step a command says it took hold at."""
    found = re.fullmatch(HELD, said.rstrip())
    assert found is not None, said
    return int(found[2])


def test_set_pause_resume_checkpoint_stop_resume_fork(life: Life, fasa: Fasa) -> None:
    _queue(fasa, epochs=LONG)
    life.until_trains(1, beyond=1)

    # Steering
    began = time.monotonic()
    turned_at = _held(fasa.says("set", "tiny", "alpha=1.5"))
    assert time.monotonic() - began < 10
    assert "alpha is '7x'" in fasa.refuses("set", "tiny", "alpha=7x")
    paused_at = _held(fasa.says("pause", "tiny"))
    life.until_status(1, "paused")
    assert _held(fasa.says("set", "tiny", "learning_rate_factor=0.5")) == paused_at
    assert life.run(1).step == paused_at
    fasa.says("resume", "tiny")
    life.until_trains(1, beyond=paused_at)
    kept_at = _held(fasa.says("checkpoint", "tiny"))
    snapshot_at = _held(fasa.says("snapshot", "tiny"))
    _check_what_was_written(life, turned_at, paused_at, kept_at, snapshot_at)

    # Stop, and on
    life.until(lambda: life.run(1).epoch >= 1, "the second epoch")
    stopped_at = _held(fasa.says("stop", "tiny"))
    assert life.until_status(1, "stopped").step == stopped_at
    fasa.says("resume", "tiny")
    life.until_trains(1, beyond=stopped_at)
    with RunLogReader(life.folder.run_log) as reader:
        assert [attempt.from_step for attempt in reader.attempts(1)] == [0, stopped_at]
    fasa.says("stop", "tiny")
    parent = life.until_status(1, "stopped")

    # What if alpha had been 2 from the second epoch on?
    done = parent.epoch
    with RunLogReader(life.folder.run_log) as reader:
        ends = [row for row in reader.checkpoints(1) if (row.epoch, row.batch) == (done, 0)]
    assert len(ends) == 1
    fasa.says("fork", "tiny", f"--epoch={done}", "--alpha=2", f"--epochs={done + 1}")
    fork = life.until_status(2, "finished")
    _check_fork(life, fork, at=ends[0].step)
    assert "alpha=2" in fasa.says("runs")


def _check_what_was_written(life: Life, turned: int, paused: int, kept: int, shot: int) -> None:
    with RunLogReader(life.folder.run_log) as reader:
        alphas = [(row.step, row.value) for row in reader.scalars(1, ["knob/alpha"])]
        assert alphas[0] == (0, 1.1)
        assert (turned, 1.5) in alphas
        factors = [row.value for row in reader.scalars(1, ["knob/learning_rate_factor"])]
        assert factors[-1] == 0.5
        kinds = [event.kind for event in reader.events(1)]
        for kind in ("set", "pause", "resume", "checkpoint", "snapshot_features"):
            assert kind in kinds, kind
        assert kept in [row.step for row in reader.checkpoints(1)]
        life.until(lambda: shot in [row.step for row in reader.features.heads(1)], "the snapshot")


def _check_fork(life: Life, fork: Run, *, at: int) -> None:
    """Up to the fork its curves are its parent's; from there its own, with the new alpha."""
    assert (fork.parent_run, fork.parent_step) == (1, at)
    assert fork.step > at
    losses = [name_step_value for name_step_value in curves(life.folder, 2, until=at)
              if name_step_value[0].startswith("loss/")]  # fmt: skip
    parents = [name_step_value for name_step_value in curves(life.folder, 1, until=at)
               if name_step_value[0].startswith("loss/")]  # fmt: skip
    assert losses == parents
    assert len(losses) >= at
    with RunLogReader(life.folder.run_log) as reader:
        assert reader.last_scalars(2, "knob/", step=fork.step)["knob/alpha"] == 2
        assert reader.last_scalars(2, "knob/", step=fork.step)["knob/learning_rate_factor"] == 0.5
        assert [event.step for event in reader.events(2) if event.kind == "fork"] == [at]


def test_kill_9_and_the_end_of_the_supervisor(life: Life, fasa: Fasa) -> None:
    """Of the trainer, then of the supervisor; then SIGTERM, as a container gets it."""
    _queue(fasa, epochs=LONG)
    life.until_trains(1, beyond=3)
    trainer = life.run(1).process_id
    assert trainer is not None
    began = time.monotonic()
    subprocess.run(["kill", "-9", str(trainer)], check=True)
    run = life.until_status(1, "crashed")
    assert time.monotonic() - began < 15
    assert "ended by signal SIGKILL" in (run.error or "")
    assert "run 1 'tiny': step 0/" in (run.error or "")  # its console
    fasa.says("resume", "1")
    life.until_trains(1, beyond=0)

    life.supervisor.kill()
    life.supervisor.wait()
    trainer = life.run(1).process_id
    identity = life.run(1).process_identity
    assert trainer is not None
    assert _held(fasa.says("checkpoint", "1")) > 0  # nobody supervises, the trainer answers
    life.supervise()
    life.until_trains(1, beyond=life.run(1).step)
    assert (life.run(1).process_id, life.run(1).process_identity) == (trainer, identity)

    seconds = life.end_supervisor()
    assert process_identity(trainer) is None
    run = life.run(1)
    assert (run.status, run.error) == ("interrupted", None)
    with RunLogReader(life.folder.run_log) as reader:
        assert reader.checkpoints(1)[-1].step == run.step
    # A container has 10 s. It takes 2 s here, and longer where other tests run beside it; a
    # trainer that did not listen would take the 30 s of grace.
    assert seconds < 20
    assert "is queued again" in fasa.says("resume", "--interrupted")
