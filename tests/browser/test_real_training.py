"""The whole product: a person starts, watches, steers, forks, compares and loses a real run."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser.conftest import free_port, wait_until_served
from browser.test_live_page import figure, plot, wait_for_points
from playwright.sync_api import Page, expect

from trainer.run_log.reader import RunLogReader

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SMALL = "name=small&demo_classes=6&epochs=40&threads=1&initial_scale=15&keep_checkpoints=40"


@contextlib.contextmanager
def everything_up(runs: Path) -> Iterator[str]:
    """`fasa up` until the block ends; yields the dashboard's address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "trainer", "up", f"--runs={runs}", f"--port={port}",
               "--no-demo"]  # fmt: skip
    with (runs / "up.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until_served(url, process, runs / "up.log")
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, (runs / "up.log").read_text()


def start_from_the_form(page: Page, url: str) -> None:
    page.goto(f"{url}/new?{SMALL}")
    alpha = page.get_by_label("alpha", exact=True)
    alpha.fill("1.2")
    alpha.press("Enter")
    expect(page.get_by_text("alpha  1.1 → 1.2")).to_be_visible()
    expect(page.get_by_text("--demo-classes 6")).to_be_visible()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page).to_have_url(re.compile(r"/run\?run=1"))


def zoom(page: Page) -> None:
    box = page.locator(f"{plot(page, 'losses')} .nsewdrag").first.bounding_box()
    assert box
    page.mouse.move(box["x"] + 40, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 90, steps=5)
    page.mouse.up()
    page.wait_for_timeout(600)


def watch_a_curve_move_and_keep_the_zoom(page: Page, url: str) -> None:
    page.goto(f"{url}/run?run=1&x=step")
    wait_for_points(page, "losses", 5, seconds=90)
    page.locator(plot(page, "losses")).evaluate("div => { div.marked = 'the same node'; }")
    zoom(page)
    zoomed = figure(page, "losses")
    page.wait_for_function(
        "([selector, least]) => document.querySelector(selector).data"
        ".reduce((sum, trace) => sum + trace.x.length, 0) > least",
        arg=[plot(page, "losses"), sum(zoomed["lengths"]) + 20],
        timeout=60_000,
    )
    later = figure(page, "losses")
    assert (later["x"], later["y"]) == (zoomed["x"], zoomed["y"])
    assert page.locator(plot(page, "losses")).evaluate("div => div.marked") == "the same node"


def change_alpha_and_see_the_mark(page: Page) -> None:
    page.locator("[data-knob=alpha] input").fill("1.4")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(".fasa-command").first).to_contain_text("α = 1.4 took hold at step")
    expect(page.locator(plot(page, "probability"))).to_have_attribute("data-marks", "1")


def pin_a_class_by_name_and_reload(page: Page, name: str) -> None:
    page.get_by_test_id("stMultiSelect").locator("input").click()
    page.keyboard.type(name)
    page.get_by_role("option", name=name, exact=True).click()
    expect(page).to_have_url(re.compile("pin="))
    page.keyboard.press("Escape")  # only now: the open list may be drawn anew until then
    for _ in range(2):  # as chosen, and again from the same link
        page.locator(plot(page, "pinned")).scroll_into_view_if_needed()
        page.wait_for_function(
            "([selector, name]) => document.querySelector(selector)?.data"
            "?.some((trace) => trace.name === name)",
            arg=[plot(page, "pinned"), name],
        )
        wait_for_points(page, "pinned", 1)
        page.reload()


def fork_from_a_checkpoint(page: Page) -> None:
    page.get_by_role("button", name="Checkpoint", exact=True).click()
    expect(page.locator(".fasa-command").first).to_contain_text("checkpoint took hold at step")
    page.get_by_role("button", name="Fork").click()
    beta = page.get_by_label("beta", exact=True)
    beta.fill("0.8")
    beta.press("Enter")
    expect(page.get_by_text("beta  0.9 → 0.8")).to_be_visible()
    page.get_by_role("button", name="Start the fork").click()
    expect(page).to_have_url(re.compile(r"/run\?run=2"))


def compare(page: Page, url: str) -> None:
    page.goto(f"{url}/compare?run=1&run=2")
    expect(page.get_by_role("row", name="β (beta) 0.9 0.8")).to_be_visible()
    results = page.get_by_role("region", name="Results")
    expect(results.get_by_role("link", name="small", exact=True)).to_be_visible()
    expect(results.get_by_role("link", name="small (fork)")).to_be_visible()


def kill_the_trainer_and_see_it_said(page: Page, url: str, runs: Path) -> None:
    page.goto(f"{url}/run?run=1")
    expect(page.locator(".fasa-header .fasa-pill")).to_contain_text("running")
    with RunLogReader(runs / "fasa.sqlite") as reader:
        process = reader.run(1).process_id
    assert process
    os.kill(process, signal.SIGKILL)
    expect(page.locator(".fasa-header .fasa-pill")).to_contain_text("crashed")
    expect(page.get_by_role("button", name="Resume from step")).to_be_visible()


def test_a_person_starts_watches_steers_forks_compares_and_loses_a_run(
    page: Page, tmp_path: Path
) -> None:
    with everything_up(tmp_path) as url:
        start_from_the_form(page, url)
        watch_a_curve_move_and_keep_the_zoom(page, url)
        change_alpha_and_see_the_mark(page)
        with RunLogReader(tmp_path / "fasa.sqlite") as reader:
            names = [row.name for row in reader.categories(1)]
        shown = figure(page, "pinned")["names"]
        pin_a_class_by_name_and_reload(page, next(n for n in names if n not in shown))
        fork_from_a_checkpoint(page)
        compare(page, url)
        kill_the_trainer_and_see_it_said(page, url, tmp_path)
