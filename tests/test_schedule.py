"""The learning rate by hand, and which parameters each optimizer trains."""

import pytest
import torch
from torch import nn

from trainer.config import load_config
from trainer.presets import preset_values
from trainer.schedule import build_optimizers, learning_rate_factor, set_learning_rate


def test_warm_up_is_linear() -> None:
    config = load_config({"warmup_steps": 100, "warmup_ratio": 0.2, "schedule": "steps"})
    assert learning_rate_factor(config, step=0, epoch=0) == 0.2
    assert learning_rate_factor(config, step=50, epoch=0.5) == pytest.approx(0.6)
    assert learning_rate_factor(config, step=100, epoch=1) == 1


def test_steps_fall_to_a_tenth_at_each_milestone() -> None:
    config = load_config({"warmup_steps": 0, "schedule": "steps", "milestones": (8, 11)})
    factors = [learning_rate_factor(config, step=1, epoch=e) for e in (7.99, 8, 10.9, 11)]
    assert factors == pytest.approx([1, 0.1, 0.1, 0.01])


def test_cosine_ends_at_zero() -> None:
    config = load_config({"warmup_steps": 0, "epochs": 10})
    factors = [learning_rate_factor(config, step=1, epoch=e) for e in (0, 5, 10)]
    assert factors == pytest.approx([1, 0.5, 0])


def test_classifier_and_the_rest_are_trained_apart() -> None:
    model = nn.ModuleDict({"body": nn.Linear(2, 3), "head": nn.Linear(3, 4)})
    model["body"].bias.requires_grad_(False)
    config = load_config({})
    classifier, rest = build_optimizers(config, model, model["head"])
    assert isinstance(classifier, torch.optim.SGD)
    assert isinstance(rest, torch.optim.AdamW)
    assert {id(p) for p in classifier.param_groups[0]["params"]} == {
        id(p) for p in model["head"].parameters()
    }
    assert [id(p) for p in rest.param_groups[0]["params"]] == [id(model["body"].weight)]
    set_learning_rate([classifier, rest], 0.5)
    assert classifier.param_groups[0]["lr"] == pytest.approx(0.001)
    assert rest.param_groups[0]["lr"] == pytest.approx(0.0005)


def test_the_papers_recipe_on_lvis() -> None:
    """SGD at 0.02, a linear warm-up of 500 steps from a thousandth, a tenth at epochs 16 and 22."""
    config = load_config(preset_values(["lvis_v1/mask_rcnn_r50_24e"]) | {"data_folder": "/data"})
    at = ((0, 0), (250, 0.1), (500, 0.2), (9, 15.9), (9, 16), (9, 21.9), (9, 22))
    factors = [learning_rate_factor(config, step=max(s, 500 * (e > 1)), epoch=e) for s, e in at]
    assert factors == pytest.approx([0.001, 0.5005, 1, 1, 0.1, 0.1, 0.01])
    model = nn.ModuleDict({"body": nn.Linear(2, 3), "head": nn.Linear(3, 4)})
    for optimizer in build_optimizers(config, model, model["head"]):
        assert isinstance(optimizer, torch.optim.SGD)
        [group] = optimizer.param_groups
        assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.02, 0.9, 1e-4)
        assert not group["nesterov"]
