"""Our modules as one file: order, private names, refusals; the real ones through a real engine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app import assets
from app.bundle import BundleError, bundle

MODULES = {
    "mount": 'import { double as twice } from "./numbers.js";\n'
    'import { name } from "./names.js";\nconst OWN = "mount";\n'
    "export function mount() { return [OWN, name, twice(21)]; }\n",
    "names": 'import { double } from "./numbers.js";\nconst OWN = "names";\n'
    "export const name = `${OWN} ${double(1)}`;\n",
    "numbers": "const OWN = 2;\nexport async function later() {}\n"
    "export class Unused {}\nexport function double(x) { return OWN * x; }\n",
}


def run_module(text: str, tmp_path: Path) -> str:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed on this machine")
    path = tmp_path / "bundle.mjs"
    path.write_text(text)
    done = subprocess.run([node, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_module_keeps_its_names_to_itself(tmp_path: Path) -> None:
    text = bundle(MODULES, "mount")
    order = [text.index(f"const module_{name} =") for name in ("numbers", "names", "mount")]
    assert order == sorted(order)
    assert text.endswith("export const { mount } = module_mount;\n")
    printed = run_module(text + "console.log(JSON.stringify(mount()));", tmp_path)
    assert printed == '["mount","names 2",42]\n'


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"mount": 'import { a } from "./gone.js";\n'}, "mount.js imports from gone.js"),
        ({"numbers": 'import { name } from "./names.js";\n'}, "in a circle"),
        ({"names": "export default 3;\n"}, "names.js has 'export default 3;'"),
        ({"names": 'import "./numbers.js";\n'}, "names.js has 'import"),
    ],
)
def test_what_it_cannot_read_is_refused(changed: dict[str, str], sentence: str) -> None:
    with pytest.raises(BundleError, match=sentence):
        bundle(MODULES | changed, "mount")


def test_our_own_modules_are_one_script_that_parses(tmp_path: Path) -> None:
    script = assets._own_files()[assets.SCRIPT].decode()
    assert all(f"const module_{path.stem} =" in script for path in assets.OWN_FILES.glob("*.js"))
    assert "\nimport " not in script
    node = shutil.which("node")
    if node:
        path = tmp_path / "mount.mjs"
        path.write_text(script)
        done = subprocess.run([node, "--check", str(path)], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def test_every_style_is_served_the_base_first() -> None:
    styles = assets._own_files()[assets.STYLES].decode()
    files = [path.read_text("utf-8") for path in assets.OWN_FILES.glob("*.css")]
    assert all(text in styles for text in files)
    assert styles.startswith((assets.OWN_FILES / "live.css").read_text("utf-8"))


def test_a_page_says_with_its_first_bytes_what_it_needs() -> None:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import HTMLResponse, PlainTextResponse
    from starlette.routing import Route
    from starlette.testclient import TestClient

    from app.preload import Preload

    app = Starlette(
        routes=[
            Route("/", lambda request: HTMLResponse("<html><head></head></html>")),
            Route("/text", lambda request: PlainTextResponse("text")),
            *assets.routes(),
        ],
        middleware=[Middleware(Preload)],
    )
    client = TestClient(app, headers={"accept": "text/html,*/*"})  # as browsers ask for a page
    page = client.get("/")
    assert page.text.startswith("<html><head><script>window.__streamlit = ")
    assert len(page.content) == int(page.headers["content-length"])
    link = page.headers["link"]
    addresses = [part[1 : part.index(">")] for part in link.split(", ")]
    assert len(addresses) == 3
    for address in addresses:
        answer: httpx.Response = client.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert "link" not in client.get("/text").headers


def test_every_process_makes_the_same_bundle() -> None:
    # Else every start of the dashboard would make all browsers fetch it anew.
    code = "from app import assets; print(assets.own_address())"
    addresses = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(addresses) == 1
