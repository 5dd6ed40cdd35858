"""What there is to find in a test set, as columns.

Shapes:
    I: images.
    K: categories of the annotation file, ascending by id.
    G: objects (annotations), sorted by pair of image and category, as the file has them within one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as rle_masks

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
        ignored: bool[G], need not be found.
        crowds: bool[G], may be found many times, each overlap over the detection's own area.
        segmentations: G polygons or run-length codes.
        sizes: int64[I, 2], heights and widths in pixels.
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
    ignored: Bools
    crowds: Bools
    segmentations: list[Any]
    sizes: Integers
    judged: Integers | None
    partial: Integers

    @classmethod
    def read(cls, path: Path, *, federated: bool) -> "GroundTruth":
        """Raises ValueError when the file is not a complete LVIS or COCO json."""
        with path.open(encoding="utf-8") as file:
            try:
                content = json.load(file)
                return cls._of_tables(
                    content["images"], content["categories"], content["annotations"], federated
                )
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path.name} must be a complete LVIS or COCO json with images, categories and "
                    f"annotations, got {error!r}: fetch or write the file again."
                ) from error

    @classmethod
    def _of_tables(
        cls,
        images: list[dict[str, Any]],
        categories: list[dict[str, Any]],
        annotations: list[dict[str, Any]],
        federated: bool,
    ) -> "GroundTruth":
        images = sorted(images, key=lambda image: int(image["id"]))
        image_ids = np.array([image["id"] for image in images], dtype=np.int64)
        category_ids = np.sort(np.array([entry["id"] for entry in categories], dtype=np.int64))
        if federated:  # the lvis package reads no annotation of area 0
            annotations = [entry for entry in annotations if entry["area"] > 0]
        pairs = _pairs(
            np.array([entry["image_id"] for entry in annotations], dtype=np.int64),
            np.array([entry["category_id"] for entry in annotations], dtype=np.int64),
            image_ids,
            category_ids,
        )
        order = np.argsort(pairs, kind="stable")
        order = order[pairs[order] >= 0]
        rows = [annotations[row] for row in order.tolist()]
        crowd, ignore = "iscrowd", "ignore" if federated else "iscrowd"
        listed = [
            _listed(images, name, image_ids, category_ids)
            for name in ("neg_category_ids", "not_exhaustive_category_ids")
        ]
        return cls(
            federated=federated,
            image_ids=image_ids,
            category_ids=category_ids,
            letters={row["id"]: row["frequency"] for row in categories if "frequency" in row},
            pairs=pairs[order],
            boxes=np.array([row["bbox"] for row in rows], dtype=np.float64).reshape(len(rows), 4),
            areas=np.array([row["area"] for row in rows], dtype=np.float64),
            ignored=np.array([bool(row.get(ignore, 0)) for row in rows], dtype=bool),
            crowds=np.array([not federated and bool(row.get(crowd, 0)) for row in rows], bool),
            segmentations=[row["segmentation"] for row in rows],
            sizes=np.array([[row["height"], row["width"]] for row in images], dtype=np.int64),
            judged=np.union1d(pairs[order], listed[0]) if federated else None,
            partial=listed[1] if federated else np.empty(0, dtype=np.int64),
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
        return pairs // max(1, len(self.image_ids))

    def images_of(self, pairs: Integers) -> Integers:
        """int64[D], the index 0..I-1 of each pair's image."""
        return pairs % max(1, len(self.image_ids))

    def code(self, row: int) -> dict[str, Any]:
        """The mask of an object as compressed run lengths."""
        outline = self.segmentations[row]
        height, width = self.sizes[self.pairs[row] % len(self.image_ids)].tolist()
        if isinstance(outline, list):
            merged: dict[str, Any] = rle_masks.merge(rle_masks.frPyObjects(outline, height, width))
            return merged
        if isinstance(outline["counts"], list):
            packed: dict[str, Any] = rle_masks.frPyObjects(outline, height, width)
            return packed
        return dict(outline)


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
    images: list[dict[str, Any]], name: str, image_ids: Integers, category_ids: Integers
) -> Integers:
    """The pairs that the images list under `name`, ascending."""
    lists = [image.get(name, ()) for image in images]
    listed = np.fromiter((entry for row in lists for entry in row), dtype=np.int64)
    pairs = _pairs(
        np.repeat(image_ids, [len(row) for row in lists]), listed, image_ids, category_ids
    )
    return np.unique(pairs[pairs >= 0])
