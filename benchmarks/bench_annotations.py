"""Claim: annotations of LVIS v1's size are parsed once, and loader processes share what was read.

A file of 1 GB, shaped like LVIS v1 train, is opened for the first time (parsed, checked, written
into its cache) and again, each in a process of its own: the second takes at least 10 times less
and holds next to nothing in private memory. Then loader processes read photos of a set of a tenth
of the images and of the whole: the private memory of one (USS: what would be free if it ended)
does not grow with the set. PSS counts also its share of the pages of the cache that it uses with
others: all processes together hold each of them once, so at most the cache's size. With `--lvis`
the first line says what the lvis package itself needs.

Needs 2.5 GB of disk for 100,170 images, and 3.5 GB of memory, which `--lvis` doubles.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from lvis import LVIS
from torch.utils.data import DataLoader

from benchmarks.kept_results import keeping
from benchmarks.lvis_shaped import LVIS_IMAGES, write_lvis_shaped
from data.annotation_table import open_annotations
from data.detection import DetectionDataset
from data.repeat_factor import epoch_indices, repeat_factors
from data.transforms import EpochView, collate

FASTER = 10  # the second open, as a ratio
MOST_GROWTH = 8.0  # MB of a loader process, at ten times the images: the noise of its allocations
BATCH, LONGEST_SIDE = 4, 320
MEGABYTE = 1e6


@dataclass(frozen=True)
class Opened:
    """What it took to open a file in a process of its own.

    Attributes:
        seconds: without the start of Python and its imports.
        peak: megabytes on top of these at most, pages of mapped files included.
        private: megabytes on top of these that it holds afterwards, mapped files left out.
    """

    seconds: float
    peak: float
    private: float


@dataclass(frozen=True)
class Loaded:
    """What loader processes took.

    Attributes:
        started: seconds until the set was open and an epoch's order was drawn.
        uss: megabytes of each process.
        pss: megabytes of each process.
        items: images a second, all processes together.
    """

    started: float
    uss: list[float]
    pss: list[float]
    items: float


def in_its_own_process(work: Callable[..., Any], *arguments: object) -> Any:
    """What `work` returns in a fresh process."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as executor:
        return executor.submit(work, *arguments).result()


def opened(path: Path, plainly: bool) -> Opened:
    """Open a file by our table or, plainly, by the lvis package."""
    before = psutil.Process().memory_info()
    started = time.perf_counter()
    table = LVIS(str(path)) if plainly else open_annotations(path)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before.rss
    after = psutil.Process().memory_info()
    private = (after.rss - after.shared) - (before.rss - before.shared)
    del table
    return Opened(seconds, peak / MEGABYTE, private / MEGABYTE)


def loaded(path: Path, folder: Path, workers: int, items: int) -> Loaded:
    """Read `items` images of an epoch with repeat-factor sampling."""
    started = time.perf_counter()
    data_set = DetectionDataset(path, folder)
    factors = repeat_factors(data_set.image_categories, data_set.num_classes)
    view = EpochView(data_set, seed=0, epoch=1, order=epoch_indices(factors, epoch=1, seed=0))
    seconds = time.perf_counter() - started
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["data.transforms"])
    batches = [list(range(start, start + BATCH)) for start in range(0, items, BATCH)]
    loader = DataLoader(
        view,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        multiprocessing_context=context,
        persistent_workers=True,  # measured once they have nothing in their hands
    )
    begun = 0.0
    for number, _ in enumerate(loader):
        if number == workers:  # all are at work
            begun = time.perf_counter()
    rate = BATCH * (len(batches) - workers - 1) / (time.perf_counter() - begun)
    # A loader process is a child of the fork server, a child of this process.
    processes = [process for server in psutil.Process().children() for process in server.children()]
    memory = [process.memory_full_info() for process in processes]
    return Loaded(
        seconds, [m.uss / MEGABYTE for m in memory], [m.pss / MEGABYTE for m in memory], rate
    )


def open_twice(path: Path, against_lvis: bool) -> bool:
    """Print what opening takes; whether the target is met."""
    size = path.stat().st_size
    print(f"{path.name}: {size / 1e9:.2f} GB of json")
    rows = [("first open", False), ("second open", False)]
    if against_lvis:
        rows.insert(0, ("lvis.LVIS", True))
    found: list[Opened] = []
    for name, plainly in rows:
        found.append(in_its_own_process(opened, path, plainly))
        print(
            f"  {name:12} {found[-1].seconds:8.2f} s   peak {found[-1].peak:7,.0f} MB"
            f"   private afterwards {found[-1].private:7,.0f} MB"
        )
    ratio = found[-2].seconds / found[-1].seconds
    print(f"  the second is {ratio:.0f} times faster (target: at least {FASTER})")
    return bool(ratio >= FASTER)


def load_both(paths: dict[int, Path], workers: int, items: int) -> bool:
    """Print what loader processes take at each size; whether the target is met."""
    print(f"{workers} loader processes, {items} photos of up to {LONGEST_SIDE} pixels read")
    uss = []
    for images, path in paths.items():
        found = in_its_own_process(loaded, path, path.parent, workers, items)
        uss.append(statistics.median(found.uss))
        print(
            f"  {images:7,} images: ready after {found.started:5.1f} s, each process USS "
            f"{uss[-1]:6.1f} MB ({min(found.uss):.1f} to {max(found.uss):.1f}), PSS "
            f"{statistics.median(found.pss):6.1f} MB, {found.items:6.1f} images/s"
        )
    growth = uss[-1] - uss[0]
    print(f"  with the larger set {growth:+.1f} MB a process (target: at most {MOST_GROWTH:g})")
    return bool(growth <= MOST_GROWTH)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=LVIS_IMAGES, help="of the larger set")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--items", type=int, default=800, help="photos read at each size")
    parser.add_argument("--lvis", action="store_true", help="measure the lvis package too")
    parser.add_argument("--save", action="store_true", help="keep the result in benchmarks/results")
    arguments = parser.parse_args()
    kept = (
        keeping("bench_annotations", device=torch.device("cpu"))
        if arguments.save
        else nullcontext()
    )
    with tempfile.TemporaryDirectory() as name, kept:
        paths = {}
        for images in (arguments.images // 10, arguments.images):
            folder = Path(name) / str(images)
            folder.mkdir()
            paths[images] = write_lvis_shaped(
                folder / "lvis_v1_train.json",
                images=images,
                seed=0,
                image_folder=folder,
                longest_side=LONGEST_SIDE,
            )
        met = [open_twice(paths[arguments.images], arguments.lvis)]
        met.append(load_both(paths, arguments.workers, arguments.items))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
