"""A dashboard in a process of its own with any arguments, and ways to knock at it."""

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets.sync.client
from browser.conftest import free_port
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import InvalidStatus

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 60.0
STREAM = "/_stcore/stream"


@dataclass
class Server:
    """A running dashboard; `url` is where this machine reaches it."""

    process: subprocess.Popen[bytes]
    port: int
    console: Path
    host: str = "127.0.0.1"

    @property
    def netloc(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.netloc}"

    @property
    def printed(self) -> str:
        return self.console.read_text()

    @property
    def token(self) -> str:
        """The token that was drawn, from the printed address."""
        found = re.search(r"\?token=([0-9a-f]+)", self.printed)
        assert found, self.printed
        return found[1]

    def cookie(self) -> dict[str, str]:
        """What a browser sends after it opened the printed address."""
        response = httpx.get(self.url, params={"token": self.token})
        assert response.status_code == 303, response.text
        return {"Cookie": response.headers["set-cookie"].partition(";")[0]}

    def stop(self) -> int:
        """Ask it to end, as a container's engine does; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


@contextlib.contextmanager
def served(
    folder: Path,
    *arguments: str,
    host: str = "127.0.0.1",
    port: int | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[Server]:
    """The dashboard of `folder`/runs until the block ends."""
    port = port or free_port()
    console = folder / f"console-{time.monotonic_ns()}.log"
    command = [sys.executable, "-m", "app.server", f"--runs={folder / 'runs'}", f"--port={port}"]
    inherited = {**os.environ, "PYTHONPATH": str(ROOT)}
    inherited.pop("FASA_TOKEN", None)
    with console.open("wb") as output:
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=folder, stdout=output, stderr=output, env={**inherited, **(environment or {})},
        )  # fmt: skip
    server = Server(process, port, console, host)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{server.url}/_stcore/health")
                break
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the dashboard did not start:\n{server.printed}")
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def start(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end, for what it refuses."""
    return subprocess.run(
        [sys.executable, "-m", "app.server", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip


def knock(server: Server, path: str = STREAM, **headers: str) -> int:
    """The status of a websocket's handshake; 101 when it is let in."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    address = f"ws://{server.netloc}{path}"
    try:
        with websocket(address, given):
            return 101
    except InvalidStatus as refused:
        return int(refused.response.status_code)


def first_message(server: Server, **headers: str) -> str:
    """The kind of the first message of a Streamlit session: pages really are drawn."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    with websocket(f"ws://{server.netloc}{STREAM}", given) as connection:
        message = BackMsg()
        message.rerun_script.query_string = ""
        connection.send(message.SerializeToString())
        answer = ForwardMsg()
        answer.ParseFromString(connection.recv(timeout=30))
        return str(answer.WhichOneof("type"))


def websocket(address: str, headers: dict[str, str]) -> Any:
    """A client's end of a Streamlit session, for a `with` block."""
    return websockets.sync.client.connect(
        address, additional_headers=headers, subprotocols=["streamlit"], proxy=None, open_timeout=30
    )


def raw(server: Server, lines: str) -> tuple[int, bytes]:
    """Send a request as it is written, which no client library would; its status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with contextlib.closing(connection):
        connection.connect()
        connection.sock.sendall(lines.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n")
        response = http.client.HTTPResponse(connection.sock)
        response.begin()
        return response.status, response.read()
