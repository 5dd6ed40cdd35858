"""Which RoIs are drawn, and for which objects they stand: by hand."""

import torch
from torch import Tensor

from trainer.roi_sampling import RoISampler, SampledRoIs

CLASSES = 4


def _sample(
    proposals: list[list[float]],
    boxes: list[list[float]],
    labels: list[int],
    *,
    rois: int = 8,
    fraction: float = 0.5,
    seed: int | None = None,
) -> SampledRoIs:
    sampler = RoISampler(
        num_classes=CLASSES,
        foreground_iou=0.7,
        background_iou=0.3,
        rois_per_image=rois,
        positive_fraction=fraction,
    )
    target = {"boxes": _boxes(boxes), "labels": torch.tensor(labels, dtype=torch.int64)}
    return sampler.sample([_boxes(proposals)], [target], seeds=None if seed is None else [seed])


def _boxes(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows).reshape(-1, 4)


def test_each_roi_has_the_class_and_box_of_its_object() -> None:
    """IoUs with the first object: 0.8 positive, 0.5 ignored, 0 background; objects are appended."""
    objects = [[0.0, 0, 10, 10], [20, 0, 30, 10]]
    proposals = [[0.0, 0, 10, 8], [0, 0, 10, 5], [40, 40, 50, 50]]
    rois = _sample(proposals, objects, [3, 1])
    found = torch.cat(rois.boxes).tolist()
    assert found == [proposals[0], proposals[2], *objects]
    assert rois.labels.tolist() == [3, CLASSES, 3, 1]
    assert rois.appended.tolist() == [False, False, True, True]
    assert rois.positive.tolist() == [0, 2, 3]
    assert rois.object_boxes[rois.positive].tolist() == [objects[0], objects[0], objects[1]]
    ((boxes, index),) = rois.positive_of_images()
    assert boxes.tolist() == [proposals[0], *objects]
    assert index.tolist() == [0, 0, 1]


def test_positives_have_their_share_at_most() -> None:
    rois = _sample([[float(x), 50, x + 5.0, 60] for x in range(30)], [[0.0, 0, 9, 9]] * 6, [0] * 6)
    assert len(rois.labels) == 8
    assert len(rois.positive) == 4


def test_a_seed_draws_the_same_whatever_torch_drew_before() -> None:
    proposals = [[float(x), 50, x + 5.0, 60] for x in range(30)]
    draws = []
    for before in (1, 2):
        torch.manual_seed(before)
        draws.append(_sample(proposals, [[0.0, 0, 9, 9]] * 6, [2] * 6, seed=7))
    assert torch.equal(draws[0].boxes[0], draws[1].boxes[0])
    assert draws[0].labels.tolist() == [2] * 4 + [CLASSES] * 4
    other = _sample(proposals, [[0.0, 0, 9, 9]] * 6, [2] * 6, seed=8)
    assert not torch.equal(draws[0].boxes[0], other.boxes[0])


def test_an_image_without_objects_gives_background_alone() -> None:
    rois = _sample([[0.0, 0, 10, 10]] * 3, [], [])
    assert rois.labels.tolist() == [CLASSES] * 3
    assert rois.object_boxes.tolist() == [[0.0] * 4] * 3
    assert len(rois.positive) == 0
