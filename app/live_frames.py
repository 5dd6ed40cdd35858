"""What the live route sends: rows of the run log past a cursor, shaped and packed as typed arrays.

Pure shaping and packing; `app/live_data.py` holds the routes and documents the byte layout.

Shapes: S rows (snapshots), K columns of a row, C classes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from app.live_answers import WantError, whole_number

MAGIC = b"FASA"
VERSION = 1
ALIGNMENT = 8
MOST_CLASSES = 64  # columns one `classes` request may name
FREQUENCIES = ("r", "c", "f")

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
BAND_NAMES = tuple(f"{letter} {100 * q:.0f} %" for letter in FREQUENCIES for q in QUANTILES)

Kind = Literal["scalars", "groups", "bands", "classes", "epochs", "latest", "change"]
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Want:
    """One request for rows: `kind:after:subject[:classes]`, e.g. `classes:88:probability:17,23`.

    Attributes:
        kind: scalars (values by name), groups (mean of a class field over rare, common and
            frequent classes), bands (five quantiles of a class field in each of those groups),
            classes (a class field of chosen classes), epochs (the last snapshot of each epoch of
            a class field, all C classes), latest (the newest snapshot of a class field, all C
            classes), change (newest probability-like field divided by the last one that differs
            from it, all C classes).
        after: cursor: only rows with a greater id are sent.
        names: scalar names; one ending in `*` stands for all names that begin so.
        field: the class field, of every kind but scalars.
        classes: class indices, of the kind classes.
    """

    kind: Kind
    after: int
    names: tuple[str, ...] = ()
    field: str = ""
    classes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Frame:
    """Rows that answer one `Want`, in the order of their ids.

    Attributes:
        cursor: id of the newest row read; to be sent as `after` next time.
        wall: [S] float64, seconds since 1970.
        step, epoch: [S] int32.
        series: [S] int32, index into `names` (scalars only, else 0).
        values: [S, K] float32; NaN where there is no data.
        names: names of the series (scalars) or of the columns (groups, bands).
    """

    cursor: int
    wall: NDArray[np.float64] = field(default_factory=lambda: np.empty(0, np.float64))
    step: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    epoch: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    series: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    values: Float32 = field(default_factory=lambda: np.empty((0, 1), np.float32))
    names: tuple[str, ...] = ()


def parse_want(text: str) -> Want:
    """Read one `want` parameter.

    Raises:
        WantError: one sentence that names what was wrong and what is allowed.
    """
    parts = text.split(":", 2)
    if len(parts) != 3 or parts[0] not in get_args(Kind):
        raise WantError(
            f"want is '{text[:80]}', but it must read KIND:AFTER:SUBJECT with KIND one of "
            f"{', '.join(get_args(Kind))}"
        )
    kind: Any = parts[0]
    after = whole_number(parts[1], "the cursor of want")
    subject = parts[2]
    if kind == "scalars":
        names = tuple(name for name in subject.split(",") if name)
        if not names:
            raise WantError("want asks for scalars but names none: give names joined by commas")
        return Want(kind, after, names=names)
    if kind != "classes":
        return Want(kind, after, field=subject)
    class_field, _, listed = subject.rpartition(":")
    classes = tuple(whole_number(part, "a class of want") for part in listed.split(",") if part)
    if not class_field or not 0 < len(classes) <= MOST_CLASSES:
        raise WantError(
            f"want is '{text[:80]}', but it must read classes:AFTER:FIELD:INDEX,INDEX with 1 to "
            f"{MOST_CLASSES} class indices"
        )
    return Want(kind, after, field=class_field, classes=classes)


def matching_names(asked: Sequence[str], existing: Sequence[str]) -> list[str]:
    """The existing scalar names that were asked for, by name or by a prefix and `*`; sorted."""
    exact = {name for name in asked if not name.endswith("*")}
    prefixes = tuple(name[:-1] for name in asked if name.endswith("*"))
    return sorted(n for n in existing if n in exact or (prefixes and n.startswith(prefixes)))


def group_means(values: Float32, group: NDArray[np.int8]) -> Float32:
    """Mean over the classes of each group, classes without data (NaN) left out.

    Args:
        values: [S, C].
        group: [C], index into `FREQUENCIES`.

    Returns:
        [S, 3] float32; NaN where no class of the group has data.
    """
    means = np.full((len(values), len(FREQUENCIES)), np.nan, np.float32)
    if len(group) != values.shape[1]:  # the classes are not named yet
        return means
    for index in range(len(FREQUENCIES)):
        columns = values[:, group == index].astype(np.float64)
        known = np.isfinite(columns)
        count = known.sum(axis=1)
        total = np.where(known, columns, 0.0).sum(axis=1)
        np.divide(total, count, out=means[:, index], where=count > 0, casting="unsafe")
    return means


def group_quantiles(values: Float32, group: NDArray[np.int8]) -> Float32:
    """10, 25, 50, 75 and 90 % quantiles over the classes of each group, NaN left out.

    Between two classes by their straight line, as `numpy.quantile` does.

    Args:
        values: [S, C].
        group: [C], index into `FREQUENCIES`.

    Returns:
        [S, 15] float32, five columns a group; NaN where no class of the group has data.
    """
    found = np.full((len(values), len(BAND_NAMES)), np.nan, np.float32)
    if len(group) != values.shape[1]:  # the classes are not named yet
        return found
    for index in range(len(FREQUENCIES)):
        columns = np.sort(values[:, group == index], axis=1)  # NaN at the end
        count = np.isfinite(columns).sum(axis=1)
        rows = np.flatnonzero(count)
        for place, quantile in enumerate(QUANTILES):
            position = quantile * (count[rows] - 1)
            low = position.astype(np.intp)
            below = columns[rows, low].astype(np.float64)
            above = columns[rows, np.minimum(low + 1, count[rows] - 1)].astype(np.float64)
            found[rows, index * len(QUANTILES) + place] = below + (position - low) * (above - below)
    return found


def last_of_each_epoch(epochs: NDArray[np.int64]) -> NDArray[np.intp]:
    """Row of the last snapshot of each epoch; `epochs` is [S] and never falls."""
    return np.flatnonzero(np.append(np.diff(epochs) != 0, True)[: len(epochs)])


def pick_classes(values: Float32, classes: Sequence[int]) -> Float32:
    """Columns of the chosen classes, [S, K]; NaN for an index the run does not have."""
    picked = np.full((len(values), len(classes)), np.nan, np.float32)
    for column, index in enumerate(classes):
        if index < values.shape[1]:
            picked[:, column] = values[:, index]
    return picked


def last_change(values: Float32) -> Float32:
    """Factor between the newest snapshot and the last one that differs from it.

    Snapshots within an epoch repeat the probabilities of the last adaptation; this looks past
    them, so the factor is what the last adaptation did. All NaN while nothing has changed yet.

    Args:
        values: [S, C], oldest first, S >= 1.

    Returns:
        [C] float32, newest / previous; NaN where either is missing or the previous one is 0.
    """
    newest = values[-1]
    differs = np.any((values != newest) & ~(np.isnan(values) & np.isnan(newest)), axis=1)
    earlier = np.flatnonzero(differs)
    factor = np.full(len(newest), np.nan, np.float32)
    if len(earlier):
        previous = values[earlier[-1]]
        np.divide(newest, previous, out=factor, where=previous > 0)
    return factor


def encode(head: dict[str, Any], frames: Sequence[Frame]) -> bytes:
    """Pack a head and frames into the byte layout described in `app/live_data.py`."""
    described = [
        {
            "cursor": frame.cursor,
            "rows": len(frame.values),
            "columns": frame.values.shape[1],
            "names": frame.names,
        }
        for frame in frames
    ]
    text = json.dumps({**head, "frames": described}, separators=(",", ":"), allow_nan=False)
    packed = text.encode()
    start = len(MAGIC) + 8
    packed += b" " * (-(start + len(packed)) % ALIGNMENT)
    parts = [MAGIC, struct.pack("<II", VERSION, len(packed)), packed]
    for frame in frames:
        body = b"".join(
            (
                frame.wall.astype("<f8").tobytes(),
                frame.step.astype("<i4").tobytes(),
                frame.epoch.astype("<i4").tobytes(),
                frame.series.astype("<i4").tobytes(),
                frame.values.astype("<f4").tobytes(),
            )
        )
        parts += [body, b"\0" * (-len(body) % ALIGNMENT)]
    return b"".join(parts)
