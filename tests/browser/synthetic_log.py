"""A made-up run in a real run log, written by the real writer: for tests of the dashboard.

    python -m tests.browser.synthetic_log RUNS --classes 60 --epochs 12 --live

writes history up to `--upto` epochs at once and, with `--live`, goes on step by step from this
separate process until it is stopped, answering commands as a trainer does. Its numbers look like
a FASA run's, they are no result.
"""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.config import ConfigError, RunConfig, check_live
from trainer.run_log.commands import claim_run, queue_run, set_status
from trainer.run_log.history import HISTORY
from trainer.run_log.rows import Command
from trainer.run_log.schema import FILE_NAME, open_for_reading
from trainer.run_log.writer import RunLogWriter

TEXT = """
tiger saxophone apple tractor hammer lemon bicycle owl violin pear truck saw banana bus goat flute
cherry tram axe zebra drum melon boat wrench camel trumpet grape plane chisel frog harp peach rocket
ladder whale banjo kiwi scooter pliers eagle piano mango ferry drill koala guitar plum canoe spade
fox organ fig sled anvil crab horn olive skate nail bear
"""
WORDS = TEXT.split()

CHECKPOINTS = 3  # kept


def letter(images: int) -> str:
    return "r" if images <= 10 else "c" if images <= 100 else "f"


