"""The projector as a process: stopped and killed amid a UMAP, alone on a folder, beside a run."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from running_up import free_port, start, wait
from small_runs import queue_small

from benchmarks.feature_cloud import FeatureCloud
from benchmarks.feature_run import FeatureRun
from trainer.background import NICENESS_VARIABLE
from trainer.run_log.reader import RunLogReader
from trainer.runs_folder import RunsFolder

READY = dict.fromkeys(("pca", "umap", "umap_real"), "ready")
SOON = 240  # seconds


@pytest.fixture(autouse=True)
def no_step_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last priority would wait for minutes where other tests keep every core busy."""
    monkeypatch.setenv(NICENESS_VARIABLE, "1")


@pytest.fixture
def folder(tmp_path: Path) -> RunsFolder:
    return RunsFolder(tmp_path / "runs")


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        family = []
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        for child in family:
            if child.is_running():
                child.kill()


def fill(folder: RunsFolder, *, real: int) -> int:
    """A run with one snapshot, of so many objects and as many virtual features; its id."""
    folder.root.mkdir()
    cloud = FeatureCloud(real=real, virtual_per_class=real // 10, classes=10, dim=16)
    (taken,) = FeatureRun(folder.run_log, cloud).add(0)
    return taken


def states(folder: RunsFolder, snapshot_id: int) -> dict[str, str]:
    with RunLogReader(folder.run_log) as reader:
        found = {row.snapshot_id: row.states for row in reader.features.states()}
    return found[snapshot_id]


def error(folder: RunsFolder, run_id: int) -> str:
    with RunLogReader(folder.run_log) as reader:
        failed = [row for row in reader.features.projections(run_id) if row.state == "failed"]
    return " ".join(str(row.error) for row in failed)


def project(folder: RunsFolder, *more: str) -> list[str]:
    return [sys.executable, "-m", "trainer", "project", f"--runs={folder.root}", *more]


def projectors_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children()
    return [child for child in children if "trainer.projector" in child.cmdline()]


def niceness(asked: str | None) -> subprocess.CompletedProcess[str]:
    script = "import os; from trainer.background import step_back; step_back(); print(os.nice(0))"
    environment = {key: value for key, value in os.environ.items() if key != NICENESS_VARIABLE}
    environment |= {} if asked is None else {NICENESS_VARIABLE: asked}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_it_is_the_last_in_line_unless_the_environment_says_otherwise() -> None:
    assert niceness(None).stdout == "19\n"
    assert niceness("3").stdout == "3\n"


@pytest.mark.parametrize("asked", ["-1", "20", "fast", ""])
def test_a_priority_that_there_is_not(asked: str) -> None:
    done = niceness(asked)
    assert done.returncode == 1
    assert "must be a whole number from 0 (the priority of a trainer) to 19" in done.stderr


def test_once_on_a_folder_without_a_run_log(folder: RunsFolder) -> None:
    done = subprocess.run(project(folder, "--once"), capture_output=True, text=True)
    assert done.returncode == 2
    assert "No run log" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not folder.root.exists()


def test_stopped_on_a_folder_without_a_run_log_it_makes_none(
    folder: RunsFolder, processes: list[subprocess.Popen[bytes]]
) -> None:
    folder.root.mkdir()
    process = subprocess.Popen(project(folder), stderr=subprocess.PIPE)
    processes.append(process)
    assert process.stderr is not None
    assert b"No run log" in process.stderr.readline()
    process.terminate()
    assert process.wait(SOON) == 0
    assert not folder.run_log.exists()


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_stopped_amid_a_umap_it_takes_it_back_and_the_next_makes_it(
    folder: RunsFolder, processes: list[subprocess.Popen[bytes]], by: signal.Signals
) -> None:
    taken = fill(folder, real=1000)
    process = subprocess.Popen(project(folder), stderr=subprocess.PIPE)
    processes.append(process)
    wait(lambda: states(folder, taken).get("umap") == "running", SOON, "a UMAP")
    process.send_signal(by)
    assert process.stderr is not None
    assert process.wait(SOON) == 0
    assert process.stderr.read() == b""
    assert states(folder, taken) == {"pca": "ready"}
    done = subprocess.run(project(folder, "--once"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert states(folder, taken) == READY


@pytest.mark.slow
def test_there_is_one_a_folder(
    folder: RunsFolder, processes: list[subprocess.Popen[bytes]]
) -> None:
    taken = fill(folder, real=50)
    process = subprocess.Popen(project(folder))
    processes.append(process)
    wait(lambda: "pca" in states(folder, taken), SOON, "a picture")
    done = subprocess.run(project(folder), capture_output=True, text=True)
    assert done.returncode == 2
    assert f"already has a projector (process {process.pid})" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_killed_amid_a_umap_it_costs_a_picture_and_the_training_nothing(
    folder: RunsFolder, processes: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    taken = fill(folder, real=400)
    log = tmp_path / "up.log"
    up = start(folder.root, free_port(), log, "--no-demo", "--no-dashboard", "--grace=20")
    processes.append(up)
    wait(lambda: states(folder, taken).get("umap") == "running", SOON, "a UMAP")
    run_id = queue_small(folder)
    (projector,) = projectors_of(up)
    assert projector.nice() == 1
    projector.kill()
    wait(lambda: states(folder, taken).get("umap") == "failed", SOON, "the failure's record")
    assert "killed or out of memory" in error(folder, 1)
    assert log.read_text().count("the projector ended") == 1

    def ended() -> bool:
        with RunLogReader(folder.run_log) as reader:
            return reader.run(run_id).ended is not None

    wait(ended, SOON, "the training's end")
    with RunLogReader(folder.run_log) as reader:
        run = reader.run(run_id)
        assert (run.status, run.error) == ("finished", None)
        newest = reader.features.heads(run_id)[-1].id
    wait(lambda: states(folder, newest) == READY, SOON, "the newest snapshot's pictures")
    assert states(folder, taken)["umap"] == "failed"
    (projector,) = projectors_of(up)
    loaded = Path(f"/proc/{projector.pid}/maps").read_text()
    assert "llvmlite" in loaded
    assert "libtorch" not in loaded

    up.send_signal(signal.SIGTERM)
    assert up.wait(30) == 0
    assert not psutil.pid_exists(projector.pid)
    assert "Traceback" not in log.read_text()


@pytest.mark.slow
def test_it_ends_when_its_supervisor_was_killed(
    folder: RunsFolder, processes: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    taken = fill(folder, real=50)
    up = start(folder.root, free_port(), tmp_path / "up.log", "--no-demo", "--no-dashboard")
    processes.append(up)
    wait(lambda: "pca" in states(folder, taken), SOON, "a picture")
    (projector,) = projectors_of(up)
    up.kill()
    up.wait()
    wait(lambda: not projector.is_running(), SOON, "its end")


def test_up_without_it(
    folder: RunsFolder, processes: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    log = tmp_path / "up.log"
    up = start(folder.root, free_port(), log, "--no-demo", "--no-dashboard", "--no-projector")
    processes.append(up)
    wait(lambda: "trains up to" in log.read_text(), 30, "its start")
    assert projectors_of(up) == []
    os.kill(up.pid, signal.SIGTERM)
    assert up.wait(30) == 0
