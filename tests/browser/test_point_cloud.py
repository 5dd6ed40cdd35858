"""The point cloud in Chromium: what is drawn, met, chosen and moved, and what is left of it.

A host of 600 x 400 pixels at the corner of a bare page, where the data point (x, y) lies at pixel
(300 + 40 x, 200 - 40 y) in the view that every test begins with.
"""

import base64
import io
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page

from tests.browser.point_cloud_page import point_cloud_page

pytestmark = pytest.mark.browser

WHITE, RED, BLUE, GREEN = (255, 255, 255), (213, 94, 0), (0, 114, 178), (0, 158, 115)
# Index: place, colour, ring?, dim?; 3 has no place.
POINTS = [
    (0, 0, RED, 0, 0), (2, 0, BLUE, 1, 0), (-3, 2, GREEN, 0, 0), ("NaN", 1, RED, 0, 0),
    (0, 3, BLUE, 0, 1), (-3, -2, RED, 0, 0), (-2, -3, GREEN, 1, 0), (-2.6, -2, GREEN, 0, 1),
]  # fmt: skip
MAKE = """(rows) => {
  window.rows = rows;
  window.told = { hover: [], select: [], pick: [], view: [], tool: [] };
  window.data = (rows) => ({
    count: rows.length, keys: rows.map((_, place) => `object ${place}`),
    x: Float32Array.from(rows, ([x]) => Number(x)),
    y: Float32Array.from(rows, ([, y]) => Number(y)),
  });
  window.cloud = new PointCloud(document.getElementById("host"), {
    label: "Features of a test",
    onHover: (index, x, y) => told.hover.push([index, x, y]),
    onSelect: (indices) => told.select.push([...indices]),
    onPick: (index) => told.pick.push(index),
    onView: (view) => told.view.push(view),
    onTool: (tool) => told.tool.push(tool),
  });
  cloud.setPoints(data(rows));
  cloud.setStyle({
    colors: Uint8Array.from(rows.flatMap(([, , color]) => [...color, 255])),
    open: Uint8Array.from(rows, (row) => row[3]), dim: Uint8Array.from(rows, (row) => row[4]),
    size: 16,
  });
  cloud.setView({ x: 0, y: 0, scale: 40 });
}"""
FRAMES = """async () => {
  for (let turn = 0; turn < 3; turn += 1) await new Promise(requestAnimationFrame);
}"""


@pytest.fixture
def cloud(page: Page) -> Page:
    """A page with `cloud`, `told` and `data` in its window, its first picture drawn."""
    page.set_content(point_cloud_page(600, 400))
    page.wait_for_function("window.blobs")
    page.evaluate(MAKE, POINTS)
    page.wait_for_function("!cloud.stale")
    return page


def pixels(page: Page) -> Image.Image:
    page.evaluate(FRAMES)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def at(picture: Image.Image, x: float, y: float, *, right: int = 0) -> Any:
    """The pixel of a place in data units, or some pixels to the right of it."""
    return picture.getpixel((round(300 + 40 * x) + right, round(200 - 40 * y)))


def near(found: Any, wanted: tuple[int, ...], within: int = 2) -> bool:
    return all(abs(a - b) <= within for a, b in zip(found, wanted, strict=True))


def test_discs_rings_dim_and_missing_points(cloud: Page) -> None:
    picture = pixels(cloud)
    assert near(at(picture, 0, 0), RED)
    assert near(at(picture, 0, 0, right=6), RED)
    assert at(picture, 0, 0, right=10) == WHITE
    assert at(picture, 2, 0) == WHITE, "a ring is hollow"
    assert at(picture, 2, 0, right=4) == WHITE
    assert near(at(picture, 2, 0, right=7), BLUE, 40)
    faint = at(picture, 0, 3)
    assert all(a < b < c for a, b, c in zip(BLUE, faint, WHITE, strict=True)), "dim is paler"
    assert faint[2] > faint[0], "and keeps something of its colour"
    # The ground where nothing is, and the whole row of the point without a place.
    assert {picture.getpixel((x, 160)) for x in range(0, 600, 3)} == {WHITE}
    # An alpha of 0 hides a point: it is neither drawn nor met.
    cloud.evaluate("""() => {
      const colors = rows.flatMap(([, , color], place) => [...color, place && 255]);
      cloud.setStyle({ colors: Uint8Array.from(colors) });
    }""")
    assert at(pixels(cloud), 0, 0) == WHITE
    cloud.mouse.move(300, 200)
    assert cloud.evaluate("told.hover") == []
    # Dark ground, and an outline two standard deviations from its middle: 2 x 0.5 x 40 = 40 pixels.
    cloud.evaluate("""() => cloud.setEllipses([
      { x: 3, y: -2, varX: 0.25, covXY: 0, varY: 1, color: [0, 0, 255], label: "a <b>class</b>" },
      { x: NaN, y: 0, varX: 1, covXY: 0, varY: 1, color: [0, 0, 255], label: "unknown" },
    ])""")
    picture = pixels(cloud)
    assert at(picture, 4, -2)[2] > at(picture, 4, -2)[0] + 60
    assert at(picture, 3, -2) == WHITE


