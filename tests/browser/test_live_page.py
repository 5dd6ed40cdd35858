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


def bring_near(page: Page, chart: str) -> None:
    """Scroll to a chart: one that is far from the view is not drawn."""
    page.wait_for_selector(plot(page, chart), state="attached")
    page.locator(plot(page, chart)).evaluate("div => div.scrollIntoView({block: 'nearest'})")


def wait_for_points(page: Page, chart: str, more_than: int, seconds: float = 20) -> int:
    bring_near(page, chart)
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

        epoch = page.locator("[data-fact=epoch] dd")
        before = epoch.inner_text()
        expect(epoch).not_to_have_text(before, timeout=60_000)
        later = figure(page, "losses")
        assert later["x"] == zoomed["x"]
        assert later["y"] == zoomed["y"]
        assert later["visible"][hidden] == "legendonly"
        assert page.locator(plot(page, "losses")).evaluate("div => div.marked") == "the same node"
        expect(page.locator(f"{plot(page, 'losses')} .hoverlayer .legend")).to_have_count(1)
        page.mouse.dblclick(box["x"] + 150, box["y"] + 60)  # back to all of it
        page.wait_for_timeout(1500)
        assert figure(page, "losses")["x"][0] <= 1
        assert wait_for_points(page, "losses", start) > start


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
    fields = page.get_by_role("combobox", name="field")
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
    bring_near(page, "pinned")  # the click may have scrolled it away
    page.wait_for_function(
        "selector => document.querySelector(selector).data.length === 3", arg=plot(page, "pinned")
    )


