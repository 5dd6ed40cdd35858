"""'Is it on the manifold?' in a real browser: weak classes, reasons, pins, and new measures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from snapshot_builders import feature_values
from test_measure_routes import measured_run

from trainer.run_log.projections import store_measures
from trainer.run_log.rows import MEASURES

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SHARE = "() => document.querySelector('[data-figure=feature_accuracy]')?.data?.[0]?.x?.length"


def test_classes_are_judged_pinned_and_judged_anew(
    tmp_path: Path, dashboard: Callable[[Path], str], page: Page
) -> None:
    run = measured_run(tmp_path, classes=60)
    address = f"{dashboard(tmp_path)}/features?run=1&table-sort=-effective_sample_size"
    page.goto(address)
    table = page.locator(".fasa-table").last
    first = table.locator("tr[data-index]").first
    expect(first.locator(".fasa-weak")).to_have_text("weak")  # a word, not only a colour
    expect(first).to_contain_text("1")
    first.get_by_role("button").focus()
    expect(page.locator(".fasa-readout").last).to_contain_text("rests on fewer than 3 objects")
    page.get_by_role("searchbox", name="Find a class by name").last.fill(run.names()[0])
    unjudged = table.locator(f'tr[data-index="{0}"] td[title^="Not to be judged"]')
    expect(unjudged).to_have_count(7)  # all but its sample size, which says "No prior yet."
    table.locator('tr[data-index="0"]').get_by_role("button").click()
    page.wait_for_url(f"**pin={run.names()[0]}**")
    page.wait_for_url("**table-find=**")

    page.locator('[data-figure="feature_accuracy"]').evaluate(
        "plot => plot.scrollIntoView({block: 'center'})"
    )
    page.wait_for_function(f"({SHARE})() === 1")
    assert run.writer
    run.advance(10)
    values = feature_values(objects=(), classes=[1, 2], num_classes=60)
    run.writer.feature_snapshot(values, step=20, epoch=1)
    assert run.writer.flush()
    groups = dict.fromkeys(("all", "rare", "common", "frequent"), 0.25)
    quarter = (np.full(60, 0.25, np.float32), groups)
    assert store_measures(run.path, 1, 2, dict.fromkeys(MEASURES, quarter))
    page.wait_for_function(f"({SHARE})() === 2")  # redrawn in place, without a reload
    expect(page.get_by_text("After epoch 2: virtual features of rare classes")).to_be_visible()
    expect(table.locator('tr[data-index="0"]')).to_contain_text("0.25")
