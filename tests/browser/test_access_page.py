"""Who may come in, seen from a browser: the token, links from elsewhere, pages of other sites."""

import contextlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from access_servers import Server, served
from browser.conftest import free_port
from playwright.sync_api import Browser, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FIELD = "Token"


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("closed"), "--address=0.0.0.0") as server:
        yield server


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A fresh tab that knows no token; unlike `page` it may see refusals and other hosts."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


@contextlib.contextmanager
def other_site(page: str) -> Iterator[str]:
    """A page of another site: localhost and 127.0.0.1 are two sites to a browser."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(f"<!doctype html><body>{page}".encode())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_address[1]}/"
    finally:
        server.shutdown()


def in_the_dashboard(tab: Page) -> None:
    # The list of pages comes by way of the websocket.
    expect(tab.get_by_role("navigation").get_by_role("link").first).to_be_visible()


def test_the_printed_address_opens_it_and_loses_the_token(tab: Page, closed: Server) -> None:
    tab.goto(f"{closed.url}/?token={closed.token}")
    in_the_dashboard(tab)
    assert tab.url == f"{closed.url}/"
    assert "fasa-token" not in tab.evaluate("document.cookie")
    assert tab.evaluate("fetch('/live/runs').then(answer => answer.status)") == 200
    tab.reload()
    in_the_dashboard(tab)
    tab.goto(f"{closed.url}/run")
    in_the_dashboard(tab)


def test_the_token_can_be_entered(tab: Page, closed: Server) -> None:
    tab.goto(f"{closed.url}/?run=7")
    expect(tab.get_by_role("alert")).to_have_count(0)
    tab.get_by_label(FIELD).fill("certainly not this one")
    tab.get_by_role("button", name="Open").click()
    expect(tab.get_by_role("alert")).to_contain_text("That is not the token")
    tab.get_by_label(FIELD).fill(closed.token)
    tab.get_by_role("button", name="Open").click()
    in_the_dashboard(tab)
    assert tab.url == f"{closed.url}/?run=7"


def test_a_link_on_another_site_leads_in(tab: Page, closed: Server) -> None:
    # The browser sends no strict cookie along with such a visit: the page asks once more.
    first = f"{closed.url}/?token={closed.token}"
    with other_site(f"<a href='{first}'>first</a> <a href='{closed.url}/?a=b'>later</a>") as site:
        tab.goto(site)
        tab.get_by_text("first").click()
        in_the_dashboard(tab)
        assert tab.url == f"{closed.url}/"
        tab.goto(site)
        tab.get_by_text("later").click()
        in_the_dashboard(tab)
        assert tab.url == f"{closed.url}/?a=b"


def test_a_link_on_another_site_does_not_let_a_stranger_in(tab: Page, closed: Server) -> None:
    visits: list[str] = []
    tab.on("request", lambda request: visits.append(request.method))
    with other_site(f"<a href='{closed.url}/'>link</a>") as site:
        tab.goto(site)
        tab.get_by_text("link").click()
        expect(tab.get_by_label(FIELD)).to_be_visible()
        tab.wait_for_timeout(1500)
        expect(tab.get_by_label(FIELD)).to_be_visible()
        assert visits.count("HEAD") == 1


TRICKS = """
<div id="told"></div>
<script>
const dashboard = DASHBOARD;
const tell = (name, what) => document.getElementById("told").append(`${name}=${what};`);
for (const mode of ["cors", "no-cors"]) {
  fetch(dashboard + "/live/runs", { mode, credentials: "include" })
    .then(() => tell(mode, "read"), () => tell(mode, "refused"));
  fetch(dashboard + "/live/runs", { mode, method: "POST", credentials: "include" })
    .then(() => tell(mode + "-post", "read"), () => tell(mode + "-post", "refused"));
}
const socket = new WebSocket(dashboard.replace("http", "ws") + "/_stcore/stream", ["streamlit"]);
socket.onopen = () => tell("websocket", "read");
socket.onerror = () => tell("websocket", "refused");
const script = document.createElement("script");
script.src = dashboard + "/live/runs";
script.onload = () => tell("script", "read");
script.onerror = () => tell("script", "refused");
document.body.append(script);
const frame = document.createElement("iframe");
frame.src = dashboard;
frame.name = "framed";
document.body.append(frame);
</script>
"""


@pytest.mark.parametrize("signed_in", [False, True])
def test_a_page_of_another_site_gets_nothing(
    tab: Page, closed: Server, signed_in: bool, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        server = closed if signed_in else stack.enter_context(served(tmp_path))
        if signed_in:
            tab.goto(f"{server.url}/?token={server.token}")
            in_the_dashboard(tab)
        form = f"<form method=post action='{server.url}/live/runs'><button>post</button></form>"
        tricks = TRICKS.replace("DASHBOARD", repr(server.url))
        tab.goto(stack.enter_context(other_site(form + tricks)))
        told = tab.locator("#told")
        for trick in ("cors", "no-cors", "cors-post", "no-cors-post", "websocket", "script"):
            expect(told).to_contain_text(f"{trick}=refused;")
        assert "read" not in told.inner_text()
        framed = tab.frame(name="framed")
        assert framed is not None
        assert framed.locator("[data-testid=stApp]").count() == 0
        tab.get_by_role("button", name="post").click()
        expect(tab.get_by_text("page of another origin")).to_be_visible()


def test_an_open_page_says_that_the_token_is_another_one_now(tab: Page, tmp_path: Path) -> None:
    with served(tmp_path, "--address=0.0.0.0") as server:
        tab.goto(f"{server.url}/?token={server.token}")
        in_the_dashboard(tab)
    with served(tmp_path, "--address=0.0.0.0", port=server.port):
        expect(tab.get_by_text("status 401")).to_be_visible()  # Streamlit's words
        tab.reload()
        expect(tab.get_by_label(FIELD)).to_be_visible()
