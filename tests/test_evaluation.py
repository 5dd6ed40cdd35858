"""Average precision against hand-computed cases, the oracle, and the lvis and COCO packages."""

import contextlib
import copy
import io
import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lvis import LVIS, LVISEval, LVISResults
from pycocotools import mask as rle_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from trainer import evaluation
from trainer.evaluation import DetectionCollector, evaluate_detections

SIDE = 120
Table = dict[str, Any]


def rectangle(x: float, y: float, width: float, height: float, side: int = SIDE) -> Table:
    """The integer-truncated rectangle as compressed run lengths."""
    mask = np.zeros((side, side), dtype=np.uint8, order="F")
    mask[int(y) : int(y) + int(height), int(x) : int(x) + int(width)] = 1
    code = rle_masks.encode(mask)
    return {"size": [side, side], "counts": code["counts"].decode()}


def truth(images: list[Table], objects: list[tuple[int, int, list[int]]], letters: str) -> Table:
    """A federated annotation file: `objects` are (image, category, box), categories 1, 2, ..."""
    return {
        "images": [{"height": SIDE, "width": SIDE, **image} for image in images],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "area": box[2] * box[3],
                "segmentation": rectangle(*box),
            }
            for number, (image, category, box) in enumerate(objects, start=1)
        ],
        "categories": [
            {"id": number, "name": f"c{number}", "frequency": letter}
            for number, letter in enumerate(letters, start=1)
        ],
    }


def image(number: int, negative: tuple[int, ...] = (), partial: tuple[int, ...] = ()) -> Table:
    return {
        "id": number,
        "neg_category_ids": list(negative),
        "not_exhaustive_category_ids": list(partial),
    }


def found(number: int, category: int, box: list[float], score: float) -> Table:
    return {
        "image_id": number,
        "category_id": category,
        "bbox": box,
        "score": score,
        "segmentation": rectangle(*box),
    }


def written(folder: Path, content: Table) -> Path:
    path = folder / "truth.json"
    path.write_text(json.dumps(content))
    return path


# By hand

HERE, THERE = [10, 10, 40, 40], [70, 70, 40, 40]


def both(path: Path, records: list[Table], **options: Any) -> float:
    """AP of a file with one rare class, checked to be the same for boxes and masks."""
    result = evaluate_detections(path, [1], records, federated=True, **options)
    assert result.metrics["bbox/AP"] == pytest.approx(result.metrics["segm/AP"])
    assert result.metrics["segm/AP"] == pytest.approx(result.metrics["segm/AP_r"])
    assert result.per_class["segm"][0] == pytest.approx(result.metrics["segm/AP"])
    return result.metrics["segm/AP"]


def test_a_found_object_gives_100(tmp_path: Path) -> None:
    path = written(tmp_path, truth([image(1)], [(1, 1, HERE)], "r"))
    assert both(path, [found(1, 1, HERE, 0.1)]) == pytest.approx(100)


def test_a_better_scored_false_alarm_halves_precision(tmp_path: Path) -> None:
    path = written(tmp_path, truth([image(1)], [(1, 1, HERE)], "r"))
    assert both(path, [found(1, 1, HERE, 0.1), found(1, 1, THERE, 0.2)]) == pytest.approx(50)


def test_half_of_the_objects_reach_51_of_101_recall_points(tmp_path: Path) -> None:
    path = written(tmp_path, truth([image(1)], [(1, 1, HERE), (1, 1, THERE)], "r"))
    assert both(path, [found(1, 1, HERE, 0.9)]) == pytest.approx(100 * 51 / 101)


def test_overlap_counts_at_the_thresholds_it_reaches(tmp_path: Path) -> None:
    path = written(tmp_path, truth([image(1)], [(1, 1, [10, 10, 40, 40])], "r"))
    # 40 x 29 of 40 x 40: IoU 0.725 passes 0.50, 0.55, 0.60, 0.65 and 0.70, five of the ten.
    records = [found(1, 1, [10, 10, 40, 29], 0.9)]
    assert both(path, records) == pytest.approx(50)
    metrics = evaluate_detections(path, [1], records, federated=True).metrics
    assert metrics["segm/AP50"] == pytest.approx(100)
    assert metrics["segm/AP75"] == 0


def test_a_category_unknown_in_its_image_costs_nothing(tmp_path: Path) -> None:
    objects = [(1, 1, HERE)]
    records = [found(1, 1, HERE, 0.5), found(2, 1, HERE, 0.9)]
    unknown = written(tmp_path, truth([image(1), image(2)], objects, "r"))
    assert both(unknown, records) == pytest.approx(100)
    absent = written(tmp_path, truth([image(1), image(2, negative=(1,))], objects, "r"))
    assert both(absent, records) == pytest.approx(50)


