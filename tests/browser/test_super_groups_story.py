"""Super-groups in a real browser: pick a class in the map, follow the run, open the same link."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from browser.adapted_log import AdaptedRun
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

STEPS = 4  # an epoch
MAP = '[data-figure="groups_map"]'
LEVEL = "plot => plot._fullData[0].level ?? null"


def wait_for_figure(page: Page, name: str) -> None:
    figure = page.locator(f'[data-figure="{name}"]')
    figure.wait_for(state="attached")
    figure.evaluate("plot => plot.scrollIntoView({block: 'center'})")
    page.wait_for_function(
        "name => Number(document.querySelector(`[data-figure=${name}]`)?.dataset.traces) > 0",
        arg=name,
    )


def box(page: Page, text: str) -> None:
    """Click a box of the tree map by the start of its text."""
    page.locator(f"{MAP} .slicetext").filter(has_text=text).first.click(force=True)


def test_pick_a_class_and_follow_the_run(
    tmp_path: Path, dashboard: Callable[[Path], str], page: Page
) -> None:
    run = AdaptedRun(tmp_path, epochs=6, steps_per_epoch=STEPS)
    writer = run.start()
    run.advance(2 * STEPS)
    assert writer.flush()
    page.goto(f"{dashboard(tmp_path)}/super-groups?run=1")
    for name in ("groups_map", "groups_losses", "groups_flow", "groups_stability"):
        wait_for_figure(page, name)
    page.locator(MAP).evaluate("plot => { plot.kept = true; plot.scrollIntoView(); }")
    box(page, "group 1:")  # opens the group
    page.wait_for_function(f"() => ({LEVEL})(document.querySelector('{MAP}')) === 'g1'")
    name = page.locator(MAP).evaluate(
        "plot => { const { parents, labels } = plot.data[0];"
        " return labels[parents.indexOf('g1')]; }"
    )
    box(page, name)
    said = page.get_by_text(f"After epoch 2 (step {2 * STEPS})")
    expect(said).to_contain_text(f"p of {name} ")
    assert parse_qs(urlsplit(page.url).query)["class"] == [name]
    assert page.locator(MAP).evaluate(LEVEL) == "g1"  # a class was picked, not opened

    run.advance(STEPS)
    assert writer.flush()
    expect(page.get_by_text(f"After epoch 3 (step {3 * STEPS})")).to_contain_text(f"p of {name} ")
    expect(page.get_by_text("After epoch 3: ")).to_be_visible()  # the map's note
    assert page.locator(MAP).evaluate("plot => plot.kept")  # the same node: not drawn from scratch
    assert page.locator(MAP).evaluate(LEVEL) == "g1"

    page.goto(f"{page.url}&epoch=2&from=1")
    expect(page.get_by_text(f"After epoch 2 (step {2 * STEPS})")).to_contain_text(f"p of {name} ")
    wait_for_figure(page, "groups_flow")
    expect(page.locator('[data-figure="groups_flow"]')).to_contain_text("after epoch 1")
    writer.close()


def test_1203_classes_on_a_narrow_dark_screen(
    tmp_path: Path, dashboard: Callable[[Path], str], page: Page
) -> None:
    run = AdaptedRun(tmp_path, classes=1203, epochs=3, steps_per_epoch=STEPS)
    run.start()
    run.finish()
    page.set_viewport_size({"width": 400, "height": 900})
    page.emulate_media(color_scheme="dark")
    page.goto(f"{dashboard(tmp_path)}/super-groups?run=1&class=owl&area=instances")
    wait_for_figure(page, "groups_map")
    expect(page.get_by_text("After epoch 3 (step 12)")).to_contain_text("p of owl ")
    wait_for_figure(page, "groups_flow")
    bands = page.locator('[data-figure="groups_flow"] .sankey-link')
    assert 10 < bands.count() < 150  # small ones are gathered
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 400
