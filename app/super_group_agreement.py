"""How alike two partitions of the same classes are: the adjusted Rand index (Hubert and Arabie).

Shapes: C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.super_group_history import UNGROUPED, Adaptation

Groups = NDArray[np.int64]
Mask = NDArray[np.bool_]


def adjusted_rand_index(one: Groups, other: Groups) -> float:
    """How many pairs of classes two partitions agree on, relative to chance.

    With n_ij classes in group i of one and j of the other, a_i and b_j the sums over j and i, and
    pairs(n) = n (n - 1) / 2:

        index = sum pairs(n_ij), chance = sum pairs(a_i) sum pairs(b_j) / pairs(n),
        highest = (sum pairs(a_i) + sum pairs(b_j)) / 2,
        ARI = (index - chance) / (highest - chance).

    Args:
        one, other: [n] group of each class; only equality of numbers counts.

    Returns:
        1 for the same partition, about 0 for chance, below 0 for less than chance; NaN for fewer
        than two classes, of which there are no pairs.
    """
    if len(one) != len(other):
        raise ValueError(f"partitions of {len(one)} and {len(other)} classes: give the same ones")
    if len(one) < 2:
        return float("nan")
    _, first = np.unique(one, return_inverse=True)
    _, second = np.unique(other, return_inverse=True)
    width = int(second.max()) + 1
    together = np.bincount(first * width + second)
    index = _pairs(together)
    of_one, of_other = _pairs(np.bincount(first)), _pairs(np.bincount(second))
    chance = of_one * of_other / _pairs(np.array([len(one)]))
    highest = (of_one + of_other) / 2
    if highest == chance:  # both one group, or both all alone: the same partition
        return 1.0
    return (index - chance) / (highest - chance)


def _pairs(counts: NDArray[np.int64]) -> float:
    exact = counts.astype(np.float64)
    return float((exact * (exact - 1) / 2).sum())


class Agreement(NamedTuple):
    """Two adaptations compared.

    Attributes:
        epoch: that the later one closed, from 1.
        attached: over the classes grouped both times, noise in the group it was put into.
        without_noise: over those of them that were noise neither time.
        grouped: classes that were grouped both times.
        clean: classes that were noise neither time.
    """

    epoch: int
    attached: float
    without_noise: float
    grouped: int
    clean: int


def agreement(earlier: Adaptation, later: Adaptation, num_classes: int) -> Agreement:
    """How alike the super-groups of two adaptations are, with the noise and without it."""
    one, other = earlier.group_of_class(num_classes), later.group_of_class(num_classes)
    both: Mask = (one != UNGROUPED) & (other != UNGROUPED)
    clean: Mask = both & ~earlier.noise(num_classes) & ~later.noise(num_classes)
    return Agreement(
        epoch=later.epoch,
        attached=adjusted_rand_index(one[both], other[both]),
        without_noise=adjusted_rand_index(one[clean], other[clean]),
        grouped=int(both.sum()),
        clean=int(clean.sum()),
    )


def stability(adaptations: Sequence[Adaptation], num_classes: int) -> list[Agreement]:
    """Each adaptation compared with the one before."""
    return [agreement(one, other, num_classes) for one, other in pairwise(adaptations)]
