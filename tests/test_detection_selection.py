"""The detections that are kept: torchvision's own, from a fraction of its candidates."""

import pytest
import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import MultiScaleRoIAlign

from trainer.detection_selection import DetectionLimits, select_detections

SHAPE = (200, 300)


def proposals(count: int, generator: torch.Generator) -> Tensor:
    """Boxes that overlap in clusters, as proposals do."""
    centres = torch.rand(12, 2, generator=generator) * torch.tensor([300.0, 200])
    near = centres[torch.randint(0, 12, (count,), generator=generator)]
    near = near + 4 * torch.randn(count, 2, generator=generator)
    half = 15 + 10 * torch.rand(count, 2, generator=generator)
    return torch.cat([near - half, near + half], dim=1)


def torchvisions(score_threshold: float, most: int) -> RoIHeads:
    """torchvision's heads, for their postprocessing alone."""
    pool = MultiScaleRoIAlign(["0"], 7, 2)
    return RoIHeads(pool, None, None, 0.5, 0.5, 8, 0.5, None, score_threshold, 0.5, most)


@pytest.mark.parametrize("classes", [3, 40])
@pytest.mark.parametrize("agnostic", [True, False])
@pytest.mark.parametrize("sharpness", [0.2, 4.0])  # of the softmax: nearly all pass, or few
def test_the_detections_are_torchvisions(classes: int, agnostic: bool, sharpness: float) -> None:
    generator = torch.Generator().manual_seed(classes)
    theirs = torchvisions(1e-4, 50)
    boxes = proposals(400, generator)
    logits = sharpness * torch.randn(400, classes + 1, generator=generator)
    offsets = 0.3 * torch.randn(400, classes + 1, 4, generator=generator)
    if agnostic:
        offsets = offsets[:, :1].expand(-1, classes + 1, 4)
    (box,), (score,), (label,) = theirs.postprocess_detections(
        logits, offsets.reshape(400, -1), [boxes], [SHAPE]
    )
    decoded: list[int] = []

    def boxes_of(proposal: Tensor, label: Tensor) -> Tensor:
        decoded.append(len(label))
        rows = offsets[proposal, label + 1]
        result: Tensor = theirs.box_coder.decode_single(rows, boxes[proposal])
        return result

    found = select_detections(
        logits.softmax(dim=1)[:, 1:],
        boxes_of,
        SHAPE,
        DetectionLimits(1e-4, 0.5, 50),
    )
    assert len(found["scores"]) == 50
    assert torch.equal(found["scores"], score)
    assert torch.equal(found["labels"], label - 1)
    assert torch.equal(found["boxes"], box)
    if classes == 40 and sharpness < 1:
        assert decoded == [4096]  # of 16,000 candidates


def test_more_candidates_are_looked_at_where_the_best_suppress_each_other() -> None:
    # 6,000 proposals in one place with the highest scores, 10 elsewhere with the lowest.
    boxes = torch.tensor([[10.0, 10, 50, 50]]).repeat(6010, 1)
    boxes[6000:] = torch.tensor([[60.0 + 20 * n, 100, 75 + 20 * n, 120] for n in range(10)])
    scores = torch.linspace(1, 0.1, 6010)[:, None]
    decoded: list[int] = []

    def boxes_of(proposal: Tensor, label: Tensor) -> Tensor:
        decoded.append(len(label))
        return boxes[proposal]

    found = select_detections(scores, boxes_of, SHAPE, DetectionLimits(0.01, 0.5, 11))
    assert decoded == [4096, 6010]
    assert torch.equal(found["boxes"], torch.cat([boxes[:1], boxes[6000:]]))


def test_after_the_best_of_an_image_a_class_may_ask_for_more() -> None:
    boxes = torch.tensor([[40.0 * n, 10, 40 * n + 30, 50] for n in range(4)])
    scores = torch.tensor([[0.5, 0.0], [0.0, 0.6], [0.4, 0.0], [0.0, 0.3]])
    floors = torch.tensor([0.4, 0.2])  # class 0 needs more than it has at its second box
    limits = DetectionLimits(0.1, 0.5, 9, floors=floors, above_floors=1)
    found = select_detections(scores, lambda proposal, label: boxes[proposal], SHAPE, limits)
    assert found["scores"].tolist() == pytest.approx([0.6, 0.5, 0.3])
    assert found["labels"].tolist() == [1, 0, 1]
    floors[1] = 0.9  # the best stays all the same
    found = select_detections(scores, lambda proposal, label: boxes[proposal], SHAPE, limits)
    assert found["scores"].tolist() == pytest.approx([0.6, 0.5])


def test_thin_boxes_and_low_scores_are_no_detections() -> None:
    boxes = torch.tensor([[10.0, 10, 50, 50], [100, 100, 100.005, 150], [290, 10, 340, 250]])
    found = select_detections(
        torch.tensor([[0.05], [0.9], [0.8]]),
        lambda proposal, label: boxes[proposal],
        SHAPE,
        DetectionLimits(0.05, 0.5, 9),
    )
    assert found["boxes"].tolist() == [[290, 10, 300, 200]]  # clipped to the image


@pytest.mark.parametrize("count", [0, 3])
def test_no_candidates_give_no_detections(count: int) -> None:
    found = select_detections(
        torch.zeros(count, 2),
        lambda proposal, label: torch.zeros(len(label), 4),
        SHAPE,
        DetectionLimits(0.1, 0.5, 9),
    )
    assert [tuple(found[name].shape) for name in ("boxes", "scores", "labels")] == [
        (0, 4), (0,), (0,)
    ]  # fmt: skip
