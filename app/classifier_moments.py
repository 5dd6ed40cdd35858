"""A class field of a run at a chosen moment, for the figures of the page Classifier.

The parameters that choose one or two moments:

    epoch        newest, start, or how many epochs were done (1, 2, ...)
    with         the id of the run to overlay (the same or another); none without it
    with_epoch   its moment, as `epoch`

Shapes: C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.comparison import run_name
from app.live_answers import WantError
from app.looks import FREQUENCY_NAMES, INK, PURPLE, Look
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import CategoryRow, Run
from trainer.run_log.schema import RunLogError

# None of the colours of the frequency groups, which the same figures show.
LOOKS = (Look(INK, "solid", "circle"), Look(PURPLE, "dash", "diamond-open"))

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Moment:
    """A class field of one run at one moment.

    Attributes:
        name: of run and moment, for people.
        values: [C], NaN for a class without data; None when the run has no snapshot of then.
    """

    name: str
    look: Look
    categories: Sequence[CategoryRow]
    values: Float | None


def asked_moments(
    reader: RunLogReader,
    run: Run,
    categories: Sequence[CategoryRow],
    field: str,
    params: Mapping[str, str],
) -> list[Moment]:
    """The one or two moments that the parameters name.

    Raises:
        WantError: a parameter that cannot be read, or a run that is not there.
        RunLogError: the field has another number of classes than the run.
    """
    asked = [(run, categories, params.get("epoch", "newest"))]
    other = params.get("with", "")
    if other:
        known = {str(row.id): row for row in reader.runs()}
        if other not in known:
            raise WantError(
                f"with is '{other[:40]}', but there is no such run: name one of the list of runs"
            )
        row = known[other]
        asked.append((row, reader.categories(row.id), params.get("with_epoch", "newest")))
    moments = []
    for look, (row, classes, epoch) in zip(LOOKS, asked, strict=False):
        when, values = _snapshot(reader, row, field, epoch)
        if values is not None and len(values) != len(classes):
            raise RunLogError(
                f"Run {row.id} has {len(classes)} classes, but {len(values)} values of {field}: "
                "delete this run, it was not written by this program."
            )
        moments.append(Moment(f"{run_name(row.id, row.name)}, {when}", look, classes, values))
    return moments


def _snapshot(reader: RunLogReader, run: Run, field: str, epoch: str) -> tuple[str, Float | None]:
    """When, in words, and the values [C]: the newest, the first, or the last of an epoch."""
    if epoch == "newest":
        newest = reader.latest_class_vector(run.id, field)
        if newest is None:
            return "newest", None
        return f"step {newest.step:,}", np.asarray(newest.values, float)
    if epoch != "start" and not (epoch.isascii() and epoch.isdecimal() and len(epoch) < 9):
        raise WantError(
            f"epoch is '{epoch[:40]}', but it must be newest, start or a number from 1 on"
        )
    rows = reader.class_vectors(run.id, field)
    if epoch == "start":
        return "start", np.asarray(rows.values[0], float) if len(rows.ids) else None
    places = np.flatnonzero(rows.epochs == int(epoch) - 1)
    values = np.asarray(rows.values[places[-1]], float) if len(places) else None
    return f"epoch {epoch}", values


def ranks(categories: Sequence[CategoryRow]) -> NDArray[np.int64]:
    """[C] place of each class by its instances: 1 for the most; of equals, the lower index."""
    order = sorted(range(len(categories)), key=lambda c: (-categories[c].instance_count, c))
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(1, len(order) + 1)
    return places


def running_median(values: Float, window: int) -> Float:
    """[C] median over the `window` nearest places (odd); NaNs are left out, fewer at the ends."""
    if not len(values):
        return values
    half = window // 2
    padded = np.pad(values, half, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    medians = np.full(len(values), np.nan)
    known = np.isfinite(windows).any(axis=1)
    medians[known] = np.nanmedian(windows[known], axis=1)
    return medians


def median_window(classes: int) -> int:
    """How many classes a running median is over: a twelfth of them, odd, at least 5."""
    return max(5, classes // 12 | 1)


def by_group(
    values: Float, categories: Sequence[CategoryRow], measure: Callable[[Float], Any]
) -> dict[str, float]:
    """`measure` (as `numpy.median`) of each frequency group's classes; NaN where none has data."""
    found = {}
    for letter in FREQUENCY_NAMES:
        members = np.array([row.frequency == letter for row in categories], bool)
        known = values[members][np.isfinite(values[members])]
        found[letter] = float(measure(known)) if len(known) else float("nan")
    return found
