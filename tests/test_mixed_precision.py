"""Mixed precision, layout and compilation: the same step but for rounding, and FASA in float32."""

from pathlib import Path
from typing import Any

import pytest
import torch
from batch_builders import one_object
from small_runs import queue_small
from torch import nn

from trainer.acceleration import accelerate
from trainer.config import ConfigError, RunConfig, load_config
from trainer.execute import execute
from trainer.mixed_precision import GradientScale, forward_pass
from trainer.model import FASAMaskRCNN, build_model
from trainer.runs_folder import RunsFolder
from trainer.schedule import build_optimizers
from trainer.training_step import TrainingStep

COUNTS = [30, 10, 2]
CPU = torch.device("cpu")


def _config(**values: object) -> RunConfig:
    return load_config({"start_epoch": 0, "fpn_channels": 16, "mask_channels": 16, **values})


def _step(config: RunConfig) -> tuple[FASAMaskRCNN, TrainingStep]:
    torch.manual_seed(0)
    model = accelerate(build_model(config, class_counts=COUNTS), config, device=CPU).train()
    step = TrainingStep(
        model=model,
        optimizers=build_optimizers(config, model, model.classifiers),
        gradient_clip=config.gradient_clip,
        device=CPU,
        precision=config.precision,
    )
    return model, step


def _losses(**values: object) -> dict[str, float]:
    _, step = _step(_config(**values))
    torch.manual_seed(1)
    return step(one_object(), step=0)


@pytest.fixture(scope="module")
def expected() -> dict[str, float]:
    return _losses()


@pytest.mark.parametrize(
    ("values", "tolerance"),
    [
        ({"precision": "bfloat16"}, 0.05),
        ({"precision": "float16"}, 0.01),
        ({"channels_last": True}, 1e-5),
    ],
)
def test_the_losses_are_those_of_float32(
    values: dict[str, object], tolerance: float, expected: dict[str, float]
) -> None:
    found = _losses(**values)
    assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)
    assert found != expected  # it did something


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_weights_prior_and_boxes_stay_in_float32(precision: str) -> None:
    model, step = _step(_config(precision=precision))
    seen = {}
    head = model.rpn.head
    head.register_forward_hook(lambda module, given, result: seen.update(boxes=result[1][0]))
    head.conv.register_forward_hook(lambda module, given, result: seen.update(maps=result))
    step(one_object(), step=0)
    assert seen["maps"].dtype == getattr(torch, precision)
    assert seen["boxes"].dtype == torch.float32
    assert model.fasa is not None
    assert int(model.fasa.n_seen[2]) > 0
    kept = [*model.parameters(), *model.fasa.prior.buffers()]
    assert {value.dtype for value in kept} <= {torch.float32, torch.int64}


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_anchors_and_scores_are_those_of_float32(precision: str) -> None:
    """In a validation pass too; bfloat16 would move anchors at 500 px by 2."""
    config = _config(precision=precision, image_min_size=320, image_max_size=533)
    model, _ = _step(config)
    seen: dict[str, list[torch.Tensor]] = {"anchors": [], "logits": []}
    model.rpn.anchor_generator.register_forward_hook(
        lambda module, given, result: seen["anchors"].append(result[0])
    )
    model.classifier.register_forward_hook(
        lambda module, given, result: seen["logits"].append(result)
    )
    images, targets = [torch.rand(3, 320, 533)], one_object()[1]
    for kind in (precision, "float32"):
        with forward_pass(kind, CPU):  # type: ignore[arg-type]
            loss_sum, _ = model.eval().validation_losses(images, targets)
    assert loss_sum.isfinite().all()
    assert torch.equal(*seen["anchors"])
    assert {logits.dtype for logits in seen["logits"]} == {torch.float32}