def test_a_category_labelled_in_part_forgives_false_alarms(tmp_path: Path) -> None:
    records = [found(1, 1, HERE, 0.5), found(1, 1, THERE, 0.9)]
    path = written(tmp_path, truth([image(1, partial=(1,))], [(1, 1, HERE)], "r"))
    assert both(path, records) == pytest.approx(100)


def test_the_cap_counts_over_all_categories_only_when_federated(tmp_path: Path) -> None:
    content = truth([image(1)], [(1, 1, HERE), (1, 2, THERE)], "rf")
    records = [found(1, 1, HERE, 0.9), found(1, 2, THERE, 0.8)]
    path = written(tmp_path, content)
    lvis = evaluate_detections(path, [1, 2], records, federated=True, max_detections=1)
    assert lvis.per_class["segm"].tolist() == pytest.approx([100, 0])
    coco = evaluate_detections(path, [1, 2], records, federated=False, max_detections=1)
    assert coco.per_class["segm"].tolist() == pytest.approx([100, 100])


def test_frequency_groups_follow_the_letters(tmp_path: Path) -> None:
    objects = [(1, category, HERE) for category in (1, 2, 3)]
    path = written(tmp_path, truth([image(1)], objects, "rcf"))
    records = [found(1, 1, HERE, 0.9)]
    metrics = evaluate_detections(path, [1, 2, 3], records, federated=True).metrics
    groups = [metrics[f"segm/AP_{letter}"] for letter in "rcf"]
    assert groups == pytest.approx([100, 0, 0])
    given = evaluate_detections(path, [1, 2, 3], records, federated=True, frequencies="crr")
    assert given.metrics["segm/AP_c"] == pytest.approx(100)
    assert given.metrics["segm/AP_r"] == 0
    assert "segm/AP_f" not in given.metrics


def test_classes_are_answered_in_the_callers_order(tmp_path: Path) -> None:
    path = written(tmp_path, truth([image(1)], [(1, 1, HERE), (1, 3, THERE)], "rrr"))
    result = evaluate_detections(path, [3, 2, 1, 9], [found(1, 3, THERE, 0.4)], federated=True)
    values = result.per_class["bbox"]
    assert values.dtype == np.float32
    assert values[0] == pytest.approx(100)
    assert math.isnan(values[1])  # category 2 has no ground truth
    assert values[2] == 0
    assert math.isnan(values[3])  # category 9 is not in the file


@pytest.mark.parametrize("federated", [True, False])
def test_no_detections_give_zero(tmp_path: Path, federated: bool) -> None:
    path = written(tmp_path, truth([image(1)], [(1, 1, HERE)], "rf"))
    result = evaluate_detections(path, [1, 2], [], federated=federated)
    assert result.metrics["segm/AP"] == result.metrics["bbox/AP_r"] == 0
    assert "bbox/AP_f" not in result.metrics
    np.testing.assert_array_equal(result.per_class["segm"], [0, np.nan])


def test_nothing_to_find_gives_no_figures(tmp_path: Path) -> None:
    path = written(tmp_path, truth([image(1, negative=(1,))], [], "r"))
    result = evaluate_detections(path, [1], [found(1, 1, HERE, 0.5)], federated=True)
    assert result.metrics == {}
    assert np.isnan(result.per_class["segm"]).all()


def test_boxes_alone_and_masks_alone(tmp_path: Path) -> None:
    path = written(tmp_path, truth([image(1)], [(1, 1, HERE)], "r"))
    record = found(1, 1, HERE, 0.5)
    for kind, other in (("bbox", "segmentation"), ("segm", "bbox")):
        records = [{name: value for name, value in record.items() if name != other}]
        result = evaluate_detections(path, [1], records, federated=True)
        assert set(result.per_class) == {kind}
        assert result.metrics[f"{kind}/AP"] == pytest.approx(100)


def test_records_are_left_alone_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, truth([image(1)], [(1, 1, HERE)], "r"))
    records = [found(1, 1, HERE, 0.5), found(1, 1, THERE, 0.9)]
    before = copy.deepcopy(records)
    with caplog.at_level(logging.DEBUG):
        evaluate_detections(path, [1], records, federated=True)
        evaluate_detections(path, [1], [], federated=False)
    assert records == before
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


# Bad input


def test_an_unknown_image_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, truth([image(1)], [(1, 1, HERE)], "r"))
    with pytest.raises(ValueError, match="image id 7"):
        evaluate_detections(path, [1], [found(7, 1, HERE, 0.5)], federated=True)


def test_a_record_without_geometry_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, truth([image(1)], [(1, 1, HERE)], "r"))
    record = {"image_id": 1, "category_id": 1, "score": 0.5}
    with pytest.raises(ValueError, match="bbox or a segmentation"):
        evaluate_detections(path, [1], [record], federated=True)


