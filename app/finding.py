"""A finding of the diagnosis, and how its numbers are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Severity = Literal["bad", "warn", "note"]
SEVERITIES: tuple[Severity, ...] = ("bad", "warn", "note")

_NAMED = 4  # classes named in a sentence; a tail of 300 would hide the sentence


@dataclass(frozen=True)
class Finding:
    """Something a person should know about a run.

    Attributes:
        key: what it is about; the same in every answer about the same thing.
        title: what it is about in a few words, as on a label.
        severity: bad (run or result is lost unless somebody acts), warn (to be looked at), note
            (real and worth knowing, but common in healthy runs).
        text: what is wrong, one or two sentences. May hold names from people's files.
        number: the number behind it, with its unit.
        remedy: what to do, a sentence.
    """

    key: str
    title: str
    severity: Severity
    text: str
    number: str
    remedy: str


def named(names: Sequence[str], chosen: NDArray[np.bool_]) -> str:
    """The chosen classes: 'owl, fox, pear, drum and 7 more'."""
    indices = np.flatnonzero(chosen)
    shown = ", ".join(names[index] for index in indices[:_NAMED])
    more = len(indices) - _NAMED
    return f"{shown} and {more:,} more" if more > 0 else shown


def classes(count: int) -> str:
    """'1 class' or '1,203 classes'."""
    return "1 class" if count == 1 else f"{count:,} classes"


def out_of(count: int, total: int) -> str:
    """'12 of 1,203'."""
    return f"{count:,} of {total:,}"


def percent(share: float) -> str:
    """A share 0..1 in whole percent; never 0 % or 100 % for what is only near it."""
    value = round(100 * share)
    if value == 0 and share > 0:
        return "< 1 %"
    if value == 100 and share < 1:
        return "> 99 %"
    return f"{value} %"


def duration(seconds: float) -> str:
    """'42 s', '7 min' or '3.5 h'."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(number_of_bytes: float) -> str:
    """'340 MB' or '2.1 GB' (decimal)."""
    if number_of_bytes < 1e9:
        return f"{number_of_bytes / 1e6:,.0f} MB"
    return f"{number_of_bytes / 1e9:,.1f} GB"
