"""COCO-LT: the training set of COCO 2017, cut down to a long tail by an official list.

The list (Wang et al., "The Devil is in Classification", 2020, called SimCal) gives for every class
the photos that keep annotations of it and how many annotations it keeps in them all together. Its
authors drew annotations, not photos: mouse keeps 52 in 52 photos, one of which shows two mice. In
which photo more than one stays, and which one, the list does not say. So here, per class:

1. annotations in photos that the list does not name for the class go;
2. in each of its n photos one annotation stays, the first in a fixed pseudo-random order;
3. of the others the first N - n in that order stay, N being the count of the list.

Where N is all there is, as with person, this keeps all; every class has the published count.
Photos without any annotation left are no part of COCO-LT. N counts crowd regions, and COCO's few
annotations without area, so both are counted wherever counts are compared.

Shapes: I images and A annotations of a json, n listed images of a class.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.annotation_table import AnnotationTable
from data.annotations import AnnotationError

# COCO numbers its 80 classes from 1 to 90 and never gave these numbers out.
_NEVER_GIVEN = frozenset((12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
COCO_IDS = tuple(number for number in range(1, 91) if number not in _NEVER_GIVEN)

# As published (SimCal, section 5.1 and its code).
IMAGES = 99_411
INSTANCES = 666_493
BIN_EDGES = (1, 20, 400, 8000)  # instances from which on a class belongs to bin 1, 2, 3, 4
BIN_SIZES = (4, 24, 32, 20)  # classes
LARGEST, SMALLEST = 262_465, 11  # instances of person and of fire hydrant

_LARGEST_FILE = 16 << 20  # bytes; the official list has 2 MB


@dataclass(frozen=True)
class ListedClass:
    """What the list says of one class.

    Attributes:
        image_ids: int64 [n], ascending: COCO's numbers of the photos that keep its annotations.
        instance_count: its annotations in them, crowd regions included.
    """

    image_ids: NDArray[np.int64]
    instance_count: int

    @property
    def instance_bin(self) -> int:
        """1..4, the bin of AP_1..AP_4 it belongs to."""
        return instance_bin(self.instance_count)


def instance_bin(count: int) -> int:
    """The bin of a class with `count` training instances: [1,20) 1, [20,400) 2, [400,8000) 3, 4.

    Raises ValueError for a class without instances, which belongs to none.
    """
    if count < BIN_EDGES[0]:
        raise ValueError(f"a class of COCO-LT has at least 1 instance, got {count}: count again")
    return int(np.searchsorted(BIN_EDGES, count, side="right"))


class _PlainUnpickler(pickle.Unpickler):
    """Numbers, text, lists and dicts only: nothing a pickle names is looked up or called."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def read_coco_lt_list(path: Path) -> dict[int, ListedClass]:
    """The official list, by COCO's category id; no code in the file can run.

    Its classes are numbered 1..80 in the order of COCO's ids. Raises AnnotationError for a file
    that is not the official list: its counts are held against the published ones.
    """
    document = _unpickled(path)
    if set(document) != set(range(1, len(COCO_IDS) + 1)):
        raise AnnotationError(_not_official(path, "it does not number its classes from 1 to 80"))
    listed = {
        COCO_IDS[number - 1]: _listed_class(document[number], number, path)
        for number in sorted(document)
    }
    _check_published(listed, path)
    return listed


