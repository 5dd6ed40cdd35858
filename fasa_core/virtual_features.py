"""Virtual features: draws from the prior (Eq. 3).

Shape glossary: M virtual features of a step, d feature length.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fasa_core.prior import FeaturePrior

IGNORE = -1
"""The label of rows that every loss leaves out."""


@torch.no_grad()
def draw_virtual_features(
    prior: FeaturePrior,
    classes: Tensor,
    *,
    generator: torch.Generator | None,
    clamp_negative: bool = False,
) -> tuple[Tensor, Tensor]:
    """x = mu_c + sigma_c * eps with eps ~ N(0, I_d) for each class given (Eq. 3).

    eps is drawn on the host, so that one small generator decides all draws on every device.
    Whether a class has a prior is known on the device only: dropping its row would wait for
    the device, so the row stays and its label becomes `IGNORE`.

    Args:
        prior: mean and spread of every class.
        classes: [M] int64 in 0..C-1, on the CPU.
        generator: of the CPU; None takes torch's global one.
        clamp_negative: clamp x at 0.

    Returns:
        [M, d] features in the prior's dtype and [M] int64 labels, on the prior's device.
    """
    mean = prior.mean
    noise = torch.randn(len(classes), mean.shape[1], dtype=mean.dtype, generator=generator)
    labels = to_device(classes, mean.device)
    x = mean[labels] + prior.standard_deviation(labels) * to_device(noise, mean.device)
    has_prior = prior.n_seen[labels] > 0
    return x.clamp_(min=0) if clamp_negative else x, torch.where(has_prior, labels, IGNORE)


def to_device(host: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on `device`, through pinned memory where that spares a wait."""
    if device.type == "cuda":
        host = host.pin_memory()
    return host.to(device, non_blocking=True)
