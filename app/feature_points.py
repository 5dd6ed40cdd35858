"""The points of one feature snapshot in two dimensions, packed for the page Feature space.

The answer (`application/octet-stream`, all numbers little-endian):

    uint32       H, the length of the head
    H bytes      the head: JSON in UTF-8, padded with blanks so that H divides by 4
    then the arrays in the order of the head's `arrays`, a list of [name, "f4" or "i4", [shape]]

Shapes: N real points, P classes with a prior, M virtual points, C classes. The arrays:

    real             f4 [N, 2]  where the real features are
    virtual          f4 [M, 2]  where the virtual ones are
    objects          i4 [N]     whose features they are: indices into the probe objects
    virtual_class    i4 [M]     class of each virtual feature, rising
    real_predicted   i4 [N]     the class with the highest logit, C for background
    virtual_predicted i4 [M]    likewise
    real_loss        f4 [N]     classification loss of the feature and its own class
    virtual_loss     f4 [M]     likewise
    ellipse_class    i4 [P]     whose ellipses follow
    ellipses         f4 [P, 5]  x, y, variance in x, covariance, variance in y of the class's prior
    super_group      i4 [C]     number of each class's group at that moment, -1 without one
    prior_size       f4 [P]     effective number of RoIs that each prior rests on

The head also holds `snapshot`, `step`, `epoch`, `method` and `parameters`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.figure_routes import plain
from trainer.run_log.rows import FeatureLabels, Projection
from trainer.run_log.schema import RunLogError

ALIGNMENT = 4
NO_GROUP = -1


def pack(head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """A head and float or integer arrays as the module says; the head gets `arrays`."""
    stored = {
        name: np.ascontiguousarray(array, "<f4" if array.dtype.kind == "f" else "<i4")
        for name, array in arrays.items()
    }
    listed = [[name, array.dtype.str[1:], list(array.shape)] for name, array in stored.items()]
    text = json.dumps(
        plain({**head, "arrays": listed}), separators=(",", ":"), allow_nan=False
    ).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return b"".join([struct.pack("<I", len(text)), text, *(a.tobytes() for a in stored.values())])


def pack_points(
    projection: Projection,
    labels: FeatureLabels,
    super_group: NDArray[np.int32] | None,
    *,
    num_objects: int,
    num_classes: int,
) -> bytes:
    """The answer to a request for a snapshot's points.

    Args:
        projection: the coordinates.
        labels: what the points are, in the same order.
        super_group: [C] as the run log has it; None when nothing was clustered yet.
        num_objects: probe objects of the run.
        num_classes: C.

    Raises:
        RunLogError: the arrays do not belong together.
    """
    if super_group is None:
        super_group = np.full(num_classes, NO_GROUP, np.int32)
    arrays = {
        "real": projection.real,
        "virtual": projection.virtual,
        "objects": labels.objects,
        "virtual_class": labels.virtual_classes,
        "real_predicted": labels.real_predicted,
        "virtual_predicted": labels.virtual_predicted,
        "real_loss": labels.real_loss,
        "virtual_loss": labels.virtual_loss,
        "ellipse_class": labels.classes,
        "ellipses": projection.ellipses,
        "super_group": super_group,
        "prior_size": labels.prior_size,
    }
    objects, virtual = len(labels.objects), len(labels.virtual_classes)
    shapes = {
        "real": (objects, 2), "virtual": (virtual, 2), "real_predicted": (objects,),
        "virtual_predicted": (virtual,), "real_loss": (objects,), "virtual_loss": (virtual,),
        "ellipses": (len(labels.classes), 5), "super_group": (num_classes,),
        "prior_size": (len(labels.classes),),
    }  # fmt: skip
    below = {
        "objects": num_objects, "ellipse_class": num_classes,
        "real_predicted": num_classes + 1, "virtual_predicted": num_classes + 1,
    }  # fmt: skip
    wrong = [name for name, shape in shapes.items() if arrays[name].shape != shape]
    wrong += [name for name, bound in below.items() if not _within(arrays[name], bound)]
    if wrong:
        raise RunLogError(
            f"What is stored of feature snapshot {projection.snapshot_id} does not fit together "
            f"({', '.join(wrong)}): delete this run, it was not written by this program."
        )
    head = {
        "snapshot": projection.snapshot_id, "step": projection.step, "epoch": projection.epoch,
        "method": projection.method, "parameters": projection.parameters,
    }  # fmt: skip
    return pack(head, arrays)


def _within(indices: NDArray[Any], bound: int) -> bool:
    return not len(indices) or bool(indices.min() >= 0 and indices.max() < bound)
