"""Claim: evaluation takes at most a tenth of the lvis package's time, with the same figures.

2,000 images shaped like LVIS v1's with 300 detections each: moved copies of the objects and false
alarms, of the image's judged classes and of others. Both sides start from the same records in the
published results format and an annotation file that is open already, one after the other in one
process. Seconds are the process's own on the processor, so that others on the machine do not
count; peaks are what each side adds to resident memory. The lvis package gives 13 figures a kind,
ours are these and AP_fixed and AP_pool.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lvis import LVIS, LVISEval, LVISResults
from pycocotools import mask as rle_masks

from benchmarks.kept_results import keeping
from benchmarks.lvis_shaped import NUM_CLASSES, write_lvis_shaped
from benchmarks.peak_memory import peak_growth
from data.annotation_table import open_annotations
from trainer.evaluation import EvaluationResult, evaluate_detections

IMAGES, DETECTIONS = 2_000, 300
COPIES = 3  # of an object
TARGET, TARGET_DIFFERENCE = 10.0, 1e-9
FIGURES = {"AP": "AP", "AP50": "AP50", "AP75": "AP75"}
FIGURES |= {"APr": "AP_r", "APc": "AP_c", "APf": "AP_f"}
FIGURES |= {"APs": "AP_small", "APm": "AP_medium", "APl": "AP_large"}
FIGURES |= {"AR@300": "AR", "ARs@300": "AR_small", "ARm@300": "AR_medium", "ARl@300": "AR_large"}

Record = dict[str, Any]


def detections_of(truth: LVIS, seed: int) -> list[Record]:
    """`DETECTIONS` of every image, in random order."""
    generator = np.random.default_rng(seed)
    share = np.cumsum([category["instance_count"] + 1 for category in truth.dataset["categories"]])
    records: list[Record] = []
    for image in truth.dataset["images"]:
        own = truth.img_ann_map[image["id"]]
        found = [moved(generator, entry, image) for entry in own for _ in range(COPIES)]
        found = found[:DETECTIONS]
        judged = [entry["category_id"] for entry in own] + image["neg_category_ids"]
        while len(found) < DETECTIONS:
            # Outlines of the image at hand with another class.
            known = generator.random() < 0.3
            drawn = 1 + int(np.searchsorted(share, generator.random() * share[-1], side="right"))
            category = judged[generator.integers(len(judged))] if known else drawn
            shape = found[generator.integers(min(len(found), COPIES * len(own)))]
            record = shape | {"category_id": category, "score": float(generator.beta(1, 12))}
            found.append(record)
        records += found
    return [records[row] for row in generator.permutation(len(records))]


def moved(generator: np.random.Generator, entry: Record, image: Record) -> Record:
    """An object a little elsewhere, now and then as another class."""
    x, y, width, height = entry["bbox"]
    across, down = generator.normal(0, 0.12, 2) * (width, height)
    outlines = [
        (np.reshape(outline, (-1, 2)) + (across, down)).ravel().tolist()
        for outline in entry["segmentation"]
    ]
    parts = rle_masks.frPyObjects(outlines, image["height"], image["width"])
    code = rle_masks.merge(parts)
    other = generator.random() < 0.2
    return {
        "image_id": image["id"],
        "category_id": int(generator.integers(NUM_CLASSES)) + 1 if other else entry["category_id"],
        "bbox": [x + across, y + down, width, height],
        "score": float(generator.beta(2, 2)),
        "segmentation": {"size": code["size"], "counts": code["counts"].decode()},
    }


def without(records: list[Record], field: str) -> list[Record]:
    """Copies, as the lvis package writes into what it is given."""
    return [{key: value for key, value in row.items() if key != field} for row in records]


def lvis_figures(truth: LVIS, records: list[Record], kind: str) -> dict[str, float]:
    """Percent, under our names."""
    reference = LVISEval(truth, LVISResults(truth, records, max_dets=DETECTIONS), kind)
    reference.run()
    return {
        f"{kind}/{ours}": 100 * reference.results[theirs]
        for theirs, ours in FIGURES.items()
        if reference.results[theirs] > -1
    }


def measured(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What `work` gives, its seconds, and the megabytes that it adds at its peak."""
    results: list[Any] = []
    gc.collect()
    started = time.process_time()
    peak = peak_growth(lambda: results.append(work()))
    return results[0], time.process_time() - started, peak


def bench(folder: Path, images: int) -> bool:
    path = write_lvis_shaped(folder / "truth.json", images=images, seed=0)
    truth = LVIS(str(path))
    records = detections_of(truth, seed=1)
    ids = sorted(truth.get_cat_ids())
    print(
        f"{images} images x {DETECTIONS} detections, {len(truth.anns)} objects, {len(ids)} classes",
        flush=True,
    )
    table = open_annotations(path)
    evaluate_detections(table, ids, records[:1], federated=True)  # loads what is loaded once
    result: EvaluationResult
    result, ours, our_peak = measured(
        lambda: evaluate_detections(table, ids, records, federated=True)
    )
    print(f"ours, boxes and masks: {ours:.2f} s, {our_peak:.0f} MB", flush=True)
    theirs, their_peak, worst = 0.0, 0.0, 0.0
    for kind, other in (("bbox", "segmentation"), ("segm", "bbox")):
        copies = without(records, other)
        figures, seconds, peak = measured(lambda c=copies, k=kind: lvis_figures(truth, c, k))
        print(f"lvis, {kind}: {seconds:.1f} s, {peak:.0f} MB", flush=True)
        theirs, their_peak = theirs + seconds, max(their_peak, peak)
        differences = [abs(result.metrics[name] - value) for name, value in figures.items()]
        worst = max(worst, *differences)
        del copies
    print(
        f"{theirs / ours:.1f} times as fast (target {TARGET:.0f}), {our_peak / their_peak:.2f} of "
        f"the peak memory; figures differ by at most {worst:.1e} percent points (target "
        f"{TARGET_DIFFERENCE:.0e}); segm/AP {result.metrics['segm/AP']:.2f}"
    )
    return theirs / ours >= TARGET and worst <= TARGET_DIFFERENCE


def main() -> int:
    np.float = float  # type: ignore[attr-defined]  # gone from NumPy; the lvis package asks for it
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--save", action="store_true", help="keep the result in benchmarks/results")
    options = parser.parse_args()
    kept = (
        keeping("bench_evaluation", device=torch.device("cpu")) if options.save else nullcontext()
    )
    with tempfile.TemporaryDirectory() as name, kept:
        return 0 if bench(Path(name), options.images) else 1


if __name__ == "__main__":
    sys.exit(main())
