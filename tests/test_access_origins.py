"""Other origins, other names and paths that lead out, tried from outside: a real server."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from access_servers import STREAM, Server, knock, raw, served, websocket

from app import assets

pytestmark = pytest.mark.slow

EVIL = "http://evil.example"
UPGRADE = (
    "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("open")) as server:
        yield server


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("closed"), "--address=0.0.0.0") as server:
        yield server


# Other origins and other names


@pytest.mark.parametrize("origin", [EVIL, "null", "http://localhost:1", "file://", "", "http://"])
def test_another_origin_is_refused(opened: Server, origin: str) -> None:
    headers = {"Origin": origin}
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
        for path in ("/", "/live/runs", "/_stcore/upload_file/session/file"):
            response = httpx.request(method, opened.url + path, headers=headers)
            assert response.status_code == 403, f"{method} {path}"
            assert "access-control-allow-origin" not in response.headers
    assert knock(opened, Origin=origin) == 403


def test_another_port_of_this_machine_is_another_origin(opened: Server) -> None:
    assert knock(opened, Origin=f"http://127.0.0.1:{opened.port + 1}") == 403
    assert knock(opened, Origin=f"http://localhost:{opened.port}") == 403
    assert knock(opened, Origin=opened.url) == 101
    assert knock(opened) == 101  # a program: no browser leaves the Origin out


def test_another_origin_is_refused_with_the_token_too(closed: Server) -> None:
    cookie = closed.cookie()
    assert knock(closed, **cookie, Origin=EVIL) == 403
    assert knock(closed, **cookie, Origin=closed.url) == 101
    headers = {**cookie, "Origin": EVIL}
    assert httpx.post(closed.url, headers=headers).status_code == 403
    assert httpx.get(f"{closed.url}/live/runs", headers=headers).status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_page_fetches_is_refused(opened: Server, site: str) -> None:
    mark = {"sec-fetch-site": site}
    fetch = {**mark, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"}
    frame = {**mark, "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
    visit = {**mark, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    for path in ("/live/runs", assets.own_address() + "mount.js", "/"):
        assert httpx.get(opened.url + path, headers=fetch).status_code == 403
        assert httpx.get(opened.url + path, headers=frame).status_code == 403
        assert httpx.get(opened.url + path, headers=visit).status_code == 200
    assert httpx.post(opened.url, headers=visit).status_code == 403


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example",
     "localhost:{port}@evil.example", "evil.example/localhost", "10.0.0.1:{port}", "0.0.0.0:{port}",
     "[::ffff:10.0.0.1]", "localhost:{port}:80", "127.0.0.1#evil", ""],
)  # fmt: skip
def test_a_name_that_was_pointed_here_is_refused(opened: Server, host: str) -> None:
    host = host.format(port=opened.port)
    for path in ("/", "/live/runs", STREAM, "/_stcore/health"):
        status, body = raw(opened, f"GET {path} HTTP/1.1\nHost: {host}")
        assert status == 403, path
        assert b"--allow-host" in body
        assert b"evil" not in body
    assert raw(opened, f"GET {STREAM} HTTP/1.1\nHost: {host}\n{UPGRADE}")[0] == 403


def test_loopback_names_are_answered_at_any_port(opened: Server) -> None:
    for host in ("localhost", "LocalHost:9000", "127.0.0.1", "127.0.0.2:80", "[::1]:9000"):
        assert raw(opened, f"GET /live/runs HTTP/1.1\nHost: {host}")[0] == 200, host


def test_no_name_and_two_names_are_refused(opened: Server) -> None:
    assert raw(opened, "GET /live/runs HTTP/1.0")[0] == 403
    two = f"Host: localhost:{opened.port}\nHost: evil.example"
    assert raw(opened, f"GET /live/runs HTTP/1.1\n{two}")[0] in (400, 403)


def test_behind_a_proxy_of_an_allowed_name(tmp_path: Path) -> None:
    names = ["--allow-host=Lab.example", "--allow-host=other.example:8443"]
    with served(tmp_path, *names) as server:
        bearer = {"Authorization": f"Bearer {server.token}"}  # a proxy lets others in: a token
        live = f"{server.url}/live/runs"
        assert httpx.get(live, headers={"host": "lab.example"}).status_code == 401
        for host in ("lab.example", "other.example", "other.example:1", server.netloc):
            assert httpx.get(live, headers={**bearer, "host": host}).status_code == 200
        assert httpx.get(live, headers={**bearer, "host": "evil.example"}).status_code == 403
        # A proxy that keeps the Host, and one that sends its own.
        kept = f"Authorization: {bearer['Authorization']}\nOrigin: https://lab.example\n{UPGRADE}"
        assert raw(server, f"GET {STREAM} HTTP/1.1\nHost: lab.example\n{kept}")[0] == 101
        assert knock(server, **bearer, Origin="https://lab.example") == 101
        assert knock(server, **bearer, Origin="https://other.example:8443") == 101
        assert knock(server, **bearer, Origin="https://lab.example:9999") == 403
        assert knock(server, **bearer, Origin="https://other.example") == 403
        assert knock(server, **bearer, Origin=EVIL) == 403
        # TLS ends at the proxy: the cookie travels by TLS only.
        tls = {"x-forwarded-proto": "https", "host": "lab.example"}
        response = httpx.get(server.url, params={"token": server.token}, headers=tls)
        assert "; Secure" in response.headers["set-cookie"]


# The rest of the house


def test_every_answer_carries_the_security_headers(opened: Server, closed: Server) -> None:
    for url in (opened.url, closed.url, f"{opened.url}/live/runs", f"{opened.url}/_stcore/health"):
        headers = httpx.get(url).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "frame-ancestors" in headers["content-security-policy"]
        assert headers["cache-control"] in ("no-store", "no-cache")


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../../../../../etc/passwd",
        "/..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/static/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/server.py",
        "/static/..\\..\\..\\etc\\passwd",
        "/static//etc/passwd",
        "/live/assets/x/..%2fserver.py",
        "/live/assets/x/%2fetc%2fpasswd",
        "/live/assets/../../app/server.py",
        "/media/..%2f..%2f..%2fetc%2fpasswd",
        "/component/..%2f..%2f..%2fetc/passwd",
        "/_stcore/bidi-components/..%2f..%2f..%2f..%2fetc/passwd",
        "/app/static/..%2fserver.py",
        "/%00/etc/passwd",
        "//etc/passwd",
    ],
)
def test_no_path_leads_out_of_the_static_files(opened: Server, path: str) -> None:
    status, body = raw(opened, f"GET {path} HTTP/1.1\nHost: {opened.netloc}")
    assert b"root:" not in body
    assert b"build_app" not in body
    # Streamlit answers an unknown page with its own page, which says so.
    assert status in (400, 404) or b"<title>Streamlit" in body


def test_streamlit_cannot_be_loosened_from_the_environment(tmp_path: Path) -> None:
    loose = {
        "STREAMLIT_SERVER_ENABLE_CORS": "false",
        "STREAMLIT_SERVER_ENABLE_XSRF_PROTECTION": "false",
        "STREAMLIT_SERVER_ENABLE_STATIC_SERVING": "true",
        "STREAMLIT_SERVER_ADDRESS": "0.0.0.0",
    }
    config = tmp_path / ".streamlit" / "config.toml"
    config.parent.mkdir()
    config.write_text("[server]\nenableCORS = false\nenableXsrfProtection = false\n")
    with served(tmp_path, environment=loose) as server:
        response = httpx.get(f"{server.url}/_stcore/host-config")
        assert "access-control-allow-origin" not in response.headers
        assert response.json()["allowedOrigins"] == []
        assert "SameSite=Strict" in httpx.get(f"{server.url}/_stcore/health").headers["set-cookie"]
        upload = httpx.put(f"{server.url}/_stcore/upload_file/session/file")
        assert upload.status_code == 403  # Streamlit's own check of its XSRF token


def test_ipv6_loopback_is_open_and_all_addresses_are_not(tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 on this machine")
    with served(tmp_path, "--address=::1", host="[::1]") as server:
        assert f"dashboard: {server.url}\n" in server.printed
        assert httpx.get(f"{server.url}/live/runs").status_code == 200
        assert knock(server, Origin=server.url) == 101
        evil = {"host": "evil.example"}
        assert httpx.get(f"{server.url}/live/runs", headers=evil).status_code == 403
    with served(tmp_path, "--address=::", host="[::1]") as server:
        assert f"{server.url}/?token=" in server.printed
        assert httpx.get(f"{server.url}/live/runs").status_code == 401
        assert httpx.get(f"{server.url}/live/runs", headers=server.cookie()).status_code == 200
        assert httpx.get(f"http://127.0.0.1:{server.port}/live/runs").status_code == 401


def test_it_ends_when_asked_with_a_page_open(tmp_path: Path) -> None:
    with (
        served(tmp_path) as server,
        websocket(f"ws://{server.netloc}{STREAM}", {"Origin": server.url}),
    ):
        started = time.monotonic()
        assert server.stop() in (0, -15)
        assert time.monotonic() - started < 5
        assert "Traceback" not in server.printed


def test_half_a_form_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    with served(tmp_path, "--address=0.0.0.0") as server:
        half = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n"
        half += "Content-Type: application/x-www-form-urlencoded\r\n\r\ntoken="
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(half.encode())
            time.sleep(0.5)  # the form's reader waits by now
            assert server.stop() in (0, -15)
