"""The matching of detections to true objects, by hand and against pycocotools."""

from typing import Any

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval

from app.matching import Overlaps, Verdict, box_iou, count_confusions, judge

CAT, DOG, OWL = 0, 1, 2


def image(
    detected: list[int], scores: list[float], true: list[int], iou: list[list[float]],
    crowd: list[bool] | None = None,
) -> Overlaps:  # fmt: skip
    return Overlaps(
        np.array(detected, np.int64), np.array(scores), np.array(true, np.int64),
        np.array(crowd or [False] * len(true), bool),
        np.array(iou, float).reshape(len(detected), len(true)),
    )  # fmt: skip


def test_the_best_detection_takes_the_object_and_the_second_is_a_false_alarm() -> None:
    verdict = judge(image([CAT, CAT], [0.9, 0.8], [CAT], [[0.6], [0.9]]), least_score=0)
    assert verdict == Verdict(("right", "false alarm"), (0, -1), ("found",), (0,), ())


def test_iou_of_a_half_is_enough_and_less_is_not() -> None:
    verdict = judge(image([CAT, CAT], [0.9, 0.8], [CAT, CAT], [[0.5, 0], [0, 0.499]]),
                    least_score=0)  # fmt: skip
    assert verdict.detections == ("right", "false alarm")
    assert verdict.objects == ("found", "missed")


def test_an_object_found_as_another_class_is_a_confusion() -> None:
    verdict = judge(image([DOG, OWL], [0.9, 0.8], [CAT], [[0.7], [0.9]]), least_score=0)
    assert verdict == Verdict(("confused", "false alarm"), (0, -1), ("confused",), (0,),
                              ((CAT, DOG),))  # fmt: skip


def test_the_own_class_goes_first_even_with_a_lower_score() -> None:
    overlaps = image([DOG, CAT], [0.9, 0.3], [CAT], [[0.9], [0.6]])
    assert judge(overlaps, least_score=0).objects == ("found",)
    assert judge(overlaps, least_score=0).confusions == ()
    above = judge(overlaps, least_score=0.31)  # the slider takes the right one away
    assert (above.detections, above.confusions) == (("confused",), ((CAT, DOG),))


def test_what_lies_on_a_crowd_counts_as_nothing() -> None:
    overlaps = image([CAT, CAT, DOG], [0.9, 0.8, 0.7], [CAT, CAT],
                     [[0.6, 0.9], [0.0, 0.9], [0.0, 0.9]], crowd=[False, True])  # fmt: skip
    verdict = judge(overlaps, least_score=0)
    assert verdict.detections == ("right", "on crowd", "false alarm")
    assert verdict.objects == ("found", "crowd")


def test_classes_without_a_label_are_not_judged() -> None:
    overlaps = image([CAT, DOG, OWL], [0.9, 0.8, 0.7], [CAT], [[0.9], [0], [0]])
    verdict = judge(overlaps, least_score=0, judged={CAT, DOG})
    assert verdict.detections == ("right", "false alarm", "not judged")


@pytest.mark.parametrize(("detections", "objects"), [(0, 0), (0, 2), (2, 0)])
def test_an_empty_side(detections: int, objects: int) -> None:
    overlaps = image([CAT] * detections, [0.5] * detections, [CAT] * objects,
                     [[0.0] * objects] * detections)  # fmt: skip
    verdict = judge(overlaps, least_score=0)
    assert verdict.detections == ("false alarm",) * detections
    assert verdict.objects == ("missed",) * objects


def test_confusions_are_counted_over_images_most_often_first() -> None:
    def saw(*pairs: tuple[int, int]) -> Verdict:
        return Verdict((), (), (), (), pairs)

    counted = count_confusions([saw((CAT, DOG), (OWL, CAT)), saw((CAT, DOG), (CAT, OWL)), saw()])
    assert counted == [(CAT, DOG, 2), (CAT, OWL, 1), (OWL, CAT, 1)]


def test_box_iou_by_hand() -> None:
    detected = np.array([[0, 0, 4, 2], [10, 10, 12, 12], [3, 3, 3, 3]], float)
    true = np.array([[2, 0, 6, 2], [2, 0, 6, 2]], float)
    iou = box_iou(detected, true, np.array([False, True]))
    assert iou.tolist() == [[1 / 3, 1 / 2], [0, 0], [0, 0]]


@pytest.mark.parametrize("seed", range(30))
def test_right_and_found_are_those_of_pycocotools(seed: int) -> None:
    """The same detections match the same objects at IoU 0.5, crowds and ties included."""
    overlaps = random_image(np.random.default_rng(seed))
    verdict = judge(overlaps, least_score=0)
    for label in range(3):
        dt = np.flatnonzero(overlaps.detected == label)
        gt = np.flatnonzero(overlaps.true == label)
        matched, ignored = by_pycocotools(overlaps, dt, gt)
        for index, partner, left_out in zip(dt, matched, ignored, strict=True):
            found = verdict.partners[index] if verdict.detections[index] in (
                "right", "on crowd") else -1  # fmt: skip
            assert found == partner
            assert (verdict.detections[index] == "on crowd") == bool(left_out)


def random_image(random: np.random.Generator) -> Overlaps:
    boxes = [random.uniform(0, 30, (count, 2)) for count in (14, 7)]
    corners = [np.hstack([low, low + random.choice([20, 25, 30], low.shape)]) for low in boxes]
    crowd = random.random(7) < 0.25
    iou = box_iou(corners[0], corners[1], crowd)
    iou[3] = iou[4]  # equal rows and columns: ties
    iou[:, 1] = iou[:, 2] = np.where(crowd[1] == crowd[2], iou[:, 1], iou[:, 2])
    return image(random.integers(0, 3, 14).tolist(), sorted(random.random(14))[::-1],
                 random.integers(0, 3, 7).tolist(), iou.tolist(), crowd.tolist())  # fmt: skip


def by_pycocotools(overlaps: Overlaps, dt: Any, gt: Any) -> tuple[list[int], list[bool]]:
    """Of one class: the true object each detection matches (-1 for none), whether it is ignored."""
    if not len(dt) or not len(gt):
        return [-1] * len(dt), [False] * len(dt)
    judge_of = COCOeval(iouType="bbox")
    judge_of._gts[0, 0] = [
        {"id": int(i) + 1, "area": 1.0, "iscrowd": int(overlaps.crowd[i]),
         "ignore": int(overlaps.crowd[i])} for i in gt
    ]  # fmt: skip
    judge_of._dts[0, 0] = [
        {"id": int(i) + 1, "area": 1.0, "score": float(overlaps.scores[i])} for i in dt
    ]
    judge_of.ious[0, 0] = overlaps.iou[np.ix_(dt, gt)]
    judge_of.params.iouThrs = np.array([0.5])
    result = judge_of.evaluateImg(0, 0, [0, 1e10], 100)
    return [int(x) - 1 for x in result["dtMatches"][0]], list(map(bool, result["dtIgnore"][0]))
