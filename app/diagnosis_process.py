"""Checks of the process: is it alive, does it get its data, is there room left.

Each check returns its findings, or None when it cannot be judged (yet).
"""

from __future__ import annotations

import math

import numpy as np

from app.diagnosis_facts import MEGABYTE, Facts
from app.finding import Finding, Severity, duration, percent, size

# An epoch's order is drawn and its loader processes start first: fewer steps say nothing.
FEWEST_STEPS = 20
# A third of the time: with loader processes that keep up the wait is near 0, and without any the
# demo set's is 5 %.
STARVED = 0.3
# Below, the next checkpoint or the write-ahead log (cut back to 64 MiB) may not fit.
DISK_RESERVE = 64 * 2**20
DISK_SMALL = 10**9  # bytes: logs, consoles and exports grow beside the checkpoints
# The system ends the largest process when nothing is left; loaders that start, and the evaluation,
# take a tenth of a trainer's memory more.
MEMORY_SHARE = 0.1
MEMORY_SMALL = 500.0  # MB: also for a small trainer, as others on the machine grow too
MEMORY_GONE = 150.0  # MB
NOT_FINITE = "loss or gradient is not finite"  # how the trainer's sentence begins
CONSOLE_FOLLOWS = " Last lines of its console:"  # how the supervisor goes on
ERROR_SHOWN = 240  # characters; the head of the page shows all of it


def heartbeat(facts: Facts) -> list[Finding] | None:
    """A silent trainer: hanging, gone, or unable to write to the run log."""
    state, run = facts.liveness, facts.run
    if state in ("waiting", "over"):
        return None
    if state == "alive":
        return []
    last = run.heartbeat if run.heartbeat is not None else (run.started or run.created)
    silent = duration(facts.now - last)
    severity: Severity = "bad" if state == "dead" else "warn"
    if facts.writing_problem is not None:
        return [Finding(
            "log_not_writable", "Run log cannot be written", "bad",
            "No heartbeat comes because the run log cannot be written. Nothing is lost while the "
            f"trainer lives: it waits and keeps its rows. {facts.writing_problem}",
            f"{silent} without a heartbeat", "Do what the sentence says; the curves then catch up.",
        )]  # fmt: skip
    if severity == "warn":
        title = "Trainer silent"
        text = "No heartbeat comes from the trainer: it hangs, or the machine is very busy."
        remedy = "Wait some seconds; if it stays so, look at the machine's load and the console."
    else:
        title = "Trainer gone"
        text = "No heartbeat has come for long: the trainer is gone, or it hangs."
        remedy = (
            "The supervisor (fasa up) marks a run whose process died, and it can be resumed from "
            "its last checkpoint. If the process still lives, end it by hand and resume."
        )
    return [Finding("silent", title, severity, text, f"{silent} without a heartbeat", remedy)]


def ending(facts: Facts) -> list[Finding] | None:
    """A run that ended otherwise than finished or stopped on request."""
    run = facts.run
    if facts.liveness != "over":
        return None
    if run.status in ("finished", "stopped") or _diverged(facts):
        return []
    if run.copied is not None:
        remedy = "It was copied here without its checkpoints: restart it."
    elif facts.checkpoints:
        remedy = f"Resume it from its checkpoint at step {facts.checkpoints[-1].step:,}."
    else:
        remedy = "It had no checkpoint yet: restart it."
    if run.status == "failed":
        remedy = f"Mend what the sentence names. {remedy}"
    why = (run.error or "").strip().splitlines()
    last = why[-1] if why and why[0].startswith("Traceback") else why[0] if why else ""
    last = last.removesuffix(CONSOLE_FOLLOWS)
    how = "was interrupted" if run.status == "interrupted" else run.status
    return [Finding(
        "ended_badly", "Ended badly", "warn" if run.status == "interrupted" else "bad",
        f"The run {how} and did not reach its end. {last[:ERROR_SHOWN]}".strip(),
        f"step {run.step:,} of {run.total_steps or 0:,}", remedy,
    )]  # fmt: skip


def losses(facts: Facts) -> list[Finding] | None:
    """A loss that became NaN or infinite, in the log or as the reason of a failure."""
    run = facts.run
    if _diverged(facts):
        return [Finding(
            "loss_not_finite", "Loss not finite", "bad",
            f"Training diverged. {(run.error or '').strip()[:ERROR_SHOWN]}",
            f"step {run.step:,}",
            "Fork it from its last checkpoint with a lower learning rate or gradient clip.",
        )]  # fmt: skip
    if not facts.losses:
        return None
    broken = sorted(name for name, value in facts.losses.items() if not math.isfinite(value))
    if not broken:
        return []
    return [Finding(
        "loss_not_finite", "Loss not finite", "bad",
        f"Not a finite number any more: {', '.join(broken)}. What is learned from it is spoilt.",
        f"{broken[0]} is {_word(facts.losses[broken[0]])}",
        "Stop the run and fork it from a checkpoint before this step, with a lower learning rate "
        "or gradient clip.",
    )]  # fmt: skip


