"""The page Detections in a real browser: pictures, masks, filters, epochs side by side, AP."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser.synthetic_log import SyntheticRun
from detection_builders import compressed, small_gallery
from playwright.sync_api import Locator, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

Dashboard = Callable[[Path], str]
ROWS = ".fasa-gallery-row"
MASKS = Path(__file__).resolve().parents[2] / "app/live_chart/gallery_masks.js"  # imports nothing


@pytest.fixture
def run(tmp_path: Path) -> SyntheticRun:
    run = SyntheticRun(tmp_path / "runs", classes=3, steps_per_epoch=10)
    small_gallery(run.start())
    assert run.writer
    assert run.writer.flush()
    return run


def expect_images(page: Page, *ids: int) -> None:
    page.wait_for_function(
        "([rows, ids]) => [...document.querySelectorAll(rows)].map(row => row.dataset.image).join()"
        " === ids.join()",
        arg=[ROWS, ids],
    )


def drawn(page: Page, image: int, column: int = 0) -> Locator:
    return page.locator(f'{ROWS}[data-image="{image}"] .fasa-picture').nth(column)


def painted(page: Page, image: int) -> int:
    """Pixels of the canvas over an image that are not clear."""
    count: int = (
        drawn(page, image)
        .locator("canvas")
        .evaluate(
            """canvas => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
            .data.filter((value, at) => at % 4 === 3 && value > 0).length"""
        )
    )
    return count


def press(page: Page, text: str) -> None:
    page.get_by_role("button", name=text, exact=True).click()


def in_address(page: Page, part: str) -> None:
    expect(page).to_have_url(re.compile(f"[?&]{re.escape(part)}(&|$)"))


def test_pictures_filters_and_epochs(run: SyntheticRun, page: Page, dashboard: Dashboard) -> None:
    names = run.names()
    page.goto(f"{dashboard(run.path.parent)}/detections?run=1")
    for image in (1000, 1001, 1002):
        expect(drawn(page, image)).to_have_attribute("data-drawn", "20")
    expect_images(page, 1000, 1001, 1002)
    expect(
        page.get_by_text("2 of 4 objects found (50 %), 1 taken for another class")
    ).to_be_visible()
    expect(page.get_by_text("1 mask could not be read")).to_be_visible()
    natural = "image => image.naturalWidth"
    assert drawn(page, 1000).locator("img").evaluate(natural) == 240  # the picture itself came

    everything = painted(page, 1000)
    for part in ("boxes", "labels", "truth"):
        press(page, part)
    in_address(page, "hide=truth")
    masks = painted(page, 1000)
    assert 0 < masks < everything
    press(page, "masks")
    in_address(page, "hide=masks")  # by then it is drawn
    assert painted(page, 1000) == 0
    for part in ("boxes", "labels", "truth", "masks"):
        press(page, part)

    press(page, "misses")
    expect_images(page, 1001)
    in_address(page, "show=misses")
    press(page, f"{names[1]} → {names[2]} 1")
    expect_images(page, 1000)
    in_address(page, f"true={names[1]}")
    page.reload()
    expect(drawn(page, 1000)).to_have_attribute("data-drawn", "20")
    expect_images(page, 1000)
    press(page, "all")

    page.get_by_label("class", exact=True).fill(names[2])
    expect_images(page, 1000, 1002)
    page.get_by_label("class", exact=True).fill("no such class")
    expect(page.get_by_label("class", exact=True)).to_have_attribute("aria-invalid", "true")
    page.get_by_label("class", exact=True).fill("")
    expect_images(page, 1000, 1001, 1002)

    page.get_by_text("+ compare with another epoch or run").click()
    expect(drawn(page, 1000, 1)).to_have_attribute("data-drawn", "10")
    in_address(page, "beside=1%3A10")
    press(page, "false alarms")
    expect_images(page, 1001)  # in either column
    press(page, "all")

    expect_images(page, 1000, 1001, 1002)
    page.locator(".fasa-cell").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text("image 1001, 2 of 3")
    in_address(page, "image=1001")
    expect(dialog.get_by_role("table").first).to_contain_text("false alarm")
    page.keyboard.press("ArrowLeft")
    expect(dialog.get_by_role("heading")).to_have_text("image 1000, 1 of 3")
    expect(dialog.get_by_role("table").first).to_contain_text(f"truth: {names[1]}")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page).not_to_have_url(re.compile("image="))

    new_evaluation(run, page)
    compare_decoders(page)


def new_evaluation(run: SyntheticRun, page: Page) -> None:
    """One that comes while the page is open is drawn into the same pictures."""
    drawn(page, 1001).evaluate("node => { node.kept = true; }")
    writer: Any = run.writer
    writer.predictions([{"image_index": i, "detections": []} for i in range(3)], step=30, epoch=2)
    expect(drawn(page, 1001)).to_have_attribute("data-drawn", "30")
    expect(page.get_by_text("0 of 4 objects found (0 %)")).to_be_visible()
    assert drawn(page, 1001).evaluate("node => node.kept")  # redrawn, not made anew
    page.get_by_label("Epoch of this column").first.select_option("20")
    expect(drawn(page, 1001)).to_have_attribute("data-drawn", "20")
    in_address(page, "step=20")


def compare_decoders(page: Page) -> None:
    """Our decoder of masks gives what pycocotools wrote, and refuses what is no mask."""
    random = np.random.default_rng(0)
    masks = [random.random((37, 53)) < share for share in (0, 0.03, 0.5, 0.97, 1)]
    wide = np.zeros((900, 700), bool)
    wide[450:, 333:] = True
    found = page.evaluate(
        """async ([text, listed]) => {
            const blob = new Blob([text], { type: "text/javascript" });
            const { bitmap } = await import(URL.createObjectURL(blob));
            return listed.map((mask) => {
                try {
                    const [height, width] = mask.size;
                    return Array.from(bitmap(mask, width, height).bits).join("");
                } catch { return "refused"; }
            });
        }""",
        [MASKS.read_text(), [compressed(mask) for mask in [*masks, wide]]
        + [{"size": [37, 53], "counts": counts} for counts in ("", "no mask", "ooooooooo0", "5")]],
    )  # fmt: skip
    for mask, text in zip([*masks, wide], found, strict=False):
        assert text == "".join("01"[int(bit)] for bit in mask.ravel())
    assert found[len(masks) + 1 :] == ["refused"] * 4


def test_no_evaluation_yet_and_ap_by_class_that_leads_to_its_pictures(
    tmp_path: Path, page: Page, dashboard: Dashboard
) -> None:
    run = SyntheticRun(tmp_path / "runs", classes=60, epochs=4, steps_per_epoch=10)
    small_gallery(run.start())
    run.advance(25)
    writer: Any = run.writer
    assert writer.flush()
    SyntheticRun(run.path.parent, classes=1203).start()
    url = dashboard(run.path.parent)
    page.goto(f"{url}/detections?run=2")
    expect(page.get_by_text("No evaluation yet: the first comes after epoch 1")).to_be_visible()
    page.goto(f"{url}/detections?run=1&part=ap&sort=name")
    rows = page.locator(".fasa-ap-table tbody tr")
    expect(rows).to_have_count(60)
    expect(rows.first).to_contain_text(min(run.names()))
    page.get_by_role("button", name="change", exact=True).click()
    in_address(page, "sort=-change")
    changes = rows.locator("td:last-child").all_inner_texts()
    numbers = [float(text.replace("−", "-").lstrip("▲▼ ")) for text in changes if text not in "–="]
    assert numbers == sorted(numbers, reverse=True)
    expect(page.locator('[data-figure="ap_against_instances"]')).to_have_attribute(
        "data-traces", "4"
    )
    name = run.names()[2]
    page.get_by_label("Find a class by name").fill(name)
    page.get_by_role("button", name=name, exact=True).click()
    expect_images(page, 1000, 1002)
    expect(page.get_by_label("class", exact=True)).to_have_value(name)
    assert json.dumps(name)[1:-1] in page.url
