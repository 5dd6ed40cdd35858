"""Claim: to keep what an evaluation predicts on 32 test images costs at most 1/50 of it.

On the demo set (60 classes) with the defaults of `RunConfig`: evaluations, and after each the
keeping of its predictions, in one process with the same detections and run log, one thread,
medians of both, so that a busy machine slows both. All detections are given scores that are kept,
so that every image keeps as many as one can: an upper bound, in seconds and in bytes. The first
time also chooses the images and stores their pictures; it is timed apart.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import torch

from trainer.config import RunConfig
from trainer.inference import evaluate_model
from trainer.model import build_model
from trainer.predictions import LEAST_SCORE, MOST_DETECTIONS, PredictionGallery
from trainer.run_log.commands import queue_run
from trainer.run_log.schema import open_for_reading
from trainer.run_log.writer import RunLogWriter
from trainer.training_data import TrainingData, build_training_data

EVALUATIONS, THREADS = 5, 1
TARGET = 50.0


def measure(
    config: RunConfig, data: TrainingData, path: Path, run: int
) -> tuple[list[float], list[float]]:
    """Seconds of every evaluation, and of keeping its predictions."""
    torch.manual_seed(config.seed)
    model = build_model(config, class_counts=data.class_counts)
    evaluations: list[float] = []
    keeping: list[float] = []
    with RunLogWriter(path, run) as writer:
        gallery = PredictionGallery(
            config=config, data=data, writer=writer, run_log=path, run_id=run
        )
        for epoch in range(EVALUATIONS):
            started = time.perf_counter()
            result = evaluate_model(model, data, config, device=torch.device("cpu"))
            evaluations.append(time.perf_counter() - started)
            assert result is not None
            scores = LEAST_SCORE + (1 - LEAST_SCORE) * result.records.scores
            raised = dataclasses.replace(result.records, scores=scores)
            started = time.perf_counter()
            gallery.record(raised, step=epoch + 1, epoch=epoch)
            keeping.append(time.perf_counter() - started)
    return evaluations, keeping


def stored(path: Path) -> tuple[int, float, float, float]:
    """Images; detections an image; kB of predictions an evaluation; kB of images, once."""
    with closing(open_for_reading(path)) as connection:
        images, once = connection.execute(
            "SELECT count(*), sum(length(picture) + length(truth)) FROM prediction_images"
        ).fetchone()
        detections, size = connection.execute(
            "SELECT avg(json_array_length(detections)), sum(length(detections)) FROM predictions"
        ).fetchone()
    return images, detections, size / EVALUATIONS / 1e3, once / 1e3


def bench(folder: Path) -> bool:
    config = RunConfig()
    data = build_training_data(config, datasets=folder)
    path = folder / "fasa.sqlite"
    run = queue_run(path, name="predictions", config={}, dataset=data.title)
    evaluations, keeping = measure(config, data, path, run)
    evaluation, again = statistics.median(evaluations), statistics.median(keeping[1:])
    images, detections, each, once = stored(path)
    assert data.test is not None
    print(
        f"{images} of {len(data.test)} test images, {detections:.1f} detections an image (at most "
        f"{MOST_DETECTIONS}), {THREADS} thread, medians of {EVALUATIONS} evaluations\n"
        f"keeping: {1e3 * again:.1f} ms (the first {1e3 * keeping[0]:.0f} ms), an evaluation: "
        f"{evaluation:.2f} s, {evaluation / again:.0f} times as long (target {TARGET:.0f}); "
        f"{each:.0f} kB an evaluation, {once:.0f} kB of images once"
    )
    return evaluation / again >= TARGET


def main() -> int:
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as name:
        return 0 if bench(Path(name)) else 1


if __name__ == "__main__":
    sys.exit(main())
