"""`fasa up` when a part of it is killed, ended, or asked for what cannot be."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from running_up import answers, dashboard_of, free_port, is_silent, start, wait

from trainer.config import load_config
from trainer.run_log.commands import queue_run, set_status
from trainer.run_log.reader import RunLogReader
from trainer.runs_folder import RunsFolder

pytestmark = pytest.mark.slow


class Up:
    """`fasa up` processes of one test."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = RunsFolder(tmp_path / "runs")
        self.port = free_port()
        self.log = tmp_path / "up.log"
        self._processes: list[psutil.Process] = []

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        process = start(self.folder.root, self.port, self.log, "--no-demo", *more)
        self._processes.append(psutil.Process(process.pid))
        return process

    def start_with_dashboard(self, *more: str) -> tuple[subprocess.Popen[bytes], psutil.Process]:
        process = self.start(*more)
        wait(lambda: answers(self.port), 60, "the dashboard's answer")
        dashboard = dashboard_of(process)
        self._processes.append(dashboard)
        return process, dashboard

    def said(self) -> str:
        return self.log.read_text()

    def close(self) -> None:
        for process in self._processes:
            if process.is_running():
                process.kill()


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    made = Up(tmp_path)
    yield made
    made.close()


def _queue_bad_run(folder: RunsFolder) -> int:
    """A run that fails as soon as a trainer has it."""
    config = load_config({}).model_dump(mode="json") | {"nonsense": 1}
    return queue_run(folder.run_log, name="bad", config=config, dataset="none")


def _status(folder: RunsFolder, run_id: int) -> str:
    with RunLogReader(folder.run_log) as reader:
        return reader.run(run_id).status


def test_the_supervisor_outlives_the_dashboard(up: Up) -> None:
    process, dashboard = up.start_with_dashboard()
    dashboard.kill()
    wait(
        lambda: "the dashboard ended (exit code -9); the trainers go on" in up.said(), 30, "a word"
    )
    run_id = _queue_bad_run(up.folder)
    wait(lambda: _status(up.folder, run_id) == "failed", 60, "a start by the supervisor")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


def test_the_dashboard_outlives_the_supervisor_and_is_named_when_in_the_way(up: Up) -> None:
    process, dashboard = up.start_with_dashboard()
    process.kill()
    process.wait()
    assert answers(up.port)
    second = up.start()
    assert second.wait(30) == 2
    assert "a dashboard that outlived its supervisor" in up.said()
    assert f"`kill {dashboard.pid}`" in up.said()
    dashboard.terminate()
    dashboard.wait(30)
    third, _ = up.start_with_dashboard()
    other = start(up.folder.root.parent / "other", up.port, up.log, "--no-demo")
    assert other.wait(30) == 2
    assert f"dashboard of the runs folder {up.folder.root}" in up.said()
    third.send_signal(signal.SIGTERM)
    assert third.wait(30) == 0
    assert is_silent(up.port)


def test_it_ends_soon_when_nothing_trains(up: Up) -> None:
    process, _ = up.start_with_dashboard()
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert time.monotonic() - began < 10
    assert "stopping" in up.said()
    assert "Traceback" not in up.said()


def test_without_a_dashboard(up: Up) -> None:
    process = up.start("--no-dashboard", "--slots=3")
    run_id = _queue_when_there(up)
    wait(lambda: _status(up.folder, run_id) == "failed", 60, "a start by the supervisor")
    assert is_silent(up.port)
    assert "trains up to 3 at once" in up.said()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


def _queue_when_there(up: Up) -> int:
    wait(up.folder.run_log.exists, 30, "the run log")
    return _queue_bad_run(up.folder)


def test_resume_takes_up_what_was_interrupted(up: Up) -> None:
    interrupted, stopped = _queue_bad_run(up.folder), _queue_bad_run(up.folder)
    set_status(up.folder.run_log, interrupted, "interrupted")
    set_status(up.folder.run_log, stopped, "stopped")
    process = up.start("--no-dashboard", "--resume")
    wait(lambda: _status(up.folder, interrupted) == "failed", 60, "a start by the supervisor")
    assert _status(up.folder, stopped) == "stopped"
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


def test_a_token_that_cannot_be_read_ends_it_before_anything_starts(up: Up) -> None:
    run_id = _queue_bad_run(up.folder)
    process = up.start("--address=0.0.0.0", f"--token-file={up.folder.root / 'none'}")
    assert process.wait(60) == 2
    assert "token file" in up.said()
    assert "Traceback" not in up.said()
    assert _status(up.folder, run_id) == "queued"


def test_the_token_of_the_environment_reaches_the_dashboard_alone(
    up: Up, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASA_TOKEN", "a-token-of-one-test-only")
    process = up.start("--address=0.0.0.0")
    wait(lambda: "FASA_TOKEN" in up.said(), 60, "the announcement")
    wait(lambda: not is_silent(up.port), 60, "the refusal of who brings no token")
    _queue_bad_run(up.folder)
    wait(lambda: _trainers(process) != [], 60, "a start by the supervisor")
    assert all("FASA_TOKEN" not in trainer.environ() for trainer in _trainers(process))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def _trainers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children()
    return [child for child in children if "execute" in child.cmdline()]


def test_an_address_that_is_none(up: Up) -> None:
    process = up.start("--address=not.a.name.of.a.host.invalid")
    assert process.wait(60) == 2
    assert up.said().startswith("fasa: the dashboard cannot listen")
    assert up.said().count("\n") == 1
