"""The list of runs in a real browser: actions, undo, and texts that stay texts."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from browser.synthetic_log import SyntheticRun
from playwright.sync_api import Page, expect

from trainer.run_log.commands import queue_run, rename_run, set_note, set_status, set_tags
from trainer.run_log.reader import RunLogReader

pytestmark = [pytest.mark.browser, pytest.mark.slow]

Dashboard = Callable[[Path], str]

HOSTILE = [
    "<img src=x onerror=document.title='owned'>",
    "[x](javascript:document.title='owned') **bold** `code`",
    ":material/delete: :red[x] :streamlit: $x^2$ $$y$$",
    "🙂👩‍🚀 שלום עולם مرحبا",
    "long " * 39 + "name!",
]


def ended(runs: Path, *, status: str = "stopped", name: str = "demo") -> SyntheticRun:
    run = SyntheticRun(runs, name=name, classes=6, epochs=2, steps_per_epoch=10)
    writer = run.start()
    run.advance(15)
    writer.checkpoint_kept(step=10, epoch=1, batch=0, size=1_000_000)
    writer.close()
    set_status(run.path, run.id, status)
    return run


def choose(page: Page, run: int, action: str) -> None:
    page.get_by_role("button", name=f"Actions on run {run}").click()
    page.locator(f".fasa-menu [data-action={action}]").click()


def test_a_run_is_deleted_and_the_deletion_undone(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    path = ended(tmp_path).path
    page.goto(dashboard(tmp_path))
    row = page.locator("tr[data-run='1']")
    choose(page, 1, "delete")
    page.get_by_role("button", name="Keep").click()
    assert RunLogReader(path).run(1).deleted is None
    choose(page, 1, "delete")
    page.get_by_role("button", name="Delete", exact=True).click()
    undo = page.get_by_role("button", name="Undo the deletion of run 1")
    expect(undo).to_have_text(re.compile(r"Undo \(\d+ s\)"))
    expect(row).to_contain_text("deleted")
    assert RunLogReader(path).runs() == []
    undo.click()
    expect(row).to_contain_text("stopped")
    expect(undo).to_be_hidden()
    assert RunLogReader(path).run(1).deleted is None


def test_names_tags_and_notes_are_text_wherever_they_are_shown(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    path = ended(tmp_path).path
    for number, text in enumerate(HOSTILE, start=1):
        if number > 1:
            ended(tmp_path)
        rename_run(path, number, text)
        set_note(path, number, text)
        set_tags(path, number, [text[:40]])
    url = dashboard(tmp_path)
    page.goto(url)
    for number, text in enumerate(HOSTILE, start=1):
        row = page.locator(f"tr[data-run='{number}']")
        expect(row.locator(".fasa-link")).to_have_text(text)
        expect(row.locator(".fasa-tag")).to_have_text(text[:40].strip())
        expect(row.locator(".fasa-note")).to_have_text(text)
    assert page.locator(".fasa-runs :is(img, b, strong, code)").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 1300
    for number, text in ((1, HOSTILE[0]), (3, HOSTILE[2])):
        page.goto(f"{url}/run?run={number}")
        expect(page.locator(".fasa-name")).to_have_text(text)
        page.get_by_role("button", name="Restart").click()
        expect(page.get_by_label("name", exact=True)).to_have_value(
            re.compile(re.escape(text[:60]))
        )
        assert page.locator("img, [href^=javascript]").count() == 0
    assert "owned" not in page.title()


def test_a_run_is_named_tagged_and_noted_from_the_list(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    path = ended(tmp_path).path
    page.goto(dashboard(tmp_path))
    choose(page, 1, "edit")
    name = page.get_by_label("name", exact=True)
    name.fill("x" * 201)
    save = page.get_by_role("button", name="Save")
    save.click()
    expect(page.get_by_role("dialog").get_by_text("201")).to_be_visible()  # refused, in a sentence
    name.fill(HOSTILE[0])
    page.get_by_label("tags, divided by commas").fill("tail, α 1.3")
    page.get_by_role("textbox", name="note").fill("why: $x$\nsecond line")
    save.click()
    row = page.locator("tr[data-run='1']")
    expect(row.locator(".fasa-link")).to_have_text(HOSTILE[0])
    expect(row.locator(".fasa-tag")).to_have_text(["tail", "α 1.3"])
    expect(row.locator(".fasa-note")).to_have_text("why: $x$")
    stored = RunLogReader(path).run(1)
    assert (stored.tags, stored.note) == (["tail", "α 1.3"], "why: $x$\nsecond line")


def test_resume_archive_and_the_way_to_the_parent(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    path = ended(tmp_path, status="crashed", name="parent").path
    queue_run(path, name="child", config={}, dataset="demo", parent_run=1, parent_epoch=1,
              parent_step=10)  # fmt: skip
    page.goto(dashboard(tmp_path))
    choose(page, 1, "resume")
    expect(page.locator("tr[data-run='1']")).to_contain_text("queued")
    choose(page, 1, "archive")
    expect(page.locator("tr[data-run='1']")).to_have_count(0)
    page.locator(".fasa-filter-archived").click()
    expect(page.locator("tr[data-run='1']")).to_be_visible()
    page.locator("tr[data-run='2'] .fasa-parent").get_by_text("fork of 1").click()
    expect(page).to_have_url(re.compile(r"/run\?run=1"))
    expect(page.locator(".fasa-name")).to_have_text("parent")


def shown(page: Page) -> list[str]:
    """The runs in the order of the list."""
    return [str(row.get_attribute("data-run")) for row in page.locator("tr[data-run]").all()]


def test_the_list_is_searched_ordered_filtered_and_compared_and_a_link_shows_the_same(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    for name, status in (("tail a", "stopped"), ("tail b", "crashed"), ("head", "stopped")):
        path = ended(tmp_path, status=status, name=name).path
    set_tags(path, 1, ["paper", "a, b"])
    url = dashboard(tmp_path)
    page.goto(url)
    expect(page.locator("tr[data-run]")).to_have_count(3)
    assert shown(page) == ["3", "2", "1"]
    expect(page.locator("tr[data-run='1'] .fasa-spark-all svg")).to_have_attribute(
        "aria-label", re.compile(r"^AP: [\d.]+ at first")
    )
    page.get_by_role("button", name="run", exact=True).click()
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("run")
    assert shown(page) == ["3", "1", "2"]
    page.get_by_label("search runs").fill("TAIL")
    expect(page.locator("tr[data-run]")).to_have_count(2)
    page.get_by_label("select run 1 to compare").check()
    expect(page.get_by_text("1 selected, select another to compare")).to_be_visible()
    page.get_by_label("select run 2 to compare").focus()
    page.keyboard.press("Space")
    page.locator(".fasa-filter-status").get_by_text("stopped").click()
    expect(page.locator("tr[data-run]")).to_have_count(1)
    page.locator(".fasa-filter-tags").get_by_text("a, b").click()
    for part in ("search=TAIL", "sort=name", "order=ascending", "status=stopped",
                 r"tag=a%2C\+b", "select=1&select=2"):  # fmt: skip
        expect(page).to_have_url(re.compile(f"[?&]{part}(&|$)"))
    page.reload()
    expect(page.locator("tr[data-run]")).to_have_count(1)
    expect(page.get_by_label("search runs")).to_have_value("TAIL")
    expect(page.get_by_label("select run 1 to compare")).to_be_checked()
    page.get_by_role("link", name="Compare").last.click()
    expect(page).to_have_url(re.compile(r"/compare\?run=1&run=2"))


def test_the_first_run_is_started_by_one_button_and_a_run_nobody_trains_is_explained(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    runs = tmp_path / "not there yet"
    page.goto(dashboard(runs))
    page.get_by_role("button", name="Start the demo").dblclick()
    expect(page.locator("tr[data-run]")).to_have_count(1)
    expect(page.get_by_text("Run 1 is queued and nothing trains")).to_be_visible()
    expect(page.get_by_text(f"fasa supervise --runs '{runs}'")).to_be_visible()
    [run] = RunLogReader(runs / "fasa.sqlite").runs()
    assert (run.name, run.status) == ("demo", "queued")
    choose(page, 1, "stop")
    page.get_by_role("button", name="Take it out").click()
    expect(page.locator(".fasa-menu")).to_be_hidden()
    page.wait_for_timeout(1000)
    [command] = RunLogReader(runs / "fasa.sqlite").commands(1)
    assert (command.kind, command.answered) == ("stop", None)  # the supervisor's to answer
    choose(page, 1, "restart")
    expect(page).to_have_url(re.compile(r"/new\?parent=1&how=restart"))
