"""Claims: how fast the live page of a run of 1,203 classes is, in Chromium.

On a synthetic log of 11 such runs with 200 snapshots each (`dashboard_log.py`):

- the dashboard's server starts in under 3 s and imports no torch,
- header, knobs and class table show within 1.5 s, the charts in view within 2.5 s (95th
  percentile of 20 loads), on a first visit with an empty cache and on later ones,
- one new snapshot takes at most 30 ms of the server's time and 20 KB over the wire, and a poll
  when none came next to nothing,
- from commit to pixel at most 1.5 s.

    python -m benchmarks.bench_dashboard [--loads 20]

Loads on a machine busy with something else take longer; the load average is printed with them.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.dashboard_log import CHROMIUM_FLAGS, dashboard, write_log
from tests.browser.synthetic_log import SyntheticRun

CHROMIUM = "/usr/bin/chromium"
SIZE: Any = {"width": 1300, "height": 1000}
HEAD_READY = """() => document.querySelector(".fasa-pill")
    && document.querySelector(".fasa-knob input, .fasa-steering input")
    && document.querySelectorAll(".fasa-table tbody tr").length > 5"""
CHARTS_READY = """() => {
  const inView = [...document.querySelectorAll(".fasa-plot")].filter((plot) => {
    const { top, height } = plot.getBoundingClientRect();
    return height > 0 && top < innerHeight;
  });
  const drawn = (plot) => plot.querySelector(".trace, .heatmaplayer image");
  return inView.length > 1 && inView.every(drawn);
}"""
START, HEAD, CHARTS, SERVER, WIRE, IDLE, PIXEL = 3.0, 1.5, 2.5, 0.030, 20_000, 4_000, 1.5


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def loads(
    browser: Browser, address: str, count: int, *, first_visit: bool
) -> tuple[list[float], list[float]]:
    """Seconds from asking for the page to its head, and to its charts in view, of each load.

    A first visit has an empty cache; another one finds in it what the first visits left there.
    """
    heads, charts = [], []
    context = browser.new_context(viewport=SIZE)
    for _ in range(count):
        if first_visit:
            context.close()
            context = browser.new_context(viewport=SIZE)
        page = context.new_page()
        started = time.perf_counter()
        page.goto(address, wait_until="commit")
        page.wait_for_function(HEAD_READY, polling="raf", timeout=60_000)
        heads.append(time.perf_counter() - started)
        page.wait_for_function(CHARTS_READY, polling="raf", timeout=60_000)
        charts.append(time.perf_counter() - started)
        if not first_visit:
            page.wait_for_timeout(1000)  # in which the browser keeps what it compiled
        page.close()
    context.close()
    return heads, charts


def polled(page: Page, url: str) -> str:
    """The page's next question to the live route, as an address."""
    with page.expect_request(lambda request: f"{url}/live/runs/" in request.url
                             and "want=" in request.url) as asked:  # fmt: skip
        pass
    return str(asked.value.url)


def polls(page: Page, url: str, run: SyntheticRun, count: int) -> dict[str, list[float]]:
    """The server's seconds, and bytes, of the answer after one new snapshot and without any."""
    assert run.writer
    names = ("seconds", "bytes", "idle seconds", "idle bytes")
    found: dict[str, list[float]] = {name: [] for name in names}
    with httpx.Client(headers={"accept-encoding": "gzip"}) as client:  # as browsers do

        def ask(question: str, prefix: str) -> None:
            answer = client.get(question)
            taken = float(answer.headers["server-timing"].partition("dur=")[2]) / 1e3
            found[f"{prefix}seconds"].append(taken)
            found[f"{prefix}bytes"].append(answer.num_bytes_downloaded)

        for _ in range(count):
            page.wait_for_timeout(2500)  # the page has taken the last snapshot
            question = polled(page, url)
            ask(question, "idle ")
            run.advance(run.snapshot_every)  # ten steps of losses, and one snapshot
            assert run.writer.flush(30.0)
            ask(question, "")
    return found


def commits(page: Page, run: SyntheticRun, count: int) -> list[float]:
    """Seconds from a commit to the first frame that shows it, on the chart of losses."""
    assert run.writer
    seconds = []
    for turn in range(count):
        page.wait_for_timeout(400 + 130 * (turn % 7))  # not in step with the page's questions
        before = page.evaluate(DRAWN)
        run.advance(1)
        assert run.writer.flush(30.0)
        started = time.perf_counter()
        page.wait_for_function(f"(before) => ({DRAWN})() !== before", arg=before, polling="raf")
        seconds.append(time.perf_counter() - started)
    return seconds


DRAWN = """() => document.querySelector('[data-chart="losses"]').data
    .reduce((last, trace) => Math.max(last, trace.x?.at(-1) ?? 0), 0)"""


def say(what: str, value: float, target: float, write: Callable[[float], str]) -> bool:
    kept = value <= target
    print(f"{what}: {write(value)} (target {write(target)}){'' if kept else '  MISSED'}")
    return kept


def seconds(value: float) -> str:
    return f"{value:.2f} s"


def milliseconds(value: float) -> str:
    return f"{value * 1e3:.1f} ms"


def kilobytes(value: float) -> str:
    return f"{value / 1e3:.1f} KB"


def imports_torch() -> bool:
    code = "import app.server, app.main, sys; sys.exit('torch' in sys.modules)"
    return subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL).returncode == 1


def bench(runs: Path, count: int) -> bool:
    run = write_log(runs)
    size = (runs / "fasa.sqlite").stat().st_size / 1e6
    print(f"log of {size:.0f} MB; load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    kept = []
    with dashboard(runs) as (url, _, began), sync_playwright() as playwright:
        kept.append(say("the server starts", began, START, seconds))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        address = f"{url}/run?run={run.id}"
        loads(browser, address, 1, first_visit=True)  # the server compiles its pages once
        for first_visit, visit in ((True, "first visit"), (False, "later visit")):
            heads, charts = loads(browser, address, count, first_visit=first_visit)
            if not first_visit:
                heads, charts = heads[3:], charts[3:]
            share = f"95th percentile of {len(heads)}"
            for what, taken, target in (("header, knobs, table", heads, HEAD),
                                        ("charts in view", charts, CHARTS)):  # fmt: skip
                title = f"{visit}: {what}, median {statistics.median(taken):.2f} s, {share}"
                kept.append(say(title, percentile(taken, 0.95), target, seconds))
        page = browser.new_page(viewport=SIZE)
        page.goto(address)
        page.wait_for_function(CHARTS_READY, timeout=60_000)
        found = polls(page, url, run, 10)
        middle_of = {name: statistics.median(values) for name, values in found.items()}
        kept.append(
            say("poll after a new snapshot, at most", max(found["seconds"]), SERVER, milliseconds)
        )
        kept.append(say("bytes of it, at most", max(found["bytes"]), WIRE, kilobytes))
        kept.append(say("poll without news", middle_of["idle seconds"], SERVER, milliseconds))
        kept.append(say("bytes of it", middle_of["idle bytes"], IDLE, kilobytes))
        taken = commits(page, run, count)
        kept.append(say("commit to pixel, worst", max(taken), PIXEL, seconds))
        browser.close()
    assert run.writer
    run.writer.close()
    torch = imports_torch()
    print("the app imports torch  MISSED" if torch else "the app imports no torch")
    return all(kept) and not torch


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loads", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        return 0 if bench(Path(name) / "runs", options.loads) else 1


if __name__ == "__main__":
    sys.exit(main())
