"""What makes a step faster and changes its numbers by rounding alone: layout and compilation."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from trainer.box_stage import BoxStage
from trainer.config import ConfigError, RunConfig
from trainer.mask_branch import MaskBranch
from trainer.model import FASAMaskRCNN


def accelerate(model: FASAMaskRCNN, config: RunConfig, *, device: torch.device) -> FASAMaskRCNN:
    """The model with its maps' layout and its compiled parts as `config` wants them, in place.

    Raises:
        ConfigError: when torch.compile does not work on this machine.
    """
    if config.channels_last:
        # On from the first convolution each keeps the layout of its weights.
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.compile:
        _try_compiler(device)
        for module in _compiled_parts(model):
            module.compile(dynamic=True)  # images differ in size, RoIs in number
    return model


def _compiled_parts(model: FASAMaskRCNN) -> Iterator[nn.Module]:
    """What has large tensors and no shape that depends on their values."""
    yield model.backbone
    for module in model.roi_heads.modules():
        if isinstance(module, BoxStage | MaskBranch):
            yield module.head


def _try_compiler(device: torch.device) -> None:
    try:
        torch.compile(_double)(torch.ones(2, device=device))
    except Exception as error:  # whatever its many parts raise
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ConfigError(
            f"compile is on, but torch.compile does not work here ({reason}): install a C++ "
            "compiler (for a GPU, Triton too), or leave compile off"
        ) from None


def _double(values: Tensor) -> Tensor:
    return 2 * values
