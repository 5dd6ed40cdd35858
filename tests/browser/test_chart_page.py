"""Charts in a real browser: one hover line for all, downloads by keyboard, drawn near the view."""

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser.synthetic_log import SyntheticRun
from playwright.sync_api import Page, expect

from trainer.run_log.reader import RunLogReader

pytestmark = [pytest.mark.browser, pytest.mark.slow]

Dashboard = Callable[[Path], str]
DRAWN = "selector => document.querySelector(selector)?.querySelector('.trace')"


def card(chart: str) -> str:
    return f'.fasa-card:has(.fasa-plot[data-chart="{chart}"])'


def traces(page: Page, chart: str) -> list[dict[str, Any]]:
    """What Plotly was given: name, fill, axis, y of each trace."""
    text = page.locator(f"{card(chart)} .fasa-plot").evaluate(
        "div => JSON.stringify(div.data.map(t => ({name: t.name, fill: t.fill ?? '',"
        " axis: t.yaxis, y: Array.from(t.y)})))"
    )
    found: list[dict[str, Any]] = json.loads(text)
    return found


def saved(page: Page, format: str) -> tuple[str, bytes]:
    """Choose from the open menu with the keyboard; name and contents of the file."""
    for _ in range(["csv", "png", "svg"].index(format)):
        page.keyboard.press("ArrowDown")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    return download.value.suggested_filename, download.value.path().read_bytes()


def test_a_page_of_charts(page: Page, dashboard: Dashboard, tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path, name="=demo", classes=60, epochs=3, steps_per_epoch=20)
    run.start()
    run.finish()
    page.goto(f"{dashboard(tmp_path)}/run?x=step&smooth=none")
    page.wait_for_function(DRAWN, arg=card("losses"))

    # Far below the view nothing is drawn, nor asked for; it is when it is scrolled to.
    far = page.locator(f"{card('knobs')} .fasa-plot")
    assert far.evaluate("div => div.children.length") == 0
    far.scroll_into_view_if_needed()
    page.wait_for_function(DRAWN, arg=card("knobs"))

    # One hover line: at the same step on the charts beside the one the pointer is on.
    losses, spread = page.locator(card("losses")), page.locator(card("probability_bands"))
    losses.scroll_into_view_if_needed()
    page.wait_for_function(DRAWN, arg=card("probability"))
    box = losses.locator(".nsewdrag").first.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    told = page.locator(f"{card('probability')} .fasa-hover-box")
    expect(told).to_contain_text(re.compile(r"rare \(\d+\) [\d.]+"))
    pixel, expected = page.evaluate(
        """selector => { const plot = document.querySelector(selector);
            const line = plot.parentElement.querySelector('.fasa-hover-line');
            const axis = plot._fullLayout.xaxis;
            return [new DOMMatrix(getComputedStyle(line).transform).m41,
                    axis._offset + axis._length / 2]; }""",
        f"{card('probability')} .fasa-plot",
    )
    assert abs(pixel - expected) < 3
    page.mouse.move(5, 5)
    expect(told).to_be_hidden()
    stage = losses.locator(".fasa-stage")  # and by keyboard, from the left
    stage.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(losses.get_by_role("status")).to_contain_text("total")
    expect(told).to_be_visible()
    page.keyboard.press("Escape")
    expect(told).to_be_hidden()

    # The data as CSV, the picture as PNG and SVG, by keyboard alone.
    button = losses.get_by_role("button", name="Download: Losses")
    button.focus()
    page.keyboard.press("Enter")
    name, content = saved(page, "csv")
    assert name == "run-1-losses.csv"
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    shown = [float(row["value"]) for row in rows if row["line"] == "total"]
    stored = RunLogReader(run.path).scalars(1, ["loss/total"])
    assert shown == pytest.approx([row.value for row in stored], rel=1e-6)
    expect(button).to_be_focused()
    page.keyboard.press("ArrowDown")
    name, content = saved(page, "png")
    assert (name, content[:4]) == ("run-1-losses.png", b"\x89PNG")
    page.keyboard.press("Enter")
    name, content = saved(page, "svg")
    assert content.startswith(b"<svg")
    assert "Losses · =demo" in content.decode()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(losses.get_by_role("menu")).to_be_hidden()

    # Bands: each group in a panel of its own, two areas and the median.
    spread.scroll_into_view_if_needed()
    page.wait_for_function(DRAWN, arg=card("probability_bands"))
    found = traces(page, "probability_bands")
    assert [trace["axis"] for trace in found] == [a for a in ("y", "y2", "y3") for _ in range(5)]
    assert [trace["fill"] for trace in found[:5]] == ["", "tonexty", "", "tonexty", ""]
    reader = RunLogReader(run.path)
    rare = np.array([row.frequency == "r" for row in reader.categories(1)])
    scale = reader.class_vectors(1, "scale").values[-1][rare]
    low, high, median = (found[place]["y"][-1] for place in (0, 1, 4))
    assert [low, median, high] == pytest.approx(np.quantile(scale, [0.1, 0.5, 0.9]), rel=1e-5)

    # The y axis as it is asked for in the address, on every chart that has a choice.
    page.goto(f"{page.url}&y=log")
    page.wait_for_function(DRAWN, arg=card("losses"))
    kinds = page.evaluate(
        "() => [...document.querySelectorAll('.fasa-plot')].filter(div => div._fullLayout)"
        ".map(div => [div.dataset.chart, div._fullLayout.yaxis?.type])"
    )
    assert ["losses", "log"] in kinds