def _word(value: float) -> str:
    return "NaN" if math.isnan(value) else "infinite"


def _diverged(facts: Facts) -> bool:
    return facts.run.status == "failed" and (facts.run.error or "").startswith(NOT_FINITE)


def validation(facts: Facts) -> list[Finding] | None:
    """An epoch without its validation-loss pass, or a pass without a single class."""
    epochs_done = facts.run.epoch
    if epochs_done < 1:
        return None
    loss, epoch = facts.validation_loss, facts.validation_epoch
    if loss is not None and epoch is not None and epoch >= epochs_done - 1:
        if not np.isnan(loss).all():
            return []
        what = "The newest validation pass has no loss for any class"
    elif loss is None:
        what = "There is no validation loss, although epochs were finished"
    else:
        what = "The newest epochs have no validation loss"
    adaptive = facts.fasa and facts.config.sampling == "adaptive"
    effect = ": no sampling probability adapts." if adaptive else "."
    return [Finding(
        "validation_missing", "Validation loss missing", "bad" if adaptive else "warn",
        f"{what}{effect}",
        f"{epochs_done} epochs done, "
        + ("none validated" if epoch is None or loss is None else f"last validated: {epoch + 1}"),
        "Look whether the hold-out set has images with objects: raise holdout_share, or name a "
        "hold-out json of its own, and restart.",
    )]  # fmt: skip


def data_loading(facts: Facts) -> list[Finding] | None:
    """Steps that wait for their batch."""
    steps = min(len(facts.loader_seconds), len(facts.step_seconds))
    if steps < FEWEST_STEPS:
        return None
    waited, worked = sum(facts.loader_seconds[-steps:]), sum(facts.step_seconds[-steps:])
    if not math.isfinite(waited + worked) or waited + worked <= 0:
        return None
    share = waited / (waited + worked)
    if share < STARVED:
        return []
    workers = facts.config.workers
    if workers == 0:
        remedy = "Restart or fork it with workers set to 2 to 4: loading then runs beside training."
    else:
        remedy = (
            f"Raise workers (now {workers}) if processor cores are idle; else put the images on a "
            "faster disk, or store them smaller."
        )
    return [Finding(
        "data_starvation", "Training waits for data",
        "note" if facts.liveness == "over" else "warn",
        f"Training waits for its data: {1000 * waited / steps:.0f} ms of loading for "
        f"{1000 * worked / steps:.0f} ms of work a step, over the last {steps} steps.",
        f"{percent(share)} of the time", remedy,
    )]  # fmt: skip


def memory(facts: Facts) -> list[Finding] | None:
    """A machine, or a container, whose memory is nearly all taken."""
    available, own = facts.memory_available_mb, facts.memory_mb
    if available is None or own is None:
        return None
    if available >= max(MEMORY_SMALL, MEMORY_SHARE * own):
        return []
    return [Finding(
        "memory_low", "Memory nearly full", "bad" if available < MEMORY_GONE else "warn",
        "Memory is nearly full: when it is, the system kills the trainer without a word. The "
        f"trainer and its loaders hold {size(own * MEGABYTE)}.",
        f"{size(available * MEGABYTE)} available",
        "End other programs, or resume it with fewer workers, a smaller batch_size or smaller "
        "images.",
    )]  # fmt: skip


def disk(facts: Facts) -> list[Finding] | None:
    """A disk on which the run log or the checkpoints still to come do not fit."""
    free = facts.disk_free
    if free is None:
        return None
    largest = max((row.bytes for row in facts.checkpoints), default=0)
    to_come = checkpoints_to_come(facts) * largest
    if free >= max(DISK_SMALL, to_come + DISK_RESERVE):
        return []
    if free < largest + DISK_RESERVE:
        text = (
            "The disk of the runs is full, or nearly so: training waits when the next row or "
            f"checkpoint ({size(largest)}) does not fit."
        )
    elif free < to_come + DISK_RESERVE:
        text = (
            "The checkpoints still to come do not fit on the disk of the runs: they take "
            f"{size(to_come)}."
        )
    else:
        text = "The disk of the runs is nearly full."
    return [Finding(
        "disk_low", "Disk nearly full", "bad" if free < largest + DISK_RESERVE else "warn",
        text, f"{size(free)} free",
        "Free some space, delete runs that are no longer needed, or restart with a lower "
        "keep_checkpoints and keep_every 0.",
    )]  # fmt: skip


def checkpoints_to_come(facts: Facts) -> int:
    """How many files there will be beside those kept now; one more while the next is written."""
    config, left = facts.config, max(0, (facts.run.total_epochs or 0) - facts.run.epoch)
    if left == 0:
        return 0
    newest = max(0, config.keep_checkpoints - len(facts.checkpoints))
    return 1 + newest + (left // config.keep_every if config.keep_every else 0)
