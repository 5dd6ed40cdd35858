"""Makes pages show sooner: what a browser should know with a page's first bytes.

Streamlit's frontend first loads itself, then looks for its server, then asks for the page, then
for our components: each waits for the one before. Here the page says at once which files will be
needed (the `Link` header), so that they come meanwhile with a low priority, and where the server
is, which the frontend would try out under `/run` first.
"""

from __future__ import annotations

from functools import cache

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import assets

SERVER = b'<script>window.__streamlit = { BACKEND_BASE_URL: location.origin + "/" };</script>'


@cache
def link() -> str:
    """The header's value: Plotly's script, our own and our styles."""
    own = assets.own_address()
    files = [
        f"<{own}{assets.SCRIPT}>; rel=modulepreload",
        f"<{own}{assets.STYLES}>; rel=preload; as=style",
        f"<{assets.plotly_address()}>; rel=preload; as=script",
    ]
    return ", ".join(f"{file}; fetchpriority=low" for file in files)


class Preload:
    """ASGI middleware that adds both to HTML pages."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; what is a page is sent with the header and the script."""
        if scope["type"] != "http" or "text/html" not in Headers(scope=scope).get("accept", ""):
            await self._app(scope, receive, send)
            return
        scope = {**scope, "headers": _without(scope["headers"], b"accept-encoding")}
        held: list[Message] = []  # the start of a page, until its whole body is known

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_page(message):
                held.append(message)
            elif held:
                held.append(message)
                if not message.get("more_body"):
                    for part in _with_hints(held):
                        await send(part)
            else:
                await send(message)

        await self._app(scope, receive, answer)


def _without(headers: list[tuple[bytes, bytes]], name: bytes) -> list[tuple[bytes, bytes]]:
    """The page comes plain, so that it can be added to: it has 8 KB."""
    return [pair for pair in headers if pair[0] != name]


def _is_page(message: Message) -> bool:
    kind = Headers(raw=message["headers"]).get("content-type", "")
    return bool(message["status"] == 200) and kind.startswith("text/html")


def _with_hints(held: list[Message]) -> list[Message]:
    start, *rest = held
    body = b"".join(part.get("body", b"") for part in rest)
    headers = MutableHeaders(scope=start)
    if b"<head>" in body:  # an answer to HEAD has no body, and keeps the length it says
        body = body.replace(b"<head>", b"<head>" + SERVER, 1)
        headers["content-length"] = str(len(body))
    for name in ("etag", "last-modified"):  # they are of the file, not of what is sent
        if name in headers:
            del headers[name]
    headers.append("link", link())
    return [start, {"type": "http.response.body", "body": body}]