def _unpickled(path: Path) -> dict[Any, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise AnnotationError(
            f"COCO-LT's list {path} can't be read ({error.strerror}): give a readable file"
        ) from None
    if len(content) > _LARGEST_FILE:
        raise AnnotationError(_not_official(path, f"it is larger than {_LARGEST_FILE} bytes"))
    try:
        document = _PlainUnpickler(io.BytesIO(content)).load()
    except Exception as error:  # a damaged pickle may raise anything
        reason = " ".join(str(error).split())[:120]
        raise AnnotationError(
            _not_official(path, f"it is no pickle of plain lists and numbers ({reason})")
        ) from None
    if not isinstance(document, dict):
        raise AnnotationError(_not_official(path, f"it holds a {type(document).__name__}"))
    return document


def _listed_class(entry: Any, number: int, path: Path) -> ListedClass:
    fields = entry if isinstance(entry, dict) else {}
    image_ids, count = fields.get("img_id"), fields.get("isntance_count")  # spelled like that
    whole = isinstance(image_ids, list) and all(
        type(image_id) is int and 0 <= image_id < 2**31 for image_id in image_ids
    )
    if not whole or type(count) is not int or fields.get("category_id") != number:
        raise AnnotationError(
            _not_official(
                path, f"its class {number} lacks category_id, img_id or isntance_count as it has it"
            )
        )
    unique = np.unique(np.array(image_ids, dtype=np.int64))
    if len(unique) != len(fields["img_id"]):
        raise AnnotationError(_not_official(path, f"its class {number} names an image twice"))
    if not 1 <= len(unique) <= count:
        raise AnnotationError(
            _not_official(path, f"its class {number} has {count} instances in {len(unique)} images")
        )
    return ListedClass(unique, count)


def _check_published(listed: Mapping[int, ListedClass], path: Path) -> None:
    counts = [entry.instance_count for entry in listed.values()]
    images = len(np.unique(np.concatenate([entry.image_ids for entry in listed.values()])))
    in_bin = [entry.instance_bin for entry in listed.values()]
    bins = tuple(in_bin.count(number) for number in range(1, len(BIN_SIZES) + 1))
    for what, found, published in (
        ("images", images, IMAGES),
        ("instances", sum(counts), INSTANCES),
        ("instances of its largest class", max(counts), LARGEST),
        ("instances of its smallest class", min(counts), SMALLEST),
        ("classes in its four bins", bins, BIN_SIZES),
    ):
        if found != published:
            raise AnnotationError(
                _not_official(path, f"it has {found} {what} where {published} were published")
            )


def _not_official(path: Path, reason: str) -> str:
    return (
        f"{path} is not COCO-LT's official list, as {reason}: "
        "fetch class_to_imageid_and_inscount_coco_sampled.pt again from the SimCal repository"
    )


@dataclass(frozen=True)
class ClassCount:
    """A class of the list, met with a json.

    Attributes:
        category_id: COCO's.
        published: annotations that the list counts, N.
        found: annotations of the class in those of its listed images that the json has.
        kept: those of `found` that stay.
        images: images that the list names for the class, n.
        present: those of them that the json has.
        unannotated: those of `present` without an annotation of the class.
    """

    category_id: int
    published: int
    found: int
    kept: int
    images: int
    present: int
    unannotated: int

    @property
    def is_whole(self) -> bool:
        """Whether the json has all its listed images."""
        return self.present == self.images

    @property
    def is_right(self) -> bool:
        """Whether each of its images shows it and, when they are all there, it has its count."""
        return not self.unannotated and (not self.is_whole or self.kept == self.published)


def coco_lt_of(
    table: AnnotationTable, listed: Mapping[int, ListedClass], *, is_part: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """COCO-LT in a json of COCO 2017: the ids of its images and of its annotations, both ascending.

    The annotations include those that `table` left out, as they have no area.

    `is_part` allows a json without some of the images. Raises AnnotationError as `check_counts`.
    """
    kept, counts = counts_in(table, listed)
    check_counts(counts, table.category_names, table.path, is_part=is_part)
    return images_in(table, listed), kept


def images_in(table: AnnotationTable, listed: Mapping[int, ListedClass]) -> NDArray[np.int64]:
    """The ids of the images of a json that the list names for some class, ascending."""
    union = np.concatenate([entry.image_ids for entry in listed.values()])
    return np.intersect1d(union, table.image_ids)


def counts_in(
    table: AnnotationTable, listed: Mapping[int, ListedClass]
) -> tuple[NDArray[np.int64], list[ClassCount]]:
    """`choose_annotations` of a json of COCO 2017, its annotations without area included."""
    images = table.image_ids[table.annotation_images]
    return choose_annotations(
        listed,
        image_ids=table.image_ids,
        annotation_ids=np.concatenate([table.annotation_ids, table.dropped_ids]),
        annotation_images=np.concatenate([images, table.dropped_image_ids]),
        annotation_categories=np.concatenate(
            [table.annotation_categories, table.dropped_categories]
        ),
    )


def choose_annotations(
    listed: Mapping[int, ListedClass],
    *,
    image_ids: NDArray[np.int64],
    annotation_ids: NDArray[np.int64],
    annotation_images: NDArray[np.int64],
    annotation_categories: NDArray[np.int64],
) -> tuple[NDArray[np.int64], list[ClassCount]]:
    """The annotations of a json of COCO 2017 that COCO-LT keeps, and their counts by class.

    Of a json that lacks listed images a class keeps as large a share of its N - n further
    annotations as the json has of its images.

    Args:
        listed: the official list.
        image_ids: int64 [I], each once.
        annotation_ids: int64 [A], whatever their kind or area.
        annotation_images: int64 [A], image ids.
        annotation_categories: int64 [A], category ids.

    Returns:
        Ids of annotations, int64, ascending; and a count for every class of the list, unchecked.
    """
    order = np.lexsort((annotation_ids, _pseudo_random(annotation_ids), annotation_categories))
    category_of = annotation_categories[order]
    kept, counts = [], []
    for category_id, entry in listed.items():
        present = np.intersect1d(entry.image_ids, image_ids, assume_unique=True)
        first, last = np.searchsorted(category_of, [category_id, category_id + 1])
        mine = order[first:last]
        mine = mine[np.isin(annotation_images[mine], present)]
        shown, one_each = np.unique(annotation_images[mine], return_index=True)
        further = np.delete(mine, one_each)
        surplus = entry.instance_count - len(entry.image_ids)
        allowed = round(surplus * len(present) / len(entry.image_ids))
        stay = np.concatenate([mine[one_each], further[:allowed]])
        kept.append(annotation_ids[stay])
        counts.append(
            ClassCount(
                category_id=category_id,
                published=entry.instance_count,
                found=len(mine),
                kept=len(stay),
                images=len(entry.image_ids),
                present=len(present),
                unannotated=len(present) - len(shown),
            )
        )
    return np.sort(np.concatenate(kept)), counts


def _pseudo_random(ids: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A number for each id that has nothing to do with its size (splitmix64's finalizer)."""
    mixed = ids.astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def check_counts(
    counts: Sequence[ClassCount],
    names: Mapping[int, str],
    annotations: Path,
    *,
    is_part: bool = False,
) -> None:
    """Refuse a json that cannot make COCO-LT.

    Args:
        counts: of `choose_annotations`.
        names: category id -> class, of the json.
        annotations: the json.
        is_part: allow a json without some of the listed images. A class all of whose images are
            there is held to its published count all the same.

    Raises:
        AnnotationError: images are missing, or a class has another count than the list's.
    """
    remedy = "give COCO 2017's own instances_train2017.json"
    if tuple(sorted(names)) != COCO_IDS:
        raise AnnotationError(
            f"{annotations} has {len(names)} classes numbered otherwise than COCO 2017's 80, which "
            f"COCO-LT's list means: {remedy}"
        )
    absent = sum(count.images - count.present for count in counts)
    if absent and not is_part:
        pairs = sum(count.images for count in counts)
        raise AnnotationError(
            f"{annotations} lacks {absent:,} of the {pairs:,} pairs of class and image of "
            f"COCO-LT: {remedy}, or allow a part of COCO-LT with --coco-lt-part"
        )
    for count in counts:
        name = f"'{names[count.category_id]}' ({count.category_id})"
        if count.unannotated:
            raise AnnotationError(
                f"{annotations} has no annotation of {name} in {count.unannotated} of the "
                f"{count.present} images that COCO-LT's list names for it: {remedy}"
            )
        if not count.is_right:
            raise AnnotationError(
                f"{annotations} has {count.found} annotations of {name} in its {count.images} "
                f"images, where COCO-LT's list counts {count.published}: {remedy}"
            )
