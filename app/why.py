"""Why a class's sampling probability changed: one paragraph with numbers, from the run log's rows.

Pure: what one adaptation wrote goes in, words and a table come out (the paper's section 3.3, Eq. 4
and 5). Epochs are counted from 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.why_evidence import Evidence, Member, members, moved, recomputed, value_at
from app.why_words import count, listed, number, number_pair, per_thousand, share, signed
from trainer.run_log.rows import AdaptationRow

MOST_MOVERS = 3  # members named for how far their loss moved
ROUNDING = 1e-4  # relative; the log keeps float32


@dataclass(frozen=True)
class Explanation:
    """The paragraph, and the members of the group: the class itself first, then by change."""

    paragraph: str
    members: Sequence[Member]


def explain(evidence: Evidence, index: int) -> Explanation:
    """Why p of class `index` is what it is after the adaptation `evidence.now`."""
    row = evidence.now.row_of(index)
    start = f"After epoch {evidence.now.epoch} (step {evidence.now.step:,}) "
    if row is None:
        return Explanation(start + _not_grouped(evidence, index), ())
    sentences = (
        start + _group(evidence, row, index),
        _regrouping(evidence, row, index),
        _data(evidence, row, index),
        _losses(evidence, row),
        _movers(evidence, row, index),
        _mismatch(evidence, row),
        _factor(evidence, row),
        _clamped(evidence, row, index),
        _probability(evidence, index, row.factor),
        _never_drawn(evidence, index),
    )
    return Explanation(
        " ".join(sentence for sentence in sentences if sentence), members(evidence, row, index)
    )


def why_nothing(config: Mapping[str, Any]) -> str:
    """Why no adaptation is in the log of a run."""
    if not config.get("fasa", True):
        return (
            "This run is a baseline without FASA: it draws no virtual features, so there are no "
            "sampling probabilities to adapt and no super-groups."
        )
    return (
        "No epoch has been adapted yet: super-groups are formed and probabilities adapted at the "
        "end of each epoch, from the validation losses."
    )


def _not_grouped(evidence: Evidence, index: int) -> str:
    name = evidence.names[index]
    propagation = str(evidence.config.get("clustering", "")).startswith("affinity")
    if evidence.now.rows:
        why = (
            f"{name} was in no super-group: without a RoI observed by then it had no prior to be "
            "clustered by, and its p is frozen."
        )
    elif propagation:
        why = (
            "affinity propagation had not converged, so no class was in a super-group and no "
            "probability moved."
        )
    else:
        why = "no class was in a super-group: none had been observed yet."
    sentences = (why, _probability(evidence, index, 1.0), _never_drawn(evidence, index))
    return " ".join(sentence for sentence in sentences if sentence)


def _group(evidence: Evidence, row: AdaptationRow, index: int) -> str:
    name, others = evidence.names[index], len(row.members) - 1
    noise = index in row.noise_members
    eps = evidence.now.summary.eps
    radius = "near enough" if eps is None else f"within eps = {number(eps)}"
    group = f"super-group {row.super_group}"
    if noise and not others:
        return (
            f"DBSCAN called {name} noise: no other class lay {radius}, and it stayed alone "
            f"in {group}."
        )
    if noise:
        return (
            f"DBSCAN called {name} noise, as no core class lay {radius}, and attached it to "
            f"{group}, that of its nearest core class, with {count(others, 'other class')}"
            f"{_noise_among(row)}."
        )
    by = ""
    if evidence.config.get("clustering") == "affinity_propagation":
        by = ", formed by the official affinity propagation, which joins classes that are far apart"
    company = f"with {count(others, 'other class')}" if others else "alone"
    return f"{name} was in {group}, {company}{_noise_among(row)}{by}."


def _noise_among(row: AdaptationRow) -> str:
    noise = len(row.noise_members)
    if not noise or len(row.members) == 1:
        return ""
    return f" ({noise} of the {len(row.members)} attached as noise)"


def _regrouping(evidence: Evidence, row: AdaptationRow, index: int) -> str:
    """How far the group is that of the epoch before; then losses are over the group of now."""
    if evidence.before is None or len(row.members) == 1:
        return ""
    earlier = evidence.before.row_of(index)
    name, epoch = evidence.names[index], evidence.before.epoch
    if earlier is None:
        return f"After epoch {epoch} {name} was in no group; losses are over the members of now."
    now, then = set(row.members), set(earlier.members)
    if now == then:
        return f"The members are those of epoch {epoch}."
    stayed, came, left = len(now & then), len(now - then), len(then - now)
    together = "all" if stayed == len(now) else f"{stayed}"
    return (
        f"The group changed since epoch {epoch}: {together} of its {len(now)} members were "
        f"together with {name} then, {came} came and {left} left; both losses are over the members "
        "of now."
    )


def _data(evidence: Evidence, row: AdaptationRow, index: int) -> str:
    """Which members' losses decided."""
    if row.reason == "no validation data":
        return ""
    deciding, total = len(row.with_data), len(row.members)
    when = "in this evaluation"
    if row.reason != "baseline":
        is_sum = evidence.config.get("group_statistic") == "sum"
        when = "in either evaluation" if is_sum else "in both evaluations"
    if total == 1:
        return f"It had validation data {when}."
    if deciding == total:
        return f"All {total} members had validation data {when}."
    rest = [one for one in row.members if one not in set(row.with_data)]
    few, but = (rest, "all but ") if len(rest) < deciding else (row.with_data, "")
    who = but + listed([evidence.names[one] for one in few if 0 <= one < len(evidence.names)])
    own = "" if index in row.with_data else (
        f"; {evidence.names[index]} had none and moves with its group"
    )  # fmt: skip
    return f"{deciding} of {total} members had validation data {when} ({who}){own}."


