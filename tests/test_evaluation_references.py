"""Average precision against the oracle, and the lvis and COCO packages on random detections."""

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_builders import Table, found, image, rectangle, truth, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lvis import LVIS, LVISEval, LVISResults
from pycocotools import mask as rle_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from trainer import evaluation, matching
from trainer.evaluation import evaluate_detections

# The oracle


@pytest.mark.parametrize("cap", [3, 300])
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_equals_the_oracle(shared_oracles: Path, tmp_path: Path, kind: str, cap: int) -> None:
    oracle = json.loads((shared_oracles / "08_lvis_eval.json").read_text())
    sides = {entry["id"]: entry["height"] for entry in oracle["gt"]["images"]}
    records = [
        entry | {"segmentation": rectangle(*entry["bbox"], side=sides[entry["image_id"]])}
        for entry in oracle["detections"]
    ]
    ids = [entry["id"] for entry in oracle["gt"]["categories"]]
    path = written(tmp_path, oracle["gt"])
    result = evaluate_detections(path, ids, records, federated=True, max_detections=cap)
    expected = oracle["results"][kind][f"AP_standard_maxdets{cap}"]
    compare_summary(result, kind, expected)
    if cap == 300:
        per_class = 100 * np.array(oracle["results"][kind]["per_category_AP"])
        np.testing.assert_allclose(result.per_class[kind], per_class.astype(np.float32), rtol=1e-7)


NAMES = {"AP": "AP", "AP50": "AP50", "AP75": "AP75", "APr": "AP_r", "APc": "AP_c", "APf": "AP_f"}
NAMES |= {"APs": "AP_small", "APm": "AP_medium", "APl": "AP_large"}


def compare_summary(
    result: evaluation.EvaluationResult, kind: str, expected: dict[str, float]
) -> None:
    """Fractions of the reference, -1 for no ground truth, against our percent."""
    for theirs, ours in NAMES.items():
        if theirs not in expected:
            continue
        if expected[theirs] == -1:
            assert f"{kind}/{ours}" not in result.metrics
        else:
            actual = result.metrics[f"{kind}/{ours}"] / 100
            assert actual == pytest.approx(expected[theirs], abs=1e-9), ours


# The reference packages on random detections


def random_case(seed: int, *, images: int, categories: int, federated: bool) -> tuple[Any, Any]:
    """A random annotation file and detections: near misses, false alarms, equal scores, slivers."""
    rng = np.random.default_rng(seed)
    entries, objects, records = [], [], []
    for number in range(1, images + 1):
        present = rng.choice(categories, size=rng.integers(0, 4), replace=False) + 1
        absent = set(rng.integers(1, categories + 1, size=2).tolist()) - set(present.tolist())
        partial = rng.integers(1, categories + 1, size=rng.integers(0, 3)).tolist()
        entries.append(
            image(number, tuple(absent), tuple(partial)) if federated else {"id": number}
        )
        for category in present.tolist():
            for _ in range(rng.integers(1, 4)):
                box = [int(v) for v in (*rng.integers(0, 60, 2), *rng.integers(3, 60, 2))]
                box[3] *= int(rng.random() > 0.1)  # the lvis package skips empty objects
                objects.append((number, category, box))
                records += near_misses(rng, number, category, box)
        for _ in range(rng.integers(0, 6)):
            box = [int(v) for v in (*rng.integers(0, 60, 2), *rng.integers(0, 60, 2))]
            category = int(rng.integers(1, categories + 1))
            records.append(found(number, category, box, score(rng)))
    letters = "".join(rng.choice(list("rcf"), size=categories))
    rng.shuffle(records)
    return truth(entries, objects, letters), records


def near_misses(
    rng: np.random.Generator, number: int, category: int, box: list[int]
) -> list[Table]:
    shifts = rng.integers(-6, 7, size=(rng.integers(0, 3), 4))
    boxes = [[max(0, int(a + b)) for a, b in zip(box, shift, strict=True)] for shift in shifts]
    return [found(number, category, shifted, score(rng)) for shifted in boxes]


def score(rng: np.random.Generator) -> float:
    """One of 20 values, so that many are equal."""
    return float(rng.integers(1, 21)) / 20


def without_masks(records: list[Table]) -> list[Table]:
    names = ("image_id", "category_id", "bbox", "score")
    return [{name: record[name] for name in names} for record in records]


