"""The figures of an evaluation: which belong together, what they mean, and their chart. Pure.

Their names are those of the run log, `segm/NAME` and `bbox/NAME` (docs/run_log.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.charts import Chart, Line, Panel
from app.looks import (
    BLUE,
    FREQUENCY_LOOKS,
    FREQUENCY_NAMES,
    GREEN,
    INK,
    PURPLE,
    VERMILION,
    Look,
)

Measure = Literal["segm", "bbox"]


@dataclass(frozen=True)
class FigureSet:
    """Figures that are shown side by side, AP over everything first.

    Attributes:
        label: what a choice calls it.
        caption: the end of a sentence that begins with "AP ...".
    """

    label: str
    names: tuple[str, ...]
    caption: str


SETS = {
    "groups": FigureSet(
        "r, c, f",
        ("AP", "AP_r", "AP_c", "AP_f"),
        "over IoU .50 to .95 on the test set after each evaluation, over all classes and over "
        "rare, common and frequent ones.",
    ),
    "bins": FigureSet(
        "bins 1–4",
        ("AP", "AP_1", "AP_2", "AP_3", "AP_4"),
        "over all classes and over those with 1 to 19, 20 to 399, 400 to 7,999 and 8,000 or more "
        "training instances (COCO-LT).",
    ),
    "sizes": FigureSet(
        "sizes",
        ("AP", "AP_small", "AP_medium", "AP_large"),
        "over objects of every size, and over those up to 32², up to 96² and above 96² pixels.",
    ),
    "recall": FigureSet(
        "IoU, AR",
        ("AP", "AP50", "AP75", "AR"),
        "over IoU .50 to .95 and at IoU .50 and .75 alone; AR is the share of objects found.",
    ),
    "fixed": FigureSet(
        "fixed",
        ("AP_fixed", "AP_fixed_r", "AP_fixed_c", "AP_fixed_f"),
        "from the 10,000 best detections of each class over the whole test set, as far as the "
        "model's limit per image let them through.",
    ),
    "pool": FigureSet(
        "pool",
        ("AP_pool", "AP_pool_r", "AP_pool_c", "AP_pool_f"),
        "of one precision curve over all classes, or all of a group: scores of different classes "
        "are compared with each other.",
    ),
}
"""What can be shown in one table or chart, by its name in an address; usually the first."""

_MEANINGS = {
    "AP50": "average precision of {of} at IoU .50",
    "AP75": "average precision of {of} at IoU .75",
    "AP_1": "average precision of {of}, classes with 1 to 19 training instances",
    "AP_2": "average precision of {of}, classes with 20 to 399 training instances",
    "AP_3": "average precision of {of}, classes with 400 to 7,999 training instances",
    "AP_4": "average precision of {of}, classes with 8,000 or more training instances",
    "AP_fixed": "average precision of {of} from the 10,000 best detections of each class that the "
    "run's cap per image lets through",
    "AP_pool": "average precision of {of} of one curve over many classes",
    "AR": "average recall of {of}",
}
_SIZES = ("small", "medium", "large")
_LOOKS = (
    Look(INK, "solid", "circle"),
    Look(VERMILION, "dash", "diamond"),
    Look(GREEN, "dot", "square"),
    Look(BLUE, "dashdot", "triangle-up"),
    Look(PURPLE, "longdash", "cross"),
)


def offered_sets(logged: Collection[str]) -> dict[str, str | None]:
    """Name to label of the sets of which something is among the scalars `logged`."""
    known = {name.partition("/")[2] for name in logged if name.startswith(("segm/", "bbox/"))}
    found: dict[str, str | None] = {
        key: entry.label for key, entry in SETS.items() if known & {*entry.names} - {"AP"}
    }
    return found or {"groups": SETS["groups"].label}


def sets_of_run(config: Mapping[str, Any]) -> dict[str, str | None]:
    """Name to label of the sets that the evaluations of a run give, by its data set."""
    data = config.get("data")
    left_out = {"bins"} if data != "coco_lt" else set()
    if data in ("coco", "coco_lt"):  # every class is known in every image: no federated figures
        left_out |= {"fixed", "pool"}
    return {key: entry.label for key, entry in SETS.items() if key not in left_out}


def meaning(name: str, of: str) -> str:
    """What a figure is, of "masks" or "boxes"; begins with a small letter."""
    stem, _, last = name.rpartition("_")
    if last in FREQUENCY_NAMES:
        return f"{meaning(stem, of)}, {FREQUENCY_NAMES[last]} classes"
    if last in _SIZES:
        return f"{meaning(stem, of)}, {last} objects"
    return _MEANINGS.get(name, "average precision of {of}").format(of=of)


def subscript(name: str) -> tuple[str, str]:
    """A figure's name in two parts: AP_fixed_r is AP and "fixed, r"; AP50 is AP and "50"."""
    for stem in ("AP", "AR"):
        if name.startswith(stem):
            return stem, name.removeprefix(stem).strip("_").replace("_", ", ")
    return name, ""


def average_precision(*, measure: Measure, shown: str = "groups") -> Chart:
    """The figures of one of `SETS`, one point an evaluation."""
    of = "masks" if measure == "segm" else "boxes"
    entry = SETS[shown]
    lines = []
    for place, name in enumerate(entry.names):
        letter = name.rpartition("_")[2]
        look = FREQUENCY_LOOKS.get(letter, _LOOKS[place])
        legend = f"{name}, {FREQUENCY_NAMES[letter]}" if letter in FREQUENCY_LOOKS else name
        lines.append((f"{measure}/{name}", f"{name}, all" if place == 0 else legend, look))
    want = "scalars:" + ",".join(series for series, _, _ in lines)
    return Chart(
        key="average_precision",
        title=f"Average precision of {of}",
        caption=f"AP {entry.caption}",
        empty="No evaluation yet: the first AP comes at the end of an evaluated epoch.",
        lines=tuple(
            Line(want, name, look, series=series, markers=True) for series, name, look in lines
        ),
        panels=(Panel("AP in percent", from_zero=True, number=".1f"),),
    )
