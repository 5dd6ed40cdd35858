"""Who may come in: every request passes `Gate` before a page, a live route or the websocket.

It asks three things in this order; each refusal is one sentence and repeats nothing of the request:

1. The name. On the loopback address the Host must be a loopback name or one of `--allow-host`, as
   a foreign page could else let a name of its own point here (DNS rebinding) and read as its own.
2. The origin. What a page of another origin sends is refused: an Origin that is not this server,
   and anything but a plain visit that the browser marks (Sec-Fetch-Site) as begun elsewhere.
3. The token, where one is asked for: in the cookie, as `Authorization: Bearer TOKEN`, or once as
   `?token=TOKEN`, which sets the cookie and leads to the same address without the token.

Only `/_stcore/health`, which says `ok` and no more, is open to a caller without the token.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import parse_qs, quote, unquote_plus

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.sign_in import ask_for_token

HEALTH = "/_stcore/health"
READING = ("GET", "HEAD")
LONGEST_FORM = 4096  # bytes
FORM_SECONDS = 5.0  # for a form to arrive: half a form must not keep the server from ending
WRONG_TOKEN_SECONDS = 0.5
COOKIE_SECONDS = 30 * 24 * 3600

NETLOC = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?", re.IGNORECASE)

WRONG_NAME = (
    "This dashboard listens on this machine only and answers to localhost and loopback addresses, "
    "not to the name it was asked by: start it with --allow-host NAME to add that name"
)
WRONG_ORIGIN = (
    "This came from a page of another origin, which may not use the dashboard: open the dashboard "
    "itself, or start it with --allow-host NAME when it stands behind a proxy of that name"
)
SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "frame-ancestors 'self'",
    "cache-control": "no-store",  # where the answer itself says nothing about it
}


@dataclass(frozen=True)
class Rules:
    """Who may come in.

    Args:
        token: what a caller must know; None lets in everyone who reaches the address.
        loopback: the server listens on a loopback address, so the Host must be a loopback name.
        allowed_hosts: further names, lower case, as NAME or NAME:PORT (behind a reverse proxy).
    """

    token: str | None = None
    loopback: bool = True
    allowed_hosts: frozenset[str] = frozenset()

    def allows_name(self, host: str) -> bool:
        """Whether a Host header is one this server answers to."""
        if not self.loopback:
            return True  # any name may lead here; the cookie belongs to the right one alone
        name = host_name(host)
        return name is not None and (
            is_loopback_name(name) or name in {host_name(entry) for entry in self.allowed_hosts}
        )

    def allows_origin(self, origin: str, host: str) -> bool:
        """Whether an Origin header is this server's own, as the caller addresses it."""
        scheme, separator, netloc = origin.lower().partition("://")
        known = {host.lower(), *self.allowed_hosts}
        return bool(separator) and scheme in ("http", "https") and netloc in known

    def allows_token(self, given: str) -> bool:
        """Whether this is the token; takes as long for every wrong one."""
        return self.token is None or hmac.compare_digest(_proof(given), _proof(self.token))

    def allows_cookie(self, cookie: str) -> bool:
        """Whether this is the cookie `cookie_value` of who gave the token."""
        return self.token is None or hmac.compare_digest(
            cookie.encode("utf-8", "replace"), self.cookie_value().encode()
        )

    def cookie_value(self) -> str:
        """What the cookie holds: not the token, as other servers of this machine see cookies."""
        return _proof(self.token or "").hex()


