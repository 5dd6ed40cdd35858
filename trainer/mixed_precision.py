"""Mixed precision: convolutions and fully connected layers in 16 bits, in training and tests.

Anchors and all boxes, the classifier, every loss, the priors, FASA and snapshots of features stay
in float32: bfloat16 holds the coordinates of a large image to 8 pixels, float16 to one.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

Precision = Literal["float32", "bfloat16", "float16"]


def forward_pass(precision: Precision, device: torch.device) -> torch.autocast:
    """The context of a forward pass on `device`, in `precision` as in `RunConfig`."""
    if precision == "float32":
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, dtype=getattr(torch, precision))


class GradientScale:
    """Keeps the gradients of a step in the range of its precision.

    float16 holds no number below 6e-8, where most gradients are: the loss is multiplied by a scale
    before the backward pass, and the gradients divided by it. When one is too large for float16,
    the step is left out and the scale halved.

    Args:
        precision: as in `RunConfig`.
        device: where the model is.
    """

    def __init__(self, precision: Precision, device: torch.device) -> None:
        self._scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
        # It makes its scale when it is first used, which a rank without an image does not.
        self._scaler.scale(torch.zeros((), device=device))

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
