"""The dashboard's server: Streamlit's ASGI app with our live routes, served by uvicorn.

python -m app.server --runs RUNS --port 8501 --address 127.0.0.1
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from streamlit.runtime.pages_manager import PagesManager

from app import assets
from app.live_data import LiveData
from app.source import RUNS_VARIABLE, run_log_path, source

MAIN_SCRIPT = Path(__file__).parent / "main.py"

# One place for what the pages look like; charts and tables read the same theme in the browser.
SETTINGS: dict[str, Any] = {
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "server.enableAgentApi": False,
    "logger.hideWelcomeMessage": True,
    "server.headless": True,
    "server.fileWatcherType": "none",
    "theme.baseFontSize": 15,
    "theme.baseRadius": "6px",
    "theme.paddingTop": "0.75rem",
    "theme.paddingBottom": "2rem",
    "theme.light.primaryColor": "#0072B2",
    "theme.light.backgroundColor": "#FFFFFF",
    "theme.light.secondaryBackgroundColor": "#F2F4F6",
    "theme.light.textColor": "#1C2127",
    "theme.light.borderColor": "#DFE3E8",
    "theme.dark.primaryColor": "#56B4E9",
    "theme.dark.backgroundColor": "#14181D",
    "theme.dark.secondaryBackgroundColor": "#1F252C",
    "theme.dark.textColor": "#E3E6EA",
    "theme.dark.borderColor": "#333B45",
}


def build_app(runs: Path, *, middleware: Sequence[Middleware] = ()) -> st.App:
    """The ASGI app for one folder of runs.

    Args:
        runs: folder with the run log; it need not be there yet.
        middleware: in front of pages, live routes and websocket alike (a token check, say).
    """
    os.environ[RUNS_VARIABLE] = str(runs.absolute())
    # Until main.py first called st.navigation, Streamlit takes a folder named pages for its older
    # kind of multi-page app and says "page not found" to whoever opens an address of ours first.
    PagesManager.uses_pages_directory = False
    routes = [*assets.routes(), *LiveData(source(run_log_path())).routes()]
    return st.App(MAIN_SCRIPT, routes=routes, middleware=middleware)


def refusal(runs: Path, address: str, port: int) -> str | None:
    """Why the server cannot start here, in one sentence; None when it can."""
    if runs.exists() and not runs.is_dir():
        return f"--runs is {runs}, which is a file: name the folder that holds the runs"
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return (
            f"the dashboard cannot listen on {address} port {port} ({reason}): "
            "stop what runs there, or give another --port or --address"
        )
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; 2 and one sentence when that is not possible."""
    parser = argparse.ArgumentParser(prog="python -m app.server", description="The dashboard")
    parser.add_argument("--runs", type=Path, default=Path(os.environ.get(RUNS_VARIABLE) or "runs"),
                        help="folder of the runs (default: $FASA_RUNS or ./runs)")  # fmt: skip
    parser.add_argument("--address", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8501, help="port to listen on")
    options = parser.parse_args(arguments)
    problem = refusal(options.runs, options.address, options.port)
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    print(f"dashboard: http://{options.address}:{options.port}", flush=True)
    app = build_app(options.runs)
    listen = {"server.address": options.address, "server.port": options.port}
    app.run(config={**SETTINGS, **listen})
    return 0


if __name__ == "__main__":
    sys.exit(main())
