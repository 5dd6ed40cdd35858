"""How long the tail of a data set is: images, objects and classes by group, and what RFS does.

Shapes: I images, C classes, A annotations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from data.annotation_table import AnnotationTable
from data.annotations import AnnotationError
from data.categories import Frequency, as_frequency, frequency_from_image_count
from data.class_lists import ClassLists
from data.repeat_factor import class_repeat_factors

Mask = NDArray[np.bool_]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """What a set shows, as numbers.

    Attributes:
        num_images: I.
        num_classes: C.
        images: int64 [A], the index 0..I-1 of the image of each annotation.
        classes: int64 [A], its class 0..C-1.
        crowds: bool [A], whether it is a crowd region, which is no object.
    """

    num_images: int
    num_classes: int
    images: Indices
    classes: Indices
    crowds: Mask

    @classmethod
    def of(
        cls,
        table: AnnotationTable,
        category_ids: Sequence[int],
        *,
        kept: Indices | None = None,
        image_ids: Indices | None = None,
        skip_unannotated: bool = False,
    ) -> Labels:
        """Those of an annotation file.

        Args:
            table: the file.
            category_ids: [C] the id of each class, ascending.
            kept: ids of the annotations that stay; None: all.
            image_ids: ids of the images that stay, with all kept annotations; None: all.
            skip_unannotated: leave out images that show no object.

        Raises:
            AnnotationError: an annotation of another class.
        """
        stay = np.ones(len(table.annotation_ids), dtype=bool)
        if kept is not None:
            stay = np.isin(table.annotation_ids, kept)
        images = table.annotation_images[stay]
        crowds = table.crowds[stay]
        ids = table.annotation_categories[stay]
        classes = np.searchsorted(category_ids, ids)
        known = np.append(category_ids, -1)[classes] == ids
        if not known.all():
            raise AnnotationError(
                f"{table.path} has annotations of category {ids[~known][0]}, which the training "
                "annotations do not have: give two files of the same data set"
            )
        chosen = np.arange(len(table.image_ids))
        if image_ids is not None:
            chosen = np.flatnonzero(np.isin(table.image_ids, image_ids))
        if skip_unannotated:
            chosen = np.intersect1d(chosen, images[~crowds])
        inside = np.isin(images, chosen)
        return cls(
            num_images=len(chosen),
            num_classes=len(category_ids),
            images=np.searchsorted(chosen, images[inside]),
            classes=classes[inside],
            crowds=crowds[inside],
        )

    @cached_property
    def shown(self) -> ClassLists:
        """The classes that each image shows."""
        objects = ~self.crowds
        return ClassLists(self.images[objects], self.classes[objects], self.num_images)

    @cached_property
    def images_with(self) -> Indices:
        """int64 [C], how many images show each class."""
        return np.bincount(self.shown.classes, minlength=self.num_classes)

    @cached_property
    def objects_of(self) -> Indices:
        """int64 [C], objects of each class."""
        return np.bincount(self.classes[~self.crowds], minlength=self.num_classes)


def frequencies(table: AnnotationTable, labels: Labels) -> list[Frequency]:
    """[C] the letter of each class, as a training set on `labels` of `table` has it."""
    listed = sorted(table.categories, key=lambda category: int(category["id"]))
    return [
        as_frequency(category["frequency"])
        if "frequency" in category
        else frequency_from_image_count(int(count))
        for category, count in zip(listed, labels.images_with, strict=True)
    ]


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
    labels: Labels, groups: Mapping[str, Mask], *, threshold: float = 1e-3
) -> SetStatistics:
    """Count a set.

    Args:
        labels: of the set.
        groups: name -> bool [C], the classes of each group.
        threshold: t of repeat-factor sampling (data.repeat_factor).
    """
    objects_of = labels.objects_of
    crowds_of = np.bincount(labels.classes[labels.crowds], minlength=labels.num_classes)
    image, category = labels.shown.images, labels.shown.classes
    factor_of = class_repeat_factors(labels.images_with, labels.num_images, threshold)
    factors = np.ones(labels.num_images)
    np.maximum.at(factors, image, factor_of[category])
    return SetStatistics(
        images=labels.num_images,
        unannotated=labels.num_images - len(np.unique(image)),
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
