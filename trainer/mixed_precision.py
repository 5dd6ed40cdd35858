"""Mixed precision: a step's convolutions and fully connected layers in 16 bits.

What boxes are computed from, every loss, the priors and FASA stay in float32: 16 bits hold the
coordinates of a large image only to whole pixels.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

Precision = Literal["float32", "bfloat16", "float16"]


class MixedPrecision:
    """The forward pass of a step in 16 bits where that is enough, and its gradients kept in range.

    float16 holds no number below 6e-8, where most gradients are: the loss is multiplied by a scale
    before the backward pass, and the gradients divided by it. When one is too large for float16,
    the step is left out and the scale halved.

    Args:
        precision: as in `RunConfig`.
        device: where the model is.
    """

    def __init__(self, precision: Precision, device: torch.device) -> None:
        self._type = device.type
        self._dtype: torch.dtype = getattr(torch, precision)
        self._scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")

    def forward(self) -> torch.autocast:
        """The context of the forward pass."""
        if self._dtype == torch.float32:
            return torch.autocast(self._type, enabled=False)
        return torch.autocast(self._type, dtype=self._dtype)

    def backward(self, loss: Tensor) -> None:
        """Gradients of `loss`, times the scale."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def unscale(self, optimizers: list[torch.optim.Optimizer]) -> None:
        """Divide the gradients by the scale."""
        for optimizer in optimizers:
            self._scaler.unscale_(optimizer)

    def step(self, optimizers: list[torch.optim.Optimizer]) -> None:
        """A step of all optimizers; after many the scale doubles."""
        for optimizer in optimizers:
            self._scaler.step(optimizer)
        self._scaler.update()

    def leave_out(self) -> None:
        """Halve the scale instead of a step: a gradient was out of float16's range."""
        self._scaler.update()

    @property
    def can_scale_down(self) -> bool:
        """Whether gradients that are not finite may be due to the scale."""
        return self._scaler.is_enabled() and self._scaler.get_scale() > 1

    def state(self) -> dict[str, Any]:
        """The scale and how long it has held; empty without one."""
        return self._scaler.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave; nothing where either side has no scale."""
        if state and self._scaler.is_enabled():
            self._scaler.load_state_dict(state)


def in_float32(values: Tensor) -> torch.autocast:
    """A context without mixed precision on the device of `values`."""
    return torch.autocast(values.device.type, enabled=False)
