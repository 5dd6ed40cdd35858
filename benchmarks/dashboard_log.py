"""What the dashboard's benchmarks look at: a run of 1,203 classes beside ten others like it.

Each run has 200 snapshots within its epochs (and one after each), of nine per-class fields, and a
row of losses for each of 2,000 steps; the last one goes on when `advance` is called.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx

from tests.browser.synthetic_log import SyntheticRun

ROOT = Path(__file__).resolve().parents[1]
CLASSES, EPOCHS, STEPS_PER_EPOCH, SNAPSHOT_EVERY = 1203, 20, 100, 10
OTHERS = 10
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def write_log(runs: Path, *, others: int = OTHERS) -> SyntheticRun:
    """Write all runs; the last one has two epochs to go and an open writer."""
    for seed in range(others + 1):
        last = seed == others
        epochs = EPOCHS + 2 if last else EPOCHS
        run = SyntheticRun(
            runs, name=f"synthetic {seed}", classes=CLASSES, epochs=epochs,
            steps_per_epoch=STEPS_PER_EPOCH, seed=seed, snapshot_every=SNAPSHOT_EVERY,
        )  # fmt: skip
        writer = run.start()
        for _ in range(EPOCHS):
            run.advance(STEPS_PER_EPOCH)
            assert writer.flush(60.0)
        if not last:
            writer.status("finished")
            writer.close()
    return run


@contextlib.contextmanager
def dashboard(runs: Path) -> Iterator[tuple[str, subprocess.Popen[bytes], float]]:
    """The dashboard of a folder in a process of its own: address, process, seconds it took."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    started = time.perf_counter()
    command = [sys.executable, "-m", "app.server", "--runs", str(runs), "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, env=os.environ)
    try:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/_stcore/health").status_code == 200:
                    break
            assert process.poll() is None, "the dashboard did not start"
            time.sleep(0.02)
        yield url, process, time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(20)
