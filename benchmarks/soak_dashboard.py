"""Claim: ten minutes of updates remount no chart, lose no zoom and let no memory grow.

A tab shows the live page of a run of 1,203 classes, zoomed into one chart, while a step comes
every 0.3 s and a snapshot every 3 s. Every half minute it prints the tab's JavaScript heap after a
garbage collection, the nodes in its document and the server's resident memory. Flat means: the
mean of the last third is at most 10 % above that of the middle third.

    python -m benchmarks.soak_dashboard [--minutes 10]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from playwright.sync_api import CDPSession, Page, sync_playwright

from benchmarks.bench_dashboard import CHARTS_READY, CHROMIUM
from benchmarks.dashboard_log import CHROMIUM_FLAGS, EPOCHS, STEPS_PER_EPOCH, dashboard, write_log
from tests.browser.synthetic_log import SyntheticRun

EVERY, STEP_SECONDS, MOST_GROWTH = 30.0, 0.3, 1.10
KEPT = "[...document.querySelectorAll('.fasa-plot')].filter((plot) => plot.marked).length"
ZOOM = "document.querySelector('[data-chart=losses]').layout.xaxis.range.map(Number)"


def measured(page: Page, session: CDPSession, server: psutil.Process) -> tuple[float, float, float]:
    """MB of the tab's heap, nodes of its document, MB of the server."""
    session.send("HeapProfiler.collectGarbage")
    heap = session.send("Runtime.getHeapUsage")["usedSize"] / 1e6
    nodes = page.evaluate("document.getElementsByTagName('*').length")
    return heap, float(nodes), server.memory_info().rss / 1e6


def growth(values: Sequence[float]) -> float:
    """Mean of the last third over the mean of the middle third."""
    third = len(values) // 3
    return statistics.mean(values[-third:]) / statistics.mean(values[third:-third])


def soak(page: Page, run: SyntheticRun, server: psutil.Process, minutes: float) -> bool:
    page.evaluate("document.querySelectorAll('.fasa-plot').forEach((plot) => { plot.marked = 1; })")
    page.evaluate("""Plotly.relayout(document.querySelector('[data-chart=losses]'),
                     {'xaxis.range': [2, 5]})""")
    charts = page.locator(".fasa-plot").count()
    session = page.context.new_cdp_session(page)
    rows = []
    began = due = time.monotonic()
    while time.monotonic() - began < 60 * minutes:
        if time.monotonic() >= due:
            rows.append(measured(page, session, server))
            heap, nodes, memory = rows[-1]
            print(f"{(time.monotonic() - began) / 60:5.1f} min  step {run.step}  heap {heap:.1f} MB"
                  f"  {nodes:.0f} nodes  server {memory:.0f} MB", flush=True)  # fmt: skip
            due += EVERY
        run.advance(1)
        page.wait_for_timeout(1000 * STEP_SECONDS)
    kept = page.evaluate(
        "[...document.querySelectorAll('.fasa-plot')].filter((p) => p.marked).length"
    )
    zoom = page.evaluate(ZOOM)
    grown = [growth(column) for column in zip(*rows, strict=True)]
    print(f"{kept} of {charts} charts are the same nodes, zoom {zoom}; last third over middle "
          f"third: heap {grown[0]:.3f}, nodes {grown[1]:.3f}, server {grown[2]:.3f} "
          f"(target {MOST_GROWTH})")  # fmt: skip
    return kept == charts and zoom == [2, 5] and max(grown) <= MOST_GROWTH


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        run = write_log(Path(name), others=0)
        assert run.step == EPOCHS * STEPS_PER_EPOCH
        with dashboard(Path(name)) as (url, process, _), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
            page = browser.new_page(viewport={"width": 1300, "height": 1000})
            page.goto(f"{url}/run?run={run.id}")
            page.wait_for_function(CHARTS_READY, timeout=60_000)
            flat = soak(page, run, psutil.Process(process.pid), options.minutes)
            browser.close()
        assert run.writer
        run.writer.close()
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
