"""Several runs side by side: which look each has, and the charts that overlay them. Pure; no data.

Runs are told apart by colour, dash and marker together; frequency groups and chosen classes have
a small chart each, so that nothing else has to tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.charts import Chart, Line, Panel
from app.class_charts import CLASS_FIELDS, ClassField
from app.looks import FREQUENCY_NAMES, Color, Look
from app.precision_figures import meaning
from app.steering import knob_label
from trainer.run_log.rows import Run

MOST_RUNS = 8
NAME_SHOWN = 22  # characters of a run's name in a legend

# Searched for: eight colours whose least distance (CIELAB) in the eyes of protanopes, deuteranopes
# and tritanopes is as large as can be; a test computes it. Dash and marker tell them apart, too.
RUN_LOOKS = (
    Look(Color("#2255BC", "#3096D7"), "solid", "circle"),
    Look(Color("#F06900", "#E69F00"), "dash", "diamond"),
    Look(Color("#0ABE7C", "#4BC58F"), "dot", "square"),
    Look(Color("#913226", "#F16F42"), "dashdot", "triangle-up"),
    Look(Color("#3491FF", "#94C4E5"), "longdash", "cross"),
    Look(Color("#2B2F36", "#E3E6EA"), "longdashdot", "x"),
    Look(Color("#A37097", "#CC79A7"), "8px,2px", "star"),
    Look(Color("#C76C44", "#FBEA16"), "2px,6px", "triangle-down"),
)


def run_looks(run_ids: Sequence[int]) -> dict[int, Look]:
    """A look for each of at most `MOST_RUNS` runs, no two the same.

    A run prefers the look of its number, so that adding or removing another run seldom changes it.
    """
    looks: dict[int, Look] = {}
    for run_id in run_ids:
        first = (run_id - 1) % len(RUN_LOOKS)
        places = (RUN_LOOKS[(first + step) % len(RUN_LOOKS)] for step in range(len(RUN_LOOKS)))
        looks[run_id] = next(look for look in places if look not in looks.values())
    return looks


def run_name(run_id: int, name: str) -> str:
    """A run as a legend names it: '3 · demo', long names shortened."""
    line = " ".join(name.split())
    return f"{run_id} · {line if len(line) <= NAME_SHOWN else line[: NAME_SHOWN - 1] + '…'}"


@dataclass(frozen=True)
class Compared:
    """A run as the charts need it.

    Attributes:
        classes: its classes, label to index.
    """

    id: int
    name: str
    look: Look
    classes: Mapping[str, int]


# Those with a better title than their name: title, unit, what it is.
SCALARS: dict[str, tuple[str, str, str]] = {
    "learning_rate": ("Learning rate", "", "of the optimizer of all but the classifier"),
    "images_per_second": ("Throughput", "images / s", "training throughput, loading included"),
    "loader_seconds": ("Wait for the batch", "s", "time a step waits for its batch"),
    "step_seconds": ("Time of a step", "s", "time of a step without the wait for its batch"),
    "validation/loss": ("Hold-out loss", "loss", "mean classification loss on the hold-out set"),
    "adaptation/eps": ("Radius eps", "distance", "DBSCAN's radius"),
    "adaptation/groups": ("Super-groups", "groups", "super-groups found (Eq. 5, DBSCAN)"),
    "adaptation/noise_share": ("Noise", "share", "share of clustered classes that are noise"),
}
MEASURES = {"segm": "masks", "bbox": "boxes"}
UNITS = {"percent": "%", "mb": "MB", "seconds": "s"}  # by the last word of a scalar's name


def scalar_words(name: str) -> tuple[str, str, str]:
    """Title, unit and meaning of a scalar; one that nobody has described goes by its name."""
    if name in SCALARS:
        return SCALARS[name]
    room, _, rest = name.partition("/")
    words = (rest or room).replace("_", " ")
    if room in MEASURES:
        of = MEASURES[room]
        return f"{rest} of {of}", "percent", meaning(rest, of)
    if room == "loss":
        return f"Loss: {words}", "loss", "a training loss of each step"
    if room == "knob":
        return f"Knob: {knob_label(rest)}", "", "a knob, each jump being a change that took hold"
    return (
        f"{words[:1].upper()}{words[1:]}",
        UNITS.get(words.split(" ")[-1], ""),
        f"logged as {name}",
    )


def scalar_chart(name: str, runs: Sequence[Compared]) -> Chart:
    """One scalar of all runs."""
    title, unit, meaning = scalar_words(name)
    noisy = name.startswith("loss/") or name.endswith(("_per_second", "_seconds"))
    knob = name.startswith("knob/")
    return Chart(
        key=f"compare-{name}",
        title=title,
        caption=f"{meaning[0].upper()}{meaning[1:]}, one line a run.",
        empty=f"None of the chosen runs has logged {name} yet.",
        lines=tuple(
            Line(
                f"scalars:{name}",
                run.name,
                run.look,
                series=name,
                smooth=noisy,
                markers=True,
                steps=knob,
                holds=knob,
                run=run.id,
            )
            for run in runs
        ),
        panels=(Panel(unit or title.lower(), from_zero=room_starts_at_zero(name)),),
        height=height(270, len(runs)),
    )


def height(least: int, lines: int) -> int:
    """Pixels of a chart: a legend of two lines a row must leave room for the curves."""
    return least + 20 * max(0, (lines - 3) // 2 + 1)


def room_starts_at_zero(name: str) -> bool:
    """Whether 0 belongs on the y axis: for precisions and losses it is where they end or begin."""
    return name.startswith(("segm/", "bbox/", "loss/", "adaptation/"))


def class_field_words(name: str) -> ClassField:
    """A class field as people read it; one that nobody has described goes by its name."""
    words = name.replace("_", " ")
    plain = ClassField(f"{words[:1].upper()}{words[1:]}", words, f"{words} of each class")
    return CLASS_FIELDS.get(name, plain)


def group_charts(name: str, runs: Sequence[Compared]) -> list[Chart]:
    """A class field averaged over rare, common and frequent classes: one small chart a group."""
    return [
        _class_chart(
            name,
            f"{group} classes",
            f"Mean over the {group} classes of each run: {{meaning}}.",
            [(run, f"groups:{name}", column) for run in runs],
        )
        for column, group in enumerate(FREQUENCY_NAMES.values())
    ]


def chosen_class_charts(name: str, labels: Sequence[str], runs: Sequence[Compared]) -> list[Chart]:
    """A class field of chosen classes: one small chart a class, found in each run by its name."""
    return [
        _class_chart(
            name,
            label,
            "{meaning}; runs without a class of this name have no line.",
            [(run, f"classes:{name}:{run.classes[label]}", 0)
             for run in runs if label in run.classes],
        )
        for label in labels
    ]  # fmt: skip


def _class_chart(
    name: str, of: str, caption: str, lines: Sequence[tuple[Compared, str, int]]
) -> Chart:
    about = class_field_words(name)
    meaning = about.meaning
    if caption.startswith("{"):
        meaning = f"{meaning[0].upper()}{meaning[1:]}"
    return Chart(
        key=f"compare-{name}-{of}",
        title=f"{about.label}: {of}",
        caption=caption.replace("{meaning}", meaning),
        empty=f"None of the chosen runs has logged {name} of this yet.",
        lines=tuple(
            Line(
                want,
                run.name,
                run.look,
                column=column,
                transform=about.transform,
                markers=True,
                steps=name in ("probability", "scale"),
                run=run.id,
            )
            for run, want, column in lines
        ),
        panels=(Panel(about.unit, log=about.log, from_zero=about.from_zero, number=about.number),),
        height=height(240, len(lines)),
    )


def first_fork_step(run: Run, runs: Sequence[Run]) -> int | None:
    """The step at which the first of `runs` left this one; None when none did."""
    steps = [
        other.parent_step
        for other in runs
        if other.parent_run == run.id and other.parent_step is not None
    ]
    return min(steps, default=None)


def fork_starts(
    run: Run,
    runs: Sequence[Run],
    *,
    forked: float | None,
    passed: Sequence[tuple[int, float]],
) -> list[float]:
    """The moment that is 0 of a run when runs are aligned by the time since their fork.

    For a run that others of `runs` left, when it passed the first of those steps. For a fork, when
    it was forked, preceded by when its parent was at that step: what it took over from its parent
    counts from there, so that it lies on the parent's line. For any other run, its start.

    Args:
        forked: when it was forked, seconds since 1970; None when that is not known.
        passed: (step, seconds since 1970) of steps it took or took over, in their order.

    Returns:
        one moment, or a fork's two; seconds since 1970.
    """
    step = first_fork_step(run, runs)
    if step is not None and passed and passed[0][0] <= step <= passed[-1][0]:
        steps, walls = zip(*passed, strict=True)
        return [float(np.interp(step, steps, walls))]
    began = run.started if run.started is not None else run.created
    if run.parent_step is not None:
        inherited = [wall for at, wall in passed if at <= run.parent_step]
        return [*inherited[-1:], forked if forked is not None else began]
    return [passed[0][1] if passed else began]
