"""The RoI heads: equal to torchvision's own where they should be, and FASA where it belongs."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import MultiScaleRoIAlign

from fasa_core.fasa import FASA
from trainer.box_stage import BoxPredictor, BoxStage
from trainer.classification_losses import SoftmaxCrossEntropy
from trainer.detection_selection import DetectionLimits
from trainer.mask_branch import MaskBranch, MaskPredictor
from trainer.roi_heads import FASARoIHeads, RoIStage
from trainer.roi_sampling import RoISampler

CLASSES, CHANNELS, DIM = 5, 8, 16
SHAPES = [(64, 64), (64, 48)]


def _parts() -> dict[str, object]:
    """What torchvision's heads and ours share."""
    return {
        "box_roi_pool": MultiScaleRoIAlign(["0"], 7, 2),
        "box_head": TwoMLPHead(CHANNELS * 49, DIM),
        "mask_roi_pool": MultiScaleRoIAlign(["0"], 14, 2),
        "mask_head": MaskRCNNHeads(CHANNELS, (CHANNELS,), 1),
    }


def _ours(parts: dict[str, Any], *, agnostic: bool, fasa: FASA | None = None) -> FASARoIHeads:
    loss = SoftmaxCrossEntropy()
    masks = 1 if agnostic else CLASSES
    box = BoxStage(
        num_classes=CLASSES,
        cls_loss=loss,
        fasa=fasa,
        smooth_l1_beta=1 / 9,
        roi_pool=parts["box_roi_pool"],
        head=parts["box_head"],
        predictor=BoxPredictor(loss.make_predictor(DIM, CLASSES), DIM, 1 if agnostic else CLASSES),
        box_weights=(10.0, 10.0, 5.0, 5.0),
        sampler=RoISampler(
            num_classes=CLASSES,
            foreground_iou=0.5,
            background_iou=0.5,
            rois_per_image=16,
            positive_fraction=0.5,
        ),
    )
    mask = MaskBranch(
        roi_pool=parts["mask_roi_pool"],
        head=parts["mask_head"],
        predictor=MaskPredictor(CHANNELS, CHANNELS, masks),
    )
    return FASARoIHeads(
        stages=[RoIStage(box=box, mask=mask)], limits=DetectionLimits(0.05, 0.5, 20)
    )


def _pair() -> tuple[RoIHeads, FASARoIHeads]:
    """torchvision's heads and ours with the same weights (theirs have background first)."""
    torch.manual_seed(0)
    parts = _parts()
    theirs = RoIHeads(
        box_predictor=FastRCNNPredictor(DIM, CLASSES + 1),
        mask_predictor=MaskRCNNPredictor(CHANNELS, CHANNELS, CLASSES + 1),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=16,
        positive_fraction=0.5,
        bbox_reg_weights=None,
        score_thresh=0.05,
        nms_thresh=0.5,
        detections_per_img=20,
        **parts,
    )
    ours = _ours(parts, agnostic=False)
    box, mask = theirs.box_predictor, theirs.mask_predictor
    for parameter in box.parameters():
        nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        ours.box.predictor.classify.weight.copy_(box.cls_score.weight.roll(-1, 0))
        ours.box.predictor.classify.bias.copy_(box.cls_score.bias.roll(-1, 0))
        ours.box.predictor.regress.weight.copy_(box.bbox_pred.weight[4:])
        ours.box.predictor.regress.bias.copy_(box.bbox_pred.bias[4:])
        ours.mask.predictor.upsample.load_state_dict(mask.conv5_mask.state_dict())
        ours.mask.predictor.weight.copy_(mask.mask_fcn_logits.weight[1:, :, 0, 0])
        ours.mask.predictor.bias.copy_(mask.mask_fcn_logits.bias[1:])
    return theirs, ours


def _inputs(seed: int = 0) -> tuple[dict[str, Tensor], list[Tensor], list[dict[str, Tensor]]]:
    """Features, proposals and targets (labels 0..C-1) of two images."""
    generator = torch.Generator().manual_seed(seed)

    def boxes(count: int) -> Tensor:
        corner = torch.rand(count, 2, generator=generator) * 24
        return torch.cat([corner, corner + 8 + torch.rand(count, 2, generator=generator) * 16], 1)

    features = {"0": torch.randn(2, CHANNELS, 64, 64, generator=generator)}
    targets = [
        {
            "boxes": boxes(3),
            "labels": torch.randint(0, CLASSES, (3,), generator=generator),
            "masks": (torch.rand(3, *shape, generator=generator) > 0.5).to(torch.uint8),
            "image_id": torch.tensor(index),
        }
        for index, shape in enumerate(SHAPES)
    ]
    jitter = [t["boxes"].repeat(4, 1) + torch.randn(12, 4, generator=generator) for t in targets]
    return features, [torch.cat([j, boxes(20)]) for j in jitter], targets


