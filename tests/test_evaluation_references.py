"""Average precision against the oracle, and the lvis and COCO packages on random detections."""

import contextlib
import copy
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_builders import (
    Table,
    random_case,
    rectangle,
    score,
    without_boxes,
    without_masks,
    written,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lvis import LVIS, LVISEval, LVISResults
from pycocotools import mask as rle_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from trainer import evaluation, matching
from trainer.evaluation import evaluate_detections

# The oracle


@dataclasses.dataclass(frozen=True)
class Oracle:
    """The shared federated set with detections, and what the reference packages gave."""

    path: Path
    category_ids: list[int]
    records: list[Table]
    results: dict[str, Any]


@pytest.fixture
def oracle(shared_oracles: Path, tmp_path: Path) -> Oracle:
    content = json.loads((shared_oracles / "08_lvis_eval.json").read_text())
    sides = {entry["id"]: entry["height"] for entry in content["gt"]["images"]}
    for entry in content["gt"]["images"]:
        entry["file_name"] = f"{entry['id']}.jpg"  # the oracle's images have no names
    records = [
        entry | {"segmentation": rectangle(*entry["bbox"], side=sides[entry["image_id"]])}
        for entry in content["detections"]
    ]
    ids = [entry["id"] for entry in content["gt"]["categories"]]
    return Oracle(written(tmp_path, content["gt"]), ids, records, content["results"])


@pytest.mark.parametrize("cap", [3, 300])
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_equals_the_oracle(oracle: Oracle, kind: str, cap: int) -> None:
    result = evaluate_detections(
        oracle.path, oracle.category_ids, oracle.records, federated=True, max_detections=cap
    )
    compare_summary(result, kind, oracle.results[kind][f"AP_standard_maxdets{cap}"])
    if cap == 300:
        per_class = 100 * np.array(oracle.results[kind]["per_category_AP"])
        np.testing.assert_allclose(result.per_class[kind], per_class.astype(np.float32), rtol=1e-7)


@pytest.mark.parametrize("top", [10, 10_000])
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_fixed_and_pooled_equal_the_oracle(oracle: Oracle, kind: str, top: int) -> None:
    metrics = evaluate_detections(
        oracle.path, oracle.category_ids, oracle.records, federated=True, max_detections=3,
        fixed_detections=top,
    ).metrics  # fmt: skip
    fixed = oracle.results[kind][f"AP_fixed_topk{top}_per_class"]
    pooled = oracle.results[kind][f"AP_pool_topk{top}"]
    for theirs, ours in (("", ""), ("r", "_r"), ("c", "_c"), ("f", "_f")):
        assert metrics[f"{kind}/AP_fixed{ours}"] / 100 == pytest.approx(
            fixed[f"AP{theirs}"], abs=1e-9
        )
        assert metrics[f"{kind}/AP_pool{ours}"] / 100 == pytest.approx(
            pooled[f"AP-pooled-{theirs or 'all'}"], abs=1e-9
        )


NAMES = {"AP": "AP", "AP50": "AP50", "AP75": "AP75", "APr": "AP_r", "APc": "AP_c", "APf": "AP_f"}
NAMES |= {"APs": "AP_small", "APm": "AP_medium", "APl": "AP_large"}
NAMES |= {"AR": "AR", "ARs": "AR_small", "ARm": "AR_medium", "ARl": "AR_large"}


def compare_summary(
    result: evaluation.EvaluationResult, kind: str, expected: dict[str, float]
) -> None:
    """Fractions of the reference, -1 for no ground truth, against our percent."""
    for full_name, value in expected.items():
        ours = NAMES[full_name.partition("@")[0]]  # the recalls are called AR@300
        if value == -1:
            assert f"{kind}/{ours}" not in result.metrics
        else:
            actual = result.metrics[f"{kind}/{ours}"] / 100
            assert actual == pytest.approx(value, abs=1e-9), ours


# The reference packages on random detections


@settings(
    max_examples=40,
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
    for kind in ("bbox", "segm"):
        reference = lvis_reference(path, records, kind, cap)
        compare_summary(result, kind, dict(reference.get_results()))
        compare_classes(result.per_class[kind], reference.eval["precision"][..., 0])


def lvis_reference(path: Path, records: list[Table], kind: str, cap: int) -> LVISEval:
    reduced = without_masks(records) if kind == "bbox" else without_boxes(records)
    reference_truth = LVIS(str(path))
    reference_found = LVISResults(reference_truth, copy.deepcopy(reduced), max_dets=cap)
    reference = LVISEval(reference_truth, reference_found, kind)
    reference.run()
    return reference


@pytest.mark.parametrize("seed", range(12))
def test_fixed_and_pooled_equal_the_lvis_package_with_the_best_of_each_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(np, "float", float, raising=False)
    content, records = random_case(seed, images=10, categories=6, federated=True)
    path, top = written(tmp_path, content), (4, 10_000)[seed % 2]
    metrics = evaluate_detections(
        path, range(1, 7), records, federated=True, max_detections=2, fixed_detections=top
    ).metrics
    best = []
    for category in range(1, 7):
        own = [record for record in records if record["category_id"] == category]
        best += sorted(own, key=lambda record: record["score"], reverse=True)[:top]
    for kind in ("bbox", "segm"):
        reference = lvis_reference(path, best, kind, -1)
        for letter, group in zip("rcf", reference.freq_groups, strict=True):
            expected = reference.results[f"AP{letter}"]
            actual = metrics.get(f"{kind}/AP_fixed_{letter}", -100) / 100
            assert actual == pytest.approx(expected, abs=1e-9)
            actual = metrics.get(f"{kind}/AP_pool_{letter}", -100) / 100
            assert actual == pytest.approx(pooled(reference, group), abs=1e-9)
        assert metrics[f"{kind}/AP_fixed"] / 100 == pytest.approx(reference.results["AP"], abs=1e-9)
        expected = pooled(reference, list(range(6)))
        assert metrics[f"{kind}/AP_pool"] / 100 == pytest.approx(expected, abs=1e-9)


def test_a_score_threshold_is_that_of_a_detector_but_for_fixed_and_pooled(tmp_path: Path) -> None:
    content, records = random_case(3, images=10, categories=6, federated=True)
    path = written(tmp_path, content)

    def metrics(records: list[Table], threshold: float = -np.inf) -> dict[str, float]:
        return evaluate_detections(
            path, range(1, 7), records, federated=True, score_threshold=threshold
        ).metrics

    everything, thresholded = metrics(records), metrics(records, 0.5)
    detected = metrics([record for record in records if record["score"] > 0.5])
    assert thresholded["bbox/AP"] != everything["bbox/AP"]
    for name, value in thresholded.items():
        is_uncapped = name.partition("/")[2].startswith(("AP_fixed", "AP_pool"))
        assert value == (everything if is_uncapped else detected)[name], name


def pooled(reference: LVISEval, group: list[int]) -> float:
    """One curve over the categories at the positions `group`, in plain loops; -1: no objects."""
    images = len(reference.params.img_ids)
    blocks = [
        reference.eval_imgs[category * 4 * images + image]  # of every size
        for image in range(images)
        for category in group
    ]
    blocks = [block for block in blocks if block is not None]
    objects = sum(int((block["gt_ignore"] == 0).sum()) for block in blocks)
    if objects == 0:
        return -1
    precisions = []
    for threshold in range(10):
        detections = [
            (score, match > 0)
            for block in blocks
            for score, match, ignored in zip(
                block["dt_scores"], block["dt_matches"][threshold], block["dt_ignore"][threshold],
                strict=True,
            )
            if not ignored
        ]  # fmt: skip
        curve, found_ = [], 0
        for rank, (_, hit) in enumerate(sorted(detections, key=lambda d: -d[0]), start=1):
            found_ += hit
            curve.append((found_ / objects, found_ / rank))
        for recall in np.linspace(0, 1, 101):
            precisions.append(max((p for r, p in curve if r >= recall), default=0.0))
    return float(np.mean(precisions))


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
        names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR", "ARs", "ARm", "ARl")
        figures = [*reference.stats[:6], *reference.stats[8:]]
        compare_summary(result, kind, dict(zip(names, figures, strict=True)))
        compare_classes(result.per_class[kind], reference.eval["precision"][..., 0, 2])


@pytest.mark.parametrize("seed", range(8))
def test_equals_pycocotools(tmp_path: Path, seed: int) -> None:
    content, records = random_case(seed, images=12, categories=5, federated=False)
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
