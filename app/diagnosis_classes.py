"""Checks of what the classes get: seen, clustered, sampled, validated.

Each check returns its findings, or None when it cannot be judged (yet). Shapes: C classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.diagnosis_facts import RECENT_ADAPTATIONS, STILL_EPOCHS, Facts
from app.finding import Finding, Severity, classes, named, out_of, percent

# A quarter of the classes: then not some odd annotations but the data set is at fault.
MANY_UNSEEN = 0.25
MOST = 0.5
# On the demo set the largest super-group holds most classes in many epochs and lets go of them
# again; nearly all, and that several epochs running, is no super-group any more.
NEARLY_ALL = 0.9
# DBSCAN's radius is a quantile of the distances: at the smallest the search goes to (0.1) still a
# tenth of the classes are core. So much noise means that no structure was found at all.
ALL_NOISE = 0.9
# From a tenth of the classes on, factors no longer reach a part of the tail that matters.
MANY_SATURATED = 0.1
AT_ONE = 1 - 1e-6  # float32
# A hundredth of what Eq. 4 gives: 44 epochs of falling at 0.9. A small p alone is no sign: the
# most frequent class of LVIS starts at 2e-7.
NEAR_ZERO = 0.01
FEW = 0.05  # of the classes: one or two of the demo's rarest
# Of the classes with data: two thirds of LVIS's have validation images, as the paper has it.
MANY_UNVALIDATED = 0.5


def never_observed(facts: Facts) -> list[Finding] | None:
    """Classes with training instances of which no RoI was ever sampled."""
    observed = facts.vectors.get("observed_rois")
    if observed is None or facts.run.epoch < 1:  # an epoch shows every image
        return None
    has_data = facts.instances > 0
    total, missing = int(has_data.sum()), has_data & (observed <= 0)
    found = []
    if missing.any():
        count = int(missing.sum())
        effect = "" if not facts.fasa else " Without a prior they get no virtual features either."
        found.append(Finding(
            "never_observed", "Classes never observed",
            "bad" if count >= MANY_UNSEEN * total else "warn",
            f"{classes(count)} with training instances never gave a single RoI, so nothing is "
            f"learned of them: {named(facts.names, missing)}.{effect}",
            f"{out_of(count, total)} classes after epoch {facts.run.epoch}",
            "Look at their annotations: objects of a few pixels vanish at this image size (raise "
            "image_min_size). Raise rois_per_image, or set train_sampler to repeat_factor.",
        ))  # fmt: skip
    if not has_data.all():
        found.append(Finding(
            "without_instances", "Classes without instances", "note",
            f"{classes(int((~has_data).sum()))} have no training instance at all: "
            f"{named(facts.names, ~has_data)}. No method can learn them from this set.",
            f"{out_of(int((~has_data).sum()), len(has_data))} classes",
            "Nothing, if the set is meant to be so; else look whether the training json is whole.",
        ))  # fmt: skip
    return found


def swallowed(facts: Facts) -> list[Finding] | None:
    """One super-group that holds most of the clustered classes."""
    clustered = _clustered(facts)
    if not facts.adaptations or clustered < 2:
        return None
    newest = facts.adaptations[-1]
    shares = [(row.largest_group or 0) / clustered for row in facts.adaptations]
    share = min(1.0, shares[-1])
    if share <= MOST:
        return []
    lasting = len(shares) == RECENT_ADAPTATIONS and min(shares) >= NEARLY_ALL
    severity: Severity = "warn" if lasting else "note"
    how_long = f" in {RECENT_ADAPTATIONS} epochs running" if lasting else ""
    return [Finding(
        "one_group", "One super-group holds most classes", severity,
        f"One super-group holds {newest.largest_group:,} of the {clustered:,} clustered classes"
        f"{how_long}: their probabilities all rise or fall together, whatever each class does.",
        percent(share),
        "Common while features are still forming: see on the page Super-groups whether it falls "
        "apart again. If it stays, restart with a smaller largest_share or eps_quantile, or with "
        "noise = singleton, which keeps noise out of the groups.",
    )]  # fmt: skip


def noise(facts: Facts) -> list[Finding] | None:
    """Most classes without a dense neighbourhood."""
    if not facts.adaptations:
        return None
    newest = facts.adaptations[-1]
    share = newest.noise_share
    if share is None or newest.eps is None:
        return None
    if share < MOST:
        return []
    alone = facts.config.noise == "singleton"
    if alone:
        effect = "Each is a super-group of its own and adapts by its own validation loss only."
    else:
        effect = (
            "Each was put into the super-group of its nearest core class: it still adapts, but "
            "beside classes that may resemble it little."
        )
    if newest.eps_quantile is not None and newest.eps_quantile < facts.config.eps_quantile - 1e-6:
        remedy = (
            f"The radius was narrowed to the quantile {newest.eps_quantile:.1f} of the distances, "
            "so that no super-group grew too large: a larger largest_share leaves it wider."
        )
    else:
        remedy = "A larger eps_quantile makes the radius wider and leaves less noise."
    return [Finding(
        "noise", "Most classes are noise", "warn" if share >= ALL_NOISE or alone else "note",
        f"DBSCAN called most classes noise: their features are like no group of others. {effect}",
        f"{percent(share)} of {_clustered(facts):,} classes",
        f"Usual on small sets and early on, 60 to 80 % on the demo set. {remedy}",
    )]  # fmt: skip


def saturated(facts: Facts) -> list[Finding] | None:
    """Probabilities p_c that no factor can move any more."""
    probability, scale = facts.vectors.get("probability"), facts.vectors.get("scale")
    if probability is None:
        return None
    total = int((facts.instances > 0).sum())
    top = probability >= AT_ONE
    bottom = (facts.instances > 0) & (probability <= 0)
    if scale is not None:
        bottom |= (facts.instances > 0) & (scale <= NEAR_ZERO * facts.config.initial_scale)
    found = []
    if top.any():
        found.append(Finding(
            "probability_at_one", "Probabilities at 1", _by_share(top, total),
            f"{classes(int(top.sum()))} at p = 1, a virtual feature in every step; alpha cannot "
            f"raise them further: {named(facts.names, top)}.",
            f"{out_of(int(top.sum()), total)} classes",
            "Lower alpha towards 1 in the steering bar, or restart with a lower initial_scale.",
        ))  # fmt: skip
    if bottom.any():
        found.append(Finding(
            "probability_at_zero", "Probabilities near 0", _by_share(bottom, total),
            f"{classes(int(bottom.sum()))} fell to next to nothing, less than a hundredth of what "
            f"class size alone gives (Eq. 4), and get no virtual features: "
            f"{named(facts.names, bottom)}.",
            f"{out_of(int(bottom.sum()), total)} classes",
            "Their super-groups' validation losses kept rising: raise beta towards 1, and look on "
            "the page Super-groups why.",
        ))  # fmt: skip
    return found


def virtual_only(facts: Facts) -> list[Finding] | None:
    """Classes whose virtual features go on while no real one came for several epochs."""
    fields = ("observed_rois", "virtual_features")
    if not all(field in facts.vectors and field in facts.before for field in fields):
        return None
    real, virtual = (facts.vectors[f].astype(np.int64) - facts.before[f] for f in fields)
    stale = (real <= 0) & (virtual > 0) & (facts.instances > 0)
    if not stale.any():
        return []
    count, total = int(stale.sum()), int((facts.instances > 0).sum())
    return [Finding(
        "virtual_only", "Virtual features only", "note" if count <= max(1, FEW * total) else "warn",
        f"{classes(count)} had virtual features but not one real RoI in {STILL_EPOCHS} epochs: the "
        f"prior they are drawn from is as old as that: {named(facts.names, stale)}.",
        f"{out_of(count, total)} classes; at most {int(virtual[stale].max()):,} virtual, 0 real",
        "Set train_sampler to repeat_factor, or raise rois_per_image or positive_fraction, so that "
        "rare classes are seen in every epoch.",
    )]  # fmt: skip


def without_validation_loss(facts: Facts) -> list[Finding] | None:
    """Classes whose own validation loss is not known; their super-group decides alone."""
    loss = facts.validation_loss
    if loss is None or np.isnan(loss).all():  # the whole pass is missing: said elsewhere
        return None
    has_data = facts.instances > 0
    missing, infinite = has_data & np.isnan(loss), np.isinf(loss)
    total, count = int(has_data.sum()), int(missing.sum())
    found = []
    if infinite.any():
        found.append(Finding(
            "validation_not_finite", "Validation loss not finite", "bad",
            f"The validation loss is infinite for {classes(int(infinite.sum()))}: "
            f"{named(facts.names, infinite)}. It decides their super-groups' probabilities.",
            out_of(int(infinite.sum()), total) + " classes",
            "Fork from an earlier checkpoint with a lower learning rate.",
        ))  # fmt: skip
    if count:
        found.append(Finding(
            "unvalidated", "Classes without validation loss",
            "warn" if count > MANY_UNVALIDATED * total else "note",
            f"{classes(count)} had no object in the validation pass: their probability follows "
            f"the other members of their super-group: {named(facts.names, missing)}.",
            f"{out_of(count, total)} classes",
            "Raise holdout_share or name a larger hold-out json, if it should be their own loss.",
        ))  # fmt: skip
    return found


def _clustered(facts: Facts) -> int:
    group = facts.vectors.get("super_group")
    return len(facts.names) if group is None else int((group >= 0).sum())


def _by_share(chosen: NDArray[np.bool_], total: int) -> Severity:
    return "warn" if int(chosen.sum()) >= MANY_SATURATED * max(1, total) else "note"
