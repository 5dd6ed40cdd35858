"""Backbones: what trains of them, what their norms do, how many levels the pyramid has."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from trainer.backbones import BODIES, PyramidBackbone, build_backbone, build_body
from trainer.config import load_config

RESNETS = ["resnet50", "resnet101", "resnext101_32x8d"]


def backbone(*, on: str = "meta", **values: Any) -> PyramidBackbone:
    """With the shapes of the real one; on "meta" without any numbers, which costs nothing."""
    config = load_config({"fpn_channels": 16, **values})
    torch.manual_seed(0)
    with torch.device(on):
        return build_backbone(config, build_body(config))


def trainable(body: nn.Module) -> set[str]:
    return {name for name, parameter in body.named_parameters() if parameter.requires_grad}


def norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize("name", RESNETS)
def test_tensors_are_named_as_in_torchvision(name: str) -> None:
    with torch.device("meta"):
        theirs = get_model(name).state_dict()
    ours = backbone(backbone=name).body.state_dict()
    shapes = {key: value.shape for key, value in theirs.items() if not key.startswith("fc.")}
    assert {key: value.shape for key, value in ours.items()} == shapes


@pytest.mark.parametrize(
    ("name", "layers"),
    [*(("resnet50", layers) for layers in range(6)), ("resnet101", 3), ("resnext101_32x8d", 4)],
)
def test_trainable_layers_mean_what_they_mean_in_torchvision(name: str, layers: int) -> None:
    with torch.device("meta"):
        theirs = resnet_fpn_backbone(
            backbone_name=name, weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=layers
        )
    assert trainable(backbone(backbone=name, trainable_layers=layers).body) == trainable(
        theirs.body
    )


def test_the_five_layers_of_efficientnet_hold_all_of_it() -> None:
    sizes = []
    for layers in range(6):
        body = backbone(trainable_layers=layers).body
        own = {name.split(".")[0] for name in trainable(body)}
        sizes.append(sum(p.numel() for p in body.parameters() if p.requires_grad))
        assert ("conv_stem" in own) == (layers == 5)
    assert sizes[0] == 0
    assert sizes == sorted(set(sizes))
    assert sizes[5] == sum(p.numel() for p in body.parameters())


@pytest.mark.parametrize("name", BODIES)
def test_each_layer_halves_the_size(name: str) -> None:
    """So that a cut through the backbone is one through its maps."""
    made = backbone(backbone=name)
    sizes: list[int] = []
    for layer in BODIES[name].layers:
        made.body.get_submodule(layer[-1]).register_forward_hook(
            lambda module, given, result: sizes.append(result.shape[-1])
        )
    made.eval()(torch.zeros(1, 3, 64, 64, device="meta"))
    assert sizes[0] == 32
    assert sizes[1:] == [16, 8, 4, 2]


def test_frozen_layers_build_no_graph() -> None:
    made = backbone(on="cpu", trainable_layers=3).train()
    assert [level.requires_grad for level in made.body(torch.rand(1, 3, 32, 32))] == [
        False, True, True, True,
    ]  # fmt: skip
    frozen = backbone(on="cpu").train()
    assert not any(level.requires_grad for level in frozen.begin(torch.rand(1, 3, 32, 32)))


@pytest.mark.parametrize(
    ("batch_norm", "scale_trains", "statistics_move"),
    [("fixed", False, False), ("affine", True, False), ("trained", True, True)],
)
def test_what_batch_norms_do(batch_norm: str, scale_trains: bool, statistics_move: bool) -> None:
    """In layers that train; those of frozen layers stay as they are, whatever is asked for."""
    made = backbone(on="cpu", trainable_layers=2, batch_norm=batch_norm).train()
    body: Any = made.body
    below, above = norms(body.blocks[:3]), norms(body.blocks[3:])
    before = [norm.running_mean.clone() for norm in norms(body)]  # type: ignore[union-attr]
    made(torch.rand(2, 3, 64, 64))
    moved = {
        norm
        for norm, old in zip(norms(body), before, strict=True)
        if not torch.equal(norm.running_mean, old)  # type: ignore[arg-type]
    }
    assert moved == (set(above) if statistics_move else set())
    assert all(norm.weight.requires_grad is scale_trains for norm in above)
    assert not any(norm.weight.requires_grad for norm in below)
    assert any(p.requires_grad for p in body.blocks[3:].parameters())
    made.eval()
    assert not any(norm.training for norm in norms(body))


def test_four_levels_or_five() -> None:
    images = torch.rand(1, 3, 128, 64)
    four = backbone(on="cpu").eval()
    five = backbone(on="cpu", anchor_sizes=(16, 32, 56, 90, 128)).eval()
    maps: dict[str, Tensor] = five(images)
    assert {name: tuple(level.shape) for name, level in maps.items()} == {
        "0": (1, 16, 32, 16), "1": (1, 16, 16, 8), "2": (1, 16, 8, 4), "3": (1, 16, 4, 2),
        "pool": (1, 16, 2, 1),
    }  # fmt: skip
    assert torch.equal(maps["pool"], maps["3"][..., ::2, ::2])
    assert list(four(images)) == ["0", "1", "2", "3"]
