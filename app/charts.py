"""Chart specifications: what each chart shows and how it looks. Pure; no data, no Streamlit.

A `Chart` says which rows of the live route its lines are made of (`want`, see `live_data.py`); the
component in `live_chart/` fetches the rows, extends the lines and draws them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from app.looks import (
    BLUE,
    FREQUENCY_LOOKS,
    FREQUENCY_NAMES,
    GREEN,
    GREY,
    INK,
    ORANGE,
    OTHER_LOOKS,
    PURPLE,
    SKY,
    VERMILION,
    Look,
    pin_looks,
)
from trainer.run_log.rows import CategoryRow

XAxis = Literal["epoch", "step", "time"]
Transform = Literal["", "ratio", "percent", "per_thousand"]


@dataclass(frozen=True)
class Line:
    """One line: the rows it is made of, and its look.

    Attributes:
        want: rows to fetch, without the cursor: KIND:SUBJECT.
        name: what the legend and the hover text call it.
        series: of scalars, the name whose rows make this line.
        column: of class vectors, the column that makes it.
        transform: ratio (to the first value), percent (times 100), per_thousand (times 1000).
        panel: 0 for the upper panel, 1 for the lower one.
        smooth: draw a running mean over the faint raw values, as far as the reader asks for it.
        hidden: listed in the legend, drawn when clicked there.
    """

    want: str
    name: str
    look: Look
    series: str = ""
    column: int = 0
    transform: Transform = ""
    panel: int = 0
    smooth: bool = False
    hidden: bool = False
    markers: bool = False
    steps: bool = False  # holds its value until the next point, then jumps


@dataclass(frozen=True)
class Panel:
    """A y axis: its title with the unit, its scale, and how hover text writes numbers."""

    title: str
    log: bool = False
    from_zero: bool = False
    number: str = ".4~g"
    whole: bool = False  # ticks at whole numbers only


@dataclass(frozen=True)
class Chart:
    """A whole chart. `others` says how to draw scalars that match a want but have no line."""

    key: str
    title: str
    caption: str
    empty: str
    lines: tuple[Line, ...]
    panels: tuple[Panel, ...] = (Panel(""),)
    others: tuple[Look, ...] = ()
    note: str = ""
    height: int = 270

    def to_dict(self) -> dict[str, Any]:
        """The specification as the component takes it (JSON)."""
        return asdict(self)


LOSS_LINES = (
    ("loss/total", "total", Look(INK, "solid", "circle"), False),
    ("loss/classifier", "classifier", Look(BLUE, "solid", "square"), False),
    ("loss/virtual", "virtual features", Look(VERMILION, "dash", "diamond"), False),
    ("validation/loss", "hold-out", Look(GREEN, "dot", "star"), False),
    ("loss/box", "box", Look(ORANGE, "dashdot", "triangle-up"), True),
    ("loss/mask", "mask", Look(PURPLE, "longdash", "cross"), True),
    ("loss/objectness", "objectness", Look(SKY, "dot", "x"), True),
    ("loss/rpn_box", "RPN box", Look(GREY, "dashdot", "pentagon"), True),
)


def losses(*, log: bool = False) -> Chart:
    """Training losses by name and the loss on the hold-out set."""
    want = "scalars:loss/*,validation/loss"
    return Chart(
        key="losses",
        title="Losses",
        caption="Training losses of each step, smoothed over the faint raw values, and the mean "
        "classification loss on the hold-out set after each epoch.",
        empty="No loss has been logged yet: the first comes with the first training step.",
        lines=tuple(
            Line(want, name, look, series=series, smooth=series != "validation/loss",
                 hidden=hidden, markers=series == "validation/loss")
            for series, name, look, hidden in LOSS_LINES
        ),
        panels=(Panel("loss", log=log, from_zero=not log),),
        others=OTHER_LOOKS,
    )  # fmt: skip


def sampling_probability(counts: Mapping[str, int], *, absolute: bool) -> Chart:
    """Sampling probability p_c averaged over rare, common and frequent classes (Figure 3a).

    LVIS probabilities run from 1e-7 to 1e-2, so p itself reads badly. Relative to the start,
    every step of adaptation shows as a factor (1.1 up, 0.9 down); the absolute unit is the number
    of virtual features to expect a class in 1,000 steps.
    """
    if absolute:
        unit, shown = "virtual features / class / 1,000 steps", "Mean sampling probability p"
        how = "as virtual features to expect a class in 1,000 steps; logarithmic."
    else:
        unit, shown = "× start", "Mean sampling probability p"
        how = "relative to where it started (Eq. 4): 1.1 is one step up, 0.9 one down."
    return Chart(
        key="probability",
        title="Sampling probability",
        caption=f"{shown} of rare, common and frequent classes (the paper's Figure 3a), {how}",
        empty="No probability has been logged yet: the first comes with the first snapshot.",
        lines=tuple(
            Line(
                "groups:probability",
                frequency_name(letter, counts),
                FREQUENCY_LOOKS[letter],
                column=column,
                transform="per_thousand" if absolute else "ratio",
                markers=True,
                steps=True,
            )
            for column, letter in enumerate("rcf")
        ),
        panels=(Panel(unit, log=absolute),),
    )


def average_precision(counts: Mapping[str, int], *, measure: Literal["segm", "bbox"]) -> Chart:
    """AP and its averages over rare, common and frequent classes, one point an evaluation."""
    of = "masks" if measure == "segm" else "boxes"
    lines = [(f"{measure}/AP", "AP, all", Look(INK, "solid", "circle"))] + [
        (f"{measure}/AP_{letter}", f"AP_{letter}, {FREQUENCY_NAMES[letter]}", look)
        for letter, look in FREQUENCY_LOOKS.items()
    ]
    want = "scalars:" + ",".join(series for series, _, _ in lines)
    return Chart(
        key="average_precision",
        title=f"Average precision of {of}",
        caption="AP over IoU .50 to .95 on the test set after each evaluation, over all classes "
        "and over rare, common and frequent ones.",
        empty="No evaluation yet: the first AP comes at the end of an evaluated epoch.",
        lines=tuple(
            Line(want, name, look, series=series, markers=True) for series, name, look in lines
        ),
        panels=(Panel("AP in percent", from_zero=True, number=".1f"),),
    )


def super_groups() -> Chart:
    """Number of super-groups and the share of classes that DBSCAN calls noise."""
    want = "scalars:adaptation/groups,adaptation/noise_share"
    return Chart(
        key="super_groups",
        title="Super-groups",
        caption="How many super-groups each adaptation found (Eq. 5, DBSCAN), and the share of "
        "clustered classes that are noise and were attached to the nearest group.",
        empty="No clustering yet: the first comes at the end of an epoch.",
        lines=(
            Line(want, "super-groups", Look(BLUE, "solid", "square"),
                 series="adaptation/groups", markers=True),
            Line(want, "noise", Look(ORANGE, "dash", "diamond"), series="adaptation/noise_share",
                 transform="percent", panel=1, markers=True),
        ),
        panels=(Panel("groups", from_zero=True, number="d", whole=True),
                Panel("noise, %", from_zero=True, number=".0f")),
    )  # fmt: skip


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
    "observed_rois": ClassField(
        "Observed RoIs", "RoIs, cumulative", "positive RoIs the prior has learned from",
        number=",d"),
    "virtual_features": ClassField(
        "Virtual features", "features, cumulative", "virtual features drawn so far",
        number=",d"),
    "ap_segm": ClassField("AP of masks", "percent", "mask AP of the class", number=".1f"),
    "ap_bbox": ClassField("AP of boxes", "percent", "box AP of the class", number=".1f"),
}  # fmt: skip


FASA_FIELDS = frozenset({"probability", "scale", "virtual_features"})


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


@dataclass(frozen=True)
class Column:
    """A column of the class table: which newest snapshot it shows, and how."""

    key: str
    label: str
    meaning: str
    want: str
    style: Literal["number", "factor", "group", "percent"] = "number"
    transform: Transform = ""


TABLE_COLUMNS: tuple[Column, ...] = (
    Column("probability", "p × 1,000", CLASS_FIELDS["probability"].meaning, "latest:probability",
           transform="per_thousand"),
    Column("change", "last change", "factor the last adaptation applied to p",
           "change:probability", "factor"),
    Column("super_group", "group", "super-group of the last clustering", "latest:super_group",
           "group"),
    Column("weight_norm", "weight norm", CLASS_FIELDS["weight_norm"].meaning,
           "latest:weight_norm"),
    Column("ap_segm", "AP", CLASS_FIELDS["ap_segm"].meaning, "latest:ap_segm", "percent"),
)  # fmt: skip


FASA_COLUMNS = frozenset({"probability", "change", "super_group"})


@dataclass(frozen=True)
class ClassTable:
    """The class table: one row a class, newest values, pins marked."""

    columns: tuple[Column, ...] = TABLE_COLUMNS

    key: str = "classes"
    title: str = "Classes"
    caption: str = (
        "Newest values of every class; p is given as virtual features to expect in 1,000 steps. "
        "Click a heading to sort, a row to pin."
    )
    empty: str = "The classes are not known yet: the trainer names them when it starts."


def class_table(*, fasa: bool) -> ClassTable:
    """The class table; a baseline has no probabilities and no super-groups to show."""
    if fasa:
        return ClassTable()
    kept = tuple(c for c in TABLE_COLUMNS if c.key not in FASA_COLUMNS)
    return ClassTable(
        columns=kept,
        caption="Newest values of every class. Click a heading to sort, a row to pin.",
    )


def class_fields(*, fasa: bool) -> list[str]:
    """Class fields to choose from, the one shown first in front."""
    return [name for name in CLASS_FIELDS if fasa or name not in FASA_FIELDS]


def frequency_name(letter: str, counts: Mapping[str, int]) -> str:
    """'rare (20)': the group's name with its number of classes, once that is known."""
    name = FREQUENCY_NAMES[letter]
    return f"{name} ({counts[letter]})" if counts.get(letter) else name


def frequency_counts(categories: Sequence[CategoryRow]) -> dict[str, int]:
    """How many classes are rare, common and frequent."""
    return {
        letter: sum(row.frequency == letter for row in categories) for letter in FREQUENCY_NAMES
    }


def class_labels(categories: Sequence[CategoryRow]) -> list[str]:
    """Names of the classes, made unique: a name that occurs twice carries its index."""
    names = [row.name for row in categories]
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
    return [name if seen[name] == 1 else f"{name} (#{row.index})"
            for name, row in zip(names, categories, strict=True)]  # fmt: skip


def first_pins(categories: Sequence[CategoryRow]) -> list[int]:
    """Classes to pin when nobody has chosen: the middle one of each frequency group."""
    pins = []
    for letter in FREQUENCY_NAMES:
        members = sorted(
            (row for row in categories if row.frequency == letter),
            key=lambda row: (-row.instance_count, row.index),
        )
        if members:
            pins.append(members[len(members) // 2].index)
    return pins
