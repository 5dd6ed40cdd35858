"""`fasa up`: the supervisor in this process, the dashboard in one of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from types import FrameType

from trainer.config import RunConfig
from trainer.presets import preset_values
from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.runs_folder import RunsFolder
from trainer.supervisor import Supervisor

_FIRST_RUNS = ("demo", "demo-baseline")
_DASHBOARD_STOP_SECONDS = 5


def up(folder: RunsFolder, *, port: int, address: str, demo: bool) -> int:
    """Start everything and stay until SIGTERM or Ctrl-C; then trainers checkpoint and stop.

    Args:
        folder: runs and run log; made when missing.
        port: of the dashboard.
        address: the dashboard listens on.
        demo: queue the demo run and its baseline when there is no run yet.
    """
    folder.root.mkdir(parents=True, exist_ok=True)
    supervisor = Supervisor(folder.root)
    if demo:
        queue_first_runs(folder)
    dashboard = subprocess.Popen(
        [sys.executable, "-m", "app.server", f"--runs={folder.root}"]
        + [f"--port={port}", f"--address={address}"]
    )
    print(f"FASA Live: http://{address}:{port}  (runs in {folder.root.resolve()})", flush=True)
    signal.signal(signal.SIGTERM, _as_keyboard_interrupt)
    try:
        supervisor.run_forever()
    except KeyboardInterrupt:
        print("stopping: trainers write a checkpoint first", flush=True)
    finally:
        _end(dashboard)
        supervisor.stop()
    return 0


def queue_first_runs(folder: RunsFolder) -> None:
    """Queue the demo and its baseline when the run log holds no run."""
    if folder.run_log.exists() and RunLogReader(folder.run_log).runs():
        return
    for name in _FIRST_RUNS:
        config = RunConfig(**preset_values([name]))
        queue_run(
            folder.run_log,
            name=name,
            config=config.model_dump(mode="json"),
            dataset=f"demo ({config.demo_classes} classes)",
        )


def _as_keyboard_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_DASHBOARD_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
