"""What is shown per class: its fields and the pinned classes' chart. Pure; no data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.charts import Chart, Line, Panel, Transform
from app.looks import FREQUENCY_NAMES, pin_looks
from trainer.run_log.rows import CategoryRow


@dataclass(frozen=True)
class ClassField:
    """A per-class quantity of the run log, as people read it."""

    label: str
    unit: str
    meaning: str
    transform: Transform = ""
    log: bool = False
    from_zero: bool = True
    number: str = ".4~g"


CLASS_FIELDS: dict[str, ClassField] = {
    "probability": ClassField(
        "Sampling probability", "virtual features / 1,000 steps",
        "virtual features to expect in 1,000 steps: 1,000 times p_c (Eq. 4)", "per_thousand",
        True, False),
    "scale": ClassField("Scale s_c", "× Eq. 4", "p_c relative to its base 1/N_c (Eq. 4)"),
    "training_loss": ClassField(
        "Training loss", "loss", "mean classification loss of the class's RoIs in training"),
    "validation_loss": ClassField(
        "Hold-out loss", "loss",
        "mean classification loss on the hold-out set, which steers adaptation"),
    "weight_norm": ClassField(
        "Weight norm", "norm",
        "norm of the class's row of the classifier (Figure 4)"),
    "score": ClassField(
        "Score on own objects", "score", "mean score the class gives its own objects (Figure 1b)"),
    "prior_spread": ClassField(
        "Prior spread", "feature units", "mean standard deviation of the class's prior (Eq. 2)"),
    "prior_norm": ClassField(
        "Prior norm", "feature units", "norm of the class's prior mean (Eq. 2)"),
    "effective_samples": ClassField(
        "Prior's effective samples", "RoIs",
        "RoIs of equal weight that would make a mean as sure as the class's prior (Kish; Eq. 2 "
        "lets old ones fade)", number=".1f"),
    "observed_rois": ClassField(
        "Observed RoIs", "RoIs, cumulative", "positive RoIs the prior has learned from",
        number=",d"),
    "virtual_features": ClassField(
        "Virtual features", "features, cumulative", "virtual features drawn so far",
        number=",d"),
    "ap_segm": ClassField("AP of masks", "percent", "mask AP of the class", number=".1f"),
    "ap_bbox": ClassField("AP of boxes", "percent", "box AP of the class", number=".1f"),
}  # fmt: skip


FASA_FIELDS = frozenset({"probability", "scale", "virtual_features", "effective_samples"})


def pinned_classes(
    class_field: str, pins: Sequence[int], labels: Sequence[str], frequencies: Sequence[str]
) -> Chart:
    """One class field of the pinned classes.

    Args:
        class_field: a key of `CLASS_FIELDS`.
        pins: class indices, in the order they were pinned.
        labels: [C] unique names.
        frequencies: [C] letters r, c, f.
    """
    about = CLASS_FIELDS[class_field]
    indices = ",".join(str(index) for index in pins)
    return Chart(
        key="pinned",
        title=f"Pinned classes: {about.label[0].lower()}{about.label[1:]}",
        caption=f"{about.meaning[0].upper()}{about.meaning[1:]}. Solid lines in orange are rare "
        "classes, dashed in green common, dotted in blue frequent.",
        empty="No values of the pinned classes yet."
        if pins
        else "No class is pinned: find one by name above, or pin it in the table below.",
        lines=tuple(
            Line(
                f"classes:{class_field}:{indices}",
                labels[index],
                look,
                column=place,
                transform=about.transform,
                markers=True,
                steps=class_field in ("probability", "scale"),
            )
            for place, (index, look) in enumerate(
                zip(pins, pin_looks([frequencies[index] for index in pins]), strict=True)
            )
        ),
        panels=(Panel(about.unit, log=about.log, from_zero=about.from_zero, number=about.number),),
        height=300,
    )


def class_fields(*, fasa: bool) -> list[str]:
    """Class fields to choose from, the one shown first in front."""
    return [name for name in CLASS_FIELDS if fasa or name not in FASA_FIELDS]


def class_labels(categories: Sequence[CategoryRow]) -> list[str]:
    """Names of the classes, made unique: a name that occurs twice carries its index."""
    names = [row.name for row in categories]
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
    return [name if seen[name] == 1 else f"{name} (#{row.index})"
            for name, row in zip(names, categories, strict=True)]  # fmt: skip


def first_pins(categories: Sequence[CategoryRow]) -> list[int]:
    """Classes to pin when nobody has chosen: the middle one of each frequency group's trained."""
    pins = []
    for letter in FREQUENCY_NAMES:
        members = sorted(
            (row for row in categories if row.frequency == letter and row.instance_count),
            key=lambda row: (-row.instance_count, row.index),
        )
        if members:
            pins.append(members[len(members) // 2].index)
    return pins
