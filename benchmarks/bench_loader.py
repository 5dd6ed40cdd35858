"""Claim: with two loader workers, waiting for a batch takes at most 1 % of a training step.

Images and annotations have LVIS's shape and are read as a run reads them: decoded, masks drawn from
polygons, flipped, resized to one of several sizes. The step is that of the preset, at the same
size. Shown without workers, too, where all of a batch's reading is waited for. On a CPU the
workers take their time from the step; on a GPU they have nothing to take.

    python -m benchmarks.bench_loader
    python -m benchmarks.bench_loader --size 800 --device cuda --steps 100
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.kept_results import hardware, keep
from benchmarks.lvis_shaped import write_lvis_shaped
from benchmarks.lvis_step import Size, build_lvis_model, lvis_config, training_step
from data.detection import DetectionDataset
from trainer.config import RunConfig
from trainer.training_data import train_loader
from trainer.training_step import TrainingStep

TARGET = 0.01
WORKERS = (0, 2)
BATCH = 2


def arguments() -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=480, help="shorter side of the input, pixels")
    parser.add_argument("--steps", type=int, default=5, help="for each number of workers")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", action="store_true", help="keep the result in benchmarks/results")
    return parser.parse_args()


def configuration(options: argparse.Namespace, workers: int) -> RunConfig:
    """The preset, with five sizes below the largest."""
    longer = options.size * 5 // 3
    return lvis_config(
        Size(BATCH, options.size, longer),
        train_min_sizes=[options.size * share // 25 for share in range(20, 26)],
        learning_rate=1e-4,
        classifier_learning_rate=1e-4,
        device=options.device,
        workers=workers,
    )


def waits(
    config: RunConfig, data: DetectionDataset, step: TrainingStep, device: torch.device, steps: int
) -> tuple[list[float], list[float]]:
    """Seconds waited for each batch after the first two, and seconds of each step."""
    waited, taken = [], []
    batches = iter(train_loader(config, data, epoch=0))
    for number in range(steps + 2):
        started = time.perf_counter()
        batch = next(batches)
        got = time.perf_counter()
        step(batch, step=number)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        waited.append(got - started)
        taken.append(time.perf_counter() - got)
    return waited[2:], taken[2:]


def main() -> int:
    options = arguments()
    device = torch.device(options.device)
    base = configuration(options, 0)
    model = build_lvis_model(base, device=device)
    step = training_step(base, model, device)
    shares, lines = {}, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        json = write_lvis_shaped(
            folder / "train.json",
            images=BATCH * (options.steps + 2),
            seed=0,
            image_folder=folder / "images",
        )
        data = DetectionDataset(json, folder / "images")
        for workers in WORKERS:
            waited, taken = waits(
                configuration(options, workers), data, step, device, options.steps
            )
            shares[workers] = sum(waited) / sum(taken)
            lines.append(
                f"{workers} workers: waiting for a batch {1e3 * statistics.median(waited):.1f} ms "
                f"(longest {1e3 * max(waited):.1f}), a step {statistics.median(taken):.2f} s: "
                f"{100 * shares[workers]:.2f} % of it"
            )
    text = (
        f"{BATCH} images with shorter sides up to {options.size}, 1,203 classes, {hardware(device)}"
        f", {options.steps} steps each\n" + "\n".join(lines)
    )
    text += f" (target at most {100 * TARGET:.0f} %)"
    print(text)
    if options.save:
        keep("bench_loader", text, device=device)
    return 0 if shares[WORKERS[-1]] <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
