"""Which real features a feature lies among.

Shape glossary: Q queries, R references, d feature length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_NEIGHBOURS = 3
_BLOCK = 2**24  # query-reference pairs at a time: 64 MiB


def own_class_share(
    queries: NDArray[np.float32],
    labels: NDArray[np.integer],
    references: NDArray[np.float32],
    reference_labels: NDArray[np.integer],
) -> NDArray[np.float32]:
    """Of each query's nearest references (Euclidean), the share that is of its own class.

    k = min(`MOST_NEIGHBOURS`, references of its class) of them are asked, so that 1 is within
    reach of every class.

    Args:
        queries: [Q, d] finite.
        labels: [Q] their classes.
        references: [R, d] finite, none of them a query.
        reference_labels: [R] their classes.

    Returns:
        [Q] 0..1; NaN where the class has no reference, or there is no other class to be mistaken
        for.
    """
    share = np.full(len(queries), np.nan, np.float32)
    classes, counts = np.unique(reference_labels, return_counts=True)
    if len(classes) < 2:
        return share
    place = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    asked = np.flatnonzero(classes[place] == labels)
    k = np.minimum(MOST_NEIGHBOURS, counts[place])

    # argmin |q - r|^2 = argmax q.r - |r|^2 / 2; about their middle, where less is lost to rounding
    middle = references.mean(axis=0)
    centred = references - middle
    half = np.square(centred).sum(axis=1) / 2
    rows = max(1, _BLOCK // len(references))
    for start in range(0, len(asked), rows):
        block = asked[start : start + rows]
        nearness = (queries[block] - middle) @ centred.T
        nearness -= half
        own = np.zeros(len(block), np.float32)
        for turn in range(k[block].max()):
            nearest = nearness.argmax(axis=1)
            own += (reference_labels[nearest] == labels[block]) & (turn < k[block])
            nearness[np.arange(len(block)), nearest] = -np.inf
        share[block] = own / k[block]
    return share
