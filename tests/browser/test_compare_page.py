"""Compare and Classifier in a real browser: what is drawn, and that a link shows it again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser.synthetic_log import SyntheticRun
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

Dashboard = Callable[[Path], str]


def lines(page: Page, chart: str) -> list[dict[str, Any]]:
    """The traces of a chart with a name in the legend, as Plotly shows them."""
    found: list[dict[str, Any]] = page.evaluate(
        "chart => document.querySelector(`.fasa-plot[data-chart='${chart}']`)._fullData"
        ".filter(trace => trace.showlegend)"
        ".map(({name, x, y, line}) => ({name, x: [...x], y: [...y], dash: line.dash}))",
        chart,
    )
    return found


def drawn(page: Page, chart: str) -> None:
    """Wait for a chart's points; it is drawn when it comes near the view."""
    page.locator(f".fasa-plot[data-chart='{chart}']").scroll_into_view_if_needed()
    page.wait_for_function(
        "chart => document.querySelector(`.fasa-plot[data-chart='${chart}']`)?.dataset.points > 0",
        arg=chart,
    )


def test_two_runs_side_by_side_and_again_from_the_same_link(
    tmp_path: Path, dashboard: Dashboard, page: Page
) -> None:
    for name, fasa, epochs in (("baseline", False, 2), ("<b>FASA</b>", True, 3)):
        run = SyntheticRun(tmp_path, name=name, fasa=fasa, epochs=epochs, steps_per_epoch=4)
        run.start()
        run.finish()
    address = dashboard(tmp_path)
    page.goto(f"{address}/compare?run=1&run=2&x=step&show=segm/AP_r&show=weight_norm")
    drawn(page, "compare-segm/AP_r")
    first, second = lines(page, "compare-segm/AP_r")
    assert (first["x"], second["x"]) == ([4, 8], [4, 8, 12])
    assert first["dash"] != second["dash"]
    table = page.get_by_role("region", name="Results")
    expect(table.get_by_role("rowheader")).to_have_text(["baseline", "<b>FASA</b>"])
    pictures = table.locator("img").evaluate_all("images => images.map(i => i.naturalWidth)")
    assert len(pictures) == 2
    assert all(width > 0 for width in pictures)  # the lines of the legend, drawn
    expect(
        page.get_by_text("different numbers of epochs (baseline: 2, <b>FASA</b>: 3)")
    ).to_be_visible()
    settings = page.get_by_role("region", name="Differences of configuration")
    expect(settings.locator("tbody tr")).to_have_text(["epochs23", "fasaoffon"])
    page.get_by_text("same epoch", exact=True).click()
    expect(table.get_by_text("after 2 epochs")).to_be_visible()
    page.get_by_text("chosen classes", exact=True).click()
    groups = page.locator(".fasa-plot[data-chart^='compare-weight_norm-'][data-chart$=' classes']")
    expect(groups).to_have_count(0)
    middle = page.locator(".fasa-plot[data-chart^='compare-weight_norm-']")
    expect(middle).to_have_count(3)  # the middle class of each frequency group
    chart = middle.first.get_attribute("data-chart")
    assert chart
    drawn(page, chart)
    shown = page.url
    again = page.context.new_page()
    again.goto(shown)
    drawn(again, chart)
    assert again.url == shown
    expect(again.get_by_text("after 2 epochs", exact=False).first).to_be_visible()
    assert lines(again, "compare-segm/AP_r") == lines(page, "compare-segm/AP_r")
    narrow = again.viewport_size
    assert narrow is not None
    again.set_viewport_size({"width": 400, "height": narrow["height"]})
    expect(again.get_by_role("region", name="Results")).to_be_visible()
    assert again.evaluate("document.documentElement.scrollWidth") <= 400
    again.get_by_role("link", name="<b>FASA</b>").click()
    again.wait_for_url("**/run?run=2")
    again.close()


def test_weight_norms_of_two_runs_over_each_other(
    tmp_path: Path, dashboard: Dashboard, page: Page
) -> None:
    for fasa in (False, True):
        run = SyntheticRun(tmp_path, fasa=fasa, epochs=2, steps_per_epoch=4, classes=1203)
        run.start()
        run.advance(4)
        assert run.writer
        assert run.writer.flush()
    page.goto(f"{dashboard(tmp_path)}/classifier?run=2&with=1&with_epoch=start")
    plot = page.locator(".fasa-plot[data-figure='weight_norms']")
    expect(plot).to_have_attribute("data-traces", "7")  # two clouds, two medians, three strips
    counts = plot.evaluate("plot => plot._fullData.map(trace => trace.x.length)")
    assert counts[:4] == [1203] * 4
    assert sum(counts[4:]) == 1203
    expect(page.locator(".fasa-note", has_text="weight norm of 2 · demo, step 4")).to_be_visible()
    expect(page.locator(".fasa-plot[data-figure='scores']")).to_have_attribute("data-traces", "2")
    run.advance(4)
    expect(page.locator(".fasa-note", has_text="weight norm of 2 · demo, step 8")).to_be_visible()