class Gate:
    """ASGI middleware in front of everything the dashboard serves."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it here."""
        if scope["type"] not in ("http", "websocket"):  # the server's start and end
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers) or await self._entry(scope, headers, receive)
        send = _with_security_headers(send)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        if scope["type"] == "websocket":
            # Streamlit would hold the Origin against a list of its own, and for one behind a proxy
            # ask a service on the internet for this machine's address. It was checked above.
            kept = [(name, value) for name, value in scope["headers"] if name != b"origin"]
            scope = {**scope, "headers": kept}
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        # Two names: somebody between might have looked at the other one.
        if len(headers.getlist("host")) > 1 or not self._rules.allows_name(host):
            return PlainTextResponse(WRONG_NAME, 403)
        origins = headers.getlist("origin")
        if not all(self._rules.allows_origin(origin, host) for origin in origins):
            return PlainTextResponse(WRONG_ORIGIN, 403)
        # A visit may begin anywhere; pictures, scripts, frames and data are for our own pages only.
        visit = (
            scope["type"] == "http"
            and scope["method"] in READING
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        )
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not visit:
            return PlainTextResponse(WRONG_ORIGIN, 403)
        return None

    async def _entry(self, scope: Scope, headers: Headers, receive: Receive) -> Response | None:
        """None for who may pass; else where to go on, or the question for the token."""
        if self._rules.token is None:
            return None
        method = scope.get("method")  # a websocket has none
        if scope["path"] == HEALTH and method in READING:
            return None
        known = self._rules.allows_cookie(_cookie(scope, headers))
        given = _bearer_token(headers)
        if given is not None and self._rules.allows_token(given):
            return None
        if method in READING:
            in_query = _query_token(scope)
            if in_query is not None and (known or self._rules.allows_token(in_query)):
                return self._let_in(scope, headers)
            given = in_query if given is None else given
        elif method == "POST" and not known and given is None:
            given = await _form_token(headers, receive)
            if given is not None and self._rules.allows_token(given):
                return self._let_in(scope, headers)
        if known:
            return None
        if given is not None:
            await asyncio.sleep(WRONG_TOKEN_SECONDS)
        page = method is not None and "text/html" in headers.get("accept", "")
        return ask_for_token(as_page=page, wrong=given is not None)

    def _let_in(self, scope: Scope, headers: Headers) -> Response:
        """To the same address without the token, which is in the cookie from now on."""
        # One slash at the start: a path that begins with two would be read as another host.
        location = "/" + quote(scope["path"].lstrip("/"))
        parts = scope["query_string"].decode("latin-1").split("&")
        rest = "&".join(part for part in parts if part and not _is_token(part))
        response = Response(status_code=303, headers={"cache-control": "no-store"})
        response.headers["location"] = location + ("?" + rest if rest else "")
        response.set_cookie(
            _cookie_name(headers),
            self._rules.cookie_value(),
            max_age=COOKIE_SECONDS,
            httponly=True,
            samesite="strict",
            secure=scope["scheme"] == "https",
        )
        return response


def host_name(netloc: str) -> str | None:
    """NAME of NAME or NAME:PORT in lower case, [..] around IPv6; None for anything else."""
    match = NETLOC.fullmatch(netloc)
    return match[1].lower() if match else None


def is_loopback_name(name: str) -> bool:
    """Whether a name of a Host header can only mean the machine that asks."""
    try:
        return name == "localhost" or ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _proof(token: str) -> bytes:
    return hashlib.sha256(b"FASA Live " + token.encode("utf-8", "replace")).digest()


def _cookie_name(headers: Headers) -> str:
    # Browsers share cookies between the ports of a host: two dashboards need two names.
    match = NETLOC.fullmatch(headers.get("host", ""))
    return f"fasa-token-{match[2]}" if match and match[2] else "fasa-token"


def _cookie(scope: Scope, headers: Headers) -> str:
    cookies = cookie_parser("; ".join(headers.getlist("cookie")))
    return cookies.get(_cookie_name(headers), "")


def _bearer_token(headers: Headers) -> str | None:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else None


def _is_token(part: str) -> bool:
    return unquote_plus(part.partition("=")[0]) == "token"


def _query_token(scope: Scope) -> str | None:
    for part in scope["query_string"].decode("latin-1").split("&"):
        if _is_token(part):
            return unquote_plus(part.partition("=")[2]).strip()
    return None


async def _form_token(headers: Headers, receive: Receive) -> str | None:
    """The token of the page's form; None for any other body."""
    if headers.get("content-type") != "application/x-www-form-urlencoded":
        return None
    body = b""
    try:
        async with asyncio.timeout(FORM_SECONDS):
            async for part in _body(receive):
                body += part
                if len(body) > LONGEST_FORM:
                    return None
    except (TimeoutError, ClientDisconnect):
        return None
    return parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0].strip()


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    message: Message = {"more_body": True}
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        yield message.get("body", b"")


def _with_security_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return guarded
