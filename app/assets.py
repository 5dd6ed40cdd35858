"""The static files of the live components: our own modules and Plotly from its Python package.

Each address holds a hash of the contents, so browsers keep the files for good and fetch new ones
when they change. Nothing comes from another host: the dashboard works offline. Our modules come as
one file and so do our styles; all is compressed once here instead of for every visitor.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path

from plotly.offline import get_plotlyjs_version
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from app.bundle import bundle

OWN_FILES = Path(__file__).parent / "live_chart"
SCRIPT, STYLES = "mount.js", "styles.css"
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css"}
FOREVER = {"cache-control": "public, max-age=31536000, immutable"}
PREFIX = "/live/assets"


@cache
def _plotly_file() -> Path:
    import plotly

    return Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


@cache
def _own_files() -> dict[str, bytes]:
    modules = {path.stem: path.read_text("utf-8") for path in sorted(OWN_FILES.glob("*.js"))}
    styles = [path.read_text("utf-8") for path in sorted(OWN_FILES.glob("*.css"), key=_base_first)]
    return {
        SCRIPT: bundle(modules, Path(SCRIPT).stem).encode(),
        STYLES: "\n".join(styles).encode(),
    }


def _base_first(path: Path) -> tuple[bool, str]:
    return path.name != "live.css", path.name  # the other files refine what it lays down


@cache
def own_address() -> str:
    """Address of the folder of our own script and styles, ending in a slash."""
    digest = hashlib.sha256()
    for name, content in _own_files().items():
        digest.update(name.encode() + b"\0" + content)
    return f"{PREFIX}/{digest.hexdigest()[:16]}/"


@cache
def plotly_address() -> str:
    """Address of Plotly's script."""
    return f"{PREFIX}/plotly-{get_plotlyjs_version()}.min.js"


@cache
def _content(name: str) -> bytes:
    return _plotly_file().read_bytes() if name == "plotly" else _own_files()[name]


@cache
def _compressed(name: str) -> bytes:
    return gzip.compress(_content(name), 6)


def _answer(name: str, request: Request) -> Response:
    kind = MEDIA_TYPES.get(Path(name).suffix, MEDIA_TYPES[".js"])
    if "gzip" in request.headers.get("accept-encoding", ""):
        encoded = {**FOREVER, "content-encoding": "gzip", "vary": "accept-encoding"}
        return Response(_compressed(name), media_type=kind, headers=encoded)
    return Response(_content(name), media_type=kind, headers=FOREVER)


def _plotly(request: Request) -> Response:
    return _answer("plotly", request)


def _own(request: Request) -> Response:
    # Looked up among the files that are there, so no path from outside ever reaches the disk.
    name = request.path_params["name"]
    if name not in _own_files():
        return PlainTextResponse("There is no such file: reload the page", 404)
    return _answer(name, request)


def routes() -> list[BaseRoute]:
    """The Starlette routes of the files, to be handed to `streamlit.App`."""
    return [
        Route(plotly_address(), _plotly),
        Route(PREFIX + "/{digest}/{name}", _own),
    ]
