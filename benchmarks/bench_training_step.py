"""Claim: at 1,203 classes a training step is 1.3 times as fast as plain Mask R-CNN's.

The other side is torchvision's own Mask R-CNN with class-specific heads and copied weights, on the
same images, with the same RoIs. A step is forward, backward and SGD. The losses have to be
the same to 1e-5, and the peak of our memory below 0.7 of theirs.

    python -m benchmarks.bench_training_step
    python -m benchmarks.bench_training_step --height 800 --width 1333 --device cuda

On CPU the peak is the growth of a fresh process's resident memory over two steps; on a GPU it is
what torch's allocator gave out. FASA is off here: `bench_fasa_cost` states what it adds. Our side
keeps channels innermost, as the presets for LVIS do; `--no-channels-last` shows it without,
`--precision` and `--compile` with more. Losses are held to what the precision allows.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.kept_results import hardware, keep
from benchmarks.lvis_step import (
    Size,
    build_lvis_model,
    lvis_config,
    make_batch,
    step_parser,
    training_step,
)
from benchmarks.peak_memory import peak_growth
from benchmarks.plain_mask_rcnn import losses_of, plain_mask_rcnn
from trainer.config import RunConfig
from trainer.model import FASAMaskRCNN
from trainer.training_step import to_device

FASTER, LESS_MEMORY = 1.3, 0.7
TOLERANCE = {"float32": 1e-5, "bfloat16": 0.05, "float16": 0.01}
OURS, PLAIN = "ours", "torchvision"
BATCHES = 2

Step = Callable[[int], dict[str, float]]


def arguments() -> argparse.Namespace:
    """What to measure."""
    parser = step_parser(__doc__)
    parser.add_argument("--precision", default="float32", choices=sorted(TOLERANCE))
    parser.add_argument("--channels-last", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--peak", choices=(OURS, PLAIN), help=argparse.SUPPRESS)
    return parser.parse_args()


def configuration(options: argparse.Namespace) -> RunConfig:
    """The preset with torchvision's own settings, without FASA."""
    return lvis_config(
        Size(options.images, options.height, options.width),
        fasa=False,
        box_loss="smooth_l1",
        batch_norm="fixed",
        roi_sampling_ratio=2,
        precision=options.precision,
        channels_last=options.channels_last,
        compile=options.compile,
        learning_rate=1e-4,  # a random network at the preset's rate leaves the numbers it can hold
        classifier_learning_rate=1e-4,
    )


def our_step(config: RunConfig, model: FASAMaskRCNN, size: Size, device: torch.device) -> Step:
    """A step of the trainer on batch number 0 or 1."""
    batches = [make_batch(size, seed=seed) for seed in range(BATCHES)]
    train = training_step(config, model, device)
    return lambda number: train(batches[number], step=number)


def plain_step(config: RunConfig, model: nn.Module, size: Size, device: torch.device) -> Step:
    """The same with torchvision's model, as its own training script does it."""
    batches = [make_batch(size, seed=seed) for seed in range(BATCHES)]
    optimizer = torch.optim.SGD(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )

    def train(number: int) -> dict[str, float]:
        losses = losses_of(model, *to_device(batches[number], device))
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        return {name: float(value.detach()) for name, value in losses.items()}

    return train


def seconds(step: Step, number: int, device: torch.device) -> float:
    """How long a step takes."""
    _wait(device)
    started = time.perf_counter()
    step(number)
    _wait(device)
    return time.perf_counter() - started


def peak_here(step: Step, device: torch.device) -> float:
    """Megabytes that two steps take at their peak, in this process."""
    if device.type != "cuda":
        return peak_growth(lambda: [step(number) for number in range(BATCHES)])
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    for number in range(BATCHES):
        step(number)
    return (torch.cuda.max_memory_allocated(device) - before) / 1e6


def peak_elsewhere(side: str) -> float:
    """The same in a fresh process, which says it on its last line."""
    command = [sys.executable, "-m", "benchmarks.bench_training_step", *sys.argv[1:]]
    said = subprocess.run([*command, "--peak", side], check=True, stdout=subprocess.PIPE, text=True)
    return float(said.stdout.split()[-1])


def prepare(options: argparse.Namespace, side: str) -> Step:
    """A side's step; both sides begin with the same weights."""
    device = torch.device(options.device)
    size = Size(options.images, options.height, options.width)
    config = configuration(options)
    ours = build_lvis_model(config, device=device)
    if side == OURS:
        return our_step(config, ours, size, device)
    return plain_step(config, plain_mask_rcnn(config, ours), size, device)


def main() -> int:
    options = arguments()
    device = torch.device(options.device)
    if options.peak:
        print(peak_here(prepare(options, options.peak), device))
        return 0
    peak = {side: peak_elsewhere(side) for side in (PLAIN, OURS)}
    steps = {side: prepare(options, side) for side in (PLAIN, OURS)}
    difference = 0.0
    losses: dict[str, dict[str, float]] = {}
    for side, step in steps.items():
        torch.manual_seed(0)  # of the RoIs that are drawn
        losses[side] = step(0)
    for name, value in losses[PLAIN].items():
        difference = max(difference, abs(losses[OURS][name] - value) / max(1, abs(value)))
    times: dict[str, list[float]] = {side: [] for side in steps}
    for number in range(options.rounds):  # in turns, so that a busy machine slows both
        for side, step in steps.items():
            times[side].append(seconds(step, number % BATCHES, device))
    ours, plain = (statistics.median(times[side]) for side in (OURS, PLAIN))
    faster, memory = plain / ours, peak[OURS] / peak[PLAIN]
    tolerance = TOLERANCE[options.precision]
    text = (
        f"{options.images} images of {options.height}x{options.width}, 1,203 classes, ResNet-50, "
        f"{options.precision}{', channels last' * options.channels_last}"
        f"{', compiled' * options.compile}, {hardware(device)}, medians of {options.rounds} steps\n"
        f"a step: {ours:.2f} s, torchvision's {plain:.2f} s, {faster:.2f} times as fast "
        f"(target {FASTER})\n"
        f"peak memory: {peak[OURS]:.0f} MB, torchvision's {peak[PLAIN]:.0f} MB, {memory:.2f} of it "
        f"(target below {LESS_MEMORY})\n"
        f"losses differ by at most {difference:.1e} (target {tolerance})"
    )
    print(text)
    if options.save:
        keep(_variant(options), text, device=device)
    return 0 if faster >= FASTER and memory < LESS_MEMORY and difference < tolerance else 1


def _variant(options: argparse.Namespace) -> str:
    told = [options.precision] * (options.precision != "float32")
    told += ["no-channels-last"] * (not options.channels_last) + ["compile"] * options.compile
    return "_".join(["bench_training_step", *told])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    sys.exit(main())
