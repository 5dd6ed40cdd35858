"""An estimate and a data check in the words of the page New run: label, value, what it rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.data_check import DataCheck, SetCheck
from app.estimate import Estimate, Span


@dataclass(frozen=True)
class Fact:
    """One line: what, how much, and a sentence or two on where that comes from."""

    label: str
    value: str
    basis: str = ""


def estimate_facts(found: Estimate, epochs: int) -> list[Fact]:
    """What a run will take, line by line; what nothing tells is said to be unknown."""
    steps = "not known yet"
    if found.steps is not None:
        steps = f"{found.steps:,} in {epochs} epoch" + "s" * (epochs != 1)
    facts = [
        Fact("steps", steps, found.steps_basis),
        Fact("time", _span(found.seconds, duration), found.seconds_basis),
        Fact("memory", _span(found.memory_mb, megabytes), found.memory_basis),
    ]
    if found.model is not None:
        each = found.model.checkpoint_bytes / 1e6
        kept = found.checkpoints
        facts += [
            Fact("checkpoints", megabytes(kept * each), f"{kept} kept of {megabytes(each)} each."),
            Fact("model", f"{found.model.parameters / 1e6:.1f} M parameters"),
        ]
    if found.log_bytes is not None:
        features = megabytes((found.feature_bytes or 0) / 1e6)
        size = f"about {megabytes(found.log_bytes / 1e6)}"
        facts.insert(-1, Fact("run log", size, f"{features} of it are snapshots of features."))
    return facts


def _span(span: Span | None, say: Callable[[float], str]) -> str:
    if span is None:
        return "not known yet"
    low, likely, high = say(span.low), say(span.likely), say(span.high)
    return f"about {likely}" + (f", {low} to {high}" if low != high else "")


def duration(seconds: float) -> str:
    """Seconds in the largest units that tell enough: 50 s, 8 min, 3 h 20 min, 2 d 4 h."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 36:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def megabytes(size: float) -> str:
    """MB (10^6 bytes), from 1,000 on as GB."""
    if size >= 1000:
        return f"{size / 1000:.1f} GB"
    return f"{size:.0f} MB" if size >= 10 else f"{size:.1f} MB"


def data_facts(check: DataCheck) -> list[Fact]:
    """What was found in the data, set by set, without what is wrong."""
    return [_set_fact(found) for found in check.sets if not found.problem]


def _set_fact(found: SetCheck) -> Fact:
    scan = found.scan
    value = f"{scan.images:,} images, {scan.annotations:,} objects"
    if scan.share < 1:
        read = f"The first {scan.share:.0%} of the json was read, and is in order."
        return Fact(found.part, f"{value} so far", read)
    value += f", {scan.classes:,} classes"
    objects = f"{scan.fewest:,} to {scan.most:,}" if scan.fewest != scan.most else f"{scan.most:,}"
    basis = f"{objects} objects a class. All {found.sampled} images looked for are there."
    return Fact(found.part, value, basis)