def test_points_are_met_chosen_and_lassoed(cloud: Page) -> None:
    cloud.mouse.move(303, 202)
    cloud.mouse.move(301, 201)
    cloud.mouse.move(340, 160)  # nothing there
    cloud.mouse.move(380, 199)
    assert cloud.evaluate("told.hover") == [
        [0, 303, 202], [None, 340, 160], [1, 380, 199],
    ]  # fmt: skip
    # The dim point 7 at (-2.6, -2) is the nearer one here, but 5 is bright.
    cloud.mouse.move(190, 280)
    assert cloud.evaluate("cloud.met") == 5
    cloud.mouse.move(200, 280)
    assert cloud.evaluate("cloud.met") == 7
    cloud.mouse.click(380, 202)
    cloud.mouse.click(450, 350)
    assert cloud.evaluate("told.pick") == [1]
    # A triangle around (-3, -2) and (-2, -3), with the dim point in it; (0, 0) lies outside.
    cloud.evaluate("cloud.setTool('lasso')")
    lasso(cloud, [(150, 200), (290, 340), (150, 340)])
    assert cloud.evaluate("told.select") == [[5, 6]]
    lasso(cloud, [(280, 60), (320, 60), (320, 100), (280, 100)])
    assert cloud.evaluate("told.select.at(-1)") == [4], "dim ones where there is no bright one"
    cloud.mouse.click(450, 350)
    assert cloud.evaluate("told.select.at(-1)") == []
    cloud.evaluate("cloud.setTool('pan')")
    cloud.keyboard.down("Shift")
    lasso(cloud, [(150, 80), (320, 80), (320, 220), (150, 220)])
    cloud.keyboard.up("Shift")
    assert cloud.evaluate("told.select.at(-1)") == [0, 2]
    assert cloud.evaluate("told.pick") == [1]
    assert cloud.evaluate("told.view") == [], "no lasso moved the view"


def lasso(page: Page, corners: list[tuple[int, int]]) -> None:
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner, steps=4)
    page.mouse.up()


