"""Cascade Mask R-CNN by hand: whom each stage calls positive, its units, weights and averages."""

import math
from typing import Any

import pytest
import torch
from cascade_builders import CLASSES, SHAPES, maps, small_cascade, target, wider
from torch import Tensor, nn

from trainer.box_stage import BoxStage
from trainer.cascade_stages import CASCADE
from trainer.roi_heads import FASARoIHeads


def zero(*modules: nn.Module) -> None:
    for module in modules:
        for parameter in module.parameters():
            nn.init.zeros_(parameter)


def give(stage: BoxStage, *, offsets: list[float], logits: list[float]) -> None:
    """Let a class-agnostic stage say the same of every box."""
    zero(stage.predictor)
    with torch.no_grad():
        stage.predictor.regress.bias.copy_(torch.tensor(offsets))
        stage.classifier.bias.copy_(torch.tensor(logits))  # type: ignore[operator]


def still(heads: FASARoIHeads) -> FASARoIHeads:
    """No stage moves a box."""
    for stage in heads.stages:
        zero(stage.predictor.regress)
    return heads


def labels_seen(heads: FASARoIHeads) -> list[list[int]]:
    """Filled by the next forward pass: the labels that each stage's statistics are given."""
    seen: list[list[int]] = []
    for stage in heads.stages:
        add = stage.statistics.add

        def note(labels: Tensor, *others: Any, add: Any = add) -> None:
            seen.append(labels.tolist())
            add(labels, *others)

        stage.statistics.add = note  # type: ignore[method-assign]
    return seen


def boxes_seen(stage: BoxStage) -> list[Tensor]:
    """Filled by the next forward passes: the boxes [n, 4] that a stage pools."""
    seen: list[Tensor] = []
    stage.roi_pool.register_forward_pre_hook(lambda module, given: seen.append(given[1][0]))
    return seen


def test_a_box_must_fit_better_from_stage_to_stage() -> None:
    """IoUs .45, .55, .65, .75 with the object, whose own box each stage appends once."""
    heads = still(small_cascade()).train()
    seen = labels_seen(heads)
    heads(maps(), [wider(0.45, 0.55, 0.65, 0.75)], SHAPES, [target()])
    background = CLASSES
    # In the order of the boxes; the appended one is the last.
    assert seen == [
        [background, 1, 1, 1, 1],
        [background, background, 1, 1, 1],
        [background, background, background, 1, 1],
    ]


@pytest.mark.parametrize("number", [0, 1])
def test_boxes_are_decoded_in_the_units_of_their_stage(number: int) -> None:
    """Offsets of 1 in x and w: a deviation of the box's width to the right, and e^deviation wider.

    The box is 40 wide, with its centre at 40.
    """
    heads = still(small_cascade())
    heads.stages[number].predictor.regress.bias.data.copy_(torch.tensor([1.0, 0, 1, 0]))
    seen = boxes_seen(heads.stages[number + 1])
    with torch.no_grad():
        heads.eval()(maps(), [torch.tensor([[20.0, 20.0, 60.0, 60.0]])], SHAPES)
    ((x1, y1, x2, y2),) = seen[0].tolist()
    x, w = ((0.1, 0.2), (0.05, 0.1))[number]
    assert (x1 + x2) / 2 == pytest.approx(40 + x * 40)
    assert x2 - x1 == pytest.approx(40 * math.exp(w))
    assert (y1, y2) == pytest.approx((20, 60))


def test_stages_are_those_of_the_paper() -> None:
    heads = small_cascade()
    assert [settings.iou for settings in CASCADE] == [0.5, 0.6, 0.7]
    assert heads.loss_weights == (1.0, 0.5, 0.25)
    wanted = [(10, 10, 5, 5), (20, 20, 10, 10), (1 / 0.033, 1 / 0.033, 1 / 0.067, 1 / 0.067)]
    for stage, weights in zip(heads.stages, wanted, strict=True):
        assert stage.coder.weights == pytest.approx(weights)


def test_boxes_stay_in_the_image() -> None:
    heads = small_cascade()
    give(heads.stages[0], offsets=[5, 5, 5, 5], logits=[0] * 4)
    seen = boxes_seen(heads.stages[1])
    with torch.no_grad():
        heads.eval()(maps(), [torch.tensor([[20.0, 20.0, 120.0, 90.0]])], SHAPES)
    height, width = SHAPES[0]
    assert seen[0].tolist()[0][2:] == [width, height]
    assert seen[0].min() >= 0


