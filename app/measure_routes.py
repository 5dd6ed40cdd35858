"""The newest measures of every class, and in words what of them cannot be judged and why.

    GET /live/runs/ID/measures   JSON: `snapshot`, `step` and `epoch` they are of (null before the
                                 first), `measures`: name to the C classes' values (null: not to be
                                 judged), `reasons`: [words, sentence] pairs, and `of_class`: for
                                 each of the C classes the index of its reason

A page asks again only when the run's `versions.feature` changed. Shapes: C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from app.class_reasons import WEAK, Reason
from app.class_table import CLASS_COLUMNS, ClassTable, Column
from app.feature_measures import SIZE, Newest, per_class, weak
from app.figure_routes import plain
from app.live_answers import NO_STORE, asked_run, endpoint
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import FEWEST_OBJECTS, MEASURES

NOT_MEASURED: Reason = (
    "not measured yet",
    "The first measures come with the first snapshot of features, at the end of an epoch.",
)
NO_PRIOR: Reason = (
    "no prior",
    "No RoI of this class has given it a prior, so it has no virtual features to judge.",
)
NO_HELD_OUT: Reason = (
    "none held out",
    "No held-out object of this class is followed, so nothing says where real ones would lie.",
)
ALL_JUDGED: Reason = ("", "All that is measured could be judged.")

NO_VIRTUAL = "Not to be judged: no prior, so no virtual features."
NO_OBJECTS = "Not to be judged: no held-out object of this class is followed."
FEW_NEIGHBOURS = "Not to be judged: it needs a followed training object of this class, and"
TOO_FEW = "Not to be judged: a spread needs at least two objects on either side."
COLUMNS = (
    Column(SIZE, "prior rests on", "effective sample size of the class's prior, in objects",
           measure=SIZE, missing="No prior yet.", weak_below=FEWEST_OBJECTS),
    Column("neighbours_virtual", "neighbours, virtual", "share of virtual features whose nearest "
           "real features are of their own class", style="share", measure="neighbours_virtual",
           missing=f"{FEW_NEIGHBOURS} a prior."),
    Column("neighbours_holdout", "neighbours, held-out", "the same share of held-out real features",
           style="share", measure="neighbours_holdout",
           missing=f"{FEW_NEIGHBOURS} a held-out one."),
    Column("accuracy_virtual", "accuracy, virtual", "share of virtual features that the classifier "
           "gives to their class", style="share", measure="accuracy_virtual", missing=NO_VIRTUAL),
    Column("accuracy_holdout", "accuracy, held-out", "the same share of held-out real features",
           style="share", measure="accuracy_holdout", missing=NO_OBJECTS),
    Column("frechet_distance", "Fréchet, virtual", "squared Fréchet distance of virtual to "
           "held-out real features", measure="frechet_distance", missing=TOO_FEW),
    Column("frechet_distance_real", "Fréchet, trained on", "the same of the real features that "
           "were trained on", measure="frechet_distance_real", missing=TOO_FEW),
    Column("negative_share", "negative", "share of negative coordinates of virtual features",
           style="share", measure="negative_share", missing=NO_VIRTUAL),
)  # fmt: skip
CARE = Column("why", "with care", "what cannot be judged, or only with care", style="words")


def measure_table(*, fasa: bool) -> ClassTable:
    """The table of the newest measures; a baseline has none of virtual features."""
    columns = [column for column in COLUMNS if fasa or column.key.endswith("_holdout")]
    return ClassTable(
        (*CLASS_COLUMNS, *columns, CARE),
        "Newest measures of every class, shares from 0 to 1; – is not to be judged, and pointing "
        "there says why. A heading sorts, a row pins its class. docs/feature_space.md has the "
        "formulas.",
        reasons="measures",
        key="measures",
        title="Measures by class",
    )


def class_notes(newest: Newest, count: int, *, fasa: bool) -> tuple[list[Reason], list[int]]:
    """What is to be said of each class: the reasons, each once, and [C] the index of each.

    Args:
        newest: the newest measures.
        count: C.
        fasa: whether there are virtual features at all.
    """
    sizes = per_class(newest.get(SIZE), count)
    held_out = np.isfinite(per_class(newest.get("accuracy_holdout"), count))
    flags = [
        (NO_PRIOR, ~(np.nan_to_num(sizes) > 0) if fasa else np.zeros(count, bool)),
        (WEAK, weak(sizes)),
        (NO_HELD_OUT, ~held_out),
    ]
    said = [_together(flags, index) if newest else NOT_MEASURED for index in range(count)]
    reasons = list(dict.fromkeys(said))
    return reasons, [reasons.index(one) for one in said]


def _together(flags: list[tuple[Reason, NDArray[np.bool_]]], index: int) -> Reason:
    found = [reason for reason, of in flags if of[index]]
    if not found:
        return ALL_JUDGED
    return ", ".join(words for words, _ in found), " ".join(text for _, text in found)


def measure_routes(reader: Callable[[], RunLogReader]) -> list[BaseRoute]:
    """The route; `reader` opens the run log as it stands."""

    def answer(request: Request) -> Response:
        log = reader()
        run = asked_run(log, request)
        count = len(log.categories(run.id))
        newest = log.features.newest_measures(run.id)
        reasons, of_class = class_notes(newest, count, fasa=bool(run.config.get("fasa", True)))
        first = next(iter(newest.values()), None)
        body: dict[str, Any] = {
            "snapshot": first.snapshot_id if first else None,
            "step": first.step if first else None,
            "epoch": first.epoch if first else None,
            "measures": {
                name: plain(np.asarray(per_class(newest.get(name), count), float).round(4))
                for name in MEASURES if name in newest
            },
            "reasons": reasons,
            "of_class": of_class,
        }  # fmt: skip
        return JSONResponse(body, headers=NO_STORE)

    return [Route("/live/runs/{run_id}/measures", endpoint(answer))]
