"""Claim: FASA switched on takes at most 1 % of a training step at 1,203 classes.

In a step FASA observes the features of the positive RoIs, draws virtual ones and adds their loss
to the classifier's. The loss of the class branch with these and without, forward and backward, is
measured in turns on the features of the step; the difference of the medians, over a step without
FASA, is its share. Whole steps with and without are run in turns, too: their difference is
smaller than what steps differ by anyhow. Stated apart: what an epoch adds, the validation pass and
the adaptation after it.

    python -m benchmarks.bench_fasa_cost
    python -m benchmarks.bench_fasa_cost --height 800 --width 1333 --device cuda
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch

from benchmarks.kept_results import hardware, keep
from benchmarks.lvis_step import (
    Size,
    build_lvis_model,
    lvis_config,
    make_batch,
    step_parser,
    training_step,
)
from fasa_core.fasa import FASA
from trainer.box_stage import BoxStage
from trainer.model import FASAMaskRCNN
from trainer.training_step import TrainingStep, to_device

TARGET = 0.01
BATCHES, PASSES = 3, 40
LVIS_TRAIN, LVIS_VAL = 99_388, 19_809  # images, of LVIS v1


def know_every_class(fasa: FASA) -> None:
    """A prior as in the middle of a run: each class has been seen."""
    generator = torch.Generator().manual_seed(0)
    for values in (fasa.prior.mean, fasa.prior.spread):
        values.copy_(torch.rand(values.shape, generator=generator))
    fasa.prior.n_seen.fill_(100)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long `work` takes."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def branch_seconds(stage: BoxStage, size: Size, device: torch.device) -> tuple[float, float]:
    """The loss of the class branch with FASA and without, forward and backward: medians.

    Its input is as in the step: 512 RoIs an image of which a quarter is positive.
    """
    rois = 512 * size.images
    labels = torch.full((rois,), stage.num_classes)
    drawn = [target["labels"] for seed in range(10) for target in make_batch(size, seed=seed)[1]]
    labels[: rois // 4] = torch.cat(drawn).repeat(3)[: rois // 4]
    labels = labels.to(device)
    features = torch.rand(rois, 1024, device=device, requires_grad=True)
    fasa, times = stage.fasa, ([], [])

    def run() -> None:
        losses = stage._classification_losses(features, labels)
        sum(losses.values()).backward()

    for _ in range(PASSES):
        for kept, used in zip(times, (fasa, None), strict=True):
            stage.fasa = used
            kept.append(seconds(run, device))
    stage.fasa = fasa
    return statistics.median(times[0]), statistics.median(times[1])


def step_seconds(
    step: TrainingStep, model: FASAMaskRCNN, size: Size, rounds: int, device: torch.device
) -> tuple[list[float], list[float]]:
    """Of whole steps with FASA and without, in turns."""
    batches = [make_batch(size, seed=seed) for seed in range(BATCHES)]
    stage, times = model.stages[0], ([], [])
    fasa = stage.fasa
    step(batches[0], step=0)
    for number in range(rounds):
        for kept, used in zip(times, (fasa, None), strict=True):
            stage.fasa = used
            batch = batches[number % BATCHES]
            kept.append(seconds(lambda batch=batch: step(batch, step=1), device))
    stage.fasa = fasa
    return times


def main() -> int:
    options = step_parser(__doc__).parse_args()
    device = torch.device(options.device)
    size = Size(options.images, options.height, options.width)
    config = lvis_config(size, learning_rate=1e-4, classifier_learning_rate=1e-4)
    model = build_lvis_model(config, device=device)
    assert model.fasa is not None
    model.fasa.set_epoch(config.start_epoch)
    know_every_class(model.fasa)
    step = training_step(config, model, device)
    with_fasa, without = step_seconds(step, model, size, options.rounds, device)
    whole = statistics.median(without)
    on, off = branch_seconds(model.roi_heads.box, size, device)
    share = (on - off) / whole
    drawn = float(model.fasa.probability.sum())

    batch = to_device(make_batch(size, seed=9), device)
    model.eval()
    validation = statistics.median(
        seconds(lambda: model.validation_losses(*batch), device) for _ in range(3)
    )
    losses = torch.rand(model.roi_heads.box.num_classes, dtype=torch.float64, device=device)
    adapt = seconds(lambda: model.fasa.adapt(losses, torch.ones_like(losses).long()), device)
    epoch_steps = LVIS_TRAIN / options.images * whole
    pass_share = LVIS_VAL / options.images * validation / epoch_steps
    text = (
        f"{size}, 1,203 classes, ResNet-50, {drawn:.1f} virtual features a step, "
        f"{hardware(device)}\n"
        f"class branch, forward and backward: {on * 1e3:.1f} ms with FASA, {off * 1e3:.1f} ms "
        f"without (medians of {PASSES}); a step without: {whole:.2f} s (median of "
        f"{options.rounds})\n"
        f"FASA's share of a step: {100 * share:.2f} % (target at most {100 * TARGET:.0f} %)\n"
        f"whole steps: {statistics.median(with_fasa):.2f} s with FASA, {whole:.2f} s without; they "
        f"range from {min(without):.2f} to {max(without):.2f} s\n"
        f"apart, each epoch: validation losses take {validation:.2f} s a batch; for LVIS's "
        f"{LVIS_VAL:,} images {100 * pass_share:.0f} % of its {LVIS_TRAIN:,} images' steps; "
        f"adaptation takes {adapt:.1f} s, {100 * adapt / epoch_steps:.3f} %"
    )
    print(text)
    if options.save:
        keep("bench_fasa_cost", text, device=device)
    return 0 if share <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
