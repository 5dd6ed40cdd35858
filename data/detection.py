"""The one data set of images with boxes, labels and masks: any LVIS v1 or COCO style json.

Shapes: H, W image height and width in pixels; N objects of an image; C classes. Boxes are xyxy in
pixels, labels 0..C-1.
"""

import itertools
import os
import pickle
from collections import Counter
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_tools
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from data.annotations import AnnotationError
from data.categories import Category, as_frequency, frequency_from_image_count
from data.lvis import CheckedLVIS, image_file_name

__all__ = ["AnnotationError", "DetectionDataset", "ImageAnnotation"]

# Headers of this many images are read at the start, so that a wrong folder shows at once.
_SIZES_CHECKED_AT_LOAD = 1000


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


class DetectionDataset(Dataset[tuple[Tensor, dict[str, Any]]]):
    """Images and their objects, read lazily; the index is one byte buffer that workers share.

    ``categories``: index -> Category; ``image_ids``: the json's number of item i;
    ``image_categories``: the sorted class indices item i shows.
    """

    def __init__(
        self,
        annotations: Path,
        images: Path,
        *,
        categories: Sequence[Category] | None = None,
        drop_empty: bool = False,
        skip_unannotated: bool = False,
    ) -> None:
        """Read ``annotations``, whose image files lie below the folder ``images``.

        Without ``categories`` this is a training set: classes, their order (by id) and counts are
        taken from the json. With ``categories`` (the training set's) annotations are mapped onto
        them by id. Crowd regions are no objects and are left out throughout. ``drop_empty`` drops
        annotations without area instead of refusing them; ``skip_unannotated`` leaves out images
        that show no object. Raises AnnotationError, one sentence with the remedy.
        """
        self.annotations_path = Path(annotations)
        self.images_path = Path(images)
        index = CheckedLVIS(self.annotations_path, drop_empty=drop_empty)
        self.categories = (
            _categories_of(index)
            if categories is None
            else _same_categories(index, categories, self.annotations_path)
        )
        label_of = {category.id: category.index for category in self.categories}
        records = [
            _record(image, index.img_ann_map.get(image_id, ()), label_of)
            for image_id, image in index.imgs.items()
        ]
        if skip_unannotated:
            records = [record for record in records if len(record["labels"])]
        self.image_ids: list[int] = [record["image_id"] for record in records]
        self.image_categories: list[list[int]] = [
            np.unique(record["labels"]).tolist() for record in records
        ]
        self._check_files(records)
        self._records, self._ends = _pack(records)

    @property
    def num_classes(self) -> int:
        """C, the number of classes."""
        return len(self.categories)

    def __len__(self) -> int:
        return len(self.image_ids)

    def subset(self, indices: Sequence[int]) -> "DetectionDataset":
        """The items ``indices`` as a data set of their own, its classes counted on them alone."""
        records = [self._record_of(i) for i in indices]
        chosen = copy(self)
        chosen.image_ids = [self.image_ids[i] for i in indices]
        chosen.image_categories = [self.image_categories[i] for i in indices]
        images = Counter(label for labels in chosen.image_categories for label in labels)
        objects = Counter(int(label) for record in records for label in record["labels"])
        chosen.categories = [
            replace(c, image_count=images[c.index], instance_count=objects[c.index])
            for c in self.categories
        ]
        chosen._records, chosen._ends = _pack(records)
        return chosen

    def objects(self, i: int) -> tuple[Tensor, Tensor]:
        """``boxes`` and ``labels`` of item ``i`` as its target has them; reads no image."""
        record = self._record_of(i)
        return torch.from_numpy(record["boxes"].copy()), torch.from_numpy(record["labels"].copy())

    def annotation(self, i: int) -> ImageAnnotation:
        """All that the json says of item ``i``, crowd regions included; reads no image."""
        record = self._record_of(i)
        crowds = record["crowds"]
        height, width = record["height"], record["width"]
        return ImageAnnotation(
            image_id=record["image_id"],
            width=width,
            height=height,
            boxes=np.concatenate([record["boxes"], crowds["boxes"]]),
            labels=np.concatenate([record["labels"], crowds["labels"]]),
            masks=[
                _compressed(_run_length_code(mask, height, width))
                for mask in (*record["masks"], *crowds["masks"])
            ],
            num_objects=len(record["labels"]),
            absent=record["absent"],
            not_exhaustive=record["not_exhaustive"],
        )

    def pixels(self, i: int) -> Tensor:
        """The image of item ``i`` alone, uint8 [3,H,W] RGB; raises as ``self[i]`` does."""
        record = self._record_of(i)
        path = self.images_path / record["file_name"]
        return _read_image(path, record["width"], record["height"])

    def __getitem__(self, i: int) -> tuple[Tensor, dict[str, Any]]:
        """Image uint8 [3,H,W] RGB and its target.

        The target holds ``boxes`` float32 [N,4] xyxy within the image, ``labels`` int64 [N],
        ``masks`` uint8 [N,H,W] of 0 and 1, and ``image_id`` int. Raises AnnotationError naming the
        file if it can't be read or is not of the size the json states.
        """
        if not -len(self) <= i < len(self):
            raise IndexError(f"item {i} of {len(self)}: use an index from 0 to {len(self) - 1}")
        record = self._record_of(i % len(self))
        target = {
            "boxes": torch.from_numpy(record["boxes"].copy()),
            "labels": torch.from_numpy(record["labels"].copy()),
            "masks": torch.from_numpy(_decode_masks(record)),
            "image_id": record["image_id"],
        }
        return self.pixels(i % len(self)), target

    def _record_of(self, i: int) -> dict[str, Any]:
        start = self._ends[i - 1] if i else 0
        record: dict[str, Any] = pickle.loads(self._records[start : self._ends[i]])
        return record

    def _check_files(self, records: list[dict[str, Any]]) -> None:
        """All files are there (one listing a folder), and a sample of them has the stated size."""
        names = [record["file_name"] for record in records]
        there: set[str] = set()
        for folder in sorted({os.path.dirname(name) for name in names}):
            try:
                with os.scandir(self.images_path / folder) as entries:
                    there.update(os.path.join(folder, entry.name) for entry in entries)
            except OSError as error:
                raise AnnotationError(
                    f"the image folder {self.images_path / folder} can't be listed "
                    f"({error.strerror}): give the folder that holds {names[0]}"
                ) from None
        missing = [name for name in names if name not in there]
        if missing:
            raise AnnotationError(
                f"{len(missing)} of the {len(names)} images of {self.annotations_path} are missing "
                f"below {self.images_path}, the first is {missing[0]}: "
                "give the folder that holds them"
            )
        for record in records[:: 1 + len(records) // _SIZES_CHECKED_AT_LOAD]:
            path = self.images_path / record["file_name"]
            with _open_image(path, record["width"], record["height"]):
                pass


def _objects(index: CheckedLVIS, image_id: int) -> list[dict[str, Any]]:
    """The annotations of an image that are single objects."""
    return [a for a in index.img_ann_map.get(image_id, ()) if not a.get("iscrowd", 0)]


def _categories_of(index: CheckedLVIS) -> list[Category]:
    """The json's classes in the order of their ids, counted in the json's own annotations."""
    images_with: dict[int, int] = dict.fromkeys(index.cats, 0)
    objects_of: dict[int, int] = dict.fromkeys(index.cats, 0)
    for image_id in index.imgs:
        ids = [annotation["category_id"] for annotation in _objects(index, image_id)]
        for category_id in ids:
            objects_of[category_id] += 1
        for category_id in set(ids):
            images_with[category_id] += 1
    return [
        Category(
            index=position,
            id=number,
            name=str(index.cats[number]["name"]),
            frequency=(
                as_frequency(index.cats[number]["frequency"])
                if "frequency" in index.cats[number]
                else frequency_from_image_count(images_with[number])
            ),
            image_count=images_with[number],
            instance_count=objects_of[number],
        )
        for position, number in enumerate(sorted(index.cats))
    ]


def _same_categories(
    index: CheckedLVIS, categories: Sequence[Category], path: Path
) -> list[Category]:
    """``categories``, once no class of the json contradicts them."""
    name_of = {category.id: category.name for category in categories}
    for number, category in index.cats.items():
        if number in name_of and name_of[number] != category["name"]:
            raise AnnotationError(
                f"category {number} is {category['name']!r} in {path} but {name_of[number]!r} in "
                "the training annotations: give two files of the same data set"
            )
    for annotation in index.anns.values():
        if annotation["category_id"] not in name_of:
            raise AnnotationError(
                f"annotation {annotation['id']} of {path} names the category "
                f"{annotation['category_id']}, which the training annotations do not have: "
                "give two files of the same data set"
            )
    return list(categories)


def _record(
    image: dict[str, Any], annotations: Sequence[dict[str, Any]], label_of: dict[int, int]
) -> dict[str, Any]:
    limit = [image["width"], image["height"]] * 2
    single = [a for a in annotations if not a.get("iscrowd", 0)]
    crowds = [a for a in annotations if a.get("iscrowd", 0)]
    return {
        "image_id": image["id"],
        "file_name": image_file_name(image),
        "width": image["width"],
        "height": image["height"],
        **_regions(single, limit, label_of),
        "crowds": _regions(crowds, limit, label_of),
        # A test set may name classes that the training set does not have.
        "absent": [label_of[c] for c in image.get("neg_category_ids", ()) if c in label_of],
        "not_exhaustive": [
            label_of[c] for c in image.get("not_exhaustive_category_ids", ()) if c in label_of
        ],
    }


def _regions(
    annotations: Sequence[dict[str, Any]], limit: Sequence[float], label_of: dict[int, int]
) -> dict[str, Any]:
    boxes = np.array([a["bbox"] for a in annotations], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return {
        "boxes": np.clip(boxes, 0, limit).astype(np.float32),
        "labels": np.array([label_of[a["category_id"]] for a in annotations], dtype=np.int64),
        "masks": [a["segmentation"] for a in annotations],
    }


def _pack(records: list[dict[str, Any]]) -> tuple[bytes, list[int]]:
    """All records in one buffer: millions of small objects would be copied into every worker."""
    pickled = [pickle.dumps(record, protocol=5) for record in records]
    return b"".join(pickled), list(itertools.accumulate(map(len, pickled)))


def _open_image(path: Path, width: int, height: int) -> Image.Image:
    try:
        image = Image.open(path)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise AnnotationError(
            f"the image {path} can't be read ({error}): replace the file"
        ) from None
    if image.size != (width, height):
        image.close()
        raise AnnotationError(
            f"the image {path} has {image.size[0]} x {image.size[1]} pixels but its annotations "
            f"say {width} x {height}: give the images the annotations were made for"
        )
    return image


def _read_image(path: Path, width: int, height: int) -> Tensor:
    """uint8 [3,H,W]; any file Pillow reads, grey or with a palette too."""
    with _open_image(path, width, height) as image:
        try:
            pixels = np.asarray(image.convert("RGB"))
        except (OSError, ValueError, SyntaxError) as error:
            raise AnnotationError(
                f"the image {path} can't be read ({error}): replace the file"
            ) from None
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def _decode_masks(record: dict[str, Any]) -> NDArray[np.uint8]:
    """uint8 [N,H,W] from polygons and run-length codes."""
    height, width = record["height"], record["width"]
    if not record["masks"]:
        return np.zeros((0, height, width), dtype=np.uint8)
    codes = [_run_length_code(mask, height, width) for mask in record["masks"]]
    masks = np.ascontiguousarray(mask_tools.decode(codes).transpose(2, 0, 1))
    for n in np.flatnonzero(~masks.any(axis=(1, 2))):
        # An outline smaller than a pixel covers no pixel centre; it keeps the one it lies in.
        x, y = (record["boxes"][n, :2] + record["boxes"][n, 2:]) / 2
        masks[n, min(int(y), height - 1), min(int(x), width - 1)] = 1
    return masks


def _run_length_code(mask: Any, height: int, width: int) -> Any:
    if isinstance(mask, dict):
        if isinstance(mask["counts"], list):
            return mask_tools.frPyObjects(mask, height, width)
        return mask
    # pycocotools takes a part of four numbers for a box: parts of fewer than three points go.
    parts = [part for part in mask if len(part) >= 6]
    return mask_tools.merge(mask_tools.frPyObjects(parts, height, width))


def _compressed(code: Any) -> dict[str, Any]:
    """A run-length code as json can hold it."""
    counts = code["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return {"size": [int(side) for side in code["size"]], "counts": text}