def test_losses_are_weighted_and_keep_their_keys() -> None:
    """All three stages see the same boxes and are made alike: only weights and units differ."""
    heads = still(small_cascade(fasa=False)).train()
    first = heads.stages[0]
    for stage, branch in zip(heads.stages[1:], heads.masks[1:], strict=True):
        stage.head.load_state_dict(first.head.state_dict())
        stage.predictor.load_state_dict(first.predictor.state_dict())
        branch.load_state_dict(heads.mask.state_dict())
    # Only boxes that are positive or background in every stage.
    _, losses = heads(maps(), [wider(0.9, 0.4)], SHAPES, [target()])
    kinds = ("classifier", "box", "mask")
    assert set(losses) == {f"{kind}{end}" for kind in kinds for end in ("", "/2", "/3")}
    for kind in ("classifier", "mask"):
        whole = float(losses[kind].detach())
        assert float(losses[f"{kind}/2"].detach()) == pytest.approx(0.5 * whole, rel=1e-5)
        assert float(losses[f"{kind}/3"].detach()) == pytest.approx(0.25 * whole, rel=1e-5)


def test_the_box_loss_by_hand() -> None:
    """Smooth L1 with beta 1 of a box 1/.8 as wide as its object, in the units of each stage."""
    heads = still(small_cascade(fasa=False, box_loss="smooth_l1", smooth_l1_beta=1.0)).train()
    _, losses = heads(maps(), [wider(0.8)], SHAPES, [target()])
    # From the box, 50 wide with its centre at 45, to the object, 40 wide with its centre at 40.
    x, w = (40 - 45) / 50, math.log(40 / 50)
    for settings, end in zip(CASCADE, ("", "/2", "/3"), strict=True):
        total = 0.0
        for offset in (x / settings.box_deviations[0], w / settings.box_deviations[2]):
            size = abs(offset)
            total += 0.5 * size**2 if size < 1 else size - 0.5
        # Two RoIs: this one, and the object's own box, which is right.
        assert float(losses[f"box{end}"].detach()) == pytest.approx(
            settings.loss_weight * total / 2, rel=1e-5
        )


def test_scores_are_of_the_mean_logits_and_boxes_of_the_last_stage() -> None:
    heads = small_cascade(score_threshold=0.0)
    logits = [[2.0, 0, 0, 0], [0, 4.0, 0, 0], [1.0, 0, 0, 3.0]]
    for stage, values in zip(heads.stages, logits, strict=True):
        give(stage, offsets=[0] * 4, logits=values)
    heads.stages[2].predictor.regress.bias.data[0] = 2.0
    with torch.no_grad():
        ((found,), _) = heads.eval()(maps(), [torch.tensor([[20.0, 20.0, 60.0, 60.0]])], SHAPES)
    mean = torch.tensor(logits).mean(dim=0)
    assert mean.tolist() == [1.0, pytest.approx(4 / 3), 0.0, 1.0]
    scores = mean.softmax(dim=0)
    assert found["labels"].tolist() == [1, 0, 2]
    torch.testing.assert_close(found["scores"], scores[[1, 0, 2]])
    right = 20 + 2 * 0.033 * 40
    torch.testing.assert_close(found["boxes"][0], torch.tensor([right, 20.0, right + 40, 60.0]))


def test_masks_are_the_mean_of_all_stages_probabilities() -> None:
    heads = small_cascade(score_threshold=0.0)
    for branch, bias in zip(heads.masks, (-2.0, 0.0, 5.0), strict=True):
        zero(branch.predictor)
        branch.predictor.bias.data.fill_(bias)
    with torch.no_grad():
        ((found,), _) = heads.eval()(maps(), [torch.tensor([[20.0, 20.0, 60.0, 60.0]])], SHAPES)
    mean = sum(1 / (1 + math.exp(-bias)) for bias in (-2.0, 0.0, 5.0)) / 3
    torch.testing.assert_close(found["masks"], torch.full_like(found["masks"], mean))


def test_class_specific_boxes_follow_their_class() -> None:
    """An object's RoI takes the box of its label, another one that of its best score."""
    heads = small_cascade(class_agnostic_box=False, class_agnostic_mask=False, fasa=False)
    first = heads.stages[0]
    zero(first.predictor)
    with torch.no_grad():
        first.classifier.bias.copy_(torch.tensor([0.0, 0, 1, 9]))  # type: ignore[operator]
        first.predictor.regress.bias.view(CLASSES, 4)[:, 0] = torch.tensor([0.0, 1.0, 2.0])
    for stage in heads.stages[1:]:
        zero(stage.predictor.regress)
    seen = boxes_seen(heads.stages[1])
    apart = torch.tensor([[70.0, 10.0, 90.0, 30.0]])
    heads.train()(maps(), [torch.cat([wider(0.8), apart])], SHAPES, [target()])
    corners = seen[0][:, 0].tolist()  # of the two, and of the object's own box, appended anew
    assert corners == pytest.approx([20 + 0.1 * 50, 70 + 2 * 0.1 * 20, 20])
    with torch.no_grad():
        heads.eval()(maps(), [wider(0.8)], SHAPES)
    assert seen[1][:, 0].tolist() == pytest.approx([20 + 2 * 0.1 * 50])
    assert heads.masks[2].predictor.weight.shape[0] == CLASSES


