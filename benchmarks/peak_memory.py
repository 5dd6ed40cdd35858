"""How much memory a piece of work takes at its peak, for benchmarks that state it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psutil

MEGABYTE = 1e6


def peak_growth(work: Callable[[], object]) -> float:
    """Megabytes by which doing `work` raises this process's resident memory, at its peak."""
    process = psutil.Process()
    done = threading.Event()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return (peak - before) / MEGABYTE
