"""A process is told from every other one, whatever its id, its name or the clock says."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from trainer import process_identity as module
from trainer.process_identity import process_identity


@pytest.fixture
def waiting() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def test_it_stays_the_same_and_differs_from_that_of_others(
    waiting: subprocess.Popen[bytes],
) -> None:
    first = process_identity(waiting.pid)
    assert first is not None
    time.sleep(0.05)
    assert process_identity(waiting.pid) == first
    assert process_identity(os.getpid()) not in (first, None)


def test_a_zombie_and_a_process_that_is_gone_have_none(waiting: subprocess.Popen[bytes]) -> None:
    waiting.kill()
    deadline = time.monotonic() + 10
    while psutil.Process(waiting.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
    assert process_identity(waiting.pid) is None
    waiting.wait()
    assert process_identity(waiting.pid) is None


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own count of ticks")
def test_it_rests_on_no_wall_clock(waiting: subprocess.Popen[bytes]) -> None:
    """The kernel's id of this boot, and ticks since then: a clock that is set changes neither."""
    boot, ticks = (process_identity(waiting.pid) or "").split(":")
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    seconds = int(ticks) / os.sysconf("SC_CLK_TCK")
    assert since_boot - 10 < seconds <= since_boot


@pytest.mark.skipif(sys.platform != "linux", reason="names come from /proc")
def test_a_name_of_brackets_and_spaces_does_not_confuse(tmp_path: Path) -> None:
    # A process may call itself what it likes; the kernel shows 15 bytes of it.
    code = (
        "import pathlib\npathlib.Path('/proc/self/comm').write_text('a) Z 1 (b')\n"
        "print('ready', flush=True)\ninput()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert b"(a) Z 1 (b)" in Path(f"/proc/{process.pid}/stat").read_bytes()
        born = (process_identity(process.pid) or ":").split(":")[1]
        real = psutil.Process(process.pid).create_time() - psutil.boot_time()
        assert int(born) / os.sysconf("SC_CLK_TCK") == pytest.approx(real, abs=2)
        process.communicate(b"\n")


def test_without_a_boot_id_it_is_the_start_time(
    waiting: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BOOT_ID", tmp_path / "none")
    born = psutil.Process(waiting.pid).create_time()
    assert float(process_identity(waiting.pid) or 0) == pytest.approx(born, abs=0.01)
    waiting.kill()
    waiting.wait()
    assert process_identity(waiting.pid) is None
