"""Checks of the feature snapshots: virtual beside real features, priors, pictures.

Each check returns its findings, or None when it cannot be judged (yet). Shapes: C classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.diagnosis_facts import STILL_EPOCHS, Facts
from app.feature_measures import SIZE, counted, group_value, per_class, weak
from app.finding import Finding, classes, duration, named, out_of, percent
from app.looks import FREQUENCY_NAMES
from trainer.run_log.rows import FEWEST_OBJECTS

# With five classes of two held-out objects each, chance moves a share by 0.16 (one standard
# deviation): fewer say nothing, and twice that is no chance.
FEW_CLASSES = 5
OFF_MANIFOLD = 0.3
# Nineteen of twenty virtual features right, and not even half of the real ones: their gradient is
# next to nothing where there is most to learn.
TOO_EASY = 0.95
NOT_LEARNED = 0.5
# Half is the most there can be, as means are not negative; in the demo it is a twentieth, as most
# coordinates of a class are 0 throughout.
MANY_NEGATIVE = 0.25
# A quarter of the priors: then it is no longer single classes, but the tail.
MANY_WEAK = 0.25
# UMAP of 50,000 points takes up to 4 minutes, of each of two kinds, and one snapshot may be ahead.
PICTURE_LATE = 900.0  # seconds
MOST = 0.5  # of the epochs or snapshots
ERROR_SHOWN = 240  # characters


def beside_real(facts: Facts) -> list[Finding] | None:
    """Virtual features off the manifold, too easy, or negative where real ones never are."""
    if all(group_value(row, "all") is None for name, row in facts.measures.items()
           if name in ("accuracy_virtual", "neighbours_virtual")):  # fmt: skip
        return None
    return [*_off_manifold(facts), *_too_easy(facts), *_negative(facts)]


def _compared(facts: Facts, virtual: str, real: str) -> list[tuple[str, float, float, int]]:
    """Name, both numbers and number of classes of each frequency group that can be compared."""
    found = []
    for letter, name in FREQUENCY_NAMES.items():
        numbers = [group_value(facts.measures.get(one), name) for one in (virtual, real)]
        rests_on = int(counted(facts.measures, virtual, facts.letters, letter).sum())
        if None not in numbers and rests_on >= FEW_CLASSES:
            found.append((name, float(numbers[0] or 0), float(numbers[1] or 0), rests_on))
    return found


def _off_manifold(facts: Facts) -> list[Finding]:
    far = [
        (real - virtual, name, virtual, real, count)
        for name, virtual, real, count in _compared(facts, "neighbours_virtual",
                                                    "neighbours_holdout")
        if real - virtual >= OFF_MANIFOLD
    ]  # fmt: skip
    if not far:
        return []
    _, name, virtual, real, count = max(far)
    early = facts.run.epoch < STILL_EPOCHS
    return [Finding(
        "off_manifold", "Virtual features off the manifold", "note" if early else "warn",
        f"Virtual features of {_groups([one[1] for one in far])} classes lie among their own class "
        "far less often than held-out real ones: the priors do not keep up with the features, or "
        "their spread is too wide.",
        f"own-class neighbours {virtual:.2f} against {real:.2f} ({name}, {classes(count)})",
        "Common in the first epochs. If it stays, raise m in the steering bar, so that the priors "
        "follow faster, and see on the page Feature space which classes stray.",
    )]  # fmt: skip


def _too_easy(facts: Facts) -> list[Finding]:
    easy = [
        (virtual - real, name, virtual, real, count)
        for name, virtual, real, count in _compared(facts, "accuracy_virtual", "accuracy_holdout")
        if virtual >= TOO_EASY and real <= NOT_LEARNED
    ]
    if not easy:
        return []
    _, name, virtual, real, count = max(easy)
    return [Finding(
        "too_easy", "Virtual features too easy", "note",
        f"The classifier is right on nearly all virtual features of {_groups([x[1] for x in easy])}"
        " classes, but on few of the held-out real ones: what is drawn teaches it little more.",
        f"right on {percent(virtual)} of virtual, {percent(real)} of held-out real features "
        f"({name}, {classes(count)})",
        "More real objects teach more: set train_sampler to repeat_factor in a restart. Beside "
        "that a higher virtual_loss_weight does little.",
    )]  # fmt: skip


def _negative(facts: Facts) -> list[Finding]:
    share = group_value(facts.measures.get("negative_share"), "all")
    if share is None or share < MANY_NEGATIVE:
        return []
    return [Finding(
        "negative", "Virtual features often negative", "note",
        "A large part of the virtual features' coordinates is negative, as none of a real feature "
        "is after its ReLU: the classifier can tell them apart by that alone.",
        f"{percent(share)} of the coordinates",
        "Set clamp_negative in a restart, and compare the two runs.",
    )]  # fmt: skip


def weak_priors(facts: Facts) -> list[Finding] | None:
    """Priors that rest on fewer than three objects."""
    sizes = per_class(facts.measures.get(SIZE), len(facts.names))
    known = np.isfinite(sizes) & (sizes > 0)
    if not known.any():
        return None
    marked = weak(sizes)
    if not marked.any():
        return []
    count, total = int(marked.sum()), int(known.sum())
    scarce = marked & (facts.instances < FEWEST_OBJECTS)
    return [Finding(
        "weak_priors", "Priors that rest on next to nothing",
        "warn" if count > MANY_WEAK * total else "note",
        f"{classes(count)} {_verb(count)} a prior that rests on fewer than {FEWEST_OBJECTS} "
        f"objects, so what is drawn says little of the class: {named(facts.names, marked)}.",
        f"{out_of(count, total)} priors" + _of_which(scarce),
        "Nothing but more data helps a class of one or two objects; for the others set "
        "train_sampler to repeat_factor, so that more of their objects are in the running mean.",
    )]  # fmt: skip


def pictures(facts: Facts) -> list[Finding] | None:
    """Feature snapshots left out by the trainer, failed or not made by the projector."""
    if not facts.snapshots and not facts.snapshots_skipped:
        return None
    return [*_left_out(facts), *_failed(facts), *_not_made(facts)]


def _left_out(facts: Facts) -> list[Finding]:
    skipped, done = facts.snapshots_skipped, max(1, facts.run.epoch)
    if skipped <= MOST * done:
        return []
    return [Finding(
        "snapshots_skipped", "Feature snapshots left out", "note",
        "Most epochs ended without a feature snapshot, as it would have taken more than its share "
        f"of the time (feature_share, {percent(facts.config.feature_share)}).",
        f"{out_of(skipped, done)} epochs",
        "Follow fewer objects (probe_objects_per_class, probe_objects) or raise feature_share; a "
        "snapshot can also be asked for in the steering bar.",
    )]  # fmt: skip


def _failed(facts: Facts) -> list[Finding]:
    newest = max((head.snapshot_id for head in facts.projections), default=None)
    failed = [p for p in facts.projections if p.snapshot_id == newest and p.state == "failed"]
    if not failed:
        return []
    return [Finding(
        "projection_failed", "Picture of the features failed", "warn",
        f"The projector could not make a picture of the newest snapshot: "
        f"{(failed[-1].error or 'no reason given')[:ERROR_SHOWN]}",
        f"{failed[-1].method}, step {failed[-1].step:,}",
        "The run is not harmed: the next snapshot gets a new try. fasa project makes the pictures "
        "of a run anew.",
    )]  # fmt: skip


def _not_made(facts: Facts) -> list[Finding]:
    tried = {head.snapshot_id for head in facts.projections}
    latest = max(tried, default=0)
    waiting = [head for head in facts.snapshots if head.id > latest]
    if waiting and facts.now - waiting[0].wall_time > PICTURE_LATE:
        return [Finding(
            "no_projector", "No picture of the newest features", "note",
            "The projector has not come to the newest feature snapshots: it is not running, or "
            "busy with other runs.",
            f"{len(waiting):,} waiting, the first for "
            f"{duration(facts.now - waiting[0].wall_time)}",
            "fasa up runs the projector; fasa project makes the pictures of a run without it.",
        )]  # fmt: skip
    passed = sum(head.id < latest for head in facts.snapshots)
    dropped = sum(head.id < latest and head.id not in tried for head in facts.snapshots)
    if dropped <= MOST * passed:
        return []
    return [Finding(
        "projector_behind", "Projector falls behind", "note",
        "Snapshots come faster than the projector makes their pictures, so it goes on with the "
        "newest: most earlier ones have no picture and no measures.",
        f"{out_of(dropped, passed)} snapshots",
        "fasa project makes up for them when the run is over; fewer objects (probe_objects) are "
        "faster.",
    )]  # fmt: skip


def _groups(names: list[str]) -> str:
    return " and ".join(names)


def _verb(count: int) -> str:
    return "has" if count == 1 else "have"


def _of_which(scarce: NDArray[np.bool_]) -> str:
    count = int(scarce.sum())
    return f", {count:,} of classes with fewer training objects than that" if count else ""
