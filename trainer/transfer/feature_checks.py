"""What a feature snapshot of a file from elsewhere must be, so that it can be drawn and judged.

That its columns are as long as they should be beside each other is a rule of the table itself.

Shapes: N probe objects, P classes with a prior, C classes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def check_snapshot(row: Mapping[str, Any], *, num_objects: int, num_classes: int) -> None:
    """A row of feature_snapshots.

    Args:
        row: by the columns' names.
        num_objects: how many probe objects the run has.
        num_classes: C.

    Raises:
        ValueError: it speaks of objects or classes that are not there, or of one twice.
    """
    objects, classes = _indices(row, "objects"), _indices(row, "classes")
    require_within(objects, num_objects, "an object index")
    require_within(classes, num_classes, "a class index")
    for name, indices in (("objects", objects), ("classes", classes)):
        if np.any(indices[1:] <= indices[:-1]):
            raise ValueError(f"the {name} of a snapshot do not rise")
    for name in ("real_predicted", "virtual_predicted"):
        # One more than there are classes: C stands for background.
        require_within(_indices(row, name), num_classes + 1, "a predicted class")


def require_within(indices: NDArray[Any], number: int, what: str) -> None:
    """Indices, each one of 0 to ``number`` - 1; ValueError when one is not."""
    if len(indices) and not 0 <= indices.min() <= indices.max() < number:
        raise ValueError(f"{what} is not one of 0 to {number - 1}")


def _indices(row: Mapping[str, Any], column: str) -> NDArray[np.int32]:
    return np.frombuffer(row[column], dtype="<i4")