def without_boxes(records: list[Table]) -> list[Table]:
    names = ("image_id", "category_id", "segmentation", "score")
    return [{name: record[name] for name in names} for record in records]


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 2**32 - 1),
    cap=st.sampled_from([2, 5, 300]),
    at_once=st.sampled_from([1, 40, 500_000]),
)
def test_equals_the_lvis_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, cap: int, at_once: int
) -> None:
    monkeypatch.setattr(np, "float", float, raising=False)  # the lvis package still asks for it
    monkeypatch.setattr(matching, "_OVERLAPS_AT_ONCE", at_once)
    monkeypatch.setattr(matching, "_CELLS_AT_ONCE", at_once)
    content, records = random_case(seed, images=10, categories=6, federated=True)
    if not records:
        return  # the lvis package cannot evaluate nothing
    path = written(tmp_path, content)
    result = evaluate_detections(path, range(1, 7), records, federated=True, max_detections=cap)
    for kind, reduced in (("bbox", without_masks(records)), ("segm", without_boxes(records))):
        reference_truth = LVIS(str(path))
        reference_found = LVISResults(reference_truth, copy.deepcopy(reduced), max_dets=cap)
        reference = LVISEval(reference_truth, reference_found, kind)
        reference.run()
        compare_summary(result, kind, dict(reference.get_results()))
        compare_classes(result.per_class[kind], reference.eval["precision"][..., 0])


def compare_classes(actual: np.ndarray, precision: np.ndarray) -> None:
    """`precision` is float64[T, R, K] of a reference, -1 for no ground truth."""
    masked = np.where(precision > -1, precision, np.nan)
    expected = np.full(precision.shape[2], np.nan)
    some = ~np.isnan(masked).all(axis=(0, 1))
    expected[some] = 100 * np.nanmean(masked[:, :, some], axis=(0, 1))
    np.testing.assert_allclose(actual, expected.astype(np.float32), rtol=1e-7)


def compare_with_pycocotools(path: Path, records: list[Table]) -> None:
    ids = sorted(category["id"] for category in json.loads(path.read_text())["categories"])
    result = evaluate_detections(path, ids, records, federated=False, max_detections=100)
    for kind, reduced in (("bbox", without_masks(records)), ("segm", without_boxes(records))):
        with contextlib.redirect_stdout(io.StringIO()):
            reference_truth = COCO(str(path))
            reference_found = reference_truth.loadRes(copy.deepcopy(reduced))
            reference = COCOeval(reference_truth, reference_found, kind)
            reference.evaluate()
            reference.accumulate()
            reference.summarize()
        names = ("AP", "AP50", "AP75", "APs", "APm", "APl")
        compare_summary(result, kind, dict(zip(names, reference.stats[:6], strict=True)))
        compare_classes(result.per_class[kind], reference.eval["precision"][..., 0, 2])


@pytest.mark.parametrize("seed", range(8))
def test_equals_pycocotools(tmp_path: Path, seed: int) -> None:
    content, records = random_case(seed, images=12, categories=5, federated=False)
    crowd = np.random.default_rng(seed).random(len(content["annotations"])) < 0.15
    for annotation, is_crowd in zip(content["annotations"], crowd.tolist(), strict=True):
        annotation["iscrowd"] = int(is_crowd)
    compare_with_pycocotools(written(tmp_path, content), records)


def test_equals_pycocotools_on_real_photos(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "coco_mini" / "annotations" / "instances_val2017.json"
    content = json.loads(source.read_text())
    crowded = {entry["image_id"] for entry in content["annotations"] if entry.get("iscrowd")}
    by_crowd = sorted(content["images"], key=lambda entry: entry["id"] not in crowded)
    content["images"] = by_crowd[:40]
    ids = {entry["id"] for entry in content["images"]}
    annotations = [entry for entry in content["annotations"] if entry["image_id"] in ids]
    content["annotations"] = annotations
    assert any(entry.get("iscrowd") for entry in annotations)
    path = written(tmp_path, content)
    compare_with_pycocotools(path, shifted_truth(path, np.random.default_rng(0)))


def shifted_truth(path: Path, rng: np.random.Generator) -> list[Table]:
    """Every object's own mask moved a little, with now and then another category."""
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = COCO(str(path))
    categories = dataset.getCatIds()
    records = []
    for annotation in dataset.anns.values():
        shift = rng.integers(-8, 9, size=2)
        mask = np.roll(dataset.annToMask(annotation), shift, axis=(0, 1))
        code = rle_masks.encode(np.asfortranarray(mask))
        other = rng.random() < 0.2
        records.append(
            {
                "image_id": annotation["image_id"],
                "category_id": int(rng.choice(categories)) if other else annotation["category_id"],
                "bbox": rle_masks.toBbox(code).tolist(),
                "score": score(rng),
                "segmentation": {"size": code["size"], "counts": code["counts"].decode()},
            }
        )
    return records
