"""Claim: `observe` + `sample` at LVIS size cost at most 1/25 of a loop over classes, on CPU.

C = 1203, d = 1024 and 256 positive RoIs a step, whose classes follow the instance counts of LVIS v1
(read from `lvis_v1_categories.json` in the folder that FASA_TEST_DATA names, or beside this
checkout; else a Zipf tail with as many instances). The loop takes the official code's steps, and
both sides its arithmetic (an average of variances); the priors have to come out equal.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from fasa_core.fasa import FASA
from fasa_core.options import FASAOptions

NUM_CLASSES, FEATURE_DIM, POSITIVES = 1203, 1024, 256
BATCHES, PASSES, ROUNDS, THREADS = 16, 4, 8, 2
TARGET = 25.0
TOLERANCE = 1e-4


def class_counts() -> tuple[Tensor, str]:
    """[C] instances of every class, and where they come from."""
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    table = Path(os.environ.get("FASA_TEST_DATA", shared)) / "lvis_v1_categories.json"
    if table.is_file():
        rows = json.loads(table.read_text())
        return torch.tensor([row["instance_count"] for row in rows]), "LVIS v1 instance counts"
    rank = torch.arange(1, NUM_CLASSES + 1)
    return (164_000 / rank).round().clamp(min=1).long(), "a Zipf tail"


class ClassLoop(nn.Module):
    """The official code's steps: one class after the other, state in frozen parameters.

    Per class in the batch: pick its rows, mean and biased variance, the n / (n - 1) correction,
    the moving averages (the first batch is assigned). Per class drawn: one feature.
    """

    def __init__(self, probability: Tensor, *, m: float) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(NUM_CLASSES, FEATURE_DIM), requires_grad=False)
        self.variance = nn.Parameter(torch.zeros(NUM_CLASSES, FEATURE_DIM), requires_grad=False)
        self.used = nn.Parameter(torch.zeros(NUM_CLASSES), requires_grad=False)
        self.probability = probability
        self.m = m

    @torch.no_grad()
    def observe(self, features: Tensor, labels: Tensor) -> None:
        """Eq. 2 for each class in the batch."""
        for label in torch.unique(labels):
            c = int(label)
            rows = features[torch.nonzero(labels == c).squeeze(1)]
            mean, variance, n = rows.mean(dim=0), rows.var(dim=0, unbiased=False), len(rows)
            if n > 1:
                variance = variance * n / (n - 1)
            if self.used[c] > 0:
                self.mean[c] = self.m * mean + (1 - self.m) * self.mean[c]
                self.variance[c] = self.m * variance + (1 - self.m) * self.variance[c]
            else:
                self.mean[c] = mean
                self.variance[c] = variance
                self.used[c] += 1

    @torch.no_grad()
    def sample(self) -> tuple[Tensor, Tensor]:
        """Eq. 3 for each class drawn."""
        features, labels = [], []
        for label in torch.where(torch.rand(NUM_CLASSES) < self.probability)[0]:
            c = int(label)
            if self.used[c] > 0:
                noise = torch.normal(0, 1, size=(FEATURE_DIM,))
                features.append(self.mean[c] + torch.sqrt(self.variance[c]) * noise)
                labels.append(c)
        if not features:
            return torch.empty(0, FEATURE_DIM), torch.empty(0, dtype=torch.int64)
        return torch.stack(features), torch.tensor(labels)


def milliseconds(step: Callable[[Tensor, Tensor], object], batches: list) -> list[float]:
    """How long each step took."""
    times = []
    for features, labels in batches * PASSES:
        started = time.perf_counter()
        step(features, labels)
        times.append((time.perf_counter() - started) * 1e3)
    return times


def main() -> int:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    torch.ones(2**22)  # as after any large activation, malloc keeps freed memory from now on
    counts, source = class_counts()
    batches = []
    for _ in range(BATCHES):
        labels = torch.multinomial(counts.double(), POSITIVES, replacement=True)
        batches.append((torch.rand(POSITIVES, FEATURE_DIM), labels))
    fasa = FASA(NUM_CLASSES, FEATURE_DIM, counts, FASAOptions(spread="variance"))
    fasa.set_epoch(1)
    loop = ClassLoop(fasa.probability.clone(), m=fasa.m)

    def ours(features: Tensor, labels: Tensor) -> None:
        fasa.observe(features, labels)
        fasa.sample()

    def theirs(features: Tensor, labels: Tensor) -> None:
        loop.observe(features, labels)
        loop.sample()

    times: dict[str, list[float]] = {"batched": [], "loop": []}
    for _ in range(ROUNDS):  # interleaved, so that a busy machine slows both
        times["batched"] += milliseconds(ours, batches)
        times["loop"] += milliseconds(theirs, batches)
    difference = max(
        float((fasa.mean - loop.mean).abs().max()), float((fasa.spread - loop.variance).abs().max())
    )
    batched, looped = (statistics.median(times[name]) for name in ("batched", "loop"))
    ratio = looped / batched
    classes = statistics.mean(len(set(labels.tolist())) for _, labels in batches)
    print(
        f"C={NUM_CLASSES} d={FEATURE_DIM}, {POSITIVES} positives of {classes:.0f} classes a step "
        f"({source}), {THREADS} threads, medians of {ROUNDS * PASSES * BATCHES} steps\n"
        f"observe + sample: {batched:.2f} ms, class loop: {looped:.2f} ms, "
        f"{ratio:.1f} times faster (target {TARGET:.0f}); priors differ by at most {difference:.1e}"
    )
    return 0 if ratio >= TARGET and difference < TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