def _losses(evidence: Evidence, row: AdaptationRow) -> str:
    """What the group's loss did."""
    is_sum = evidence.config.get("group_statistic") == "sum"
    what = (
        "The group's loss (as in the official code: the sum over its classes' RoIs, divided by all "
        "RoIs with the background)"
        if is_sum
        else "The mean validation loss of these classes"
        if len(row.with_data) > 1
        else "The validation loss of this class"
    )
    after, before = row.loss_after, row.loss_before
    if row.reason == "no validation data" or after is None:
        when = "in this evaluation" if evidence.before is None else "in both evaluations"
        return (
            f"None of its {count(len(row.members), 'class')} had validation data {when}, so there "
            "was nothing to compare."
        )
    if before is None:
        return (
            f"It was the first evaluation: {what[0].lower()}{what[1:]}, {number(after)}, is only "
            "stored, to be compared with the next one."
        )
    if after == before:
        return f"{what} was {number(after)} both times: a tie."
    one, other = number_pair(before, after)
    verb = "fell" if after < before else "rose"
    relative = f", {signed(100 * (after / before - 1))} %" if before > 0 else ""
    return f"{what} {verb} from {one} to {other} ({signed(after - before)}{relative})."


def _movers(evidence: Evidence, row: AdaptationRow, index: int) -> str:
    """Whose losses moved most, and what the class's own did."""
    found = [m for m in members(evidence, row, index) if m.decided and moved(m) > 0]
    if len(row.members) == 1 or not found:
        return ""
    fell = sum(m.loss_after < m.loss_before for m in found)
    furthest = sorted(found, key=lambda m: -moved(m))[:MOST_MOVERS]
    named = ", ".join(_loss_change(evidence.names[m.index], m) for m in furthest)
    own = next((m for m in found if m.index == index and m not in furthest), None)
    also = f"; {_loss_change(evidence.names[index], own)}" if own else ""
    most = "most moved" if len(found) > 1 else "moved"
    return f"Of these losses {fell} fell and {len(found) - fell} rose; {most} {named}{also}."


def _loss_change(name: str, member: Member) -> str:
    one, other = number_pair(member.loss_before, member.loss_after)
    return f"{name} {one} → {other}"


