"""What there is to find in a test set, as columns.

Shapes:
    I: images.
    K: categories of the annotation file, ascending by id.
    G: objects (annotations), sorted by pair of image and category, as the file has them within one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as rle_masks

from data.annotation_table import AnnotationTable

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

FREQUENCIES = ("r", "c", "f")


@dataclass(frozen=True)
class GroundTruth:
    """An annotation file, ready to be compared with detections.

    A pair of image and category is one number: index of the category x I + index of the image.

    Attributes:
        federated: LVIS's rule: each image knows the truth of only some categories.
        image_ids: int64[I], ascending.
        category_ids: int64[K], ascending.
        letters: category id -> r, c or f, where the file says it.
        pairs: int64[G], ascending.
        boxes: float64[G, 4], x, y, width, height in pixels.
        areas: float64[G], in pixels.
        crowds: bool[G], need not be found and may be found many times, each overlap over the
            detection's own area. None in a federated file: the LVIS code knows no crowds.
        judged: the pairs known to be there or known not to be, ascending; None: all are.
        partial: the pairs whose unmatched detections are ignored, ascending.
    """

    federated: bool
    image_ids: Integers
    category_ids: Integers
    letters: Mapping[int, str]
    pairs: Integers
    boxes: Floats
    areas: Floats
    crowds: Bools
    judged: Integers | None
    partial: Integers
    _table: AnnotationTable
    _rows: Integers  # [G], in the table; -1 for an object without area
    _image_rows: Integers  # [I], in the table

    @classmethod
    def of(cls, table: AnnotationTable, *, federated: bool) -> "GroundTruth":
        """The objects of `table`.

        Those without area, which a table may have dropped, are what the codes of COCO and LVIS
        make of them: with COCO's rule they are there to be found, though nothing can find them.
        """
        image_rows = np.argsort(table.image_ids)
        image_ids = table.image_ids[image_rows]
        category_ids = np.sort(np.array([row["id"] for row in table.categories], dtype=np.int64))

        def pairs_of(images: Integers, categories: Integers) -> Integers:
            return _pairs(images, categories, image_ids, category_ids)

        rows = np.arange(len(table.annotation_ids))
        pairs = pairs_of(table.image_ids[table.annotation_images], table.annotation_categories)
        boxes, areas, crowds = np.asarray(table.boxes), np.asarray(table.areas), table.crowds
        if federated:
            some = areas > 0
            rows, pairs, boxes, areas = rows[some], pairs[some], boxes[some], areas[some]
            crowds = np.zeros(len(rows), dtype=bool)
        else:
            empty = pairs_of(table.dropped_image_ids, table.dropped_categories)
            rows = np.append(rows, np.full(len(empty), -1))
            pairs = np.append(pairs, empty)
            boxes = np.concatenate([boxes, np.zeros((len(empty), 4))])
            areas = np.append(areas, np.zeros(len(empty)))
            crowds = np.append(crowds, np.zeros(len(empty), dtype=bool))
        order = np.argsort(pairs, kind="stable")
        return cls(
            federated=federated,
            image_ids=image_ids,
            category_ids=category_ids,
            letters={row["id"]: row["frequency"] for row in table.categories if "frequency" in row},
            pairs=pairs[order],
            boxes=boxes[order],
            areas=areas[order],
            crowds=crowds[order],
            judged=np.union1d(pairs, _listed(table, table.absent, pairs_of)) if federated else None,
            partial=_listed(table, table.not_exhaustive, pairs_of) if federated else pairs[:0],
            _table=table,
            _rows=rows[order],
            _image_rows=image_rows,
        )

    def pairs_of(self, image_ids: Integers, category_ids: Integers) -> Integers:
        """int64[D], the pair of each; -1 for a category the file does not have.

        Raises:
            ValueError: an image is not in the file.
        """
        unknown = np.setdiff1d(image_ids, self.image_ids)
        if len(unknown):
            raise ValueError(
                f"A detection's image must be in the annotation file, got image id {unknown[0]}: "
                "evaluate against the file the images came from."
            )
        return _pairs(image_ids, category_ids, self.image_ids, self.category_ids)

    def categories_of(self, pairs: Integers) -> Integers:
        """int64[D], the index 0..K-1 of each pair's category."""
        return pairs // len(self.image_ids)

    def images_of(self, pairs: Integers) -> Integers:
        """int64[D], the index 0..I-1 of each pair's image."""
        return pairs % len(self.image_ids)

    def code(self, row: int) -> dict[str, Any]:
        """The mask of an object as compressed run lengths."""
        at = int(self._rows[row])
        image = int(self._image_rows[self.images_of(self.pairs[row])])
        size = int(self._table.heights[image]), int(self._table.widths[image])
        if at < 0:
            nothing: dict[str, Any] = rle_masks.encode(np.zeros(size, dtype=np.uint8, order="F"))
            return nothing
        outline = self._table.segmentation(at)
        if isinstance(outline, list):
            merged: dict[str, Any] = rle_masks.merge(rle_masks.frPyObjects(outline, *size))
            return merged
        if isinstance(outline["counts"], list):
            packed: dict[str, Any] = rle_masks.frPyObjects(outline, *size)
            return packed
        return outline


def among(values: Integers, ascending: Integers) -> Bools:
    """bool[D]: is each of `values` in `ascending`?"""
    if not len(ascending):
        return np.zeros(len(values), dtype=bool)
    place = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return np.asarray(ascending[place] == values)


def _pairs(
    images: Integers, categories: Integers, image_ids: Integers, category_ids: Integers
) -> Integers:
    """The pair of each image and category id; -1 where either is unknown."""
    known = among(images, image_ids) & among(categories, category_ids)
    image = np.searchsorted(image_ids, images)
    return np.where(known, np.searchsorted(category_ids, categories) * len(image_ids) + image, -1)


def _listed(
    table: AnnotationTable,
    listed: Callable[[int], list[int]],
    pairs_of: Callable[[Integers, Integers], Integers],
) -> Integers:
    """The pairs of every image and the categories `listed` for it, ascending."""
    lists = [listed(image) for image in range(len(table.image_ids))]
    owners = np.repeat(table.image_ids, [len(row) for row in lists])
    flat = np.fromiter((category for row in lists for category in row), dtype=np.int64)
    return np.unique(pairs_of(owners, flat))
