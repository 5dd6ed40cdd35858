"""`fasa up`: the supervisor in this process, the dashboard in one of its own."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from types import FrameType

from trainer.config import ConfigError, RunConfig
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

    Raises:
        SupervisorError: another supervisor has the folder, or it cannot be written.
        ConfigError: the dashboard cannot listen there.
    """
    _refuse_taken_port(address, port)
    folder.root.mkdir(parents=True, exist_ok=True)
    supervisor = Supervisor(folder.root)
    if demo:
        queue_first_runs(folder)
    dashboard = subprocess.Popen(
        [sys.executable, "-m", "app.server", f"--runs={folder.root}"]
        + [f"--port={port}", f"--address={address}"]
    )
    signal.signal(signal.SIGTERM, _as_keyboard_interrupt)
    threading.Thread(target=_say_when_ended, args=(dashboard,), daemon=True).start()
    try:
        supervisor.run_forever()
    except KeyboardInterrupt:
        print("stopping: trainers write a checkpoint first", flush=True)
    finally:
        dashboard.terminate()  # first, so that it ends while the trainers write
        supervisor.stop()
        _wait_for(dashboard)
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


def _refuse_taken_port(address: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"the dashboard cannot listen on {address} port {port} ({error}): "
                "stop what runs there, or give another --port"
            ) from None


def _say_when_ended(dashboard: subprocess.Popen[bytes]) -> None:
    """Nothing is restarted silently: say that the dashboard is gone, and what to do."""
    code = dashboard.wait()
    if code not in (0, -signal.SIGTERM):
        print(
            f"the dashboard ended (exit code {code}); the trainers go on. "
            "Ctrl-C and `fasa up` start it again",
            flush=True,
        )


def _as_keyboard_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _wait_for(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_DASHBOARD_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