class SyntheticRun:
    """One run with plausible dynamics; deterministic from its seed, step by step."""

    def __init__(
        self, runs: Path, *, name: str = "demo", classes: int = 60, epochs: int = 12,
        steps_per_epoch: int = 66, seed: int = 0, fasa: bool = True, snapshot_every: int = 10,
    ) -> None:  # fmt: skip
        runs.mkdir(parents=True, exist_ok=True)
        self.path = runs / FILE_NAME
        self.classes, self.epochs, self.steps_per_epoch = classes, epochs, steps_per_epoch
        self.total = epochs * steps_per_epoch
        self.fasa, self.snapshot_every = fasa, snapshot_every
        self.random = np.random.default_rng(seed)
        self.config = RunConfig(epochs=epochs, demo_classes=max(2, classes), fasa=fasa)
        self.id = queue_run(
            self.path, name=name, config=self.config.model_dump(mode="json"), dataset="demo"
        )
        self.step = 0
        self.kept: list[int] = []
        self.is_paused = self.is_stopped = False
        places = self.random.permutation(classes)
        share = places / max(1, classes - 1)
        self.instances = np.maximum(1, np.round(200 * 0.01**share)).astype(int)
        self.images = np.maximum(1, self.instances * 3 // 4)
        inverse = 1.0 / self.instances
        self.probability = (inverse / inverse.sum()).astype(np.float32)
        self.base = self.probability.copy()
        self.group = np.full(classes, -1, np.int32)
        self.rare = self.instances / self.instances.max()
        self.writer: RunLogWriter | None = None

    def names(self) -> list[str]:
        return [
            WORDS[i] if i < len(WORDS) else f"{WORDS[i % len(WORDS)]}_{i // len(WORDS)}"
            for i in range(self.classes)
        ]

    def start(self) -> RunLogWriter:
        """Claim the run, name its classes, say that it runs."""
        assert claim_run(self.path, self.id, process_id=1, process_identity=None)
        self.writer = RunLogWriter(self.path, self.id, commit_interval=0.1)
        self.writer.register_categories(
            [
                {"index": i, "id": i + 1, "name": name, "frequency": letter(int(self.images[i])),
                 "image_count": int(self.images[i]), "instance_count": int(self.instances[i])}
                for i, name in enumerate(self.names())
            ]
        )  # fmt: skip
        self.writer.begin_attempt(from_step=self.step)
        self.writer.status("running")
        knobs = {"knob/learning_rate_factor": 1.0}
        if self.fasa:
            knobs |= {"knob/alpha": 1.1, "knob/beta": 0.9, "knob/m": 0.1,
                      "knob/virtual_loss_weight": 0.1}  # fmt: skip
        self.writer.scalars(knobs, step=0, epoch=0)
        self.snapshot()
        self.progress("training")
        assert self.writer.flush()  # a test that opens a page next has to find all of this
        return self.writer

    @property
    def epoch(self) -> int:
        return min(self.step // self.steps_per_epoch, self.epochs - 1)

    def progress(self, phase: str) -> None:
        assert self.writer
        self.writer.progress(step=self.step, total_steps=self.total, epoch=self.epoch,
                             total_epochs=self.epochs, phase=phase)  # fmt: skip

    def advance(self, steps: int = 1) -> None:
        """Train some steps; at the end of an epoch validate, adapt and evaluate."""
        assert self.writer
        for _ in range(steps):
            epoch = self.epoch
            self.step += 1
            self.writer.scalars(self.losses(), step=self.step, epoch=epoch)
            if self.step % self.snapshot_every == 0:
                self.snapshot(epoch)
            if self.step % self.steps_per_epoch == 0:
                self.end_epoch(epoch)
        self.progress("training")

    def losses(self) -> dict[str, float]:
        done = self.step / self.total
        noise = self.random.normal(1, 0.12, 7)
        values = {
            "loss/classifier": (0.35 + 1.6 * np.exp(-6 * done)) * noise[0],
            "loss/box": (0.18 + 0.4 * np.exp(-5 * done)) * noise[1],
            "loss/mask": (0.32 + 0.4 * np.exp(-7 * done)) * noise[2],
            "loss/objectness": (0.06 + 0.5 * np.exp(-12 * done)) * noise[3],
            "loss/rpn_box": (0.05 + 0.1 * np.exp(-8 * done)) * noise[4],
        }
        if self.fasa and self.step > self.steps_per_epoch:
            values["loss/virtual"] = (0.05 + 0.3 * np.exp(-5 * done)) * noise[5]
        values["loss/total"] = sum(values.values())
        return {
            **{key: float(value) for key, value in values.items()},
            "step_seconds": 0.42 * float(noise[6]),
            "images_per_second": 19.0 / float(noise[6]),
            "learning_rate": 1e-3 * 0.5 * (1 + float(np.cos(np.pi * done))),
        }

    def snapshot(self, epoch: int | None = None) -> None:
        assert self.writer
        done = self.step / self.total
        wobble = self.random.normal(1, 0.03, self.classes)
        fields: dict[str, NDArray[Any]] = {
            "weight_norm": (0.18 + 0.1 * done + 0.06 * self.rare * done) * wobble,
            "observed_rois": (self.instances * self.step * 0.3).astype(np.int32),
            "prior_spread": (0.2 + 0.1 * self.rare) * wobble,
            "prior_norm": (2 + done) * wobble,
            "training_loss": (0.4 + 3 * np.exp(-4 * done) * (1.4 - self.rare)) * wobble,
            "score": np.clip((0.1 + 0.6 * done) * (0.4 + 0.6 * self.rare) * wobble, 0, 1),
        }
        if self.fasa:
            fields |= {
                "probability": self.probability,
                "scale": self.probability / self.base,
                "virtual_features": (self.probability * self.step).astype(np.int32),
            }
        self.writer.class_vectors(
            {key: v.astype(np.float32) if v.dtype.kind == "f" else v for key, v in fields.items()},
            step=self.step, epoch=self.epoch if epoch is None else epoch,
        )  # fmt: skip

    def end_epoch(self, epoch: int) -> None:
        assert self.writer
        done = self.step / self.total
        here = {"step": self.step, "epoch": epoch}
        self.writer.scalars({"validation/loss": 0.5 + 1.5 * float(np.exp(-4 * done))}, **here)
        if self.fasa:
            self.adapt(epoch)
        ap = np.array([0.0, 2.0, 18.0, 30.0]) * (1 - np.exp(-4 * done))
        ap[1] += 11 * max(0.0, done - 0.15) * self.fasa
        ap[0] = ap[1:].mean()
        letters = ["AP", "AP_r", "AP_c", "AP_f"]
        for measure, factor in (("segm", 1.0), ("bbox", 1.06)):
            values = ap * factor + self.random.normal(0, 0.3, 4)
            self.writer.scalars(
                {f"{measure}/{key}": float(v) for key, v in zip(letters, values, strict=True)},
                **here,
            )
        per_class = np.clip(40 * done * (0.3 + self.rare) + self.random.normal(0, 4, self.classes),
                            0, 100)  # fmt: skip
        per_class[:: max(7, self.classes // 4)] = np.nan
        loss = 0.5 + 3 * (1.3 - self.rare) * (1 - done)
        vectors = {"ap_segm": per_class, "validation_loss": loss}
        self.writer.class_vectors(
            {key: value.astype(np.float32) for key, value in vectors.items()}, **here
        )
        self.snapshot(epoch)
        self.keep_checkpoint(epoch=epoch + 1, batch=0)

    def keep_checkpoint(self, *, epoch: int, batch: int) -> None:
        """Say that one is kept; there is no file."""
        assert self.writer
        self.writer.checkpoint_kept(step=self.step, epoch=epoch, batch=batch, size=44_000_000)
        self.kept.append(self.step)
        for step in self.kept[:-CHECKPOINTS]:
            self.writer.checkpoint_removed(step=step)
        del self.kept[:-CHECKPOINTS]

    def go_back(self, step: int) -> None:
        """As a run that was resumed from a checkpoint of that step."""
        assert self.writer
        assert self.writer.flush()
        newest = "SELECT coalesce(max(id), 0) FROM {} WHERE run_id = ? AND step <= ?"
        with closing(open_for_reading(self.path)) as connection:
            position = {
                table: connection.execute(newest.format(table), (self.id, step)).fetchone()[0]
                for table in HISTORY
            }
        self.writer.truncate_after(position, step=step)
        self.step = step

    def answer_commands(self) -> None:
        """Do what was asked, or refuse it."""
        assert self.writer
        for command in self.writer.take_commands():
            try:
                text = self.carry_out(command)
            except ConfigError as error:
                self.writer.refuse_command(command, str(error))
                continue
            self.writer.apply_command(
                command, text, step=self.step, epoch=self.epoch, phase="training"
            )
            if command.kind in ("pause", "resume"):
                self.writer.status("paused" if self.is_paused else "running")

    def carry_out(self, command: Command) -> str:
        assert self.writer
        if command.kind == "set":
            values = check_live(command.payload, self.config)
            curves = {f"knob/{name}": value for name, value in values.items()}
            self.writer.scalars(curves, step=self.step, epoch=self.epoch)
            return ", ".join(f"{name} = {value:g}" for name, value in values.items())
        if command.kind in ("pause", "resume"):
            self.is_paused = command.kind == "pause"
        if command.kind == "checkpoint":
            self.keep_checkpoint(epoch=self.epoch, batch=self.step % self.steps_per_epoch)
        self.is_stopped |= command.kind == "stop"
        return command.kind.replace("_", " ")

    def adapt(self, epoch: int) -> None:
        assert self.writer
        here = {"step": self.step, "epoch": epoch}
        groups = max(1, min(self.classes // 6, 1 + epoch))
        self.group = self.random.integers(0, groups, self.classes).astype(np.int32)
        decision = np.zeros(self.classes, np.int32)
        fell = np.zeros(groups, bool)
        if epoch:
            fell = self.random.random(groups) < 0.62
            decision = np.where(fell, 1, -1)[self.group].astype(np.int32)
            factor = np.where(decision > 0, 1.1, 0.9).astype(np.float32)
            self.probability = np.clip(self.probability * factor, 0, 1).astype(np.float32)
        noise = float(self.random.uniform(0.2, 0.5))
        self.writer.scalars(
            {"adaptation/groups": groups, "adaptation/noise_share": noise, "adaptation/eps": 0.4},
            **here,
        )
        self.writer.class_vectors({"super_group": self.group, "decision": decision}, **here)
        reports = [self.group_report(number, bool(fell[number]), noise) for number in range(groups)]
        sizes = [len(report["members"]) for report in reports]
        self.writer.adaptation(
            {"eps": 0.4, "eps_quantile": 0.5, "num_groups": groups, "noise_share": noise,
             "largest_group": max(sizes), "groups": reports},
            **here,
        )  # fmt: skip

    def group_report(self, number: int, fell: bool, noise: float) -> dict[str, Any]:
        """Why a group's probabilities changed, as an adaptation explains it."""
        members = np.flatnonzero(self.group == number).tolist()
        before = None if self.step <= self.steps_per_epoch else 2.0 + 0.1 * number
        change = 0.05 + 0.01 * number
        reason = "baseline" if before is None else "fell" if fell else "rose"
        return {
            "group": number, "members": members, "with_data": members[1:],
            "noise_members": members[: round(noise * len(members))],
            "clamped": [index for index in members if self.probability[index] >= 1],
            "loss_before": before, "reason": reason,
            "loss_after": 2.0 if before is None else before - change if fell else before + change,
            "factor": {"baseline": 1.0, "fell": 1.1, "rose": 0.9}[reason],
        }  # fmt: skip

    def finish(self) -> None:
        """Train to the end and close."""
        assert self.writer
        self.advance(self.total - self.step)
        self.writer.status("finished")
        self.writer.close()

    def crash(self, error: str) -> None:
        """Close as the supervisor would after the trainer died."""
        assert self.writer
        self.writer.close()
        set_status(self.path, self.id, "crashed", error=error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--name", default="demo")
    parser.add_argument("--classes", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--steps-per-epoch", type=int, default=66)
    parser.add_argument("--upto", type=float, default=4.5, help="epochs of history")
    parser.add_argument("--live", action="store_true", help="go on until the run is finished")
    parser.add_argument("--pace", type=float, default=0.2, help="seconds a step when live")
    parser.add_argument("--no-fasa", action="store_true")
    options = parser.parse_args()
    run = SyntheticRun(
        options.runs, name=options.name, classes=options.classes, epochs=options.epochs,
        steps_per_epoch=options.steps_per_epoch, fasa=not options.no_fasa,
    )  # fmt: skip
    writer = run.start()
    print(run.id, flush=True)
    run.advance(min(run.total, round(options.upto * options.steps_per_epoch)))
    while options.live and run.step < run.total and not run.is_stopped:
        time.sleep(options.pace)
        run.answer_commands()
        if not run.is_paused:
            run.advance()
    if run.step >= run.total:
        run.finish()
    if run.is_stopped:
        writer.status("stopped")
    writer.close()


if __name__ == "__main__":
    main()