def test_1203_classes_in_table_and_heat_map(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    run = SyntheticRun(tmp_path, classes=1203, epochs=4, steps_per_epoch=10)
    run.start()
    run.finish()
    page.goto(f"{dashboard(tmp_path)}/run")
    wait_for_points(page, "heat_map", 3)  # four epochs
    rare = int((run.images <= 10).sum())
    heat = page.locator(plot(page, "heat_map"))
    assert heat.get_attribute("data-named") == "0"  # groups, as 1,203 names would not fit
    page.get_by_role("button", name=f"Zoom to rare {rare}").click()
    expect(heat).to_have_attribute("data-rows", re.compile(f"^{1203 - rare} 1203$"))
    page.get_by_label("Zoom to a class by name").fill("saxophone_1")
    expect(heat).to_have_attribute("data-named", "15")
    stage, readout = page.locator(".fasa-heat"), page.locator(".fasa-readout-text")
    expect(readout).to_contain_text("saxophone_1 · epoch 4")
    shown = heat.get_attribute("data-rows")
    stage.focus()
    for key in ("ArrowLeft", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    place = run.names().index("saxophone_1")
    expect(readout).to_contain_text("saxophone_1 · epoch 3 ·")
    page.keyboard.press("Enter")  # pins the class
    expect(page).to_have_url(re.compile("pin=saxophone_1"))
    assert heat.get_attribute("data-rows") == shown
    page.keyboard.press("Escape")
    expect(heat).to_have_attribute("data-rows", "0 1203")

    rows = page.locator(".fasa-table tbody tr[data-index]")
    expect(rows.first).to_be_visible()
    assert rows.count() < 40  # only what is in view is in the page
    expect(page.get_by_text("1203 classes")).to_be_visible()
    most = int(run.instances.argmax())
    assert run.instances[int(rows.first.get_attribute("data-index") or -1)] == run.instances[most]
    pinned = page.locator(f'tr[data-index="{place}"] .fasa-pin')
    page.get_by_role("button", name="class", exact=True).click()
    expect(rows.first.locator("td").first).to_have_text(sorted(run.names())[0])
    page.get_by_role("button", name="frequent", exact=True).click()
    page.get_by_role("button", name="common", exact=True).click()
    expect(page.get_by_text(f"{rare} of 1203")).to_be_visible()
    rows.first.locator("button").focus()
    page.keyboard.press("ArrowDown")
    expect(rows.nth(1).locator("button")).to_be_focused()
    expect(rows.nth(1).locator(".fasa-why")).to_have_text(re.compile(r"^group \d+ (fell|rose) 0\."))
    why = page.get_by_text(re.compile("hold-out loss .* so p was multiplied by"))
    expect(why).to_be_visible()
    expect(page.get_by_role("link", name="the whole story")).to_have_attribute(
        "href", f"/super-groups?run=1&class={rows.nth(1).locator('button').inner_text()}"
    )
    page.get_by_label("Find a class by name").fill("saxophone_1")
    for said in ("find=saxophone_1", "sort=-name", "groups=r"):
        expect(page).to_have_url(re.compile(said))
    page.reload()  # the address holds the arrangement
    expect(page.get_by_label("Find a class by name")).to_have_value("saxophone_1")
    expect(page.get_by_role("button", name="common", exact=True)).to_have_attribute(
        "aria-pressed", "false"
    )
    page.get_by_role("button", name="common", exact=True).click()
    page.get_by_role("button", name="frequent", exact=True).click()
    expect(pinned).to_have_attribute("aria-pressed", "true")
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


def test_a_queued_run_comes_to_life_and_its_crash_is_said(
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
    pill = page.locator(".fasa-header .fasa-pill")
    expect(pill).to_contain_text("running")
    error = "the trainer was killed by signal 9\n<b>last line</b>"
    run.crash(error)
    expect(pill).to_contain_text("crashed")
    expect(page.locator(".fasa-error")).to_have_text(error)


def test_a_silent_trainer_is_told_from_a_living_one(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    run = SyntheticRun(tmp_path, epochs=3, steps_per_epoch=20)
    writer = run.start()
    run.advance(10)
    writer.close()  # as if the process was gone: nobody stamps the heartbeat any more

    def silent_for(seconds: float) -> None:
        with contextlib.closing(sqlite3.connect(run.path)) as connection, connection:
            connection.execute("UPDATE runs SET heartbeat = ?", (time.time() - seconds,))

    page.goto(f"{dashboard(tmp_path)}/run")
    pill, remark = page.locator(".fasa-header .fasa-pill"), page.locator(".fasa-remark")
    expect(pill).to_be_visible()
    silent_for(8)
    expect(pill).to_contain_text("stalled")
    expect(remark).to_contain_text("the trainer hangs")
    silent_for(300)
    expect(pill).to_contain_text("no sign of life")
    expect(remark).to_contain_text("the trainer is gone")
    page.goto(page.url.split("/run")[0])
    expect(page.locator("tr[data-run='1']")).to_contain_text("no sign of life")


def test_new_values_show_and_a_resumed_run_shows_no_step_twice(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    run = SyntheticRun(tmp_path, epochs=3, steps_per_epoch=20)
    writer = run.start()
    run.advance(45)
    writer.flush()
    page.goto(f"{dashboard(tmp_path)}/run?x=step&smooth=none")
    before = wait_for_points(page, "losses", 40)
    run.advance()
    writer.flush()
    wait_for_points(page, "losses", before)
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


def test_400_pixels_are_enough_in_light_and_dark(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    run = SyntheticRun(tmp_path, epochs=2, steps_per_epoch=20)
    writer = run.start()
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto(f"{dashboard(tmp_path)}/run")
    header = page.locator(".fasa-header")
    heights = set()
    for phase in ("training", "evaluation", "validation"):  # no word moves the page
        run.progress(phase)
        writer.flush()
        expect(header).to_contain_text(phase)
        heights.add(header.evaluate("node => node.getBoundingClientRect().height"))
    assert len(heights) == 1
    run.finish()
    for chart in ("heat_map", "pinned"):
        wait_for_points(page, chart, 1)
    widest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('.fasa-card, .fasa-header')]"
        ".map(node => node.getBoundingClientRect().right))"
    )
    assert widest <= 400
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    for scheme, dark in (("light", False), ("dark", True)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        expect(page.locator(f".fasa-root[data-theme={scheme}]").first).to_be_attached()
        ink = page.locator(".fasa-name").evaluate("node => getComputedStyle(node).color")
        assert (int(re.findall(r"\d+", ink)[0]) > 180) is dark
