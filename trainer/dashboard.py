"""The dashboard as a process of its own, seen from the supervisor's side."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from trainer.config import ConfigError
from trainer.folder_lock import has_supervisor
from trainer.runs_folder import RunsFolder

_MODULE = "app.server"
_START_SECONDS = 30.0
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.05
_BAD_INPUT = 2


@dataclass(frozen=True)
class DashboardOptions:
    """Where the dashboard listens, and what it asks of those who come.

    Attributes:
        address: a name or number of this machine.
        token_file: holds the token; None leaves it to the environment and the address.
        allowed_hosts: further names it is known by.
    """

    address: str = "127.0.0.1"
    port: int = 8501
    token_file: Path | None = None
    allowed_hosts: Sequence[str] = ()

    def refuse_taken_port(self) -> None:
        """Look whether the dashboard could listen.

        Raises:
            ConfigError: it could not; one sentence says who is in the way, if it is one of ours.
        """
        try:
            family, kind, *_, place = socket.getaddrinfo(
                self.address, self.port, type=socket.SOCK_STREAM
            )[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
        except (OSError, OverflowError, UnicodeError) as error:
            raise ConfigError(
                _owner_of(self.port)
                or f"the dashboard cannot listen on {self.address} port {self.port} ({error}): "
                "stop what runs there, or give another --port"
            ) from None


class Dashboard:
    """A running dashboard. It outlives its supervisor when that is killed.

    Args:
        folder: runs it shows.
        options: where and for whom.
    """

    def __init__(self, folder: RunsFolder, options: DashboardOptions) -> None:
        self._options = options
        command = [sys.executable, "-m", _MODULE, f"--runs={folder.root.absolute()}"]
        command += [f"--port={options.port}", f"--address={options.address}"]
        command += [f"--allow-host={name}" for name in options.allowed_hosts]
        if options.token_file is not None:
            command.append(f"--token-file={options.token_file}")
        self._process = subprocess.Popen(command)

    def has_refused(self) -> bool:
        """Wait until it listens; True when it would not start with these options and said why."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and not self._listens():
            code = self._process.poll()
            if code is not None:
                return code == _BAD_INPUT
            time.sleep(_POLL_SECONDS)
        return False

    def watch(self) -> None:
        """Nothing is restarted silently: say when it is gone, and what to do."""
        threading.Thread(target=self._say_when_ended, name="dashboard", daemon=True).start()

    def end(self) -> None:
        """Ask it to end, and do not wait."""
        self._process.terminate()

    def wait(self) -> None:
        """Until it has ended; one that does not listen is killed."""
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _listens(self) -> bool:
        try:
            place = (self._options.address, self._options.port)
            socket.create_connection(place, timeout=_POLL_SECONDS).close()
        except OSError:
            return False
        return True

    def _say_when_ended(self) -> None:
        code = self._process.wait()
        if code not in (0, -signal.SIGTERM, -signal.SIGINT):
            print(
                f"the dashboard ended (exit code {code}); the trainers go on. "
                "Ctrl-C and `fasa up` start it again",
                flush=True,
            )


def _owner_of(port: int) -> str | None:
    """Who holds a port, in a sentence with the remedy, when it is a dashboard of ours."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if _MODULE not in words or f"--port={port}" not in words:
            continue
        root = next((w.removeprefix("--runs=") for w in words if w.startswith("--runs=")), "")
        if has_supervisor(Path(root)):
            return (
                f"port {port} is that of the dashboard of the runs folder {root} "
                f"(process {process.pid}): give another --port"
            )
        return (
            f"port {port} is held by a dashboard that outlived its supervisor "
            f"(process {process.pid}): end it with `kill {process.pid}`, or give another --port"
        )
    return None
