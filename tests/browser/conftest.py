"""Fixtures for tests in a real browser: `dashboard(runs) -> url` and `page`.

The server runs in a process of its own, as people start it; the browser is the machine's Chromium.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
START_SECONDS = 60.0

# What Chromium and Streamlit log when the server was stopped before the tab was closed.
SERVER_GONE = re.compile(
    r"net::ERR_(CONNECTION|EMPTY_RESPONSE|INCOMPLETE)|WebSocket|server is not responding"
    r"|reaching server endpoint|disconnected from server"
)

expect.set_options(timeout=20_000)  # the machine may be busy; a test that passes does not wait


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_served(url: str, process: subprocess.Popen[bytes], console: Path) -> None:
    """Until the dashboard answers; fails with its console when it does not come to that."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/_stcore/health").status_code == 200:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the dashboard did not start:\n{console.read_text()}")
        time.sleep(0.1)


@contextlib.contextmanager
def serving(runs: Path, *, port: int | None = None) -> Iterator[str]:
    """The dashboard of a folder, until the block ends; yields its address."""
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    console = runs.parent / f"{runs.name}-dashboard.log"
    with console.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.server", "--runs", str(runs), "--port", str(port)],
            cwd=ROOT, stdout=output, stderr=output, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    try:
        wait_until_served(url, process, console)
        yield url
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Callable[[Path], str]]:
    """Start the dashboard of a folder of runs: `dashboard(runs)` returns its address.

    It needs `tmp_path` only so that it ends, and tabs with it, before its runs are removed.
    """
    with contextlib.ExitStack() as stack:
        yield lambda runs: stack.enter_context(serving(runs))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        if os.environ.get("FASA_REQUIRE_BROWSER"):  # CI: a test that cannot run is a failure
            pytest.fail("chromium is not installed on this machine")
        pytest.skip("chromium is not installed on this machine")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=FLAGS)


class Console:
    """What the page complained about; asking for it leaves out what is not ours."""

    def __init__(self, page: Page) -> None:
        self.problems: list[str] = []
        page.on("console", self._message)
        page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        page.on("request", self._request)

    def _message(self, message: ConsoleMessage) -> None:
        # Streamlit's frontend finds the server's base path by trying /PAGE/_stcore/... first.
        address = str(message.location.get("url", ""))
        probing = "/_stcore/" in address
        if message.type == "error" and not probing and not SERVER_GONE.search(message.text):
            self.problems.append(f"{message.text} ({address})")

    def _request(self, request: object) -> None:
        url = str(getattr(request, "url", ""))
        if not url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")):
            self.problems.append(f"asked another host: {url}")


@pytest.fixture
def page(browser: Browser, dashboard: object) -> Iterator[Page]:
    """A fresh tab, 1300 x 1000, light. Fails the test when the page logged an error.

    It needs `dashboard` only so that the tab is closed before the server stops.
    """
    context = browser.new_context(viewport={"width": 1300, "height": 1000}, color_scheme="light")
    tab = context.new_page()
    tab.set_default_timeout(30_000)
    console = Console(tab)
    yield tab
    context.close()
    assert console.problems == []
