"""The server as people start it: a process of its own, its addresses, its refusals."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from browser.conftest import serving
from starlette.middleware import Middleware
from starlette.testclient import TestClient, WebSocketDenialResponse

from app import assets
from app.access import Gate, Rules
from app.server import build_app, refusal

ROOT = Path(__file__).resolve().parents[1]


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.server", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_one_process_serves_pages_live_routes_and_assets(tmp_path: Path) -> None:
    with serving(tmp_path) as url:
        assert "<!doctype html" in httpx.get(url).text.lower()
        assert httpx.get(f"{url}/live/runs").json()["runs"] == []
        module = httpx.get(url + assets.own_address() + "mount.js")
        assert module.headers["content-type"].startswith("text/javascript")
        assert "immutable" in module.headers["cache-control"]
        script = httpx.get(url + assets.plotly_address())
        assert "immutable" in script.headers["cache-control"]
        assert script.headers["content-encoding"] == "gzip"
        plain = httpx.get(url + assets.plotly_address(), headers={"accept-encoding": "identity"})
        assert plain.content == script.content
        assert len(plain.content) > 1_000_000
        for outside in ("..%2Fserver.py", "__init__.py", "%2e%2e%2fserver.py"):
            assert httpx.get(f"{url}/live/assets/x/{outside}").status_code in (400, 404)


def test_a_port_in_use_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = start("--runs", str(tmp_path), "--port", str(port))
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: the dashboard cannot listen on 127.0.0.1 port {port}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("address", "port"), [("127.0.0.1", 99999), ("999.1.1.1", 8501)])
def test_an_impossible_address_is_refused(address: str, port: int, tmp_path: Path) -> None:
    assert "give another" in (refusal(tmp_path, address, port) or "")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is a file" in (refusal(tmp_path / "file", "127.0.0.1", 0) or "")
    assert refusal(tmp_path / "not there yet", "127.0.0.1", 0) is None


def test_the_gate_stands_before_everything(tmp_path: Path) -> None:
    gate = Middleware(Gate, rules=Rules(token="0123456789abcdef", loopback=False))
    client = TestClient(build_app(tmp_path, middleware=[gate]))
    for address in ("/", "/live/runs", assets.plotly_address(), "/_stcore/host-config"):
        assert client.get(address).status_code == 401
    with pytest.raises(WebSocketDenialResponse), client.websocket_connect("/_stcore/stream"):
        pass
    assert client.get("/_stcore/health").status_code == 200


def test_the_dashboard_imports_no_torch() -> None:
    code = (
        "import sys, app.server, app.live_chart, app.notices, app.charts\n"
        "sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert result.returncode == 0


def test_nothing_is_fetched_from_another_host() -> None:
    for path in assets.OWN_FILES.iterdir():
        if path.suffix in assets.MEDIA_TYPES:
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")  # a name, no address
            assert "http://" not in text
            assert "https://" not in text
