"""Numbers and lists as the explanations write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Listed = NDArray[np.number[Any]]

MOST_NAMES = 4
DIGITS = 4  # significant ones
MOST_DIGITS = 12


def number(value: float, digits: int = DIGITS) -> str:
    """A number with a few significant digits, in plain notation where that is short."""
    text = f"{value:.{digits}g}"
    if "e" in text and 1e-6 <= abs(value) < 1e6:
        text = np.format_float_positional(float(text), trim="-")
    return text.replace("-", "−", 1) if text.startswith("-") else text


def number_pair(one: float, other: float) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to tell them apart."""
    for digits in range(DIGITS, MOST_DIGITS):
        shown = number(one, digits), number(other, digits)
        if shown[0] != shown[1]:
            return shown
    return number(one, MOST_DIGITS), number(other, MOST_DIGITS)


def signed(value: float) -> str:
    """A change with its sign: +0.12 or −3.4."""
    text = number(abs(value), 3)
    return f"{'−' if value < 0 else '+'}{text}"


def share(factor: float) -> str:
    """A factor: ×1.1."""
    return f"×{number(factor)}"


def per_thousand(probability: float) -> str:
    """Virtual features to expect of a class in 1,000 steps, one draw a step."""
    return number(1000 * probability, 3)


def count(items: int, what: str) -> str:
    """'1 class', '28 other classes'."""
    if items == 1:
        return f"1 {what}"
    return f"{items:,} {what}{'es' if what.endswith('s') else 's'}"


def listed(names: Sequence[str]) -> str:
    """'owl, pear and tiger'; the first few and how many more there are when they are many."""
    if len(names) > MOST_NAMES + 1:
        return f"{', '.join(names[:MOST_NAMES])} and {len(names) - MOST_NAMES:,} others"
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
