"""How long the tail of a data set is: images, objects and classes by group, and what RFS does.

Shapes: I images, C classes, A annotations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.repeat_factor import class_repeat_factors

Mask = NDArray[np.bool_]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class GroupStatistics:
    """Some classes of a set.

    Attributes:
        classes: how many they are.
        empty: those without an object.
        images: images that show one of them.
        objects: theirs, without crowd regions.
        fewest: objects of the class that has fewest, of those with any; 0 without objects.
        median: objects of the class in the middle, of those with any; 0 without objects.
        most: objects of the class that has most.
        crowds: crowd regions.
        repeated: classes with a repeat factor r_c above 1.
        largest_factor: the largest r_c.
    """

    classes: int
    empty: int
    images: int
    objects: int
    fewest: int
    median: float
    most: int
    crowds: int
    repeated: int
    largest_factor: float


@dataclass(frozen=True)
class SetStatistics:
    """A whole set.

    Attributes:
        images: I.
        unannotated: images that show no object.
        groups: by name.
        epoch_ceil: images of an epoch of repeat-factor sampling with r_I rounded up.
        epoch_stochastic: those expected with r_I rounded at random.
    """

    images: int
    unannotated: int
    groups: Mapping[str, GroupStatistics]
    epoch_ceil: int
    epoch_stochastic: float


def set_statistics(
    *,
    num_images: int,
    images: Indices,
    classes: Indices,
    crowds: Mask,
    groups: Mapping[str, Mask],
    threshold: float = 1e-3,
) -> SetStatistics:
    """Count a set.

    Args:
        num_images: I.
        images: int64 [A], index 0..I-1 of the image of each annotation.
        classes: int64 [A], its class 0..C-1.
        crowds: bool [A], whether it is a crowd region, which is no object.
        groups: name -> bool [C], the classes of each group.
        threshold: t of repeat-factor sampling (data.repeat_factor).
    """
    num_classes = len(next(iter(groups.values())))
    objects_of = np.bincount(classes[~crowds], minlength=num_classes)
    crowds_of = np.bincount(classes[crowds], minlength=num_classes)
    # Each image once for every class it shows, ordered by image.
    shown = np.unique(images[~crowds] * num_classes + classes[~crowds])
    image, category = np.divmod(shown, num_classes)
    factor_of = class_repeat_factors(
        np.bincount(category, minlength=num_classes), num_images, threshold
    )
    factors = np.ones(num_images)
    np.maximum.at(factors, image, factor_of[category])
    return SetStatistics(
        images=num_images,
        unannotated=num_images - len(np.unique(image)),
        groups={
            name: _group(members, objects_of, crowds_of, factor_of, image[members[category]])
            for name, members in groups.items()
        },
        epoch_ceil=int(np.ceil(factors).sum()),
        epoch_stochastic=float(factors.sum()),
    )


def _group(
    members: Mask,
    objects_of: Indices,
    crowds_of: Indices,
    factor_of: NDArray[np.float64],
    images: Indices,
) -> GroupStatistics:
    objects, factors = objects_of[members], factor_of[members]
    some = objects[objects > 0]
    return GroupStatistics(
        classes=int(members.sum()),
        empty=int((objects == 0).sum()),
        images=len(np.unique(images)),
        objects=int(objects.sum()),
        fewest=int(some.min(initial=some.max(initial=0))),
        median=float(np.median(some)) if some.size else 0.0,
        most=int(some.max(initial=0)),
        crowds=int(crowds_of[members].sum()),
        repeated=int((factors > 1).sum()),
        largest_factor=float(factors.max(initial=1.0)),
    )
