"""The dashboard in a real browser: real server, real run log, a separate process that writes it."""

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser.conftest import free_port, serving
from browser.synthetic_log import SyntheticRun
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
Dashboard = Callable[[Path], str]


@contextlib.contextmanager
def training(runs: Path, *options: str) -> Iterator[int]:
    """A process that goes on writing a run; yields the run's id."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/browser/synthetic_log.py"), str(runs), "--live",
         *options],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def plot(page: Page, chart: str) -> str:
    return f'.fasa-plot[data-chart="{chart}"]'


def points(page: Page, chart: str) -> int:
    return int(page.locator(plot(page, chart)).get_attribute("data-points") or 0)


def wait_for_points(page: Page, chart: str, more_than: int, seconds: float = 20) -> int:
    page.wait_for_function(
        "([selector, least]) => Number(document.querySelector(selector)?.dataset.points) > least",
        arg=[plot(page, chart), more_than],
        timeout=1000 * seconds,
    )
    return points(page, chart)


def figure(page: Page, chart: str) -> dict[str, Any]:
    """What Plotly shows now: traces' names, last values and visibility, and the axis ranges."""
    text = page.locator(plot(page, chart)).evaluate(
        """div => JSON.stringify({
            names: div.data.map(t => t.name),
            lengths: div.data.map(t => t.x.length),
            last: div.data.map(t => t.y[t.y.length - 1]),
            lastX: div.data.map(t => t.x[t.x.length - 1]),
            visible: div._fullData.map(t => t.visible),
            x: div._fullLayout.xaxis.range, y: div._fullLayout.yaxis.range,
        })"""
    )
    shown: dict[str, Any] = json.loads(text)
    return shown


