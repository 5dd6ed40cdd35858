"""The one data set of images with boxes, labels and masks: any LVIS v1 or COCO style json.

Shapes: H, W image height and width in pixels; N objects of an image; A annotations of the json; C
classes. Boxes are xyxy in pixels, labels 0..C-1.
"""

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from data.annotation_table import AnnotationTable, open_annotations
from data.annotations import AnnotationError
from data.categories import Category, as_frequency, frequency_from_image_count
from data.class_lists import ClassLists
from data.image_files import check_files_exist, check_sizes, read_image
from data.masks import compressed, decoded

__all__ = ["AnnotationError", "DetectionDataset", "ImageAnnotation"]

# Headers of this many images are read at the start, so that a wrong folder shows at once.
_SIZES_CHECKED_AT_LOAD = 1000

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class ImageAnnotation:
    """What an annotation file says of one image.

    Attributes:
        image_id: the json's number of the image.
        width: in pixels.
        height: in pixels.
        boxes: float32 [M,4] xyxy within the image; its objects first, then its crowd regions.
        labels: int64 [M].
        masks: M compressed run-length codes, ``size`` [H,W] and ``counts`` as text.
        num_objects: N, how many of the M are single objects.
        absent: classes that are certainly not in the image (LVIS's negative set).
        not_exhaustive: classes of which not every object is annotated (LVIS).
    """

    image_id: int
    width: int
    height: int
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: list[dict[str, Any]]
    num_objects: int
    absent: list[int]
    not_exhaustive: list[int]


def check_same_classes(
    table: AnnotationTable, names: Mapping[int, str], *, kept: Tensor | None = None
) -> None:
    """Raise AnnotationError where a json contradicts the classes of the training set.

    Args:
        table: of the json.
        names: category id -> name, of the training set.
        kept: bool [A], the annotations that stay; None: all.
    """
    for number, name in table.category_names.items():
        if names.get(number, name) != name:
            raise AnnotationError(
                f"category {number} is {name!r} in {table.path} but {names[number]!r} in "
                "the training annotations: give two files of the same data set"
            )
    unknown = ~np.isin(table.annotation_categories, list(names))
    if kept is not None:
        unknown &= kept.numpy()
    if unknown.any():
        first = int(np.argmax(unknown))
        raise AnnotationError(
            f"annotation {table.annotation_ids[first]} of {table.path} names the category "
            f"{table.annotation_categories[first]}, which the training annotations do not "
            "have: give two files of the same data set"
        )


