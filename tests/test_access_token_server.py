"""The token, tried from outside: a real server, real sockets, no browser's good manners."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from access_servers import STREAM, Server, first_message, knock, raw, served, start

from app import assets

pytestmark = pytest.mark.slow

# Pages, live data, our files, Streamlit's own endpoints and files: every kind of thing served.
EVERYTHING = [
    "/",
    "/run?run=1",
    "/live/runs",
    "/live/runs/1?want=scalars:0:*",
    "/live/runs/1/categories",
    assets.own_address() + "mount.js",
    assets.plotly_address(),
    "/_stcore/host-config",
    "/_stcore/metrics",
    "/_stcore/upload_file/session/file",
    "/_stcore/script-health-check",
    "/_stcore/bidi-components/a/b.js",
    "/_stcore/agent",
    STREAM,
    "/component/a/index.html",
    "/media/0.png",
    "/static/js/index.js",
    "/favicon.png",
    "/nothing/there",
]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("closed"), "--address=0.0.0.0") as server:
        yield server


# Without the token


@pytest.mark.parametrize("path", EVERYTHING)
def test_without_the_token_nothing_is_reachable(closed: Server, path: str) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        response = httpx.request(method, closed.url + path)
        assert response.status_code == 401, f"{method} {path}"
        assert response.headers["cache-control"] == "no-store"
        assert "set-cookie" not in response.headers


def test_without_the_token_no_websocket_opens(closed: Server) -> None:
    assert knock(closed) == 401
    assert knock(closed, Cookie=f"fasa-token-{closed.port}=wrong") == 401
    assert knock(closed, Cookie=f"fasa-token-{closed.port}={closed.token}") == 401
    assert knock(closed, f"{STREAM}?token={closed.token}") == 401
    assert knock(closed, Authorization="Bearer wrong") == 401


def test_the_health_endpoint_alone_is_open_and_tells_nothing(closed: Server) -> None:
    response = httpx.get(f"{closed.url}/_stcore/health")
    assert (response.status_code, response.text) == (200, "ok")
    assert httpx.post(f"{closed.url}/_stcore/health").status_code == 401
    for path in ("/_stcore/health/", "/_stcore/health/../metrics", "/_stcore//health", "//_stcore/health"):  # fmt: skip # noqa: E501
        assert raw(closed, f"GET {path} HTTP/1.1\nHost: a")[0] in (400, 401, 404), path


def test_a_browser_gets_a_page_and_a_program_a_sentence(closed: Server) -> None:
    page = httpx.get(closed.url, headers={"accept": "text/html"})
    assert page.status_code == 401
    assert '<input name="token"' in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["www-authenticate"].startswith("Bearer")
    sentence = httpx.get(f"{closed.url}/live/runs")
    assert sentence.headers["content-type"].startswith("text/plain")
    assert sentence.text.startswith("This dashboard asks for its token")
    assert sentence.text.count("\n") == 0


def test_a_wrong_token_waits_and_is_not_repeated(closed: Server) -> None:
    html = {"accept": "text/html"}
    wrong = "<script>alert(1)</script>"
    started = time.monotonic()
    page = httpx.get(f"{closed.url}/run", params={"token": wrong, "run": wrong}, headers=html)
    assert time.monotonic() - started > 0.4
    assert page.status_code == 401
    assert "That is not the token" in page.text
    assert "alert(1)" not in page.text
    form = httpx.post(f"{closed.url}/run", data={"token": wrong}, headers=html)
    assert form.status_code == 401
    assert "alert(1)" not in form.text
    assert "set-cookie" not in form.headers
    assert httpx.get(closed.url, params={"token": ""}).status_code == 401
    nearly = closed.token[:-1]
    assert httpx.get(closed.url, params={"token": nearly}).status_code == 401
    assert httpx.get(closed.url, params={"token": closed.token + "0"}).status_code == 401


@pytest.mark.parametrize(
    "body", [b"x" * 100_000, b"token=" + b"y" * 5000, b"token", b"\xff=\xff&&&", b""]
)
def test_a_senseless_form_is_refused(closed: Server, body: bytes) -> None:
    kind = {"content-type": "application/x-www-form-urlencoded"}
    response = httpx.post(closed.url, content=body, headers=kind)
    assert response.status_code == 401
    assert httpx.get(f"{closed.url}/_stcore/health").text == "ok"


# With the token


def test_the_printed_address_sets_the_cookie_and_leaves_the_address_bar(closed: Server) -> None:
    address = f"{closed.url}/run?run=3&token={closed.token}&tag=a%20b&tag="
    response = httpx.get(address)
    assert response.status_code == 303
    assert response.headers["location"] == "/run?run=3&tag=a%20b&tag="
    assert response.headers["cache-control"] == "no-store"
    cookie = response.headers["set-cookie"]
    assert closed.token not in cookie
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= parts
    assert "secure" not in parts
    assert httpx.get(f"{closed.url}/?token={closed.token}").headers["location"] == "/"


def test_the_cookie_opens_everything(closed: Server) -> None:
    cookie = closed.cookie()
    assert "<!doctype html" in httpx.get(closed.url, headers=cookie).text.lower()
    assert httpx.get(f"{closed.url}/live/runs", headers=cookie).json()["runs"] == []
    module = httpx.get(closed.url + assets.own_address() + "mount.js", headers=cookie)
    assert module.status_code == 200
    assert httpx.get(f"{closed.url}/_stcore/host-config", headers=cookie).status_code == 200
    assert first_message(closed, **cookie, Origin=closed.url) == "new_session"
    for path in EVERYTHING:
        assert httpx.get(closed.url + path, headers=cookie).status_code != 401, path


def test_a_known_visitor_with_an_old_address_is_let_in(closed: Server) -> None:
    response = httpx.get(f"{closed.url}/run?token=old&run=1", headers=closed.cookie())
    assert (response.status_code, response.headers["location"]) == (303, "/run?run=1")


def test_a_program_sends_the_token_as_a_header(closed: Server) -> None:
    header = {"Authorization": f"Bearer {closed.token}"}
    assert httpx.get(f"{closed.url}/live/runs", headers=header).status_code == 200
    assert first_message(closed, **header) == "new_session"


def test_the_form_lets_in(closed: Server) -> None:
    response = httpx.post(
        f"{closed.url}/run?run=3&token=wrong",
        data={"token": f" {closed.token}\n"},
        headers={"origin": closed.url, "accept": "text/html"},
    )
    assert (response.status_code, response.headers["location"]) == (303, "/run?run=3")
    cookie = {"cookie": response.headers["set-cookie"].partition(";")[0]}
    assert httpx.get(f"{closed.url}/live/runs", headers=cookie).status_code == 200


@pytest.mark.parametrize("path", ["//evil.example/a", "/\\evil.example", "///evil.example"])
def test_the_way_on_never_leads_to_another_host(closed: Server, path: str) -> None:
    request = f"GET {path}?token={closed.token} HTTP/1.1\nHost: {closed.netloc}"
    status, body = raw(closed, request)
    assert status == 303
    response = httpx.get(closed.url + path, params={"token": closed.token})
    assert response.headers["location"].startswith("/")
    assert not response.headers["location"].startswith(("//", "/\\"))
    assert body == b""


def test_the_console_never_tells_a_token_but_at_the_start(closed: Server, tmp_path: Path) -> None:
    token = "a-token-of-my-own-choice"
    with served(tmp_path, "--address=0.0.0.0", environment={"FASA_TOKEN": token}) as server:
        httpx.get(f"{server.url}/?token={token}")
        httpx.get(f"{server.url}/?token={token}x")
        httpx.post(server.url, data={"token": token})
        knock(server, f"{STREAM}?token={token}")
        first_message(server, Authorization=f"Bearer {token}")
        assert server.stop() in (0, -15)
        assert token not in server.printed
        assert "asks for the token of FASA_TOKEN" in server.printed
    knock(closed, f"{STREAM}?token={closed.token}x")
    printed = closed.printed.count("\n") if closed.token in closed.printed else 0
    assert all(line.lstrip().startswith(("dashboard:", "or:"))
               for line in closed.printed.splitlines() if closed.token in line)  # fmt: skip
    assert printed


# What is refused at the start


@pytest.mark.parametrize(
    ("token", "reason"),
    [("", "0 characters"), ("short", "5 characters"), ("x" * 2000, "too many"),
     ("twenty letters and spaces", "a space"), ("ä" * 20, "ASCII"), ("x" * 20 + "\n", "control")],
)  # fmt: skip
def test_a_bad_token_is_refused_in_one_sentence(token: str, reason: str, tmp_path: Path) -> None:
    result = start("--runs", str(tmp_path), "--address", "0.0.0.0", FASA_TOKEN=token)
    assert result.returncode == 2
    assert result.stderr.startswith("error: the token of FASA_TOKEN")
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
    assert not token or token.strip() not in result.stderr


@pytest.mark.parametrize("host", ["https://lab.example", "a b", "lab.example/x", ""])
def test_an_allowed_host_is_a_name(host: str, tmp_path: Path) -> None:
    result = start("--runs", str(tmp_path), f"--allow-host={host}")
    assert result.returncode == 2
    assert "give NAME or NAME:PORT" in result.stderr
