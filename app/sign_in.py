"""What a browser sees that brings no token: one page of fixed text with a field to enter it."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from starlette.responses import HTMLResponse, PlainTextResponse, Response

_PAGE = (Path(__file__).parent / "sign_in.html").read_text(encoding="utf-8")
_ALERT = '<p role="alert">'
_WRONG = "That is not the token: copy it from where the dashboard was started."
_SENTENCE = (
    "This dashboard asks for its token: open the whole address that was printed where it was "
    "started, or send the header Authorization: Bearer TOKEN"
)


def _allowed(tag: str) -> str:
    text = re.findall(f"<{tag}>(.*?)</{tag}>", _PAGE, re.DOTALL)
    assert len(text) == 1, f"sign_in.html has {len(text)} {tag} elements, but one is allowed"
    digest = hashlib.sha256(text[0].encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


# Nothing but the page's own style and script runs, and nobody may show it in a frame.
_POLICY = (
    f"default-src 'none'; style-src {_allowed('style')}; script-src {_allowed('script')}; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def ask_for_token(*, as_page: bool, wrong: bool) -> Response:
    """The answer (401) to who brings no token or a wrong one; repeats nothing of what was sent.

    Args:
        as_page: a page with a field, for a browser's window; else one sentence of plain text.
        wrong: a token was given and is not the one.
    """
    headers = {"www-authenticate": 'Bearer realm="FASA Live"', "cache-control": "no-store"}
    if not as_page:
        return PlainTextResponse(_SENTENCE, 401, headers=headers)
    page = _PAGE.replace(_ALERT, _ALERT + _WRONG) if wrong else _PAGE
    return HTMLResponse(page, 401, headers={**headers, "content-security-policy": _POLICY})
