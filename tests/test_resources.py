"""What a trainer takes of its machine, measured on processes of which it is known."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from trainer.resources import (
    CPU,
    DISK_FREE,
    MEMORY,
    MEMORY_AVAILABLE,
    ResourceMonitor,
    cpu_seconds,
    memory_available,
    memory_of,
)

SPIN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"
HOLD = "import sys\nheld = b'x' * {size}\nprint(flush=True)\nsys.stdin.read()\n"
MEBIBYTE = 2**20


def wait_for(monitor: ResourceMonitor, seconds: float = 20.0) -> dict[str, float]:
    """What it measures next."""
    deadline = time.monotonic() + seconds
    while (use := monitor.take()) is None:
        assert time.monotonic() < deadline, "nothing was measured"
        time.sleep(0.01)
    return use


def spin(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_every_measure_comes_and_only_once(tmp_path: Path) -> None:
    with ResourceMonitor(tmp_path, seconds=0.3) as monitor:
        assert monitor.take() is None
        use = wait_for(monitor)
        assert monitor.take() is None  # until it measures again
        assert wait_for(monitor) != use
    assert set(use) >= {CPU, MEMORY, MEMORY_AVAILABLE, DISK_FREE}
    # Its children count too: what an earlier test left behind, such as a server of loaders.
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    resident = sum(process.memory_info().rss for process in family)
    assert use[MEMORY] == pytest.approx(resident / 1e6, rel=0.3)
    assert use[DISK_FREE] == pytest.approx(psutil.disk_usage(str(tmp_path)).free / 1e6, rel=0.1)
    assert 0 < use[MEMORY_AVAILABLE] <= psutil.virtual_memory().total / 1e6


def test_after_its_end_nothing_is_measured(tmp_path: Path) -> None:
    with ResourceMonitor(tmp_path, seconds=0.05) as monitor:
        wait_for(monitor)
    monitor.take()
    time.sleep(0.2)
    assert monitor.take() is None


def test_idle_and_busy_are_told_apart(tmp_path: Path) -> None:
    with ResourceMonitor(tmp_path, seconds=0.5) as monitor:
        idle = wait_for(monitor)[CPU]
        spin(1.2)
        busy = wait_for(monitor)[CPU]
    assert idle < 50
    assert busy > 2 * idle + 10


def test_a_folder_that_is_gone_costs_only_its_own_measure(tmp_path: Path) -> None:
    with ResourceMonitor(tmp_path / "gone", seconds=0.05) as monitor:
        use = wait_for(monitor)
    assert DISK_FREE not in use
    assert MEMORY in use


def test_the_time_of_children_counts_while_they_live_and_after() -> None:
    """A loader process ends with its epoch; the sum must not fall then."""
    own = psutil.Process()
    start = cpu_seconds([own])
    child = subprocess.Popen([sys.executable, "-c", SPIN.format(seconds=1.0) + "input()"],
                             stdin=subprocess.PIPE)  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while cpu_seconds([psutil.Process(child.pid)]) < 0.9:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        alive = cpu_seconds([own, psutil.Process(child.pid)]) - start
        assert alive >= 0.9
    finally:
        child.communicate(b"\n", timeout=30)
    assert cpu_seconds([own]) - start >= alive - 0.02


def test_children_add_what_they_hold_for_themselves(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLD.format(size=200 * MEBIBYTE)],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    try:
        assert child.stdout
        child.stdout.readline()
        own, other = psutil.Process(), psutil.Process(child.pid)
        added = memory_of([own, other]) - memory_of([own])
        assert 200 * MEBIBYTE * 0.95 < added <= other.memory_info().rss
        with ResourceMonitor(tmp_path, seconds=0.05) as monitor:
            assert wait_for(monitor)[MEMORY] * 1e6 > memory_of([own]) + 190 * MEBIBYTE
    finally:
        child.communicate(timeout=30)


def test_a_process_that_is_gone_counts_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    gone = psutil.Process(child.pid)
    child.wait()
    assert cpu_seconds([gone]) == 0
    assert memory_of([psutil.Process(os.getpid()), gone]) == pytest.approx(
        psutil.Process().memory_info().rss, rel=0.01
    )


def control_group(folder: Path, limit: str) -> Path:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text("700\n")
    (folder / "memory.stat").write_text("anon 500\ninactive_file 150\nactive_file 50\n")
    return folder


def test_a_container_has_what_its_limit_leaves(tmp_path: Path) -> None:
    assert memory_available(control_group(tmp_path, "1000")) == 1000 - 700 + 150
    assert memory_available(control_group(tmp_path, "600")) == 50
    assert memory_available(control_group(tmp_path, "100")) == 0


@pytest.mark.parametrize("limit", ["max", "9" * 18])
def test_without_a_limit_the_machine_decides(tmp_path: Path, limit: str) -> None:
    available = memory_available(control_group(tmp_path, limit))
    assert available == pytest.approx(psutil.virtual_memory().available, rel=0.2)
    assert memory_available(tmp_path / "none") == pytest.approx(available, rel=0.2)
