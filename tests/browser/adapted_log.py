"""A made-up run whose adaptations are real: FASA's own sampling decides on made-up losses.

    python -m tests.browser.adapted_log RUNS --classes 1203 --epochs 12 [--live]

Groups are drawn at random, half of them new each epoch, so that members move; a share of classes
is noise, a few have no validation data or are not observed at first.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from browser.synthetic_log import SyntheticRun

from fasa_core.adaptive_sampling import AdaptiveSampling
from fasa_core.super_groups import SuperGroups

CLASSES_A_GROUP = 20
NOISE, WITHOUT_DATA, UNSEEN = 0.4, 0.25, 0.02  # shares of classes
MOVING = 0.3  # share that changes its group


class AdaptedRun(SyntheticRun):
    """A `SyntheticRun` that writes what a trainer writes of an adaptation."""

    def __init__(self, runs: Path, **values: Any) -> None:
        super().__init__(runs, **values)
        self.sampling = AdaptiveSampling(torch.as_tensor(self.instances))
        self.drawn = np.random.default_rng(1)
        self.groups = max(2, self.classes // CLASSES_A_GROUP)
        self.places = self.drawn.integers(0, self.groups, self.classes)
        self.has_data = self.drawn.random(self.classes) > WITHOUT_DATA

    def end_epoch(self, epoch: int) -> None:
        """Validate, adapt, take a snapshot, in the trainer's order."""
        assert self.writer
        here = {"step": self.step, "epoch": epoch}
        count = np.where(self.has_data, 4, 0)
        losses = (1 + 3 * self.drawn.random(self.classes)) * 0.93**epoch
        shown = np.where(self.has_data, losses, np.nan).astype(np.float32)
        self.writer.class_vectors({"validation_loss": shown}, **here)
        if self.fasa:
            report = self.sampling.adapt(
                self.regrouped(epoch), torch.as_tensor(losses * count), torch.as_tensor(count),
                alpha=1.1, beta=0.9, epoch=epoch,
            )  # fmt: skip
            self.writer.adaptation(report.to_dict(), **here)
            self.group = report.group_of_class.astype(np.int32)
            self.probability = report.probability_after.astype(np.float32)
            decision = report.decision.astype(np.int32)
            self.writer.class_vectors({"super_group": self.group, "decision": decision}, **here)
            self.writer.scalars({"adaptation/groups": report.num_groups,
                                 "adaptation/noise_share": report.noise_share,
                                 "adaptation/eps": 0.4 + 0.05 * epoch}, **here)  # fmt: skip
        self.snapshot(epoch)
        self.keep_checkpoint(epoch=epoch + 1, batch=0)

    def regrouped(self, epoch: int) -> SuperGroups:
        """Groups of the epoch; the classes not yet observed are in none."""
        moving = self.drawn.random(self.classes) < MOVING
        new = self.drawn.integers(0, self.groups, self.classes)
        self.places = np.where(moving, new, self.places)
        unseen = self.drawn.random(self.classes) < UNSEEN / (1 + epoch)
        unseen[: self.groups] = False  # else a number could be missing
        self.places[: self.groups] = np.arange(self.groups)
        noise = (self.drawn.random(self.classes) < NOISE) & ~unseen
        return SuperGroups(np.where(unseen, -1, self.places), noise, 0.4 + 0.05 * epoch, 0.4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--classes", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--steps-per-epoch", type=int, default=20)
    parser.add_argument("--live", action="store_true", help="go on, a step a second")
    options = parser.parse_args()
    run = AdaptedRun(options.runs, classes=options.classes, epochs=options.epochs,
                     steps_per_epoch=options.steps_per_epoch)  # fmt: skip
    writer = run.start()
    run.advance(run.total // 2 if options.live else run.total)
    while options.live and run.step < run.total:
        time.sleep(1)
        run.advance()
    writer.status("finished")
    writer.close()


if __name__ == "__main__":
    main()
