"""Steering a run from its page, in a real browser, with a run that answers as a trainer does."""

import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from browser.synthetic_log import SyntheticRun
from browser.test_live_page import bring_near, hide, plot, training, wait_for_points
from playwright.sync_api import Page, expect

from trainer.run_log.commands import queue_run, set_status
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import FILE_NAME
from trainer.run_log.writer import RunLogWriter

pytestmark = [pytest.mark.browser, pytest.mark.slow]

Dashboard = Callable[[Path], str]


def test_alpha_is_set_from_the_page_and_marked_on_every_chart(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    with training(tmp_path, "--upto", "2.2", "--pace", "0.1"):
        page.goto(f"{dashboard(tmp_path)}/run?x=step")
        alpha = page.locator("[data-knob=alpha] input")
        expect(alpha).to_have_value("1.1")
        wait_for_points(page, "losses", 10)
        page.locator(plot(page, "losses")).evaluate("div => { div.marked = 'the same node'; }")
        alpha.fill("1.3")
        alpha.press("Enter")
        answer = page.locator(".fasa-command")
        expect(answer).to_have_text(re.compile(r"α = 1\.3 took hold at step \d+"))
        expect(page.locator("[data-knob=alpha] small")).to_have_text(re.compile(r"since step \d+"))
        expect(alpha).to_have_value("1.3")
        [command] = RunLogReader(tmp_path / FILE_NAME).commands(1)
        assert command.payload == {"alpha": 1.3}
        for chart in ("losses", "probability", "average_precision", "heat_map", "knobs"):
            bring_near(page, chart)
            expect(page.locator(plot(page, chart))).to_have_attribute("data-marks", "1")
        expect(page.locator(".fasa-events li")).to_contain_text("α = 1.3")
        # The page was steered without being drawn anew: the charts are the ones they were.
        assert page.locator(plot(page, "losses")).evaluate("div => div.marked") == "the same node"


def test_a_value_out_of_bounds_is_refused_before_it_is_written(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    run = SyntheticRun(tmp_path, steps_per_epoch=20)
    writer = run.start()
    run.advance(25)
    writer.flush()
    page.goto(f"{dashboard(tmp_path)}/run")
    alpha = page.locator("[data-knob=alpha] input")
    alpha.fill("12")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("alpha is 12.0, but input should be less than")).to_be_visible()
    expect(alpha).to_have_attribute("aria-invalid", "true")
    assert RunLogReader(run.path).commands(1) == []
    alpha.press("Escape")
    expect(alpha).to_have_value("1.1")
    # What the trainer refuses is said too, and its words are text.
    page.get_by_role("button", name="Snapshot features").click()
    expect(page.locator(".fasa-command")).to_have_text("○snapshot features sent")
    deadline = time.monotonic() + 20
    while not (taken := writer.take_commands()) and time.monotonic() < deadline:
        time.sleep(0.05)
    writer.refuse_command(taken[0], "this run keeps no <b>features</b>: start one that does")
    expect(page.locator(".fasa-command")).to_contain_text(
        "refused: this run keeps no <b>features</b>: start one that does"
    )


def test_pause_resume_stop_and_take_up(page: Page, dashboard: Dashboard, tmp_path: Path) -> None:
    with training(tmp_path, "--upto", "2.2", "--pace", "0.1"):
        page.goto(f"{dashboard(tmp_path)}/run")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator(".fasa-header .fasa-pill")).to_contain_text("paused")
        page.get_by_role("button", name="Resume", exact=True).click()
        expect(page.locator(".fasa-header .fasa-pill")).to_contain_text("running")
        stop = page.get_by_role("button", name="Stop", exact=True)
        stop.click()
        page.get_by_role("button", name="Keep training").click()
        expect(stop).to_be_focused()
        stop.click()
        page.get_by_role("button", name="Stop the run").click()
        expect(page.locator(".fasa-header .fasa-pill")).to_contain_text("stopped")
        expect(page.get_by_role("button", name="Pause")).to_be_hidden()
    reader = RunLogReader(tmp_path / FILE_NAME)
    page.get_by_role("button", name="Resume from step").click()
    expect(page.locator(".fasa-header .fasa-pill")).to_contain_text("queued")
    assert reader.run(1).status == "queued"


def test_a_run_over_meanwhile_and_a_locked_log_are_said(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    run = SyntheticRun(tmp_path, steps_per_epoch=20)
    writer = run.start()
    run.advance(25)
    writer.flush()
    page.goto(f"{dashboard(tmp_path)}/run")
    pause = page.get_by_role("button", name="Pause")
    expect(pause).to_be_visible()
    hide(page, True)  # a page that rests does not hear of it
    page.wait_for_timeout(500)
    writer.close()
    set_status(run.path, 1, "crashed", error="killed")
    pause.click()
    expect(page.get_by_text("Run 1 is crashed")).to_be_visible()
    hide(page, False)
    expect(page.locator(".fasa-header .fasa-pill")).to_contain_text("crashed")
    with closing(sqlite3.connect(run.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        page.get_by_role("button", name="Resume from step 20").click()
        expect(page.get_by_text(re.compile("is locked by another program"))).to_be_visible()
        assert time.monotonic() - started < 20
        other.execute("ROLLBACK")


def test_attempts_and_forks_are_marks_and_many_marks_stay_thin(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    run = SyntheticRun(tmp_path, epochs=3, steps_per_epoch=200)
    writer = run.start()
    run.advance(300)
    writer.close()
    set_status(run.path, 1, "crashed", error="killed by signal 9\n<b>last</b> line")
    queue_run(run.path, name="<i>what if</i>", config={}, dataset="demo", parent_run=1,
              parent_epoch=1, parent_step=200)  # fmt: skip
    page.goto(f"{dashboard(tmp_path)}/run?run=1&x=step")
    wait_for_points(page, "losses", 50)
    expect(page.locator(plot(page, "losses"))).to_have_attribute("data-marks", "2")
    expect(page.locator(".fasa-events li").first).to_contain_text("crashed: killed by signal 9")
    expect(page.locator(".fasa-events li").last).to_contain_text("fork: run 2, <i>what if</i>")
    losses = page.locator(plot(page, "losses"))
    losses.scroll_into_view_if_needed()
    x = losses.evaluate("div => div._fullLayout.xaxis._offset + div._fullLayout.xaxis.d2p(200)")
    box = losses.bounding_box()
    assert box
    page.mouse.move(box["x"] + x + 2, box["y"] + 120)
    label = page.locator(".fasa-mark-label:visible")
    expect(label).to_have_text("step 200 · fork: run 2, <i>what if</i>")
    writer = RunLogWriter(run.path, 1)
    for step in range(300):
        writer.event("set", "alpha = 1.2", step=step, epoch=0, payload={"alpha": 1.2})
    writer.close()
    page.reload()
    wait_for_points(page, "losses", 50)
    page.wait_for_function(
        "selector => Number(document.querySelector(selector).dataset.marks) > 20",
        arg=plot(page, "losses"),
    )
    shapes = losses.evaluate("div => div.layout.shapes.map(s => s.opacity * s.line.width)")
    assert len(shapes) < 120  # of 302: lines nearer than a few pixels are one
    assert max(shapes) <= 0.6
