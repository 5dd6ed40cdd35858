"""What a trainer takes of its machine: processor, memory, disk and GPU, loader processes too.

A thread of its own measures; the training thread only picks up what lies ready, so that no step
waits for it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import psutil
import torch

from trainer.distributed import FIRST_RANK

CPU = "system/cpu_percent"
MEMORY = "system/memory_mb"
MEMORY_AVAILABLE = "system/memory_available_mb"
DISK_FREE = "system/disk_free_mb"
GPU = "system/gpu_percent"
GPU_MEMORY = "system/gpu_memory_mb"
RESOURCES = (CPU, MEMORY, MEMORY_AVAILABLE, DISK_FREE, GPU, GPU_MEMORY)

EVERY = 5.0  # seconds between two measurements
_MEGABYTE = 1e6
_CONTROL_GROUP = Path("/sys/fs/cgroup")  # of a container: version 2, as it sees it itself


class ResourceMonitor:
    """Measures this process and its descendants every few seconds, from `with` to its end.

    With several ranks each measures itself and tells the first one, where they are added up: CPU,
    memory and GPU memory are sums, the use of the GPUs is their mean. What is left of memory and
    disk is that of the first one's machine.

    Args:
        folder: of the runs, on the disk whose free space counts.
        seconds: between two measurements.
        others: gives what the other ranks measured last.
        tell: called with every measurement, in the thread that measures.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seconds: float = EVERY,
        others: Callable[[], Sequence[Mapping[str, float]]] = lambda: (),
        tell: Callable[[Mapping[str, float]], None] = lambda use: None,
    ) -> None:
        self._folder = folder
        self._seconds = seconds
        self._others = others
        self._tell = tell
        self._process = psutil.Process()
        self._newest: deque[dict[str, float]] = deque(maxlen=1)  # handed over without a lock
        self._gpu_tells_use = True
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._measure, name="resources", daemon=True)

    def __enter__(self) -> ResourceMonitor:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=1.0)  # a GPU in trouble may not answer; the thread is a daemon

    def take(self) -> dict[str, float] | None:
        """What was measured since the last call, by the names above; None when nothing was."""
        try:
            return self._newest.pop()
        except IndexError:
            return None

    def _measure(self) -> None:
        at, spent = time.monotonic(), cpu_seconds(self._family())
        while not self._ended.wait(self._seconds):
            family = self._family()
            before, spent_before = at, spent
            at, spent = time.monotonic(), cpu_seconds(family)
            use = {
                CPU: max(0.0, 100 * (spent - spent_before) / (at - before)),
                MEMORY: memory_of(family) / _MEGABYTE,
                MEMORY_AVAILABLE: memory_available() / _MEGABYTE,
            }
            with contextlib.suppress(OSError):  # the folder may be gone
                use[DISK_FREE] = psutil.disk_usage(str(self._folder)).free / _MEGABYTE
            use |= self._gpu()
            self._tell(use)
            self._newest.append(added_up(use, self._others()))

    def _family(self) -> list[psutil.Process]:
        """This process, and its descendants but for other ranks, which measure themselves."""
        try:
            children = self._process.children()
        except psutil.Error:  # the system shows no other processes
            children = []
        family = [self._process]
        for child in children:
            with contextlib.suppress(psutil.Error):  # it ended meanwhile
                if child.environ().get(FIRST_RANK) != str(self._process.pid):
                    family += [child, *child.children(recursive=True)]
        return family

    def _gpu(self) -> dict[str, float]:
        """Memory of the GPU this process trains on, whoever uses it; {} without one."""
        if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            return {}
        free, total = torch.cuda.mem_get_info()
        use = {GPU_MEMORY: (total - free) / _MEGABYTE}
        if self._gpu_tells_use:
            try:
                use[GPU] = float(torch.cuda.utilization())
            except Exception:  # nvidia-ml-py is not installed, or the GPU is a part of one (MIG)
                self._gpu_tells_use = False
        return use


def added_up(own: Mapping[str, float], others: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What all ranks take, from what each measured; see `ResourceMonitor`."""
    total = dict(own)
    for name in (CPU, MEMORY, GPU_MEMORY, GPU):
        values = [use[name] for use in (own, *others) if name in use]
        if values:
            total[name] = sum(values) / (len(values) if name == GPU else 1)
    return total


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """Processor time these and their ended children took; one that is gone counts as 0.

    An ended child's time passes to its parent, so over a whole family the sum never falls.
    """
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += sum(process.cpu_times()[:4])  # user, system, and both of ended children
    return total


def memory_of(processes: Iterable[psutil.Process]) -> int:
    """Bytes these processes hold in memory; of all but the first only what they do not share."""
    total = 0
    for index, process in enumerate(processes):
        with contextlib.suppress(psutil.Error):
            memory = process.memory_info()
            total += memory.rss - (getattr(memory, "shared", 0) if index else 0)
    return total


def memory_available(control_group: Path = _CONTROL_GROUP) -> int:
    """Bytes that can still be had: of the machine, or of this container when that is less."""
    available: int = psutil.virtual_memory().available
    try:
        limit = int((control_group / "memory.max").read_text())
        used = int((control_group / "memory.current").read_text())
        lines = (control_group / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # no container, no limit ("max"), or another system
        return available
    # Pages of files nobody used lately are given back before anything is refused.
    files = next((int(x.split()[1]) for x in lines if x.startswith("inactive_file ")), 0)
    return max(0, min(available, limit - used + files))