def _theirs(targets: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    return [{**target, "labels": target["labels"] + 1} for target in targets]


def test_the_losses_are_torchvisions() -> None:
    theirs, ours = _pair()
    features, proposals, targets = _inputs()
    torch.manual_seed(1)  # both draw their RoIs from torch's generator
    _, expected = theirs.train()(features, list(proposals), SHAPES, _theirs(targets))
    torch.manual_seed(1)
    _, losses = ours.train()(features, list(proposals), SHAPES, targets)
    assert set(losses) == {"classifier", "box", "mask"}
    torch.testing.assert_close(losses["classifier"], expected["loss_classifier"])
    torch.testing.assert_close(losses["box"], expected["loss_box_reg"])
    torch.testing.assert_close(losses["mask"], expected["loss_mask"])
    sum(expected.values()).backward()
    sum(losses.values()).backward()
    of_boxes = theirs.box_predictor.bbox_pred.weight.grad
    assert of_boxes is not None
    torch.testing.assert_close(ours.box.predictor.regress.weight.grad, of_boxes[4:])
    of_masks = theirs.mask_predictor.mask_fcn_logits.weight.grad
    assert of_masks is not None
    torch.testing.assert_close(ours.mask.predictor.weight.grad, of_masks[1:, :, 0, 0])


def test_the_detections_are_torchvisions() -> None:
    theirs, ours = _pair()
    features, proposals, _ = _inputs()
    with torch.no_grad():
        expected, _ = theirs.eval()(features, list(proposals), SHAPES)
        found, _ = ours.eval()(features, list(proposals), SHAPES)
    assert sum(len(image["labels"]) for image in found) > 0
    for mine, its in zip(found, expected, strict=True):
        torch.testing.assert_close(mine["scores"], its["scores"])
        torch.testing.assert_close(mine["boxes"], its["boxes"])
        torch.testing.assert_close(mine["labels"], its["labels"] - 1)
        torch.testing.assert_close(mine["masks"], its["masks"])


@pytest.mark.parametrize("agnostic", [True, False])
def test_an_image_without_objects_trains_without_box_and_mask_loss(agnostic: bool) -> None:
    ours = _ours(_parts(), agnostic=agnostic)
    features, proposals, _ = _inputs()
    empty = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, 64, 64, dtype=torch.uint8),
        "image_id": torch.tensor(1),
    }
    _, losses = ours.train()(features, proposals, SHAPES, [empty, empty])
    assert float(losses["box"].detach()) == 0
    assert float(losses["mask"].detach()) == 0
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in ours.parameters() if p.requires_grad)


def test_fasa_sees_the_foreground_and_trains_the_classifier_alone() -> None:
    fasa = FASA(CLASSES, DIM, [10] * CLASSES)
    fasa.set_epoch(1)
    ours = _ours(_parts(), agnostic=True, fasa=fasa)
    features, proposals, targets = _inputs()
    with torch.no_grad():
        fasa.probability.fill_(1.0)
        fasa.load_state_dict(fasa.state_dict())  # the draws use the probabilities loaded last
    _, losses = ours.train()(features, proposals, SHAPES, targets)
    present = torch.cat([target["labels"] for target in targets]).unique()
    assert set(torch.where(fasa.n_seen > 0)[0].tolist()) == set(present.tolist())
    assert float(losses["virtual"].detach()) > 0
    losses["virtual"].backward()
    trained = {name for name, p in ours.named_parameters() if p.grad is not None and p.grad.any()}
    assert trained == {"box.predictor.classify.weight", "box.predictor.classify.bias"}


def test_validation_losses_are_deterministic_and_leave_no_trace() -> None:
    fasa = FASA(CLASSES, DIM, [10] * CLASSES)
    ours = _ours(_parts(), agnostic=True, fasa=fasa).eval()
    features, proposals, targets = _inputs()
    before = {
        name: value.clone() for name, value in ours.state_dict().items() if "extra" not in name
    }
    torch.manual_seed(0)
    first = ours.validation_losses(features, proposals, SHAPES, targets)
    torch.manual_seed(99)
    second = ours.validation_losses(features, proposals, SHAPES, targets)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert int(first[1].sum()) == 2 * 16
    other = ours.validation_losses(features, proposals, SHAPES, targets, same_rois=False)
    assert not torch.equal(other[0], first[0])
    assert int(other[1].sum()) == 2 * 16
    after = ours.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
