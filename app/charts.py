"""Chart specifications: what each chart shows and how it looks. Pure; no data, no Streamlit.

A `Chart` says which rows of the live route its lines are made of (`want`, see `live_data.py`); the
component in `live_chart/` fetches the rows, extends the lines and draws them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
)
from app.steering import knob_label, knobs_of
from trainer.run_log.rows import CategoryRow

XAxis = Literal["epoch", "step", "time", "fork"]
Transform = Literal["", "ratio", "percent", "per_thousand", "thousandth", "share"]


@dataclass(frozen=True)
class Line:
    """One line: the rows it is made of, and its look.

    Attributes:
        want: rows to fetch, without the cursor: KIND:SUBJECT.
        name: what the legend and the hover text call it; lines of one name are shown and hidden
            together.
        run: id of the run whose rows they are; None for the run of the component.
        series: of scalars, the name whose rows make this line.
        column: of class vectors, the column that makes it.
        band: of class vectors, the columns of a lower and an upper edge: the line is an area.
        transform: ratio (to the first value), percent (times 100), per_thousand (times 1000),
            thousandth (divided by 1000), share (percent of its sum with `rest` at that step).
        rest: of a share, the name of the scalar that is added to it.
        panel: 0 for the upmost panel, 1 for the one below it, and so on.
        smooth: draw a running mean over the faint raw values, as far as the reader asks for it.
        hidden: listed in the legend, drawn when clicked there.
    """

    want: str
    name: str
    look: Look
    run: int | None = None
    series: str = ""
    column: int = 0
    band: tuple[int, int] | None = None
    transform: Transform = ""
    rest: str = ""
    panel: int = 0
    smooth: bool = False
    hidden: bool = False
    markers: bool = False
    steps: bool = False  # holds its value until the next point, then jumps
    holds: bool = False  # and goes on to where the run is now


@dataclass(frozen=True)
class Panel:
    """A y axis: its title with the unit, its scale, and how hover text writes numbers.

    `log` is its scale unless the reader chooses one; where `switches` is false, there is no choice.
    """

    title: str
    log: bool = False
    switches: bool = True
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


def _stage_lines() -> Iterator[tuple[str, str, Look, bool]]:
    """The losses of a cascade's later stages, each times its stage's weight."""
    for stage, dash in ((2, "longdashdot"), (3, "dot")):
        for series, name, look, _ in LOSS_LINES:
            if series in ("loss/classifier", "loss/virtual", "loss/box", "loss/mask"):
                yield f"{series}/{stage}", f"{name}, stage {stage}", replace(look, dash=dash), True


def losses(*, cascade: bool = False) -> Chart:
    """Training losses by name and the loss on the hold-out set; a cascade's later stages hidden."""
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
            for series, name, look, hidden in (*LOSS_LINES, *(_stage_lines() if cascade else ()))
        ),
        panels=(Panel("loss", from_zero=True),),
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
        caption=f"{shown} of the rare, common and frequent classes with training instances (the "
        f"paper's Figure 3a), {how}",
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


QUANTILES = (10, 25, 50, 75, 90)  # percent; the columns of a group in the rows of `bands`


def probability_bands(counts: Mapping[str, int], *, absolute: bool = False) -> Chart:
    """Spread of the sampling probability within each frequency group (Figure 3b).

    Relative to Eq. 4 (the scale s_c) all classes start at 1, and the bands show how far adaptation
    drew them apart; absolute, the spread of 1/N_c within a group is in them, too.
    """
    field, what, unit = (
        ("probability", "sampling probability p", "/ 1,000 steps") if absolute
        else ("scale", "sampling probability relative to Eq. 4", "× Eq. 4")
    )  # fmt: skip
    transform: Transform = "per_thousand" if absolute else ""
    lines = []
    for place, letter in enumerate("rcf"):
        first, name = place * len(QUANTILES), frequency_name(letter, counts)
        for columns in ((0, 4), (1, 3), None):
            lines.append(
                Line(
                    f"bands:{field}", name, FREQUENCY_LOOKS[letter], transform=transform,
                    column=first + 2, panel=place, steps=True, markers=True,
                    band=None if columns is None else (first + columns[0], first + columns[1]),
                )
            )  # fmt: skip
    return Chart(
        key="probability_bands",
        title="Spread of the sampling probability",
        caption=f"The {what} within each frequency group (the paper's Figure 3b): the line is the "
        "median class, the dark band holds half of the classes (25 to 75 %), the light one four "
        "fifths (10 to 90 %).",
        empty="No probability has been logged yet: the first comes with the first snapshot.",
        lines=tuple(lines),
        panels=tuple(Panel(f"{FREQUENCY_NAMES[letter]}, {unit}", log=absolute) for letter in "rcf"),
        height=360,
    )


