"""Restart and fork in a real browser: the dialog, what it queues, and what it refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest
from browser.synthetic_log import SyntheticRun
from playwright.sync_api import Locator, Page, expect

from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run

pytestmark = [pytest.mark.browser, pytest.mark.slow]

STEPS = 10  # an epoch
HOSTILE = "<img src=x onerror='document.title=1'> **bold** :red[red]"

Dashboard = Callable[[Path], str]


def stopped_run(runs: Path, *, name: str = "demo") -> SyntheticRun:
    """Stopped in its fifth epoch; alpha was set to 1.2 after the third."""
    run = SyntheticRun(runs, name=name, epochs=12, steps_per_epoch=STEPS)
    with run.start() as writer:
        run.advance(3 * STEPS + 1)
        writer.scalars({"knob/alpha": 1.2}, step=run.step, epoch=3)
        run.advance(STEPS + 1)
        writer.status("stopped")
    return run


def rows(runs: Path) -> list[Run]:
    with RunLogReader(runs / "fasa.sqlite") as reader:
        return reader.runs()


def open_dialog(page: Page, address: str, button: str) -> Locator:
    page.goto(f"{address}/run?run=1")
    page.get_by_role("button", name=button).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Start")).to_be_visible()
    return dialog


def choose(page: Page, dialog: Locator, option: str) -> None:
    dialog.get_by_label("from", exact=True).click()
    page.get_by_role("option").filter(has_text=option).click()


def click_again_and_again(page: Page, button: Locator) -> None:
    """As impatient people do: some clicks reach the server together, some while it draws."""
    box = button.bounding_box()
    assert box
    for _ in range(25):
        page.mouse.click(box["x"] + 10, box["y"] + 10)
        page.wait_for_timeout(20)


def test_a_fork_with_another_alpha_is_queued_once(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    stopped_run(tmp_path)
    address = dashboard(tmp_path)
    dialog = open_dialog(page, address, "Fork")
    alpha = dialog.get_by_label("alpha", exact=True)
    expect(alpha).to_have_value("1.2")
    choose(page, dialog, "end of epoch 3")
    expect(alpha).to_have_value("1.1")
    alpha.fill("1.3")
    alpha.press("Enter")
    expect(dialog.get_by_text("alpha  1.1 → 1.3")).to_be_visible()
    expect(dialog.get_by_text("fasa fork 1 --epoch 3 --alpha 1.3")).to_be_visible()
    click_again_and_again(page, dialog.get_by_role("button", name="Start"))
    expect(dialog.get_by_text("Run 2 is queued")).to_be_visible()
    dialog.get_by_role("link", name="Open run 2").click()
    expect(page.get_by_text("demo (fork)").first).to_be_visible()
    [parent, child] = rows(tmp_path)
    assert (child.parent_run, child.parent_epoch, child.parent_step) == (1, 3, 3 * STEPS)
    assert child.config == parent.config | {"alpha": 1.3}
    assert child.status == "queued"


def test_an_edit_still_in_the_field_counts_when_start_is_pressed(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    stopped_run(tmp_path)
    dialog = open_dialog(page, dashboard(tmp_path), "Restart")
    dialog.get_by_label("alpha", exact=True).fill("99")
    dialog.get_by_role("button", name="Start").click()
    expect(dialog.get_by_text("alpha is 99.0, but input should be")).to_be_visible()
    assert len(rows(tmp_path)) == 1
    dialog.get_by_label("alpha", exact=True).fill("1.4")
    dialog.get_by_role("button", name="Start").click()
    expect(dialog.get_by_text("Run 2 is queued")).to_be_visible()
    child = rows(tmp_path)[1]
    assert (child.config["alpha"], child.parent_run, child.parent_step) == (1.4, 1, None)


def test_knobs_are_found_kept_and_set_back_and_a_closed_dialog_forgets(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    stopped_run(tmp_path)
    dialog = open_dialog(page, dashboard(tmp_path), "Restart")
    dialog.get_by_label("alpha", exact=True).fill("1.3")
    dialog.get_by_placeholder("find a knob").fill("passes over")
    epochs = dialog.get_by_label("epochs", exact=True)
    expect(dialog.get_by_label("alpha", exact=True)).to_have_count(0)
    epochs.press("ArrowUp")
    expect(dialog.get_by_text("epochs  12 → 13")).to_be_visible()
    dialog.get_by_role("button", name="set alpha back").click()
    expect(dialog.get_by_text("alpha  1.1 → 1.3")).to_have_count(0)
    dialog.get_by_placeholder("find a knob").fill("")
    expect(dialog.get_by_label("alpha", exact=True)).to_have_value("1.1")
    expect(dialog.get_by_text("fasa restart 1 --epochs 13")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Restart").click()
    expect(dialog.get_by_text("Nothing is changed yet.")).to_be_visible()
    assert len(rows(tmp_path)) == 1


def test_hostile_names_are_text_and_paths_outside_are_refused(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    stopped_run(runs, name=HOSTILE)
    dialog = open_dialog(page, dashboard(runs), "Restart")
    expect(dialog.get_by_label("name", exact=True)).to_have_value(f"{HOSTILE} (restart)")
    dialog.get_by_label("name", exact=True).fill(f"{HOSTILE} again")
    dialog.get_by_placeholder("find a knob").fill("weights")
    weights = dialog.get_by_label("backbone_weights", exact=True)
    for text in (HOSTILE, "/etc/passwd", "../../../etc/passwd", f"{tmp_path}/x", "x" * 10_000):
        weights.fill(text)
        dialog.get_by_role("button", name="Start").click()
        expect(dialog.get_by_text(f"backbone_weights is '{text[:60]}")).to_be_visible()
    assert page.locator("img").count() == 0
    assert len(rows(runs)) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "runs-dashboard.log"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_400_pixels_are_enough(
    scheme: str, page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    stopped_run(tmp_path)
    page.set_viewport_size({"width": 400, "height": 800})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    dialog = open_dialog(page, dashboard(tmp_path), "Fork")
    dialog.get_by_label("alpha", exact=True).fill("99")
    dialog.get_by_label("alpha", exact=True).press("Enter")
    expect(dialog.get_by_text("alpha is 99.0")).to_be_in_viewport()
    expect(dialog.get_by_role("button", name="Start")).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    widest = dialog.evaluate(
        "node => Math.max(...[...node.querySelectorAll('input, button, code')]"
        ".map(part => part.getBoundingClientRect().right))"
    )
    assert widest <= 400
    dark_ground = "node => getComputedStyle(node.parentElement).backgroundColor"
    ground = dialog.locator(".st-key-branch-footer").evaluate(dark_ground)
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 24, 29)")
