"""The whole product: `fasa up` trains a queued run while a browser watches it."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser.conftest import free_port, wait_until_served
from browser.test_live_page import figure, plot, wait_for_points
from playwright.sync_api import Page, expect

from trainer.__main__ import main

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SMALL = ["--demo-classes=6", "--epochs=40", "--threads=1", "--initial-scale=15"]


@contextlib.contextmanager
def everything_up(runs: Path) -> Iterator[str]:
    """`fasa up` until the block ends; yields the dashboard's address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "trainer", "up", f"--runs={runs}", f"--port={port}"]
    with (runs / "up.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until_served(url, process, runs / "up.log")
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, (runs / "up.log").read_text()


def test_a_run_that_is_training(page: Page, tmp_path: Path) -> None:
    assert main(["queue", f"--runs={tmp_path}", "--name=small", *SMALL]) == 0
    with everything_up(tmp_path) as url:
        page.goto(f"{url}/run?run=1&x=step")
        wait_for_points(page, "losses", 5, seconds=90)
        page.locator(plot(page, "losses")).evaluate("div => { div.marked = 'the same node'; }")
        box = page.locator(f"{plot(page, 'losses')} .nsewdrag").first.bounding_box()
        assert box
        page.mouse.move(box["x"] + 40, box["y"] + 20)
        page.mouse.down()
        page.mouse.move(box["x"] + 160, box["y"] + 90, steps=5)
        page.mouse.up()
        page.wait_for_timeout(600)
        zoomed = figure(page, "losses")
        grown = sum(zoomed["lengths"])
        page.wait_for_function(
            "([selector, least]) => document.querySelector(selector).data"
            ".reduce((sum, trace) => sum + trace.x.length, 0) > least",
            arg=[plot(page, "losses"), grown + 20],
            timeout=60_000,
        )
        later = figure(page, "losses")
        assert later["x"] == zoomed["x"]
        assert later["y"] == zoomed["y"]
        assert page.locator(plot(page, "losses")).evaluate("div => div.marked") == "the same node"

        page.locator("[data-knob=alpha] input").fill("1.4")
        page.get_by_role("button", name="Apply").click()
        expect(page.locator(".fasa-command").first).to_contain_text("α = 1.4 took hold at step")
        expect(page.locator(plot(page, "knobs"))).to_have_attribute("data-marks", "1")
        page.get_by_role("button", name="Stop", exact=True).click()
        page.get_by_role("button", name="Stop the run").click()
        expect(page.locator(".fasa-pill")).to_contain_text("stopped", timeout=40_000)
        expect(page.get_by_role("button", name="Resume from step")).to_be_visible()