def group_scores(counts: Mapping[str, int]) -> Chart:
    """Mean score that classes give their own objects, by frequency group (Figure 1b)."""
    return Chart(
        key="group_scores",
        title="Score on own objects",
        caption="Mean score the classifier gives objects of the right class in training, averaged "
        "over rare, common and frequent classes (the paper's Figure 1b).",
        empty="No score has been logged yet: the first comes with the first snapshot.",
        lines=tuple(
            Line("groups:score", frequency_name(letter, counts), FREQUENCY_LOOKS[letter],
                 column=column, markers=True)
            for column, letter in enumerate("rcf")
        ),
        panels=(Panel("mean score, 0 to 1", from_zero=True),),
    )  # fmt: skip


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
        panels=(Panel("groups", from_zero=True, number="d", whole=True, switches=False),
                Panel("noise, %", from_zero=True, number=".0f", switches=False)),
    )  # fmt: skip


def resources() -> tuple[Chart, Chart]:
    """What the trainer uses: processor and memory; and how fast it is, how long it loads, disk."""
    use, pace = "scalars:system/*", "scalars:images_per_second,loader_seconds,step_seconds"
    processor = Chart(
        key="processor",
        title="Processor and memory",
        caption="Use by the trainer and its data loaders, about every five seconds: 100 % is one "
        "processor core, or the whole GPU. Free memory is the machine's.",
        empty="Nothing has been measured yet: the first values come a few seconds after the start.",
        lines=(
            Line(use, "processor", Look(BLUE, "solid", "square"), series="system/cpu_percent",
                 smooth=True),
            Line(use, "GPU", Look(VERMILION, "dash", "diamond"), series="system/gpu_percent",
                 smooth=True),
            Line(use, "memory", Look(GREEN, "dashdot", "circle"), series="system/memory_mb",
                 panel=1, transform="thousandth"),
            Line(use, "free memory", Look(GREY, "dot", "x"), series="system/memory_available_mb",
                 panel=1, transform="thousandth"),
            Line(use, "GPU memory", Look(PURPLE, "longdash", "cross"),
                 series="system/gpu_memory_mb", panel=1, transform="thousandth"),
        ),
        panels=(Panel("busy, %", from_zero=True, number=".0f", switches=False),
                Panel("memory, GB", from_zero=True, number=".2f", switches=False)),
        height=300,
    )  # fmt: skip
    speed = Chart(
        key="speed",
        title="Speed, loading and disk",
        caption="Images trained on a second; the share of each step that waited for the data "
        "loader; and what is free on the disk that holds the runs.",
        empty="Nothing has been measured yet: the first values come with the first step.",
        lines=(
            Line(pace, "images/s", Look(INK, "solid", "circle"), series="images_per_second",
                 smooth=True),
            Line(pace, "loading", Look(ORANGE, "dash", "diamond"), series="loader_seconds",
                 rest="step_seconds", transform="share", panel=1, smooth=True),
            Line(use, "disk free", Look(BLUE, "dot", "square"), series="system/disk_free_mb",
                 transform="thousandth", panel=2),
        ),
        panels=(Panel("images / s", from_zero=True, switches=False),
                Panel("loading, %", from_zero=True, number=".1f", switches=False),
                Panel("free, GB", from_zero=True, number=".1f", switches=False)),
        height=300,
    )  # fmt: skip
    return processor, speed


KNOB_LOOKS = {
    "alpha": (0, Look(VERMILION, "solid", "triangle-up")),
    "beta": (0, Look(BLUE, "dash", "triangle-down")),
    "learning_rate_factor": (0, Look(INK, "dot", "circle")),
    "m": (1, Look(GREEN, "dashdot", "square")),
    "virtual_loss_weight": (1, Look(PURPLE, "longdash", "diamond")),
}


def knobs(*, fasa: bool) -> Chart:
    """The knobs that can be changed in a run, as they were changed: factors above, weights below.

    A baseline has none of FASA's knobs, and no lower panel then.
    """
    names = [knob.name for knob in knobs_of(fasa=fasa)]
    want = "scalars:knob/*"
    lines = []
    for place, name in enumerate(names):
        panel, look = KNOB_LOOKS.get(name, (0, OTHER_LOOKS[place % len(OTHER_LOOKS)]))
        lines.append(Line(want, knob_label(name), look, series=f"knob/{name}", panel=panel,
                          steps=True, holds=True))  # fmt: skip
    panels = (Panel("factor", switches=False), Panel("weight", from_zero=True, switches=False))
    return Chart(
        key="knobs",
        title="Knobs",
        caption="The knobs of this run over time: each jump is a change that took hold.",
        empty="No knob has been logged yet: the first values come with the first step.",
        lines=tuple(lines),
        panels=panels if any(line.panel for line in lines) else panels[:1],
    )


@dataclass(frozen=True)
class Events:
    """The list of what happened in a run."""

    key: str = "events"
    title: str = "What happened"
    caption: str = "Newest first. Each is a thin vertical line on the charts: point near one."
    empty: str = "Nothing was changed, stopped or resumed in this run so far."
    height: int = 270


def frequency_name(letter: str, counts: Mapping[str, int]) -> str:
    """'rare (20)': the group's name with its number of classes, once that is known."""
    name = FREQUENCY_NAMES[letter]
    return f"{name} ({counts[letter]})" if counts.get(letter) else name


def frequency_counts(categories: Sequence[CategoryRow]) -> dict[str, int]:
    """How many classes with training instances are rare, common and frequent."""
    trained = [row.frequency for row in categories if row.instance_count]
    return {letter: trained.count(letter) for letter in FREQUENCY_NAMES}