class DetectionDataset(Dataset[tuple[Tensor, dict[str, Any]]]):
    """Images and their objects, read lazily from a table that all processes share.

    A loader process gets the path of the table's cache and, through shared memory, which of its
    images and annotations belong to the set: its memory does not grow with the set.

    ``categories``: index -> Category; ``table``: all that the json says.
    """

    def __init__(
        self,
        annotations: Path,
        images: Path,
        *,
        categories: Sequence[Category] | None = None,
        drop_empty: bool = False,
        skip_unannotated: bool = False,
        kept: Collection[int] | None = None,
    ) -> None:
        """Read ``annotations``, whose image files lie below the folder ``images``.

        Without ``categories`` this is a training set: classes, their order (by id) and counts are
        taken from the json. With ``categories`` (the training set's) annotations are mapped onto
        them by id. Crowd regions are no objects and are left out throughout. ``drop_empty`` drops
        annotations without area instead of refusing them; ``kept`` are ids of annotations that
        stay, as if the json had no others; ``skip_unannotated`` leaves out images that show no
        object. Raises AnnotationError, one sentence with the remedy.
        """
        self.annotations_path = Path(annotations)
        self.images_path = Path(images)
        self.table: AnnotationTable = open_annotations(self.annotations_path, drop_empty=drop_empty)
        # Tensors, as these go to loader processes through shared memory; None for all of them.
        self._images: Tensor | None = None  # int64 [len(self)], index in the table
        self._kept: Tensor | None = None  # bool [A]
        if kept is not None:
            ids = np.fromiter(kept, dtype=np.int64, count=len(kept))
            self._kept = torch.from_numpy(np.isin(self.table.annotation_ids, ids))
        if categories is None:
            numbers = sorted(entry["id"] for entry in self.table.categories)
            self._label_of = {number: label for label, number in enumerate(numbers)}
            self.categories = self._counted()
        else:
            self._label_of = {category.id: category.index for category in categories}
            self.categories = list(categories)
            names = {category.id: category.name for category in categories}
            check_same_classes(self.table, names, kept=self._kept)
        if skip_unannotated:
            self._keep_images(np.unique(self._objects()[0]))
        self._check_files()

    @property
    def num_classes(self) -> int:
        """C, the number of classes."""
        return len(self.categories)

    def __len__(self) -> int:
        return len(self.table.image_ids if self._images is None else self._images)

    def __getstate__(self) -> dict[str, Any]:
        of_all_images = ("image_ids", "image_categories")  # no loader process needs them
        return {name: value for name, value in vars(self).items() if name not in of_all_images}

    @cached_property
    def image_ids(self) -> list[int]:
        """The json's number of every item."""
        ids: list[int] = self.table.image_ids[self._image_indices()].tolist()
        return ids

    @cached_property
    def image_categories(self) -> ClassLists:
        """The sorted class indices that each item shows."""
        items, labels = self._objects()
        return ClassLists(items, labels, len(self))

    def image_id(self, i: int) -> int:
        """The json's number of item ``i``."""
        return int(self.table.image_ids[self._image_index(i)])

    def subset(self, indices: Sequence[int]) -> "DetectionDataset":
        """The items ``indices`` as a data set of their own, its classes counted on them alone."""
        chosen = copy(self)
        chosen._keep_images(np.asarray(indices, dtype=np.int64))
        images, objects = chosen._counts()
        chosen.categories = [
            replace(c, image_count=int(images[c.index]), instance_count=int(objects[c.index]))
            for c in self.categories
        ]
        return chosen

    def objects(self, i: int) -> tuple[Tensor, Tensor]:
        """``boxes`` and ``labels`` of item ``i`` as its target has them; reads no image."""
        single, _ = self._annotations_of(i)
        return torch.from_numpy(self._boxes(single)), torch.from_numpy(self._labels(single))

    def annotation(self, i: int) -> ImageAnnotation:
        """All that the json says of item ``i``, crowd regions included; reads no image."""
        image, table = self._image_index(i), self.table
        single, crowds = self._annotations_of(i)
        both = np.concatenate([single, crowds])
        width, height = int(table.widths[image]), int(table.heights[image])
        return ImageAnnotation(
            image_id=int(table.image_ids[image]),
            width=width,
            height=height,
            boxes=self._boxes(both),
            labels=self._labels(both),
            masks=[compressed(table.segmentation(a), height, width) for a in both.tolist()],
            num_objects=len(single),
            # A test set may name classes that the training set does not have.
            absent=self._known(table.absent(image)),
            not_exhaustive=self._known(table.not_exhaustive(image)),
        )

    def pixels(self, i: int) -> Tensor:
        """The image of item ``i`` alone, uint8 [3,H,W] RGB; raises as ``self[i]`` does."""
        return read_image(*self._file(self._image_index(i)))

    def __getitem__(self, i: int) -> tuple[Tensor, dict[str, Any]]:
        """Image uint8 [3,H,W] RGB and its target.

        The target holds ``boxes`` float32 [N,4] xyxy within the image, ``labels`` int64 [N],
        ``masks`` uint8 [N,H,W] of 0 and 1, and ``image_id`` int. Raises AnnotationError naming the
        file if it can't be read or is not of the size the json states.
        """
        image, table = self._image_index(i), self.table
        single, _ = self._annotations_of(i)
        boxes = self._boxes(single)
        masks = [table.segmentation(a) for a in single.tolist()]
        height, width = int(table.heights[image]), int(table.widths[image])
        target = {
            "boxes": torch.from_numpy(boxes),
            "labels": torch.from_numpy(self._labels(single)),
            "masks": torch.from_numpy(decoded(masks, boxes, height, width)),
            "image_id": int(table.image_ids[image]),
        }
        return self.pixels(i), target

    def _image_index(self, i: int) -> int:
        if not -len(self) <= i < len(self):
            raise IndexError(f"item {i} of {len(self)}: use an index from 0 to {len(self) - 1}")
        return i % len(self) if self._images is None else int(self._images[i])

    def _image_indices(self) -> Integers:
        if self._images is None:
            return np.arange(len(self))
        indices: Integers = self._images.numpy()
        return indices

    def _keep_images(self, items: Integers) -> None:
        self._images = torch.from_numpy(self._image_indices()[items])

    def _annotations_of(self, i: int) -> tuple[Integers, Integers]:
        """Those of item ``i`` in the table: single objects, and crowd regions."""
        found = self.table.of_image(self._image_index(i))
        annotations = np.arange(found.start, found.stop)
        if self._kept is not None:
            annotations = annotations[self._kept.numpy()[annotations]]
        is_crowd = self.table.crowds[annotations]
        return annotations[~is_crowd], annotations[is_crowd]

    def _objects(self) -> tuple[Integers, Integers]:
        """The item and the label of every single object of the set."""
        ends, images = self.table.image_ends, self._image_indices()
        counts = ends[images + 1] - ends[images]
        items = np.repeat(np.arange(len(images)), counts)
        first = np.cumsum(counts) - counts
        annotations = np.arange(len(items)) + (ends[images] - first)[items]
        stay = ~self.table.crowds[annotations]
        if self._kept is not None:
            stay &= self._kept.numpy()[annotations]
        return items[stay], self._labels(annotations[stay])

    def _labels(self, annotations: Integers) -> Integers:
        ids, places = np.unique(self.table.annotation_categories[annotations], return_inverse=True)
        labels = np.array([self._label_of[number] for number in ids.tolist()], dtype=np.int64)
        chosen: Integers = labels[places]
        return chosen

    def _boxes(self, annotations: Integers) -> NDArray[np.float32]:
        """float32 [N,4] xyxy within their images."""
        boxes = self.table.boxes[annotations]  # a copy
        boxes[:, 2:] += boxes[:, :2]
        images = self.table.annotation_images[annotations]
        limit = np.stack([self.table.widths[images], self.table.heights[images]] * 2, axis=1)
        inside: NDArray[np.float32] = np.clip(boxes, 0, limit).astype(np.float32)
        return inside

    def _known(self, category_ids: Sequence[int]) -> list[int]:
        return [self._label_of[number] for number in category_ids if number in self._label_of]

    def _counts(self) -> tuple[Integers, Integers]:
        """Images that show each class and objects of it, int64 [C] each."""
        items, labels = self._objects()
        c = len(self._label_of)
        images = ClassLists(items, labels, len(self)).classes
        return np.bincount(images, minlength=c), np.bincount(labels, minlength=c)

    def _counted(self) -> list[Category]:
        """The json's classes in the order of their ids, counted in its own annotations."""
        entries = {entry["id"]: entry for entry in self.table.categories}
        images, objects = (counts.tolist() for counts in self._counts())
        return [
            Category(
                index=label,
                id=number,
                name=str(entries[number]["name"]),
                frequency=(
                    as_frequency(entries[number]["frequency"])
                    if "frequency" in entries[number]
                    else frequency_from_image_count(images[label])
                ),
                image_count=images[label],
                instance_count=objects[label],
            )
            for number, label in self._label_of.items()
        ]

    def _file(self, image: int) -> tuple[Path, int, int]:
        """Where an image of the table lies, its width and height."""
        table = self.table
        path = self.images_path / table.file_name(image)
        return path, int(table.widths[image]), int(table.heights[image])

    def _check_files(self) -> None:
        """All files are there, and a sample of them has the stated size."""
        images = self._image_indices().tolist()
        names = [self.table.file_name(image) for image in images]
        check_files_exist(names, self.images_path, self.annotations_path)
        sample = images[:: 1 + len(images) // _SIZES_CHECKED_AT_LOAD]
        check_sizes(map(self._file, sample))
