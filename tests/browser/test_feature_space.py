"""The page Feature space in a real browser: epochs, pins, lasso, two runs, live, every state."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser.feature_log import FeatureRun
from playwright.sync_api import Page, Request, expect

from trainer.run_log.commands import mark_deleted
from trainer.run_log.projections import begin_projection
from trainer.run_log.reader import RunLogReader

pytestmark = [pytest.mark.browser, pytest.mark.slow]

Dashboard = Callable[[Path], str]
STAGE = ".fasa-pane-stage"
CLASSES, EPOCHS = 12, 4


def made(runs: Path, *, upto: int = EPOCHS, **values: Any) -> FeatureRun:
    run = FeatureRun(runs, classes=CLASSES, epochs=EPOCHS + 1, steps_per_epoch=4, virtual=3,
                     **values)  # fmt: skip
    run.start()
    run.advance(4 * upto)
    assert run.writer
    assert run.writer.flush()
    return run


def in_address(page: Page, part: str) -> None:
    expect(page).to_have_url(re.compile(f"[?&]{re.escape(part)}(&|$)"))


def expect_stage(page: Page, place: int = 0, **data: object) -> None:
    for name, value in data.items():
        expect(page.locator(STAGE).nth(place)).to_have_attribute(f"data-{name}", str(value))


def press(page: Page, text: str) -> None:
    page.get_by_role("button", name=text, exact=True).click()


def choose_all(page: Page, place: int = 0) -> None:
    """By keyboard: every point in view."""
    page.locator(f"{STAGE} .fasa-cloud").nth(place).focus()
    page.keyboard.press("a")


def rows_of(page: Page) -> list[dict[str, str]]:
    """The points as CSV, by keyboard."""
    page.get_by_role("button", name="Download: Real and virtual features").focus()
    page.keyboard.press("Enter")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    return list(csv.DictReader(io.StringIO(download.value.path().read_text())))


def test_epochs_pins_colours_and_chosen_points(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    run = made(tmp_path)
    reader = RunLogReader(run.path)
    heads = reader.features.heads(1)
    names, objects = run.names(), len(run.class_of)
    points = objects + 3 * CLASSES
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{dashboard(tmp_path)}/features?run=1&rest=shown")
    expect_stage(page, epoch=4, method="umap", points=points, bright=points, ellipses=3)
    expect(page.get_by_text(f"{objects} objects, {3 * CLASSES} virtual features")).to_be_visible()
    cost = "took 0.6 s, all of them 1.8 % of the run's time (at most 2 %)"
    expect(page.get_by_text(cost)).to_be_visible()
    page.wait_for_timeout(300)  # the epoch before is fetched meanwhile

    # The slider: by arrows, at once, from what was fetched before.
    asked.clear()
    slider = page.get_by_role("slider", name="Epoch")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect_stage(page, epoch=3)
    assert not [url for url in asked if f"/{heads[2].id}/points" in url]
    expect(slider).to_have_attribute("aria-valuetext", "epoch 3")
    in_address(page, f"step={heads[2].step}")

    # Colours, each with its legend.
    legend = page.locator(".fasa-legend")
    for color, words in {
        "group": "Groups are numbered anew at each epoch",
        "frequency": re.compile(r"rare \(\d+ class"),
        "split": re.compile(r"real, held-out images \(\d+\).*virtual \(36\)"),
        "loss": "classification loss (cross-entropy, nats; logarithmic)",
        "first": "epoch in which training first saw the class",
        "class": "All other 9 classes wear a paler hue made from the name",
    }.items():
        page.get_by_label("colour").select_option(color)
        expect(legend).to_contain_text(words)
    page.get_by_label("method").select_option("pca")
    expect_stage(page, method="pca", epoch=3)
    share = 100 * reader.features.projections(1)[6].parameters["variance"][0]
    expect(page.get_by_text(f"PCA 1, {share:.2g} % of the variance")).to_be_visible()

    # A class is found, stands out, and is pinned with Enter; its prior is outlined.
    press(page, "dim the rest")
    in_address(page, "method=pca")
    search = page.get_by_label("find or pin a class")
    search.fill("no such class")
    expect(search).to_have_attribute("aria-invalid", "true")
    for pin in page.locator(".fasa-pinned-class").all_inner_texts():
        page.get_by_role("button", name=f"Unpin {pin.split()[0]}").click()
    # The address has it: what is chosen before that tells the server of the pins as they were.
    page.wait_for_function("new URLSearchParams(location.search).get('pin') === ''")
    expect(page.locator(".fasa-pinned-class")).to_have_count(0)
    search.fill(names[5])
    of_class = int((run.class_of == 5).sum()) + 3
    expect_stage(page, bright=of_class)
    search.press("Enter")
    in_address(page, f"pin={names[5]}")
    expect_stage(page, bright=of_class, ellipses=1)

    # The bright points in view are chosen by keyboard: pictures, class shares, CSV.
    choose_all(page)
    expect_stage(page, bright=of_class)
    press(page, "✕ clear")
    press(page, "dim the rest")
    expect_stage(page, bright=points)
    choose_all(page)
    expect(page.get_by_role("status").filter(has_text="chosen")).to_have_text(
        f"{objects} objects and {3 * CLASSES} virtual features chosen."
    )
    expect(page.locator(".fasa-object")).to_have_count(objects)
    natural = "image => image.decode().then(() => image.naturalWidth)"
    assert page.locator(".fasa-object img").first.evaluate(natural) == 56
    counts = np.bincount(run.class_of, minlength=CLASSES)
    first = page.locator(".fasa-share").first
    most = int(np.argmax(counts))  # of several with as many the first
    share = round(100 * (counts[most] + 3) / points)
    expect(first).to_contain_text(f"{names[most]}{share} % ({counts[most]} real + 3 virtual)")
    in_address(page, "step=12")
    rows = rows_of(page)
    assert [row["chosen"] for row in rows] == ["1"] * points
    stored = reader.features.projection(heads[2].id, "pca")
    assert stored
    shown = [[float(row["x"]), float(row["y"])] for row in rows]
    np.testing.assert_allclose(shown, np.vstack([stored.real, stored.virtual]), rtol=1e-5)
    assert {row["split"] for row in rows if row["kind"] == "virtual"} == {""}
    assert rows[objects + 1]["k"] == "1"

    # A point is read by keyboard; a click on its picture pins its class.
    page.locator(f"{STAGE} .fasa-cloud").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".fasa-point-card")).to_contain_text("classification loss")
    page.keyboard.press("+")
    in_address(page, "method=pca")
    expect(page).to_have_url(re.compile("[?&]at="))
    expect(page).to_have_url(re.compile("[?&]lasso="))

    # A reload shows the same.
    page.reload()
    expect_stage(page, epoch=3, method="pca", ellipses=1, bright=points)
    expect(page.locator(".fasa-object")).to_have_count(objects)
    press(page, "✕ clear")
    expect(page).not_to_have_url(re.compile("lasso="))
    assert [row["chosen"] for row in rows_of(page)] == [""] * points
    press(page, "○ virtual")
    in_address(page, "hide=virtual")
    assert {row["kind"] for row in rows_of(page)} == {"real"}

    # The pin goes along to the live page.
    page.get_by_role("link", name="Live run").click()
    expect(page.get_by_test_id("stMultiSelect")).to_contain_text(names[5])


def test_live_and_two_runs(page: Page, dashboard: Dashboard, tmp_path: Path) -> None:
    run = made(tmp_path, upto=2)
    other = made(tmp_path, name="baseline", fasa=False, upto=2)
    objects = len(run.class_of)
    page.goto(f"{dashboard(tmp_path)}/features?run=1&beside=2&rest=shown")
    expect_stage(page, epoch=2, points=objects + 3 * CLASSES)
    expect_stage(page, 1, epoch=2, points=objects, ellipses=0)
    expect(
        page.get_by_text("A baseline without FASA: it draws no virtual features")
    ).to_be_visible()

    # What is chosen and what the pointer is on stands out in both.
    box = page.locator(STAGE).first.bounding_box()
    assert box
    left, top = box["x"] + 20, box["y"] + 10
    page.keyboard.down("Shift")
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((1, 0), (1, 1), (0, 1), (0, 0)):
        page.mouse.move(left + x * (box["width"] - 40), top + y * (box["height"] - 20), steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")
    expect(page.get_by_role("status").filter(has_text="chosen")).to_contain_text(
        f"{objects} of them stand out in the run beside it, too."
    )
    expect_stage(page, 1, bright=objects)
    page.locator(".fasa-object").first.hover()
    expect(page.locator(".fasa-point-card:visible")).to_have_count(2)
    press(page, "✕ clear")

    # A view that a person chose outlives new snapshots; what is here is not asked for again.
    cloud = page.locator(f"{STAGE} .fasa-cloud").first
    cloud.focus()
    page.keyboard.press("+")
    expect(page).to_have_url(re.compile("[?&]at="))
    cloud.evaluate("node => { node.kept = true; }")
    asked: list[str] = []

    def listen(request: Request) -> None:
        asked.append(request.url)

    page.on("request", listen)
    before = re.search("at=[^&]+", page.url)
    run.advance(4)
    expect_stage(page, epoch=3)
    expect_stage(page, 1, epoch=2)  # the other run has no third epoch yet
    other.advance(4)
    expect_stage(page, 1, epoch=3)
    known = RunLogReader(run.path).features.heads(1)[1].id
    assert not [url for url in asked if f"/{known}/points" in url]
    assert cloud.evaluate("node => node.kept")
    after = re.search("at=[^&]+", page.url)
    assert before
    assert after
    assert before[0] == after[0]

    # Who follows waits for the chosen method; who chose the epoch sees it by PCA, with a word.
    run.methods = ("pca",)
    run.advance(4)
    newest = RunLogReader(run.path).features.heads(1)[-1]
    assert begin_projection(run.path, 1, newest.id, "umap")
    words = page.get_by_text("UMAP joint of epoch 4 is being computed.")
    expect(words.first).to_contain_text("Shown is epoch 3.")
    expect_stage(page, epoch=3, method="umap")
    slider = page.get_by_role("slider", name="Epoch")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    expect_stage(page, epoch=4, method="pca")
    expect(words.first).to_contain_text("Shown is PCA.")
    run.fail(newest.id, "umap", "<b>out of memory</b>")
    expect(page.get_by_text("failed: <b>out of memory</b>. Shown is PCA.")).to_be_visible()
    run.methods = ("pca", "umap", "umap_real")
    run.advance(4)
    expect(page.get_by_text("epoch 4 of 5")).to_be_visible()  # it stays where the person went
    expect_stage(page, epoch=4)
    press(page, "follow newest")
    expect_stage(page, epoch=5, method="umap")

    # Play goes through all and stops at the end; its steps come into the address when it stops.
    press(page, "▶ play")
    expect_stage(page, epoch=1)
    expect(page.get_by_role("button", name="▶ play")).to_be_visible()
    expect_stage(page, epoch=5)
    run.finish()
    mark_deleted(run.path, 1, True)
    expect(page.get_by_text("This run was deleted.")).to_be_visible()


def test_what_is_said_where_there_is_nothing_to_see(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    made(tmp_path, upto=0)
    thinned = made(tmp_path, most_bytes=9_000)
    crashed = made(tmp_path, upto=2)
    crashed.crash("the trainer died")
    unseen = made(tmp_path, methods=())
    url = dashboard(tmp_path)
    page.set_viewport_size({"width": 400, "height": 900})
    page.goto(f"{url}/features?run=1")
    expect(page.get_by_text("No snapshot yet: the first comes at the end of this epoch")
           ).to_be_visible()  # fmt: skip
    expect(page.get_by_role("slider", name="Epoch")).to_be_hidden()
    page.goto(f"{url}/features?run={thinned.id}")
    expect_stage(page, epoch=4)
    epochs = [head.epoch for head in RunLogReader(thinned.path).features.heads(thinned.id)]
    assert epochs[0] == 0 and epochs[1] > 1  # noqa: PT018
    expect(page.get_by_text(re.compile("No snapshot is kept of epochs? 2"))).to_be_visible()
    page.goto(f"{url}/features?run={crashed.id}")
    expect(page.get_by_text("The run crashed in epoch 3: these are the snapshots it left.")
           ).to_be_visible()  # fmt: skip
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not page.evaluate(wide)
    page.goto(f"{url}/features?run={unseen.id}")
    expect(page.get_by_text("UMAP joint of epoch 4 is about to be computed")).to_be_visible()
    # Without WebGL the page says so and the rest of it works.
    page.add_init_script(
        "const get = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
        "  return kind === 'webgl2' ? null : get.call(this, kind, ...rest); };"
    )
    page.goto(f"{url}/features?run={crashed.id}")
    expect(page.get_by_text("This browser shows no WebGL2 graphics")).to_be_visible()
    expect(page.get_by_text("epoch 2 of 2")).to_be_visible()
