"""Whole detectors: with every kind of backbone, five levels, boxes and masks of classes or not."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from trainer.config import load_config
from trainer.model import FASAMaskRCNN, build_model
from trainer.schedule import build_optimizers
from trainer.training_state import _with_own_fasa

COUNTS = [30, 10, 2]
TINY: dict[str, Any] = {
    "image_min_size": 96, "image_max_size": 96, "fpn_channels": 16, "feature_dim": 32,
    "mask_layers": 1, "mask_channels": 16, "start_epoch": 0,
}  # fmt: skip
CASCADE = {"detector": "cascade_mask_rcnn"}


def built(**values: Any) -> FASAMaskRCNN:
    torch.manual_seed(0)
    return build_model(load_config({**TINY, **values}), class_counts=COUNTS)


def batch(size: int = 96) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """A bright square of class 2 on noise, and an image without objects."""
    torch.manual_seed(3)
    images = [0.3 * torch.rand(3, size, size) for _ in range(2)]
    low, high = size // 4, 3 * size // 4
    images[0][:, low:high, low:high] += 0.6
    mask = torch.zeros(1, size, size, dtype=torch.uint8)
    mask[:, low:high, low:high] = 1
    corners = torch.tensor([[low, low, high, high]], dtype=torch.float32)
    return images, [
        {"boxes": corners, "labels": torch.tensor([2]), "masks": mask, "image_id": torch.tensor(5)},
        {"boxes": corners[:0], "labels": torch.tensor([], dtype=torch.int64), "masks": mask[:0],
         "image_id": torch.tensor(6)},
    ]  # fmt: skip


ONE_STAGE = {"classifier", "virtual", "box", "mask"}
PROPOSALS = {"objectness", "rpn_box"}


@pytest.mark.parametrize(
    ("values", "stages"),
    [
        ({"class_agnostic_box": False, "roi_sampling_ratio": 0}, 1),
        ({"backbone": "resnet50", "backbone_weights": "none", "trainable_layers": 3,
          "anchor_sizes": (8, 16, 32, 64, 128), "roi_sampling_ratio": 0}, 1),
        (CASCADE, 3),
        ({**CASCADE, "class_agnostic_box": False, "class_agnostic_mask": False,
          "anchor_sizes": (8, 16, 32, 64, 128), "trainable_layers": 2}, 3),
    ],
)  # fmt: skip
def test_it_trains_validates_and_detects(values: dict[str, Any], stages: int) -> None:
    model = built(**values).train()
    losses = model(*batch())
    ends = ["", *(f"/{number}" for number in range(2, stages + 1))]
    assert set(losses) == PROPOSALS | {f"{name}{end}" for name in ONE_STAGE for end in ends}
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.grad is None or bool(parameter.grad.isfinite().all()), name
    model.eval()
    loss_sum, count = model.validation_losses(*batch())
    assert loss_sum.shape == count.shape == (stages, len(COUNTS) + 1)
    assert (count[:, 2] >= 1).all()  # the object itself, in every stage
    with torch.no_grad():
        found = model(batch()[0])
    assert len(found) == 2
    for image in found:
        n = len(image["labels"])
        assert image["boxes"].shape == (n, 4)
        assert image["masks"].shape == (n, 1, 28, 28)
        assert set(image["labels"].tolist()) <= {0, 1, 2}


def test_one_optimizer_trains_the_classifiers_of_all_stages() -> None:
    config = load_config({**TINY, **CASCADE})
    model = built(**CASCADE)
    classifier, rest = build_optimizers(config, model, model.classifiers)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    places = ["box", "later.0.box", "later.1.box"]
    assert [names[id(p)] for p in classifier.param_groups[0]["params"]] == [
        f"roi_heads.{place}.predictor.classify.{kind}"
        for place in places
        for kind in ("weight", "bias")
    ]
    others = [p for p in model.parameters() if p.requires_grad]
    assert len(rest.param_groups[0]["params"]) == len(others) - 6


def test_a_fork_switches_fasa_on_or_off_in_all_stages() -> None:
    """The rest of the weights is the checkpoint's, and what FASA knows is the model's own."""
    with_fasa, without = built(**CASCADE), built(**CASCADE, fasa=False)
    for stored, model in ((with_fasa, without), (without, with_fasa)):
        values, own = stored.state_dict(), model.state_dict()
        assert sum(".fasa." in name for name in values.keys() ^ own.keys()) >= 3
        model.load_state_dict(_with_own_fasa(values, own))
        for name in values.keys() & own.keys():
            assert torch.equal(model.state_dict()[name], values[name]), name


def test_the_probe_follows_the_first_stage() -> None:
    model = built(**CASCADE).eval()
    images, targets = batch()
    features = model.box_features(
        model.prepare_boxes(images, [target["boxes"] for target in targets])
    )
    predicted, loss = model.judge(features, torch.tensor([2]))
    first = model.roi_heads.stages[0]
    logits = first.classifier(features)
    assert predicted.tolist() == logits.argmax(dim=1).tolist()
    torch.testing.assert_close(loss, -logits.log_softmax(dim=1)[:, 2])
    assert model.fasa is first.fasa
    assert model.statistics is first.statistics
    assert torch.equal(model.weight_norms, first.weight_norms)


@pytest.mark.slow
def test_a_cascade_learns_one_image_by_heart() -> None:
    model = built(**CASCADE, fasa=False, learning_rate=3e-3).train()
    images, targets = batch()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3)
    for _ in range(60):
        loss = torch.stack(list(model(images, targets).values())).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        found, nothing = model.eval()(images)
    assert found["labels"][0] == 2
    assert found["scores"][0] > 0.8
    assert box_iou(found["boxes"][:1], targets[0]["boxes"]).item() > 0.85
    assert (found["masks"][0] > 0.5).float().mean() > 0.85  # the object fills its box
    assert not (nothing["scores"] > 0.5).any()
