"""Optimizers, and the learning rate as a pure function of how far a run has come."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from trainer.config import RunConfig

_DECAY = 0.1  # of the step schedule, at each milestone


def build_optimizers(
    config: RunConfig, model: nn.Module, classifier: nn.Module
) -> list[torch.optim.Optimizer]:
    """One optimizer for the classifier, one for every other trainable parameter.

    They are two because the effect of FASA depends on how the classifier is trained
    (docs/results.md).
    """
    own = {id(parameter) for parameter in classifier.parameters()}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in own]
    return [
        _optimizer(
            config.classifier_optimizer,
            list(classifier.parameters()),
            config.classifier_learning_rate,
            config.classifier_weight_decay,
            config.momentum,
        ),
        _optimizer(
            config.optimizer, others, config.learning_rate, config.weight_decay, config.momentum
        ),
    ]


def _optimizer(
    kind: str, parameters: list[nn.Parameter], rate: float, decay: float, momentum: float
) -> torch.optim.Optimizer:
    group: list[dict[str, Any]] = [{"params": parameters, "full_rate": rate}]
    if kind == "sgd":
        return torch.optim.SGD(group, lr=rate, momentum=momentum, weight_decay=decay)
    return torch.optim.AdamW(group, lr=rate, weight_decay=decay)


def load_memory(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take over what an optimizer remembers; its rates and decays stay as configured.

    So a fork can have others. In a resumed run they are the same.

    Raises:
        ValueError: `state` is of other parameters.
    """
    settings = [
        {name: value for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)


def learning_rate_factor(config: RunConfig, *, step: int, epoch: float) -> float:
    """The share of the full learning rate, in 0..1.

    1. Warm-up: linear from `warmup_ratio` to 1 over the first `warmup_steps` steps.
    2. times the schedule: (1 + cos(pi epoch / epochs)) / 2, or 0.1 to the number of milestones
       passed.

    Args:
        config: the run's configuration.
        step: training steps done, from 0.
        epoch: epochs done, with the fraction of the current one.
    """
    warmup = 1.0
    if step < config.warmup_steps:
        warmup = config.warmup_ratio + (1 - config.warmup_ratio) * step / config.warmup_steps
    if config.schedule == "cosine":
        return warmup * (1 + math.cos(math.pi * epoch / config.epochs)) / 2
    return warmup * _DECAY ** sum(epoch >= milestone for milestone in config.milestones)


def set_learning_rate(optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    """Set every group to `factor` of its full learning rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = factor * group["full_rate"]
