"""Why each class's sampling probability is what it is: a few words from the last adaptation.

    GET /live/runs/ID/reasons   JSON: `step` and `epoch` of the adaptation (null before the first),
                                `reasons`: [words, sentence] pairs, and `of_class`: for each of the
                                C classes the index of its reason

Many classes share a reason, so there are few of them. A page asks again only when the run's
`versions.epoch` or `versions.feature` changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from app.feature_measures import SIZE, per_class, weak
from app.live_answers import NO_STORE, asked_run, endpoint
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import FEWEST_OBJECTS, AdaptationRow, Run

Reason = tuple[str, str]  # a few words, and the sentence behind them

NEVER_OBSERVED: Reason = (
    "never observed",
    "The trainer has met no RoI of this class so far, so it has no prior, is in no super-group "
    "and keeps its p.",
)
NOT_CLUSTERED: Reason = ("not clustered", "This class is in no super-group, so it keeps its p.")
NO_ADAPTATION: Reason = (
    "not adapted yet",
    "The first adaptation comes with the validation at the end of an epoch.",
)
WEAK: Reason = (
    "weak prior",
    f"Its prior rests on fewer than {FEWEST_OBJECTS} objects: what is drawn from it says little of "
    "the class.",
)


@dataclass(frozen=True)
class ClassReasons:
    """The reasons of one adaptation.

    Attributes:
        step, epoch: when it was; None before the first.
        reasons: each once.
        of_class: [C] index into `reasons`.
    """

    step: int | None
    epoch: int | None
    reasons: list[Reason]
    of_class: list[int]


def class_reasons(
    groups: Sequence[AdaptationRow],
    *,
    observed: NDArray[Any],
    probability: NDArray[Any],
    is_weak: NDArray[np.bool_],
) -> ClassReasons:
    """Say for every class what the last adaptation did to it.

    Args:
        groups: the rows of one adaptation, one a super-group; empty before the first.
        observed: [C] real RoIs of each class so far.
        probability: [C] p_c, which tells at which bound a class was held.
        is_weak: [C] whether its prior rests on next to nothing.
    """
    count = len(observed)
    said: list[Reason] = [_outside(bool(n), bool(groups)) for n in observed]
    for row in groups:
        own, noise, held = set(row.with_data), set(row.noise_members), set(row.clamped)
        texts: dict[tuple[bool, bool, int | None], Reason] = {}
        for index in row.members:
            if not 0 <= index < count:
                continue
            bound = int(probability[index] > 0) if index in held else None
            key = (index in own, index in noise, bound)
            if key not in texts:
                texts[key] = _inside(row, own=key[0], noise=key[1], bound=bound)
            said[index] = texts[key]
    for index in np.flatnonzero(is_weak).tolist():
        words, sentence = said[index]
        said[index] = f"{words}, {WEAK[0]}", f"{sentence} {WEAK[1]}"
    reasons = list(dict.fromkeys(said))
    place = {reason: index for index, reason in enumerate(reasons)}
    return ClassReasons(
        step=groups[0].step if groups else None,
        epoch=groups[0].epoch if groups else None,
        reasons=reasons,
        of_class=[place[reason] for reason in said],
    )


def _outside(observed: bool, adapted: bool) -> Reason:
    """Why a class that is in no super-group keeps its p."""
    if not observed:
        return NEVER_OBSERVED
    return NOT_CLUSTERED if adapted else NO_ADAPTATION


def _inside(row: AdaptationRow, *, own: bool, noise: bool, bound: int | None) -> Reason:
    """What was done to a member of a super-group; `bound` is where its p was held, if it was."""
    words, sentence = _verdict(row)
    if bound is not None:
        words += f", clamped at {bound}"
        sentence += f" p was held at {bound}."
    if row.loss_after is not None and not own:
        sentence += " This class had no validation data of its own: its group decided."
    if noise:
        sentence += " DBSCAN called this class noise; it was put into the nearest group."
    return words, sentence


def _verdict(row: AdaptationRow) -> Reason:
    group, before, after = row.super_group, row.loss_before, row.loss_after
    size = f"{len(row.members):,} class{'es' * (len(row.members) != 1)}"
    who = f"Super-group {group} ({size}, {len(row.with_data):,} with validation data)"
    if row.reason == "no validation data" or after is None:
        return (
            f"no validation data in group {group}",
            f"{who}: nothing says whether it got better, so p stayed.",
        )
    if before is None:
        return (
            f"first validation of group {group}",
            f"{who}: hold-out loss {after:.3g}, and none before to compare it with, so p stayed.",
        )
    losses = f"{who}: hold-out loss {before:.3g} → {after:.3g}"
    factor = f"p was multiplied by {row.factor:g}." if row.factor != 1 else "p stayed."
    if row.reason in ("fell", "rose"):
        words = f"group {group} {row.reason} {_short(abs(after - before))}"
        return words, f"{losses}, so {factor}"
    words = "no change" if row.reason == "tie" else row.reason[:40]
    return f"group {group}: {words}", f"{losses}; {factor}"


def _short(value: float) -> str:
    """Two decimals, or two digits where these would say 0.00."""
    return f"{value:.2f}" if value >= 0.005 else f"{value:.2g}"


def reasons_of(reader: RunLogReader, run: Run) -> ClassReasons:
    """The reasons of a run as it stands."""
    classes = len(reader.categories(run.id))
    return class_reasons(
        reader.last_adaptation(run.id),
        observed=_newest(reader, run, "observed_rois", classes),
        probability=_newest(reader, run, "probability", classes),
        is_weak=weak(per_class(reader.features.newest_measures(run.id).get(SIZE), classes)),
    )


def _newest(reader: RunLogReader, run: Run, name: str, classes: int) -> NDArray[Any]:
    """[C] newest values of a class field; zeros while there are none."""
    newest = reader.latest_class_vector(run.id, name)
    fits = newest is not None and len(newest.values) == classes
    return newest.values if newest is not None and fits else np.zeros(classes)


def reason_routes(reader: Callable[[], RunLogReader]) -> list[BaseRoute]:
    """The route, to be handed to `streamlit.App`; `reader` opens the run log as it stands."""

    def answer(request: Request) -> Response:
        log = reader()
        found = reasons_of(log, asked_run(log, request))
        columns = {
            "step": found.step,
            "epoch": found.epoch,
            "reasons": found.reasons,
            "of_class": found.of_class,
        }
        return JSONResponse(columns, headers=NO_STORE)

    return [Route("/live/runs/{run_id}/reasons", endpoint(answer))]
