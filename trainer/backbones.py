"""The network below the detector: a backbone, of which a part may train, and its feature pyramid.

Shape glossary: B images, H, W height and width of the padded input in pixels.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from trainer.config import RunConfig

LEVELS = ["0", "1", "2", "3"]  # of the pyramid that RoIs are pooled from, finest first
STRIDES = (4, 8, 16, 32)  # of these levels


@dataclass(frozen=True)
class Body:
    """What is known of a backbone beyond timm's own description of it.

    Attributes:
        layers: its modules in five layers, lowest first; the output of each has half the size of
            the one's before.
        mean: of the pixels (0..1) it was trained with, a channel each.
        deviation: their standard deviation.
    """

    layers: tuple[tuple[str, ...], ...]
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


_RESNET = Body(
    (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",)),
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
)
BODIES = {
    "efficientnet_lite0": Body(
        (
            ("conv_stem", "bn1", "blocks.0"),
            ("blocks.1",),
            ("blocks.2",),
            ("blocks.3", "blocks.4"),
            ("blocks.5", "blocks.6"),
        ),
        (127 / 255,) * 3,
        (128 / 255,) * 3,
    ),
    "resnet50": _RESNET,
    "resnet101": _RESNET,
    "resnext101_32x8d": _RESNET,
}


class PyramidBackbone(nn.Module):
    """A timm feature extractor below a feature pyramid with strides 4, 8, 16, 32 (and 64).

    A frozen layer stays in eval mode and builds no graph.

    Args:
        body: gives four maps, finest first.
        layers: of `body`, five lists of modules, lowest first.
        out_channels: of every level of the pyramid.
        trainable_layers: how many of the layers train, counted from the top, 0..5.
        batch_norm: of the layers that train, as in `RunConfig`.
        extra_level: whether a fifth level, every second place of the fourth, is added for the RPN.
    """

    def __init__(
        self,
        body: nn.Module,
        layers: list[list[nn.Module]],
        out_channels: int,
        *,
        trainable_layers: int,
        batch_norm: str,
        extra_level: bool,
    ) -> None:
        super().__init__()
        self.body = body
        info: Any = body.feature_info  # timm's; not known to torch's types
        self.pyramid = FeaturePyramidNetwork(
            info.channels(), out_channels, LastLevelMaxPool() if extra_level else None
        )
        self.out_channels = out_channels
        self.is_frozen = trainable_layers == 0
        body.requires_grad_(False)
        trainable = [module for layer in layers[5 - trainable_layers :] for module in layer]
        for module in trainable:
            module.requires_grad_()
        norms = [n for m in trainable for n in m.modules() if isinstance(n, nn.BatchNorm2d)]
        if batch_norm == "fixed":
            for norm in norms:
                norm.requires_grad_(False)
        self._moving = norms if batch_norm == "trained" else []  # norms whose statistics move

    def train(self, mode: bool = True) -> PyramidBackbone:
        """Training mode for the pyramid and, with batch_norm=trained, for the body's batch norms.

        All other norms keep the statistics they came with.
        """
        super().train(mode)
        self.body.eval()
        for norm in self._moving:
            norm.train(mode)
        return self

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images [B, 3, H, W] -> level name -> [B, out_channels, H / stride, W / stride]."""
        return self.finish(self.begin(images))

    def begin(self, images: Tensor) -> list[Tensor]:
        """What training never changes: a frozen body's maps, else the images alone.

        Maps of a body that is frozen in part only would be larger than the images they save.
        """
        if not self.is_frozen:
            return [images]
        with torch.no_grad():
            return list(self.body(images))

    def finish(self, begun: list[Tensor]) -> dict[str, Tensor]:
        """The rest of `forward`, from what `begin` gave."""
        maps = begun if self.is_frozen else self.body(begun[0])
        result: dict[str, Tensor] = self.pyramid(OrderedDict(zip(LEVELS, maps, strict=True)))
        return result


def build_body(config: RunConfig) -> nn.Module:
    """The feature extractor of `config`, initialised at random: maps of strides 4, 8, 16, 32."""
    body: nn.Module = timm.create_model(
        config.backbone, features_only=True, out_indices=(1, 2, 3, 4)
    )
    return body


def build_backbone(config: RunConfig, body: nn.Module) -> PyramidBackbone:
    """`body` below a feature pyramid, as `config` has them."""
    return PyramidBackbone(
        body,
        [[body.get_submodule(n) for n in layer] for layer in BODIES[config.backbone].layers],
        config.fpn_channels,
        trainable_layers=config.trainable_layers,
        batch_norm=config.batch_norm,
        extra_level=len(config.anchor_sizes) > len(LEVELS),
    )
