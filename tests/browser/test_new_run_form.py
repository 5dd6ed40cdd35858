"""New run in a real browser: restart and fork, what they queue, what is refused, 400 pixels."""

import re
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


def knob(page: Page, name: str) -> Locator:
    return page.get_by_label(name, exact=True)


def start_button(page: Page) -> Locator:
    return page.get_by_role("button", name=re.compile("^Start"))


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option").filter(has_text=option).click()


def click_again_and_again(page: Page, button: Locator) -> None:
    """As impatient people do: some clicks reach the server together, some while it draws."""
    box = button.bounding_box()
    assert box
    for _ in range(25):
        page.mouse.click(box["x"] + 10, box["y"] + 10)
        page.wait_for_timeout(20)


def test_a_fork_with_another_alpha_is_queued_once_and_its_form_is_forgotten(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    stopped_run(tmp_path)
    address = dashboard(tmp_path)
    page.goto(f"{address}/run?run=1")
    page.get_by_role("button", name="Fork").click()
    expect(page).to_have_url(re.compile(r"/new\?parent=1&how=fork&step=40"))
    expect(knob(page, "alpha")).to_have_value("1.2")
    choose(page, "from", "end of epoch 3")
    expect(knob(page, "alpha")).to_have_value("1.1")
    knob(page, "alpha").fill("1.3")
    knob(page, "alpha").press("Enter")
    expect(page.get_by_text("alpha  1.1 → 1.3")).to_be_visible()
    expect(page.get_by_text("fasa fork 1 --epoch 3 --alpha 1.3")).to_be_visible()
    expect(page).to_have_url(re.compile(r"step=30&alpha=1\.3"))
    page.reload()  # a shared link shows the same
    expect(knob(page, "alpha")).to_have_value("1.3")
    expect(page.get_by_text("fasa fork 1 --epoch 3 --alpha 1.3")).to_be_visible()
    click_again_and_again(page, start_button(page))
    expect(page).to_have_url(re.compile(r"/run\?run=2"))
    expect(page.get_by_text("demo (fork)").first).to_be_visible()
    [parent, child] = rows(tmp_path)
    assert (child.parent_run, child.parent_epoch, child.parent_step) == (1, 3, 3 * STEPS)
    assert child.config == parent.config | {"alpha": 1.3}
    page.get_by_role("link", name="New run").click()  # who comes back finds a fresh form
    expect(page.get_by_text("Nothing is changed yet.")).to_be_visible()
    choose(page, "start from", "1 · demo")
    page.get_by_role("radio", name="fork from an epoch").click()
    expect(knob(page, "alpha")).to_have_value("1.2")
    assert len(rows(tmp_path)) == 2


def test_an_edit_still_in_the_field_counts_and_an_emptied_one_is_no_zero(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    stopped_run(tmp_path)
    page.goto(f"{dashboard(tmp_path)}/new?parent=1&how=restart")
    knob(page, "alpha").fill("99")
    start_button(page).click()
    expect(page.get_by_text("alpha is 99.0, but input should be")).to_have_count(2)
    knob(page, "alpha").fill("")
    start_button(page).click()
    expect(page.get_by_text("alpha is empty, but has to be a number 1 to 10")).to_have_count(2)
    assert len(rows(tmp_path)) == 1
    knob(page, "alpha").fill("1.3")
    page.get_by_placeholder("find a knob").fill("passes over")
    expect(knob(page, "alpha")).to_have_count(0)
    knob(page, "epochs").press("ArrowUp")
    expect(page.get_by_text("epochs  12 → 13")).to_be_visible()
    page.get_by_role("button", name="set alpha back").click()
    expect(page.get_by_text("alpha  1.1 → 1.3")).to_have_count(0)
    page.get_by_placeholder("find a knob").fill("")
    knob(page, "alpha").fill("1.4")
    start_button(page).click()
    expect(page).to_have_url(re.compile(r"/run\?run=2"))
    child = rows(tmp_path)[1]
    assert (child.config["alpha"], child.config["epochs"], child.parent_step) == (1.4, 13, None)


def test_hostile_names_are_text_and_paths_outside_are_refused(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    stopped_run(runs, name=HOSTILE)
    page.goto(f"{dashboard(runs)}/new?parent=1&how=restart&find=weights")
    expect(page.get_by_label("name", exact=True)).to_have_value(f"{HOSTILE} (restart)")
    page.get_by_label("name", exact=True).fill(f"{HOSTILE} again")
    for text in (HOSTILE, "/etc/passwd", "../../../etc/passwd", f"{tmp_path}/x", "x" * 10_000):
        knob(page, "backbone_weights").fill(text)
        start_button(page).click()
        expect(page.get_by_text(f"backbone_weights is '{text[:60]}")).to_have_count(2)
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
    page.goto(f"{dashboard(tmp_path)}/new?parent=1&how=fork&alpha=99")
    expect(page.get_by_text("alpha is 99.0").last).to_be_in_viewport()
    expect(start_button(page)).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    widest = page.locator("[data-testid=stMain]").evaluate(
        "node => Math.max(...[...node.querySelectorAll('input, button, code')]"
        ".map(part => part.getBoundingClientRect().right))"
    )
    assert widest <= 400
    footer = page.locator(".st-key-launch-footer")
    ground = footer.evaluate("node => getComputedStyle(node).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 24, 29)")