def hide(page: Page, hidden: bool) -> None:
    """As if another tab was in front, or this one again."""
    page.evaluate(
        "value => { Object.defineProperty(document, 'hidden', {value, configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def test_curve_grows_and_zoom_hover_and_legend_are_kept(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    with training(tmp_path, "--upto", "1.5", "--pace", "0.1"):
        page.goto(f"{dashboard(tmp_path)}/run?x=step")
        start = wait_for_points(page, "losses", 50)
        page.locator(plot(page, "losses")).evaluate("div => { div.marked = 'the same node'; }")
        box = page.locator(f"{plot(page, 'losses')} .nsewdrag").first.bounding_box()
        assert box
        page.mouse.move(box["x"] + 60, box["y"] + 30)
        page.mouse.down()
        page.mouse.move(box["x"] + 260, box["y"] + 100, steps=6)
        page.mouse.up()
        page.locator(f"{plot(page, 'losses')} .legendtoggle").nth(1).click()  # hide "classifier"
        page.wait_for_timeout(600)  # Plotly tells a double click from a single one
        zoomed = figure(page, "losses")
        assert zoomed["x"][0] > 10
        hidden = zoomed["names"].index("classifier")
        assert zoomed["visible"][hidden] == "legendonly"
        page.mouse.move(box["x"] + 150, box["y"] + 60)
        expect(page.locator(f"{plot(page, 'losses')} .hoverlayer .legend")).to_have_count(1)

        before = page.locator("[data-fact=step] dd").inner_text()
        # An epoch later: every chart of the page has grown meanwhile.
        wait_for_points(page, "super_groups", points(page, "super_groups"), seconds=60)
        later = figure(page, "losses")
        assert page.locator("[data-fact=step] dd").inner_text() != before
        assert later["x"] == zoomed["x"]
        assert later["y"] == zoomed["y"]
        assert later["visible"][hidden] == "legendonly"
        assert page.locator(plot(page, "losses")).evaluate("div => div.marked") == "the same node"
        expect(page.locator(f"{plot(page, 'losses')} .hoverlayer .legend")).to_have_count(1)
        page.mouse.dblclick(box["x"] + 150, box["y"] + 60)  # back to all of it
        page.wait_for_timeout(1500)
        assert figure(page, "losses")["x"][0] <= 1
        assert wait_for_points(page, "losses", start) > start


def test_new_values_show_within_two_seconds(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    run = SyntheticRun(tmp_path, steps_per_epoch=20, epochs=4)
    writer = run.start()
    run.advance(30)
    writer.flush()
    page.goto(f"{dashboard(tmp_path)}/run?x=step&smooth=none")
    wait_for_points(page, "losses", 20)
    delays = []
    for _ in range(3):
        page.wait_for_timeout(330)
        run.advance()
        writer.flush()
        committed = time.monotonic()
        page.wait_for_function(
            # calcdata is what Plotly has drawn, not only what it was given.
            "([selector, step]) => document.querySelector(selector).calcdata"
            ".some(points => points[points.length - 1].x >= step)",
            arg=[plot(page, "losses"), run.step],
            timeout=10_000,
        )
        delays.append(time.monotonic() - committed)
    assert min(delays) < 2.0, delays


def test_a_class_is_pinned_by_name_and_a_reload_keeps_it(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    run = SyntheticRun(tmp_path, classes=60, epochs=2, steps_per_epoch=20)
    run.start()
    run.finish()
    page.goto(f"{dashboard(tmp_path)}/run")
    wait_for_points(page, "pinned", 5)
    assert len(figure(page, "pinned")["names"]) == 3  # one of each group, to begin with
    page.get_by_test_id("stMultiSelect").locator("input").click()
    page.keyboard.type("saxo")
    page.get_by_role("option", name="saxophone").click()
    expect(page).to_have_url(re.compile("pin=saxophone"))
    page.keyboard.press("Escape")
    expect(page.get_by_role("option")).to_have_count(0)
    fields = page.get_by_test_id("stSelectbox").locator("input")
    fields.evaluate("node => node.scrollIntoView({block: 'center'})")
    fields.click()
    page.get_by_role("option", name="Score on own objects").click()
    expect(page).to_have_url(re.compile("field=score"))
    page.wait_for_function(
        "selector => document.querySelector(selector).data.some(t => t.name === 'saxophone')",
        arg=plot(page, "pinned"),
    )
    page.reload()
    wait_for_points(page, "pinned", 5)
    after = figure(page, "pinned")
    assert after["names"][-1] == "saxophone"
    assert len(after["names"]) == 4
    stored = run.names().index("saxophone")
    row = page.locator(f'tr[data-index="{stored}"] .fasa-pin')
    page.get_by_label("Find a class by name").fill("SAXO")
    expect(row).to_have_attribute("aria-pressed", "true")
    row.click()  # unpinned in the table
    expect(page).not_to_have_url(re.compile("saxophone"))
    page.wait_for_function(
        "selector => document.querySelector(selector).data.length === 3", arg=plot(page, "pinned")
    )


def test_class_table_sorts_and_filters(page: Page, dashboard: Dashboard, tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path, classes=1203, epochs=3, steps_per_epoch=10)
    run.start()
    run.finish()
    page.goto(f"{dashboard(tmp_path)}/run")
    rows = page.locator(".fasa-table tbody tr[data-index]")
    expect(rows.first).to_be_visible()
    assert rows.count() < 40  # only what is in view is in the page
    expect(page.get_by_text("1203 classes")).to_be_visible()
    most = int(run.instances.argmax())
    assert run.instances[int(rows.first.get_attribute("data-index") or -1)] == run.instances[most]
    page.get_by_role("button", name="class", exact=True).click()
    expect(rows.first.locator("td").first).to_have_text(sorted(run.names())[0])
    page.get_by_role("button", name="frequent", exact=True).click()
    page.get_by_role("button", name="common", exact=True).click()
    rare = int((run.images <= 10).sum())
    expect(page.get_by_text(f"{rare} of 1203")).to_be_visible()
    page.get_by_label("Find a class by name").fill("no such class")
    expect(page.get_by_text("0 of 1203")).to_be_visible()


def test_run_list_opens_a_run_and_shows_new_ones(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    page.goto(dashboard(tmp_path))
    expect(page.get_by_text("No runs yet")).to_be_visible()
    name = "<img src=x onerror=alert(1)> **first**"
    run = SyntheticRun(tmp_path, name=name, epochs=1, steps_per_epoch=20)
    row = page.locator("tr[data-run='1']")
    expect(row).to_contain_text("queued")
    run.start()
    expect(row).to_contain_text("running")
    run.finish()
    expect(row).to_contain_text("finished", timeout=15_000)
    expect(row.locator(".fasa-link")).to_have_text(name)  # as text, not as markup
    row.click()
    expect(page).to_have_url(re.compile(r"/run\?run=1"))
    expect(page.locator(".fasa-name")).to_have_text(name)
    wait_for_points(page, "losses", 10)


def test_a_queued_run_comes_to_life_without_a_reload(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    run = SyntheticRun(tmp_path, epochs=2, steps_per_epoch=20)
    page.goto(f"{dashboard(tmp_path)}/run")
    expect(page.get_by_text("Waiting for a free slot")).to_be_visible()
    expect(page.get_by_text("No loss has been logged yet")).to_be_visible()
    writer = run.start()
    run.advance(25)
    writer.flush()
    wait_for_points(page, "losses", 10)
    wait_for_points(page, "pinned", 1)  # the page learned the classes' names
    expect(page.locator(".fasa-pill")).to_contain_text("running")


def test_a_crashed_run_says_so_and_why(page: Page, dashboard: Dashboard, tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path, epochs=3, steps_per_epoch=20)
    writer = run.start()
    run.advance(30)
    writer.flush()
    page.goto(f"{dashboard(tmp_path)}/run")
    expect(page.locator(".fasa-pill")).to_contain_text("running")
    run.crash("the trainer was killed by signal 9\n<b>last line</b>")
    expect(page.locator(".fasa-pill")).to_contain_text("crashed")
    expect(page.locator(".fasa-error")).to_have_text(
        "the trainer was killed by signal 9\n<b>last line</b>"
    )


@pytest.mark.parametrize(
    ("silent", "pill", "remark"),
    [(8, "stalled", "the trainer hangs"), (300, "no sign of life", "the trainer is gone")],
)
def test_a_silent_trainer_is_told_from_a_living_one(
    silent: float, pill: str, remark: str, page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    run = SyntheticRun(tmp_path, epochs=3, steps_per_epoch=20)
    writer = run.start()
    run.advance(10)
    writer.close()  # as if the process was gone: nobody stamps the heartbeat any more
    with contextlib.closing(sqlite3.connect(run.path)) as connection, connection:
        connection.execute("UPDATE runs SET heartbeat = ?", (time.time() - silent,))
    page.goto(f"{dashboard(tmp_path)}/run")
    expect(page.locator(".fasa-pill")).to_contain_text(pill)
    expect(page.locator(".fasa-remark")).to_contain_text(remark)
    page.goto(page.url.split("/run")[0])
    expect(page.locator("tr[data-run='1']")).to_contain_text(pill)


def test_a_resumed_run_shows_no_step_twice(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    run = SyntheticRun(tmp_path, epochs=3, steps_per_epoch=20)
    writer = run.start()
    run.advance(45)
    writer.flush()
    page.goto(f"{dashboard(tmp_path)}/run?x=step&smooth=none")
    wait_for_points(page, "losses", 40)
    run.go_back(20)
    writer.scalars({"loss/total": 77.0}, step=21, epoch=1)
    writer.flush()
    page.wait_for_function(
        """selector => { const t = document.querySelector(selector).data
            .find(t => t.name === 'total'); return t.y[t.y.length - 1] === 77; }""",
        arg=plot(page, "losses"),
    )
    total = figure(page, "losses")["names"].index("total")
    assert figure(page, "losses")["lengths"][total] == 21


def test_a_lost_connection_is_said_and_mends_itself(page: Page, tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path, epochs=3, steps_per_epoch=20)
    writer = run.start()
    run.advance(25)
    writer.flush()
    port = free_port()
    with serving(tmp_path, port=port) as url:
        page.goto(f"{url}/run")
        before = wait_for_points(page, "losses", 10)
    expect(page.get_by_text(re.compile("Connection lost"))).to_be_visible()
    run.advance(10)
    writer.flush()
    with serving(tmp_path, port=port):
        wait_for_points(page, "losses", before)
        expect(page.get_by_text(re.compile("Connection lost"))).to_be_hidden()


def test_a_hidden_tab_asks_nothing(page: Page, dashboard: Dashboard, tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path, epochs=3, steps_per_epoch=20)
    writer = run.start()
    run.advance(25)
    writer.flush()
    page.goto(f"{dashboard(tmp_path)}/run")
    wait_for_points(page, "losses", 10)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2500)
    assert 1 <= sum("/live/runs/1?" in url for url in asked) <= 4  # one a second for all charts
    hide(page, True)
    page.wait_for_timeout(1200)
    asked.clear()
    page.wait_for_timeout(2500)
    assert [url for url in asked if "/live/" in url] == []
    run.advance(5)
    writer.flush()
    hide(page, False)
    page.wait_for_timeout(1000)
    assert any("/live/runs/1?" in url for url in asked)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_400_pixels_are_enough(
    scheme: str, page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    run = SyntheticRun(tmp_path, epochs=2, steps_per_epoch=20)
    run.start()
    run.finish()
    page.set_viewport_size({"width": 400, "height": 800})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(f"{dashboard(tmp_path)}/run")
    wait_for_points(page, "pinned", 5)
    widest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('.fasa-card, .fasa-header')]"
        ".map(node => node.getBoundingClientRect().right))"
    )
    assert widest <= 400
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    ink = page.locator(".fasa-name").evaluate("node => getComputedStyle(node).color")
    red = int(re.findall(r"\d+", ink)[0])
    assert red < 100 if scheme == "light" else red > 180
    assert page.locator(".fasa-root").first.get_attribute("data-theme") == scheme
