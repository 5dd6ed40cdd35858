"""`fasa up` as a process, for the tests of what it starts and outlives."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from trainer.run_log.schema import RunLogError


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Until the condition holds, whatever is not there yet."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if condition():
                return
        except (OSError, RunLogError):
            pass
        time.sleep(0.2)
    pytest.fail(f"{what} did not happen within {seconds:g} s")


def start(folder: Path, port: int, log: Path, *more: str) -> subprocess.Popen[bytes]:
    """`fasa up` with its output in `log`."""
    command = [sys.executable, "-m", "trainer", "up", f"--runs={folder}", f"--port={port}", *more]
    with log.open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def answers(port: int) -> bool:
    """Whether the dashboard answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2) as response:
        return bool(response.status == 200)


def is_silent(port: int) -> bool:
    """Whether nobody answers at a port."""
    try:
        return not answers(port)
    except urllib.error.HTTPError:
        return False
    except OSError:
        return True


def dashboard_of(process: subprocess.Popen[bytes]) -> psutil.Process:
    """The dashboard that an `up` started."""
    children = psutil.Process(process.pid).children()
    (found,) = [child for child in children if "app.server" in child.cmdline()]
    return found
