"""GPUs are found without torch: as the environment names them, or as the driver lists them.

Where there is no GPU the driver's tool is a script that prints what the real one prints.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from trainer import devices
from trainer.devices import CUDA_DEVICES, gpus, gpus_of, least_used

TWO = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-5d5ba0d6-3b1c-4e1b-9a52-0d1f3f6f2a11)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-c0ffee00-3b1c-4e1b-9a52-0d1f3f6f2a11)
"""
DIVIDED = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-e86cb44c-6756-fd30-cd4a-1e6da3caf9b0)
  MIG 3g.20gb     Device  0: (UUID: MIG-c7384736-a75d-5afc-978f-d2f1294409fd)
  MIG 3g.20gb     Device  1: (UUID: MIG-GPU-e86cb44c-6756-fd30-cd4a-1e6da3caf9b0/1/0)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-00aa44c0-6756-fd30-cd4a-1e6da3caf9b0)
"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in the place of nvidia-smi, the only program there is; a test writes it."""
    monkeypatch.delenv(CUDA_DEVICES, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "nvidia-smi"


def _write(driver: Path, body: str) -> None:
    driver.write_text(f"#!{sys.executable}\n{body}\n")
    driver.chmod(0o755)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("0", ["0"]),
        ("2, 0", ["2", "0"]),
        ("GPU-5d5ba0d6,MIG-c7384736", ["GPU-5d5ba0d6", "MIG-c7384736"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("1,-1,2", ["1"]),  # as for CUDA, what follows an invalid one is not seen
    ],
)
def test_the_environment_goes_first(
    driver: Path, monkeypatch: pytest.MonkeyPatch, value: str, names: list[str]
) -> None:
    _write(driver, f"print({TWO!r})")
    monkeypatch.setenv(CUDA_DEVICES, value)
    assert gpus() == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (TWO, ["GPU-5d5ba0d6-3b1c-4e1b-9a52-0d1f3f6f2a11",
               "GPU-c0ffee00-3b1c-4e1b-9a52-0d1f3f6f2a11"]),
        (DIVIDED, ["MIG-c7384736-a75d-5afc-978f-d2f1294409fd",
                   "MIG-GPU-e86cb44c-6756-fd30-cd4a-1e6da3caf9b0/1/0",
                   "GPU-00aa44c0-6756-fd30-cd4a-1e6da3caf9b0"]),
        ("No devices found.\n", []),
    ],
)  # fmt: skip
def test_else_what_the_driver_lists(driver: Path, text: str, names: list[str]) -> None:
    _write(driver, f"import sys\nassert sys.argv[1:] == ['-L']\nprint({text!r}, end='')")
    assert gpus() == names


def test_no_driver_a_failing_one_and_one_that_hangs(
    driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gpus() == []
    _write(driver, f"print({TWO!r})\nraise SystemExit(9)")
    assert gpus() == []
    monkeypatch.setattr(devices, "_ANSWER_SECONDS", 0.2)
    _write(driver, "import time\ntime.sleep(60)")
    began = time.monotonic()
    assert gpus() == []
    assert time.monotonic() - began < 10


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that was given the GPU called 1."""
    started = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={CUDA_DEVICES: "1"},
    )  # fmt: skip
    assert started.stdout is not None
    started.stdout.readline()  # now it has the environment it was given
    yield started
    started.kill()
    started.communicate()


def test_the_gpu_of_a_running_process(process: subprocess.Popen[bytes]) -> None:
    running = psutil.Process(process.pid)
    assert gpus_of(running, ["0", "1"], count=1) == ("1",)
    assert gpus_of(running, ["0", "1"], count=2) == ("1",)
    assert gpus_of(running, ["0"], count=1) == ()
    process.kill()
    process.wait()
    assert gpus_of(running, ["0", "1"], count=1) == ()


def test_a_process_that_was_given_none_takes_the_first_ones() -> None:
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env={}) as started:
        running = psutil.Process(started.pid)
        assert gpus_of(running, ["7", "8", "9"], count=1) == ("7",)
        assert gpus_of(running, ["7", "8", "9"], count=2) == ("7", "8")
        assert gpus_of(running, [], count=2) == ()
        started.communicate(b"\n")


def test_trainers_are_spread_evenly() -> None:
    assert least_used(["a", "b"], []) == ("a",)
    assert least_used(["a", "b"], ["a"]) == ("b",)
    assert least_used(["a", "b"], ["a", "b"]) == ("a",)
    assert least_used(["a", "b", "c"], ["b", "a", "b", "c"]) == ("a",)
    assert least_used([], []) == ()
    assert least_used(["a", "b", "c"], ["a"], count=2) == ("b", "c")
    assert least_used(["a", "b", "c"], ["b"], count=2) == ("a", "c")
    assert least_used(["a"], [], count=0) == ()
