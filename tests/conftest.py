"""Fixtures every test may use: the shared material, run logs and runs, disks in trouble."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from app.source import RUNS_VARIABLE
from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.writer import RunLogWriter
from trainer.runs_folder import RunsFolder

# On a busy machine a thought of milliseconds may take a second: no test holds a time.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

_SHARED = Path(__file__).resolve().parents[2] / "shared"


def _existing(path: Path) -> Path:
    if not path.is_dir():
        pytest.skip(f"{path.name}: the shared test material is not on this machine")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photos and class tables, here or where `FASA_TEST_DATA` says."""
    return _existing(Path(os.environ.get("FASA_TEST_DATA", _SHARED / "data")))


@pytest.fixture(scope="session")
def shared_oracles() -> Path:
    """Expected outputs of the reference implementations."""
    return _existing(Path(os.environ.get("FASA_TEST_ORACLES", _SHARED / "oracles")))


@pytest.fixture(autouse=True)
def _keep_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit's AppTest leaves a page as `__main__`, which a later test's processes would run."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture(scope="module", autouse=True)
def _same_threads() -> Iterator[None]:
    """A run sets torch's threads in its process; the next module gets the old number back."""
    torch = sys.modules.get("torch")
    threads = torch and torch.get_num_threads()
    yield
    if torch:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """For what the tests of a module share, and gone after the last one.

    pytest keeps what `tmp_path_factory` makes to the end of all tests: checkpoints of some GB.
    """
    folder = tmp_path_factory.mktemp("module")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def folder(module_folder: Path) -> RunsFolder:
    """Runs that the tests of a module share."""
    return RunsFolder(module_folder)


@pytest.fixture(scope="module")
def finished(folder: RunsFolder) -> int:
    """A small run that nobody disturbed."""
    from small_runs import queue_small  # torch loads for seconds: not for tests without it

    from trainer.execute import execute

    run_id = queue_small(folder)
    assert execute(folder, run_id) == "finished"
    return run_id


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A run log with one queued run."""
    path = tmp_path / "fasa.sqlite"
    queue_run(path, name="first", config={}, dataset="demo")
    return path


@pytest.fixture
def writer(path: Path) -> Iterator[RunLogWriter]:
    """Of the first run of the run log."""
    with RunLogWriter(path, 1) as writer:
        yield writer


@pytest.fixture
def reader(path: Path) -> Iterator[RunLogReader]:
    """Of the run log."""
    with RunLogReader(path) as reader:
        yield reader


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of runs that pages read, without a run log yet."""
    monkeypatch.setenv(RUNS_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def read_only_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing can be written, by root neither."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    if os.geteuid() != 0:
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)
        return
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("root may not mount a read-only file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB of its own; skipped where that may not be mounted."""
    yield from _disk(tmp_path / "tiny", "2m")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for a small run and two checkpoints."""
    yield from _disk(tmp_path / "small", "160m")


def _disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip(f"a file system of {size} may not be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
