"""Average precision and recall against hand-computed cases."""

import copy
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_builders import HERE, SIDE, THERE, Table, found, image, truth, written

from data.annotation_table import open_annotations
from data.annotations import AnnotationError
from trainer.detections import DetectionCollector
from trainer.evaluation import evaluate_detections

# By hand


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


def test_of_equal_overlaps_the_last_object_in_the_file_is_taken(tmp_path: Path) -> None:
    left, right, between = [0, 0, 20, 10], [4, 0, 20, 10], [2, 0, 20, 10]
    # `between` overlaps both by 18 / 22; then `left` finds itself, or `right` by 16 / 24.
    records = [found(1, 1, between, 0.9), found(1, 1, left, 0.8)]
    half = 51 / 101
    path = written(tmp_path, truth([image(1)], [(1, 1, left), (1, 1, right)], "r"))
    assert both(path, records) == pytest.approx(10 * (7 + 3 * half / 2))
    path = written(tmp_path, truth([image(1)], [(1, 1, right), (1, 1, left)], "r"))
    assert both(path, records) == pytest.approx(10 * (4 + 3 * half + 3 * half / 2))


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
    table = open_annotations(path)
    with caplog.at_level(logging.DEBUG):
        evaluate_detections(table, [1], records, federated=True)
        evaluate_detections(table, [1], [], federated=False)
    assert records == before
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_recall_is_the_share_of_objects_found_at_each_threshold(tmp_path: Path) -> None:
    objects = [(1, 1, HERE), (1, 1, THERE)]
    path = written(tmp_path, truth([image(1)], objects, "r"))
    # IoU 0.725 passes five of the ten thresholds; the false alarm does not matter.
    records = [found(1, 1, [10, 10, 40, 29], 0.2), found(1, 1, [60, 10, 5, 5], 0.9)]
    metrics = evaluate_detections(path, [1], records, federated=True).metrics
    assert metrics["segm/AR"] == pytest.approx(25)
    assert metrics["segm/AR_medium"] == pytest.approx(25)
    assert "segm/AR_small" not in metrics
    assert "segm/AR_large" not in metrics


def test_the_best_of_each_class_know_no_cap_per_image(tmp_path: Path) -> None:
    objects = [(1, 1, HERE), (1, 2, THERE), (2, 1, HERE)]
    path = written(tmp_path, truth([image(1), image(2)], objects, "rf"))
    records = [found(1, 1, HERE, 0.9), found(1, 2, THERE, 0.8), found(2, 1, HERE, 0.7)]
    metrics = evaluate_detections(path, [1, 2], records, federated=True, max_detections=1).metrics
    assert metrics["bbox/AP"] == pytest.approx(50)
    assert metrics["bbox/AP_fixed"] == metrics["bbox/AP_pool"] == pytest.approx(100)
    one = evaluate_detections(path, [1, 2], records, federated=True, fixed_detections=1).metrics
    assert one["bbox/AP"] == pytest.approx(100)
    assert one["bbox/AP_fixed_r"] == one["bbox/AP_pool_r"] == pytest.approx(100 * 51 / 101)
    assert one["bbox/AP_fixed_f"] == one["bbox/AP_pool_f"] == pytest.approx(100)


def test_pooled_scores_of_classes_are_compared_with_each_other(tmp_path: Path) -> None:
    path = written(tmp_path, truth([image(1)], [(1, 1, HERE), (1, 2, HERE)], "rf"))
    # Alone each class is perfect or useless; in the pool the false alarm comes before the find.
    records = [found(1, 1, HERE, 0.5), found(1, 2, THERE, 0.9)]
    metrics = evaluate_detections(path, [1, 2], records, federated=True).metrics
    assert metrics["bbox/AP_fixed"] == pytest.approx(50)
    assert metrics["bbox/AP_pool"] == pytest.approx(100 * 0.5 * 51 / 101)
    assert metrics["bbox/AP_pool_r"] == pytest.approx(100)
    assert metrics["bbox/AP_pool_f"] == 0


def test_only_a_federated_file_has_the_best_of_each_class(tmp_path: Path) -> None:
    path = written(tmp_path, truth([image(1)], [(1, 1, HERE)], "r"))
    metrics = evaluate_detections(path, [1], [found(1, 1, HERE, 1)], federated=False).metrics
    assert metrics["bbox/AP"] == pytest.approx(100)
    assert not any("fixed" in name or "pool" in name for name in metrics)


def test_a_table_is_read_once_for_many_evaluations(tmp_path: Path) -> None:
    path = written(tmp_path, truth([image(2), image(1)], [(2, 1, HERE), (1, 1, THERE)], "r"))
    table = open_annotations(path)
    path.unlink()
    for _ in range(2):
        result = evaluate_detections(table, [1], [found(2, 1, HERE, 0.9)], federated=True)
        assert result.metrics["segm/AP"] == pytest.approx(100 * 51 / 101)


def test_an_object_without_area_is_missed_by_cocos_rule_and_unknown_by_that_of_lvis(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, truth([image(1)], [(1, 1, HERE), (1, 1, [5, 5, 9, 0])], "r"))
    records = [found(1, 1, HERE, 0.9), found(1, 1, [5, 5, 9, 0], 0.8)]
    coco = evaluate_detections(path, [1], records, federated=False).metrics
    assert coco["segm/AP"] == coco["bbox/AP"] == pytest.approx(100 * 51 / 101)
    assert both(path, records) == pytest.approx(100)


def test_bins_average_over_their_classes(tmp_path: Path) -> None:
    objects = [(1, category, HERE) for category in (1, 2, 3)]
    path = written(tmp_path, truth([image(1)], objects, "rrrr"))
    records = [found(1, 1, HERE, 0.9), found(1, 3, HERE, 0.9)]
    metrics = evaluate_detections(
        path, [3, 2, 1, 4], records, federated=False, bins=[4, 1, 1, 2]
    ).metrics
    # Class 4, alone in bin 2, has nothing to be found; nobody is in bin 3.
    assert metrics["segm/AP_1"] == pytest.approx(50)
    assert metrics["segm/AP_4"] == pytest.approx(100)
    assert "segm/AP_2" not in metrics
    assert "segm/AP_3" not in metrics


def test_whoever_waits_is_called_and_may_end_it(tmp_path: Path) -> None:
    path = written(tmp_path, truth([image(1)], [(1, 1, HERE)], "r"))

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_detections(path, [1], [found(1, 1, HERE, 1)], federated=True, between=stop)


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
    path = written(tmp_path, truth([image(1)], [(1, 1, HERE)], "r"))
    with pytest.raises(ValueError, match="'x' for category 1"):
        evaluate_detections(path, [1], [], federated=True, frequencies="x")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_refused(tmp_path: Path, value: float) -> None:
    path = written(tmp_path, truth([image(1)], [(1, 1, HERE)], "r"))
    with pytest.raises(ValueError, match="score must be a number"):
        evaluate_detections(path, [1], [found(1, 1, HERE, value)], federated=True)


@pytest.mark.parametrize("text", ["{", "[]", '{"images": []}', "3"])
def test_a_broken_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.json").write_text(text)
    with pytest.raises(AnnotationError, match=r"broken\.json"):
        evaluate_detections(tmp_path / "broken.json", [1], [], federated=True)


def test_a_cap_below_one_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, truth([image(1)], [(1, 1, HERE)], "r"))
    for name in ("max_detections", "fixed_detections"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            evaluate_detections(path, [1], [], federated=True, **{name: 0})