def test_the_view_by_mouse_keyboard_and_touch(cloud: Page) -> None:
    def view() -> dict[str, Any]:
        found: dict[str, Any] = cloud.evaluate("cloud.view()")
        return found

    assert view() == {"x": 0, "y": 0, "scale": 40, "fitted": False}
    cloud.mouse.move(300, 200)
    cloud.mouse.down()
    cloud.mouse.move(340, 220, steps=4)
    cloud.mouse.up()
    assert (view()["x"], view()["y"]) == pytest.approx((-1, 0.5))
    picture = pixels(cloud)
    assert near(picture.getpixel((340, 220)), RED)
    assert cloud.evaluate("told.view.at(-1)") == view()
    assert cloud.evaluate("told.pick") == []
    # What lies under the pointer stays there: (0, 0) at (340, 220).
    cloud.mouse.wheel(0, -100)
    cloud.wait_for_function("cloud.view().scale > 41")
    assert cloud.evaluate("cloud.camera.toScreen(0, 0)") == pytest.approx([340, 220])
    assert near(pixels(cloud).getpixel((340, 220)), RED)
    # Farther than the picture reaches: (0, 0) was 500 pixels left of the view.
    cloud.evaluate("cloud.setView({ x: 20, y: 0, scale: 40 })")
    cloud.evaluate(FRAMES)
    for _ in range(2):
        cloud.mouse.move(200, 200)
        cloud.mouse.down()
        cloud.mouse.move(500, 200, steps=3)
        cloud.mouse.up()
    cloud.mouse.move(300, 380)
    assert near(pixels(cloud).getpixel((100, 200)), RED)
    before = view()
    cloud.evaluate("cloud.setPoints(data(rows.map(([x, y]) => [2 * x, 3 * y])))")
    assert view() == before, "other points leave a chosen view alone"
    cloud.keyboard.press("0")
    cloud.wait_for_function("!cloud.camera.move")
    assert view()["fitted"]
    left, top = cloud.evaluate("cloud.camera.toScreen(-6, 9)")
    assert 0 < left < 600
    assert 0 < top < 60, "all are in view, and fill it"
    scale = view()["scale"]
    cloud.keyboard.press("+")
    assert view()["scale"] == pytest.approx(1.3 * scale)
    x = view()["x"]
    cloud.keyboard.press("ArrowRight")
    assert view()["x"] == pytest.approx(x + 40 / view()["scale"])
    cloud.mouse.move(100, 100)
    cloud.mouse.dblclick(100, 100)
    cloud.wait_for_function("!cloud.camera.move && cloud.view().fitted")
    cloud.keyboard.press("l")
    cloud.keyboard.press("a")
    assert cloud.evaluate("told.select") == [[0, 1, 2, 5, 6]]
    cloud.keyboard.press("Escape")
    cloud.keyboard.press("Escape")
    assert cloud.evaluate("told.select.at(-1)") == []
    assert cloud.evaluate("told.tool") == ["lasso", "pan"]
    cloud.keyboard.press("Enter")
    met = cloud.evaluate("cloud.met")
    cloud.keyboard.press("Enter")
    assert met is not None
    assert cloud.evaluate("told.pick") == [met]


def test_two_fingers_zoom_and_a_tap_reads_before_it_chooses(cloud: Page) -> None:
    browser = cloud.context.new_cdp_session(cloud)
    browser.send("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})

    def touch(kind: str, *places: tuple[int, int]) -> None:
        points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(places)]
        browser.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (280, 200))
    touch("touchStart", (280, 200), (320, 200))
    touch("touchMove", (260, 200), (340, 200))
    touch("touchEnd")
    cloud.wait_for_function("Math.abs(cloud.view().scale - 80) < 1")
    assert cloud.evaluate("cloud.camera.toScreen(0, 0)") == pytest.approx([300, 200], abs=1)
    assert cloud.evaluate("told.hover") == []
    for taps in (1, 2):
        touch("touchStart", (300, 200))
        touch("touchEnd")
        cloud.wait_for_function("taps => told.hover.length + told.pick.length === taps", arg=taps)
        cloud.wait_for_timeout(400)  # else it is a double tap
    assert cloud.evaluate("[cloud.met, told.pick]") == [0, [0]]


def test_points_glide_and_what_is_under_the_pointer_is_where_they_go(cloud: Page) -> None:
    cloud.evaluate("""() => {
      const moved = rows.map(([x, y]) => [x + 3, y - 1]);
      cloud.setPoints({ ...data(moved), animate: 5000 });
    }""")
    cloud.mouse.move(300 + 120, 200 + 40)
    assert cloud.evaluate("cloud.met") == 0
    cloud.wait_for_function("cloud.points.place(0)[0] > 0.3")
    x, y = cloud.evaluate("cloud.points.place(0)")
    assert 0.3 < x < 3
    assert -y == pytest.approx(x / 3)
    # Another change on the way starts from where the points are; the one that is new fades in.
    cloud.evaluate("""() => {
      const keys = [...data(rows).keys, "newcomer"];
      cloud.setPoints({ ...data([...rows, [5, 4]]), keys, animate: 300 });
    }""")
    x_then = cloud.evaluate("cloud.points.from[0]")
    assert x - 1e-6 <= x_then < 2.9
    assert cloud.evaluate("[...cloud.points.fresh]") == [0, 0, 0, 1, 0, 0, 0, 0, 1]
    cloud.wait_for_function("cloud.points.glide.share === 1 && !cloud.stale")
    cloud.mouse.move(590, 390)
    picture = pixels(cloud)
    assert near(at(picture, 0, 0), RED)
    assert at(picture, 3, -1) == WHITE
    drawn = "new Promise(done => { const draw = cloud.renderer.draw; let times = 0; \
      cloud.renderer.draw = (...given) => { times += 1; draw.apply(cloud.renderer, given); }; \
      setTimeout(() => done(times), 400); })"
    assert cloud.evaluate(drawn) == 0, "nothing is drawn when nothing changes"
    cloud.emulate_media(reduced_motion="reduce")
    cloud.evaluate("cloud.setPoints({ ...data(rows.map(([x, y]) => [x + 3, y])), animate: 60000 })")
    assert near(at(pixels(cloud), 3, 0), RED)