def test_no_gradient_flows_from_a_stages_boxes_into_the_one_before() -> None:
    heads = small_cascade(fasa=False).train()
    _, losses = heads(maps(), [wider(0.9, 0.8, 0.3)], SHAPES, [target()])
    sum(value for name, value in losses.items() if name.endswith("/2")).backward()
    trained = {
        name.split(".box.")[0].split(".mask.")[0]
        for name, parameter in heads.named_parameters()
        if parameter.grad is not None
    }
    assert trained == {"later.0"}


def test_images_without_objects_or_proposals_train_too() -> None:
    heads = small_cascade().train()
    empty = {
        "boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, 96, 128, dtype=torch.uint8), "image_id": torch.tensor(1),
    }  # fmt: skip
    for boxes in (wider(0.9, 0.3), torch.zeros(0, 4)):
        _, losses = heads(maps(), [boxes], SHAPES, [empty])
        sum(losses.values()).backward()
        assert all(math.isfinite(float(value.detach())) for value in losses.values())
        assert all(p.grad is not None for p in heads.parameters())


def test_validation_losses_of_every_stage_without_weights_or_traces() -> None:
    heads = still(small_cascade()).eval()
    for stage in heads.stages:
        zero(stage.predictor.classify)  # every RoI then has the loss log(C + 1)
    before = {n: v.clone() for n, v in heads.state_dict().items() if "extra" not in n}
    boxes = [wider(0.45, 0.55, 0.65, 0.75)]
    loss_sum, count = heads.validation_losses(maps(), boxes, SHAPES, [target()])
    assert count.tolist() == [[0, 4, 0, 1], [0, 3, 0, 2], [0, 2, 0, 3]]
    torch.testing.assert_close(loss_sum, count * math.log(CLASSES + 1.0), check_dtype=False)
    assert (loss_sum.dtype, count.dtype) == (torch.float64, torch.int64)
    assert all(torch.equal(value, heads.state_dict()[name]) for name, value in before.items())


def test_validation_draws_the_same_rois_at_every_call() -> None:
    heads = small_cascade(rois_per_image=4).eval()
    boxes = [wider(*(0.3 + 0.02 * i for i in range(30)))]
    draws = []
    for seed in (0, 99):
        torch.manual_seed(seed)
        draws.append(heads.validation_losses(maps(), boxes, SHAPES, [target()]))
    assert torch.equal(draws[0][0], draws[1][0])
    free = heads.validation_losses(maps(), boxes, SHAPES, [target()], same_rois=False)
    assert not torch.equal(free[0], draws[0][0])


def test_every_stage_has_a_fasa_of_its_own() -> None:
    """Each observes its own positives, draws its own numbers, and is weighted."""
    heads = still(small_cascade(start_epoch=0, initial_scale=1e6)).train()
    fasas = [stage.fasa for stage in heads.stages]
    assert all(fasa is not None for fasa in fasas)
    assert len({id(fasa) for fasa in fasas}) == 3
    for stage in heads.stages:
        zero(stage.classifier)
    _, losses = heads(maps(), [wider(0.55, 0.65, 0.75)], SHAPES, [target()])
    assert [fasa.n_seen.tolist() for fasa in fasas if fasa] == [[0, 4, 0], [0, 3, 0], [0, 2, 0]]
    for weight, end in zip((1.0, 0.5, 0.25), ("", "/2", "/3"), strict=True):
        # Only class 1 has a prior; with zero weights its loss is log(C + 1), times .1.
        wanted = weight * 0.1 * math.log(CLASSES + 1)
        assert float(losses[f"virtual{end}"].detach()) == pytest.approx(wanted, rel=1e-5)
    states = [fasa.get_extra_state()["generator"] for fasa in fasas if fasa]
    assert not torch.equal(states[0], states[1])
    assert not torch.equal(states[1], states[2])


def test_virtual_features_of_a_stage_train_its_classifier_alone() -> None:
    heads = still(small_cascade(start_epoch=0, initial_scale=1e6)).train()
    _, losses = heads(maps(), [wider(0.9)], SHAPES, [target()])
    losses["virtual/3"].backward()
    trained = {n for n, p in heads.named_parameters() if p.grad is not None and p.grad.any()}
    place = "later.1.box.predictor.classify"
    assert trained == {f"{place}.weight", f"{place}.bias"}
