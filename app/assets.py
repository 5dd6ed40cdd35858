"""The static files of the live components: our own modules and Plotly from its Python package.

Each address holds a hash of the contents, so browsers keep the files for good and fetch new ones
when they change. Nothing comes from another host: the dashboard works offline.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path

from plotly.offline import get_plotlyjs_version
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

OWN_FILES = Path(__file__).parent / "live_chart"
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css"}
FOREVER = {"cache-control": "public, max-age=31536000, immutable"}
PREFIX = "/live/assets"


@cache
def _plotly_file() -> Path:
    import plotly

    return Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


@cache
def _own_files() -> dict[str, Path]:
    return {path.name: path for path in OWN_FILES.iterdir() if path.suffix in MEDIA_TYPES}


@cache
def own_address() -> str:
    """Address of the folder of our own modules, ending in a slash."""
    digest = hashlib.sha256()
    for name, path in sorted(_own_files().items()):
        digest.update(name.encode() + b"\0" + path.read_bytes())
    return f"{PREFIX}/{digest.hexdigest()[:16]}/"


@cache
def plotly_address() -> str:
    """Address of Plotly's script."""
    return f"{PREFIX}/plotly-{get_plotlyjs_version()}.min.js"


@cache
def _plotly_compressed() -> bytes:
    return gzip.compress(_plotly_file().read_bytes(), 6)


def _plotly(request: Request) -> Response:
    # 4.8 MB of script: compressed once here instead of for every visitor by the middleware.
    if "gzip" in request.headers.get("accept-encoding", ""):
        encoded = {**FOREVER, "content-encoding": "gzip", "vary": "accept-encoding"}
        return Response(_plotly_compressed(), media_type="text/javascript", headers=encoded)
    return FileResponse(_plotly_file(), media_type="text/javascript", headers=FOREVER)


def _own(request: Request) -> Response:
    # Looked up among the files that are there, so no path from outside ever reaches the disk.
    path = _own_files().get(request.path_params["name"])
    if path is None:
        return PlainTextResponse("There is no such file: reload the page", 404)
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers=FOREVER)


def routes() -> list[BaseRoute]:
    """The Starlette routes of the files, to be handed to `streamlit.App`."""
    return [
        Route(plotly_address(), _plotly),
        Route(PREFIX + "/{digest}/{name}", _own),
    ]