def _mismatch(evidence: Evidence, row: AdaptationRow) -> str:
    """That the per-class losses do not give the group's: rows of a foreign or damaged log."""
    found = recomputed(evidence, row)
    stored = (row.loss_before, row.loss_after)
    wrong = [
        (own, said)
        for own, said in zip(found, stored, strict=True)
        if said is not None and np.isfinite(own) and not np.isclose(own, said, rtol=ROUNDING)
    ]
    if not wrong:
        return ""
    own, said = wrong[-1]
    return (
        f"(The classes' losses in this log average to {number(own)}, not {number(said)}: these "
        "rows were not written together.)"
    )


def _factor(evidence: Evidence, row: AdaptationRow) -> str:
    """Which factor followed."""
    if row.reason == "static":
        return (
            "But this run's sampling is static (feature augmentation without adaptive sampling): p "
            "stays as Eq. 4 set it."
        )
    knob = {"fell": "alpha", "rose": "beta"}.get(row.reason)
    whose = "its p" if len(row.members) == 1 else "the p of every member"
    if knob is None:
        known = ("tie", "baseline", "no validation data")
        given = "" if row.reason in known else f" (the log gives the reason '{row.reason}')"
        return f"So {whose} was left as it was: factor {number(row.factor)}{given}."
    configured = evidence.config.get(knob)
    since = ""
    if isinstance(configured, int | float) and not np.isclose(configured, row.factor):
        since = f" (as the knob stood then; the run began with {number(configured)})"
    if row.factor == 1:
        return f"So {whose} was multiplied by {knob} = 1{since}, which changes nothing."
    return f"So {whose} was multiplied by {knob} = {number(row.factor)}{since}."


def _clamped(evidence: Evidence, row: AdaptationRow, index: int) -> str:
    others = [evidence.names[one] for one in row.clamped if 0 <= one < len(evidence.names)]
    if index in row.clamped:
        wanted = value_at(evidence.p_before, index) * row.factor
        would = f"would have become {number(wanted)} and " if np.isfinite(wanted) else ""
        rest = len(others) - 1
        also = f", as were {count(rest, 'other member')}" if rest > 1 else (
            ", as was one other member" if rest else "")  # fmt: skip
        return f"p of {evidence.names[index]} {would}was clamped at 1{also}."
    if others:
        return f"It was not clamped; {listed(others)} {'was' if len(others) == 1 else 'were'}."
    return ""


def _probability(evidence: Evidence, index: int, factor: float) -> str:
    """p before and after, and what that means in features."""
    name = evidence.names[index]
    before, after = value_at(evidence.p_before, index), value_at(evidence.p_after, index)
    if before == 0 or after == 0:
        empty = index < len(evidence.instances) and evidence.instances[index] == 0
        cause = "it has no training instances, and Eq. 4 divides by them" if empty else "as before"
        return f"p of {name} is 0 ({cause}), whatever the factor."
    if not np.isfinite(after):
        return f"The log holds no snapshot of p of {name} after it yet."
    if not np.isfinite(before):
        return f"p of {name} is {number(after)}; the log holds no snapshot of it before."
    features = f"{per_thousand(after)} virtual features to expect in 1,000 steps"
    if np.isclose(before, after, rtol=1e-6):
        said = f"p of {name} stayed at {number(after)} ({features})."
    else:
        one, other = number_pair(before, after)
        said = f"p of {name} went from {one} to {other} ({features}, {share(after / before)})."
    expected = min(1.0, max(0.0, before * factor))
    if not np.isclose(after, expected, rtol=ROUNDING):
        said += f" (The factor alone gives {number(expected)}: other rows of this log are missing.)"
    return said + _not_started(evidence)


def _not_started(evidence: Evidence) -> str:
    first = evidence.config.get("start_epoch", 1)
    if isinstance(first, int) and evidence.now.epoch < first:
        return f" No virtual feature is drawn before epoch {first + 1}."
    return ""


def _never_drawn(evidence: Evidence, index: int) -> str:
    if value_at(evidence.observed, index) != 0:
        return ""
    return f"No RoI of {evidence.names[index]} was observed yet: no virtual feature of it is drawn."
