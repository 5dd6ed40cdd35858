"""The dashboard's server: Streamlit's ASGI app with our live routes, served by uvicorn.

python -m app.server --runs RUNS --port 8501 --address 127.0.0.1

On a loopback address it is open to who sits at the machine. On any other address, with
`--allow-host`, or where a token is given, it asks for the token (see `app.access`).
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from streamlit.runtime.pages_manager import PagesManager

from app import assets
from app.access import Gate, Rules, host_name
from app.access_token import TOKEN_VARIABLE, Token, TokenError, chosen_token, drawn_token
from app.address import AddressError, numeric_address, web_addresses, with_token
from app.live_data import LiveData
from app.preload import Preload
from app.source import RUNS_VARIABLE, run_log_path, source

MAIN_SCRIPT = Path(__file__).parent / "main.py"

# Said here even where it is Streamlit's default: this goes before a configuration file and the
# environment, which could else take the protection away.
SAFETY: dict[str, Any] = {
    "server.enableCORS": True,
    "server.corsAllowedOrigins": [],
    "server.enableXsrfProtection": True,
    "server.xsrfCookieSameSite": "strict",
    "server.trustedUserHeaders": {},
    "server.enableStaticServing": False,
    "server.scriptHealthCheckEnabled": False,
    "server.enableAgentApi": False,
    "server.maxUploadSize": 1,  # MB; no page takes files
    "server.baseUrlPath": "",
    "client.allowedOrigins": [],  # pages that may send commands to ours from around it
    "client.showErrorDetails": "none",
    "browser.gatherUsageStats": False,
}

# One place for what the pages look like; charts and tables read the same theme in the browser.
SETTINGS: dict[str, Any] = {
    **SAFETY,
    "client.toolbarMode": "minimal",
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
    return st.App(MAIN_SCRIPT, routes=routes, middleware=[*middleware, Middleware(Preload)])


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


def token_asked_for(
    address: IPv4Address | IPv6Address, allowed_hosts: Sequence[str], chosen: Token | None
) -> Token | None:
    """The token a caller must know; None when the dashboard is open.

    It is open only to who sits at this machine, and only when no token was chosen: a further
    name means a proxy, which lets others reach the loopback address too.
    """
    if chosen is None and address.is_loopback and not allowed_hosts:
        return None
    return chosen or drawn_token()


def announcement(addresses: Sequence[str], token: Token | None) -> str:
    """What is printed at the start: where to go. A token that a person chose is not told."""
    if token is not None and token.source is None:
        addresses = [with_token(address, token.text) for address in addresses]
    remark = f" (asks for the token of {token.source})" if token and token.source else ""
    others = [f"       or: {address} (this machine's own address)" for address in addresses[1:]]
    return "\n".join([f"dashboard: {addresses[0]}{remark}", *others])


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; 2 and one sentence when that is not possible."""
    options = _parser().parse_args(arguments)
    try:
        address = numeric_address(options.address)
        chosen = chosen_token(options.token_file, os.environ)
    except (AddressError, TokenError) as error:
        return _refuse(str(error))
    os.environ.pop(TOKEN_VARIABLE, None)  # read once: no page and no later process needs it
    problem = refusal(options.runs, str(address), options.port)
    if problem:
        return _refuse(problem)
    token = token_asked_for(address, options.allow_host, chosen)
    print(announcement(web_addresses(address, options.port), token), flush=True)
    rules = Rules(
        token=token.text if token else None,
        loopback=address.is_loopback,
        allowed_hosts=frozenset(options.allow_host),
    )
    app = build_app(options.runs, middleware=[Middleware(Gate, rules=rules)])
    listen = {"server.address": str(address), "server.port": options.port}
    app.run(config={**SETTINGS, **listen})
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.server", description="The dashboard")
    parser.add_argument("--runs", type=Path, default=Path(os.environ.get(RUNS_VARIABLE) or "runs"),
                        help="folder of the runs (default: $FASA_RUNS or ./runs)")  # fmt: skip
    parser.add_argument("--address", default="127.0.0.1",
                        help="address to listen on; any but a loopback address asks "
                        "for a token (default 127.0.0.1)")  # fmt: skip
    parser.add_argument("--port", type=int, default=8501, help="port to listen on (default 8501)")
    parser.add_argument("--token-file", type=Path, metavar="FILE",
                        help=f"file that holds the token (default: ${TOKEN_VARIABLE}, else a new "
                        "one is drawn and printed)")  # fmt: skip
    parser.add_argument("--allow-host", type=_host, action="append", default=[], metavar="NAME",
                        help="a name, or NAME:PORT, a reverse proxy makes the dashboard known by; "
                        "asks for a token; may be repeated")  # fmt: skip
    return parser


def _host(text: str) -> str:
    if host_name(text) is None:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no name of a host: give NAME or NAME:PORT, without http:// and path"
        )
    return text.lower()


def _refuse(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
