"""Claims: 50,000 points pan at 30 frames a second or better, and another epoch's are soon drawn.

In headless Chromium with software graphics, 1300 x 800 pixels, discs and rings of 60 classes, all
in view and three times nearer. A frame counts when the GPU process has drawn it: the clock stops
only after the last one's pixels were read back. An epoch's change is counted from the call with new
places, colours and looks (the fetch is the page's) until its first frame's pixels were read back;
300 ms is the target of the whole change, the fetch included, of which this may take a half.

    python -m benchmarks.bench_point_cloud [--seconds 5]

A machine busy with something else draws fewer; the load average is printed with them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from typing import Any

from playwright.sync_api import Page, sync_playwright

from benchmarks.dashboard_log import CHROMIUM_FLAGS
from tests.browser.point_cloud_page import point_cloud_page

CHROMIUM = "/usr/bin/chromium"
WIDTH, HEIGHT = 1300, 800
CLASSES, CHANGES = 60, 15
FRAMES, CHANGE = 30.0, 0.150  # frames a second at least; seconds at most

PREPARE = """([count, classes]) => {
  window.cloud?.dispose();
  window.cloud = new PointCloud(document.getElementById("host"), {});
  window.epochs = [0, 0.5].map((shift) => blobs(count, classes, { shift }));
  window.finish = () => cloud.renderer.gl.readPixels(0, 0, 1, 1, 6408, 5121, new Uint8Array(4));
  cloud.setPoints(epochs[0]);
  cloud.setStyle(epochs[0]);
  const drawn = cloud.renderer.draw.bind(cloud.renderer);
  window.drawn = 0;
  cloud.renderer.draw = (...given) => { drawn(...given); window.drawn += 1; };
}"""

# The mouse is held down; each frame moves it on, to and fro over most of the view.
PAN = """async (seconds) => {
  const frame = () => new Promise(requestAnimationFrame);
  const move = (turn) => cloud.node.dispatchEvent(new PointerEvent("pointermove", {
    pointerId: 1, bubbles: true,
    clientX: 650 + 500 * Math.sin(turn / 15), clientY: 400 + 300 * Math.sin(turn / 23),
  }));
  for (let turn = 0; turn < 20; turn += 1) { move(turn); await frame(); }
  finish();
  window.drawn = 0;
  const start = performance.now();
  let turns = 0;
  for (; performance.now() - start < 1000 * seconds; turns += 1) { move(turns); await frame(); }
  finish();
  const taken = (performance.now() - start) / 1000;
  return [turns / taken, window.drawn / taken];
}"""

CHANGE_EPOCH = """async (turn) => {
  const frame = () => new Promise(requestAnimationFrame);
  const next = { ...epochs[turn % 2], animate: 400 };
  const before = window.drawn;
  finish();
  const start = performance.now();
  cloud.setPoints(next);
  cloud.setStyle(next);
  cloud.setEllipses(next.priors.slice(0, 5));
  const called = performance.now() - start;
  while (window.drawn === before) await frame();
  finish();
  const seen = performance.now() - start;
  await new Promise((done) => setTimeout(done, 600));
  return [called / 1000, seen / 1000];
}"""


def panning(page: Page, seconds: float) -> tuple[float, float]:
    """Frames a second while the mouse drags, and how many of them had the points drawn anew."""
    page.mouse.move(WIDTH / 2, HEIGHT / 2)
    page.mouse.down()
    rate, anew = page.evaluate(PAN, seconds)
    page.mouse.up()
    return rate, anew


def say(what: str, found: str, target: str, kept: bool) -> bool:
    print(f"{what:<62} {found:>12}  target {target}{'' if kept else '  MISSED'}", flush=True)
    return kept


def bench(page: Page, count: int, seconds: float) -> bool:
    page.evaluate(PREPARE, [count, CLASSES])
    page.wait_for_function("window.drawn > 0")
    kept = []
    for times, where in ((1, "all in view"), (3, "three times nearer")):
        page.evaluate("(times) => { cloud.resetView(); cloud.zoom(times); }", times)
        rate, anew = panning(page, seconds)
        title = f"{count:,} points pan, {where} ({anew:.0f}/s drawn anew)"
        kept.append(say(title, f"{rate:.0f} frames/s", f">= {FRAMES:.0f}", rate >= FRAMES))
    page.evaluate("cloud.resetView()")
    taken: list[Any] = [page.evaluate(CHANGE_EPOCH, turn) for turn in range(1, CHANGES + 1)]
    called, seen = (statistics.median(column) for column in zip(*taken, strict=True))
    title = f"{count:,} points, epoch drawn (median; {1000 * called:.0f} ms of it in the calls)"
    target = f"<= {1000 * CHANGE:.0f} ms"
    kept.append(say(title, f"{1000 * seen:.0f} ms", target, seen <= CHANGE))
    return all(kept)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_content(point_cloud_page(WIDTH, HEIGHT))
        page.wait_for_function("window.blobs")
        kept = [bench(page, count, options.seconds) for count in (5_000, 50_000)]
        browser.close()
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