def test_none_one_and_all_at_the_same_place(cloud: Page) -> None:
    for rows, drawn in (([], 0), ([[7, 7]], 1), ([[7, 7]] * 5, 5), ([["NaN", "NaN"]], 0)):
        cloud.evaluate("rows => { cloud.resetView(); cloud.setPoints(data(rows)); }", rows)
        picture = pixels(cloud)
        view = cloud.evaluate("cloud.view()")
        assert all(abs(view[name]) < 1e6 for name in ("x", "y", "scale")), "finite, never null"
        assert view["scale"] > 0
        assert cloud.evaluate("cloud.renderer.drawn") == drawn
        assert (picture.getpixel((300, 200)) == WHITE) == (drawn == 0)
        cloud.mouse.move(305, 205)
        cloud.mouse.move(300, 200)
        assert (cloud.evaluate("cloud.met") is None) == (drawn == 0)
        cloud.keyboard.press("a")
        cloud.mouse.wheel(0, 100)


def test_a_lost_context_comes_back_and_disposing_leaves_nothing(cloud: Page) -> None:
    messages: list[str] = []
    cloud.on("console", lambda message: messages.append(message.text))
    cloud.evaluate("() => { window.gpu = cloud.renderer.gl.getExtension('WEBGL_lose_context'); }")
    cloud.evaluate("gpu.loseContext()")
    trouble = cloud.locator(".fasa-cloud-trouble")
    trouble.wait_for(state="visible")
    assert "graphics memory" in trouble.inner_text()
    cloud.evaluate("cloud.setView({ x: 1, y: 0, scale: 40 })")
    cloud.evaluate(FRAMES)
    cloud.evaluate("gpu.restoreContext()")
    trouble.wait_for(state="hidden")
    assert near(at(pixels(cloud), -1, 0), RED)
    # Browsers keep sixteen contexts: forty others came and went, and this one is still there.
    cloud.evaluate("""async () => {
      for (let turn = 0; turn < 40; turn += 1) {
        const other = new PointCloud(document.body, {});
        other.setPoints(data(rows));
        await new Promise(requestAnimationFrame);
        other.dispose();
      }
    }""")
    assert not [text for text in messages if "Too many active WebGL contexts" in text]
    assert not cloud.evaluate("cloud.renderer.lost")
    assert cloud.locator("canvas").count() == 2
    cloud.evaluate("cloud.dispose()")
    assert cloud.evaluate("document.getElementById('host').childElementCount") == 0
    cloud.evaluate("""() => {
      const context = HTMLCanvasElement.prototype.getContext;
      HTMLCanvasElement.prototype.getContext = function (kind, ...given) {
        return kind === "webgl2" ? null : context.call(this, kind, ...given);
      };
      told.hover = [];
      const onHover = (index) => told.hover.push(index);
      window.other = new PointCloud(document.getElementById("host"), { onHover });
      other.setPoints(data(rows));
    }""")
    assert "WebGL2" in trouble.inner_text()
    cloud.mouse.move(310, 200)
    cloud.mouse.move(300, 200)
    assert cloud.evaluate("told.hover") == [], "what is not drawn is not met"
    cloud.evaluate("other.dispose()")


def test_the_picture_to_keep_is_sharp_and_on_its_ground(cloud: Page) -> None:
    encoded = cloud.evaluate("""async () => {
      const bytes = new Uint8Array(await (await cloud.picture()).arrayBuffer());
      return btoa(String.fromCharCode(...bytes));
    }""")
    picture = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
    assert picture.size == (1200, 800)
    assert near(picture.getpixel((600, 400)), RED)
    assert picture.getpixel((760, 400)) == WHITE
    assert near(at(pixels(cloud), 0, 0), RED), "the one on screen is there again"
