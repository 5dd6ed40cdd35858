"""What the page Detections shows, as the address says it.

    step=120            evaluation of the first column, by training steps; else the newest
    beside=3:newest     a further column, RUN:STEP; up to three
    class=tiger         images of this class only
    show=misses         or confusions, alarms: images that hold such objects
    true=cat&detected=dog   with show=confusions: of this pair only
    score=0.5           detections below it are left out
    hide=masks          or truth, boxes, labels; may be repeated
    image=17            the image that is enlarged, by its id in the annotation file

What cannot be read is left out: a link from elsewhere shows what of it there is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NEWEST = "newest"
USUAL_SCORE = 0.3
MOST_BESIDE = 3
SHOWS = ("all", "misses", "confusions", "alarms")
PARTS = ("truth", "masks", "boxes", "labels")
KEYS = ("step", "beside", "class", "show", "true", "detected", "score", "hide", "image")
LONGEST = 300  # characters of one value


@dataclass(frozen=True)
class DetectionView:
    """What is shown.

    Attributes:
        columns: (run id, step or "newest") of each, that of the page's run first.
        name: of the class that is asked for; "" for all.
        show: one of `SHOWS`.
        pair: (true, detected) names of the confusion that is asked for.
        score: least score of a detection, 0..1.
        hidden: of `PARTS`, what is not drawn.
        image: id of the enlarged image.
    """

    columns: tuple[tuple[int, str], ...]
    name: str = ""
    show: str = "all"
    pair: tuple[str, str] | None = None
    score: float = USUAL_SCORE
    hidden: tuple[str, ...] = ()
    image: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As the component takes it (JSON)."""
        return {
            "columns": [{"run": run, "step": step} for run, step in self.columns],
            "class": self.name,
            "show": self.show,
            "pair": self.pair,
            "score": self.score,
            "hidden": self.hidden,
            "image": self.image,
        }


def read_view(
    address: Mapping[str, Sequence[str]], run_id: int, runs: Collection[int]
) -> DetectionView:
    """The view that an address asks for.

    Args:
        address: the values of each key.
        run_id: the page's run, which the first column shows.
        runs: ids of all runs.
    """

    def last(key: str) -> str:
        values = address.get(key) or [""]
        return values[-1][:LONGEST]

    beside = [_column(text, runs) for text in address.get("beside", ())]
    true, detected, show = last("true"), last("detected"), last("show")
    return DetectionView(
        columns=((run_id, _step(last("step"))), *list(filter(None, beside))[:MOST_BESIDE]),
        name=last("class"),
        show=show if show in SHOWS else "all",
        pair=(true, detected) if true and detected and show == "confusions" else None,
        score=_score(last("score")),
        hidden=tuple(part for part in PARTS if part in address.get("hide", ())),
        image=int(last("image")) if _is_whole(last("image")) else None,
    )


def read_choice(sent: Any) -> dict[str, list[str]]:
    """What the component sent back for the address; nothing where it is none of ours."""
    if not isinstance(sent, Mapping):
        return {}
    return {
        key: [value[:LONGEST] for value in values if isinstance(value, str)][:8]
        for key in KEYS
        if isinstance(values := sent.get(key), list | tuple)
    }


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 16


def _step(text: str) -> str:
    return text if _is_whole(text) else NEWEST


def _column(text: str, runs: Collection[int]) -> tuple[int, str] | None:
    run, _, step = text.partition(":")
    return (int(run), _step(step)) if _is_whole(run) and int(run) in runs else None


def _score(text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        return USUAL_SCORE
    return score if math.isfinite(score) and 0 <= score <= 1 else USUAL_SCORE