def test_a_rank_without_an_image_takes_part_in_the_first_step() -> None:
    """After a resume, say: it computes no loss, and gets its gradients from the others."""
    weight = nn.Parameter(torch.ones(1))
    weight.grad = torch.ones(1)
    optimizers: list[torch.optim.Optimizer] = [torch.optim.SGD([weight], lr=1.0)]
    scale = GradientScale("float16", CPU)
    scale.load_state({**scale.state(), "scale": 4.0})
    scale.unscale(optimizers)
    scale.step(optimizers)
    assert float(weight.detach()) == 0.75
    assert scale.state()["scale"] == 4.0


def test_gradients_out_of_float16s_range_halve_the_scale_and_move_nothing() -> None:
    model, step = _step(_config(precision="float16"))
    step.load_state({**step.state(), "scale": 2.0**40})
    before = [parameter.detach().clone() for parameter in model.parameters()]
    losses = step(one_object(), step=0)
    assert all(value < 100 for value in losses.values())
    assert step.state()["scale"] == 2.0**39
    assert all(map(torch.equal, before, model.parameters()))
    step.load_state({**step.state(), "scale": 2.0**4})
    step(one_object(), step=1)
    assert step.state()["scale"] == 2.0**4
    assert not all(map(torch.equal, before, model.parameters()))


def test_a_checkpoint_keeps_the_scale_and_other_precisions_have_none() -> None:
    _, step = _step(_config(precision="float16"))
    step.load_state({**step.state(), "scale": 512.0, "_growth_tracker": 7})
    _, resumed = _step(_config(precision="float16"))
    resumed.load_state(step.state())
    assert resumed.state() == step.state()
    _, plain = _step(_config())
    plain.load_state(step.state())  # a fork with another precision
    assert plain.state() == {}
    resumed.load_state(plain.state())
    assert resumed.state()["scale"] == 512.0


class FourConvolutions(nn.Module):
    """In the place of a backbone that takes minutes to compile."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        strides = [4, 2, 2, 2]
        sizes = zip([3, *channels[:-1]], channels, strides, strict=True)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, stride, stride) for a, b, stride in sizes)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Four maps."""
        maps = [images]
        for layer in self.layers:
            maps.append(layer(maps[-1]).relu())
        return maps[1:]


@pytest.mark.slow
def test_a_compiled_step_has_the_same_losses() -> None:
    losses = []
    for compiled in (False, True):
        config = _config(compile=compiled)
        torch.manual_seed(0)
        model = build_model(config, class_counts=COUNTS)
        model.backbone.body = FourConvolutions(model.backbone.body.feature_info.channels())
        accelerate(model, config, device=CPU).train()
        torch.manual_seed(1)
        losses.append({name: float(value.detach()) for name, value in model(*one_object()).items()})
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_a_compiler_that_breaks_without_a_word_is_said_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(function: object) -> None:
        raise AssertionError

    monkeypatch.setattr(torch, "compile", break_down)
    with pytest.raises(ConfigError, match=r"does not work here \(AssertionError\)"):
        accelerate(torch.nn.Module(), _config(compile=True), device=CPU)  # type: ignore[arg-type]


def test_a_missing_compiler_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch._inductor.config as inductor

    torch.compiler.reset()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing compiled before
    monkeypatch.setattr(inductor.cpp, "cxx", ("no-such-compiler",))
    with pytest.raises(ConfigError, match=r"torch.compile does not work here .*: install a C\+\+"):
        accelerate(torch.nn.Module(), _config(compile=True), device=CPU)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_run_trains_validates_and_tests_in_its_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, seen = RunsFolder(tmp_path), set()
    for name in ("forward", "validation_losses"):
        plain = getattr(FASAMaskRCNN, name)

        def note(model: FASAMaskRCNN, *args: Any, of: Any = (name, plain), **more: Any) -> Any:
            seen.add((of[0], model.training, torch.is_autocast_enabled("cpu")))
            return of[1](model, *args, **more)

        monkeypatch.setattr(FASAMaskRCNN, name, note)
    assert execute(folder, queue_small(folder, epochs=1, precision="bfloat16")) == "finished"
    assert seen == {
        ("forward", True, True), ("validation_losses", False, True), ("forward", False, True),
    }  # fmt: skip
