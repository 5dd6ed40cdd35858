"""The diagnosis in a real browser: quiet while all is well, and loud, by words, when it is not."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser.synthetic_log import SyntheticRun
from playwright.sync_api import Locator, Page, expect

from trainer.run_log.schema import FILE_NAME

pytestmark = [pytest.mark.browser, pytest.mark.slow]

Dashboard = Callable[[Path], str]
HOSTILE = "<img src=x onerror=alert(1)> & co"


class NamedRun(SyntheticRun):
    """Its first class has a name that would be markup if anybody took it for that."""

    def names(self) -> list[str]:
        return [HOSTILE, *super().names()[1:]]


def put(run: SyntheticRun, **vectors: Any) -> None:
    """A snapshot at the step the run has reached, as its trainer writes one."""
    assert run.writer
    run.writer.class_vectors(vectors, step=run.step, epoch=run.epoch)
    run.writer.class_vectors(
        {"weight_norm": np.ones(run.classes, np.float32)}, step=run.step, epoch=run.epoch
    )
    assert run.writer.flush()


def width_beyond(page: Page) -> int:
    """Pixels by which the panel is wider than the window."""
    beyond: int = page.locator(".fasa-diagnosis").evaluate(
        "panel => Math.max(panel.scrollWidth, panel.getBoundingClientRect().right)"
        " - document.documentElement.clientWidth"
    )
    return beyond


def height_of(panel: Locator) -> float:
    """Pixels."""
    height: float = panel.evaluate("panel => panel.getBoundingClientRect().height")
    return height


def test_the_panel_of_a_run_that_goes_wrong_and_is_mended(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    run = NamedRun(tmp_path, epochs=6, steps_per_epoch=20)
    writer = run.start()
    run.advance(45)
    groups = {"eps": 1.0, "eps_quantile": 0.5, "num_groups": 9, "groups": []}
    writer.adaptation(
        {**groups, "noise_share": 0.2, "largest_group": 9}, step=run.step, epoch=run.epoch
    )
    assert writer.flush()
    page.goto(f"{dashboard(tmp_path)}/run?run={run.id}")
    panel = page.locator(".fasa-diagnosis")
    line, said = panel.locator("summary"), page.locator(".fasa-unseen[role=status]").first
    expect(line).to_contain_text("Nothing wrong")
    expect(line).to_contain_text("checked: heartbeat")
    expect(panel).not_to_have_attribute("open", "")
    expect(said).to_have_text("Diagnosis: nothing wrong.")

    # Two classes were never seen: the line says so, and the page below does not move.
    before = height_of(panel)
    put(run, observed_rois=np.where(np.arange(60) < 2, 0, 900).astype(np.int32))
    expect(line).to_contain_text("1 warning")
    expect(line).to_contain_text("Classes never observed")
    assert height_of(panel) == before
    # Who comes now finds it open, in words, and the class's name as text.
    page.reload()
    finding = panel.locator("[data-finding=never_observed]")
    expect(finding).to_be_visible()
    expect(line).to_contain_text("1 warning")
    expect(finding).to_contain_text("warning")
    expect(finding).to_contain_text(HOSTILE)
    expect(finding).to_contain_text("2 of 60 classes")
    expect(finding).to_contain_text("repeat_factor")
    expect(said).to_have_text("warning: Classes never observed.")
    assert page.locator(".fasa-diagnosis img").count() == 0
    finding.evaluate("node => { node.marked = true; }")

    # Narrow, and by keyboard: folded with Enter; the address keeps it over a reload.
    page.set_viewport_size({"width": 400, "height": 900})
    assert width_beyond(page) <= 0
    line.focus()
    page.keyboard.press("Enter")
    expect(finding).to_be_hidden()
    expect(page).to_have_url(re.compile("diagnosis=closed"))
    assert width_beyond(page) <= 0
    page.reload()
    expect(line).to_contain_text("1 warning")
    expect(finding).to_be_hidden()
    line.focus()
    page.keyboard.press("Enter")
    expect(finding).to_be_visible()
    expect(page).to_have_url(re.compile("diagnosis=open"))
    page.set_viewport_size({"width": 1300, "height": 1000})

    # Worse: the worst comes first. The entry that was there before is the same node.
    finding.evaluate("node => { node.marked = true; }")
    before = height_of(panel)
    writer.scalars({"loss/box": float("inf")}, step=run.step, epoch=run.epoch)
    put(run)
    expect(panel.locator("li").first).to_contain_text("Loss not finite")
    expect(line).to_contain_text("1 wrong · 1 warning")
    assert finding.evaluate("node => node.marked") is True

    assert height_of(panel) == before

    # Mended: quiet again, and folded by the person it stays so until something is wrong.
    writer.scalars({"loss/box": 0.4}, step=run.step, epoch=run.epoch)
    put(run, observed_rois=np.full(60, 900, np.int32))
    expect(line).to_contain_text("Nothing wrong")
    expect(panel.locator("li")).to_have_count(0)
    expect(said).to_have_text("Diagnosis: nothing wrong.")
    assert height_of(panel) == before
    line.click()
    expect(page).to_have_url(re.compile("diagnosis=closed"))

    # Killed: no heartbeat any more.
    writer.close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        connection.execute("UPDATE runs SET heartbeat = heartbeat - 60")
    expect(panel.locator("[data-finding=silent]")).to_contain_text("Trainer gone")
    expect(panel.locator("[data-finding=silent]")).to_be_visible()