def test_an_unknown_letter_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, truth([image(1)], [(1, 1, HERE)], "x"))
    with pytest.raises(ValueError, match="'x' for category 1"):
        evaluate_detections(path, [1], [], federated=True)


@pytest.mark.parametrize("text", ["{", "[]", '{"images": []}', "3"])
def test_a_broken_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.json").write_text(text)
    with pytest.raises(ValueError, match=r"broken\.json must be a complete LVIS or COCO json"):
        evaluate_detections(tmp_path / "broken.json", [1], [], federated=True)


def test_a_cap_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        evaluate_detections(tmp_path / "any", [1], [], federated=True, max_detections=0)


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
    group=st.sampled_from([1, 40, 20_000]),
)
def test_equals_the_lvis_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, cap: int, group: int
) -> None:
    monkeypatch.setattr(np, "float", float, raising=False)  # the lvis package still asks for it
    monkeypatch.setattr(evaluation, "_PAIRS_AT_ONCE", group)
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


# Collecting


def detections(count: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    corners = 20 * torch.rand(count, 2, generator=generator)
    return {
        "boxes": torch.cat([corners, corners + 10], dim=1),
        "scores": torch.rand(count, generator=generator),
        "labels": torch.randint(0, 3, (count,), generator=generator),
        "masks": torch.rand(count, 30, 40, generator=generator) > 0.5,
    }


def test_collected_masks_and_boxes_come_back() -> None:
    collector = DetectionCollector([5, 7, 1000])
    given_ = detections(4)
    collector.add(12, **given_)
    assert [record["image_id"] for record in collector.records] == [12] * 4
    names = [[5, 7, 1000][label] for label in given_["labels"].tolist()]
    assert [record["category_id"] for record in collector.records] == names
    for row, record in enumerate(collector.records):
        x0, y0, x1, y1 = given_["boxes"][row].tolist()
        assert record["bbox"] == pytest.approx([x0, y0, x1 - x0, y1 - y0])
        assert record["score"] == given_["scores"][row].item()
        decoded = rle_masks.decode(record["segmentation"]).astype(bool)
        np.testing.assert_array_equal(decoded, given_["masks"][row].numpy())


def test_collected_records_are_the_published_results_format(tmp_path: Path) -> None:
    content = truth([image(1), image(2)], [(1, 1, HERE)], "rcf")
    path = written(tmp_path, content)
    collector = DetectionCollector([1, 2, 3])
    collector.add(1, **detections(3))
    collector.add(2, **detections(2))
    results = tmp_path / "results.json"
    results.write_text(json.dumps(collector.records))
    assert json.loads(results.read_text()) == collector.records
    assert len(LVISResults(str(path), str(results)).anns) == 5


def test_collecting_in_parts_equals_collecting_at_once() -> None:
    at_once, in_parts = DetectionCollector([1, 2, 3]), DetectionCollector([1, 2, 3])
    given_ = detections(5)
    at_once.add(1, **given_)
    for part in (slice(0, 2), slice(2, 5)):
        in_parts.add(1, **{name: value[part] for name, value in given_.items()})
    assert at_once.records == in_parts.records


def test_an_image_without_detections_adds_nothing() -> None:
    collector = DetectionCollector([1])
    collector.add(1, **detections(0))
    assert collector.records == []


def test_labels_outside_the_classes_are_refused() -> None:
    collector = DetectionCollector([1, 2])
    given_ = detections(2) | {"labels": torch.tensor([0, 2])}
    with pytest.raises(ValueError, match="got 2: leave the background out"):
        collector.add(1, **given_)
    assert collector.records == []


def test_lengths_that_differ_are_refused() -> None:
    given_ = detections(3) | {"scores": torch.rand(2)}
    with pytest.raises(ValueError, match="got 3, 2, 3 and 3"):
        DetectionCollector([1, 2, 3]).add(1, **given_)


def test_collected_detections_evaluate_to_100_when_they_are_the_truth(tmp_path: Path) -> None:
    path = written(tmp_path, truth([image(1)], [(1, 1, HERE), (1, 3, THERE)], "rcf"))
    masks = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    masks[0, 10:50, 10:50] = masks[1, 70:110, 70:110] = True
    collector = DetectionCollector([1, 2, 3])
    collector.add(
        1,
        boxes=torch.tensor([[10.0, 10, 50, 50], [70, 70, 110, 110]]),
        scores=torch.tensor([0.5, 0.6]),
        labels=torch.tensor([0, 2]),
        masks=masks,
    )
    result = evaluate_detections(path, [1, 2, 3], collector.records, federated=True)
    assert result.metrics["segm/AP"] == pytest.approx(100)
    assert result.metrics["bbox/AP"] == pytest.approx(100)
