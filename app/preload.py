"""Tells the browser with a page's first bytes which of our files it will need.

Streamlit's frontend first loads itself, then asks for the page, then for our components: Plotly,
by far the largest file, would be asked for last. The `Link` header lets it come meanwhile, with a
low priority, so that it holds up nothing.
"""

from __future__ import annotations

from functools import cache

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import assets


@cache
def link() -> str:
    """The header's value: Plotly's script, our own and our styles."""
    own = assets.own_address()
    files = (
        f"<{own}{assets.SCRIPT}>; rel=modulepreload",
        f"<{own}{assets.STYLES}>; rel=preload; as=style",
        f"<{assets.plotly_address()}>; rel=preload; as=script",
    )
    return ", ".join(f"{file}; fetchpriority=low" for file in files)


class Preload:
    """ASGI middleware that adds the header to HTML pages."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the header to an answer that is a page."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                kind = Headers(raw=message["headers"]).get("content-type", "")
                if kind.startswith("text/html"):
                    MutableHeaders(scope=message).append("link", link())
            await send(message)

        await self._app(scope, receive, answer)
