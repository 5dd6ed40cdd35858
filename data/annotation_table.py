"""All that an annotation file says, as columns that processes share and that need no parsing.

Shapes: I images, A annotations. Images and the annotations of an image have the order of the json.
"""

import itertools
import json
import os
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_tools
from numpy.typing import NDArray

from data.annotation_cache import cache_of, hold, one_at_a_time, open_cache
from data.annotations import Record, without_collections
from data.column_file import Columns
from data.lvis import CheckedLVIS, image_file_name
from data.masks import run_length_code

Integers = NDArray[np.int64]


def open_annotations(path: Path, *, drop_empty: bool = False) -> "AnnotationTable":
    """The table of an annotation file in LVIS v1 or COCO form, which is parsed the first time only.

    Later it is read from a cache beside the json (see ``data/annotation_cache.py``). With
    ``drop_empty`` annotations without area are left out instead of refused. Raises AnnotationError,
    one sentence with the remedy, where ``data/annotations.py`` refuses the file.
    """
    path = Path(path)
    with one_at_a_time(path):
        cache, columns = cache_of(
            path,
            kind="dropped" if drop_empty else "whole",
            build=lambda: _parsed(path, drop_empty),
        )
        return AnnotationTable(path, cache, columns)


class AnnotationTable:
    """An annotation file as columns; pickled, it is the path of its cache.

    Attributes:
        path: the json.
        categories: its entries, as they stand there.
        image_ids: int64 [I].
        widths: int64 [I], pixels.
        heights: int64 [I], pixels.
        annotation_ids: int64 [A], all of image 0 first, then those of image 1, ...
        annotation_images: int64 [A], index of the image, 0..I-1.
        annotation_categories: int64 [A], category ids.
        boxes: float64 [A,4] xywh in pixels, as they stand in the json.
        areas: float64 [A], square pixels; the mask's own where the json gives none.
        crowds: bool [A], regions of many objects.
        dropped_ids: int64 [D], the annotations that were left out as they have no area.
        dropped_image_ids: int64 [D], of their images.
        dropped_categories: int64 [D], category ids.
    """

    def __init__(self, path: Path, cache: Path, columns: Columns | None = None) -> None:
        """``cache`` is that of ``path``, ``columns`` are its own where it has been opened before.

        Raises AnnotationError if it is not there any more.
        """
        self.path = path
        self._cache = cache
        columns = open_cache(cache) if columns is None else columns
        weakref.finalize(self, os.close, hold(cache))
        self.categories: list[Record] = json.loads(columns["categories"].tobytes())
        self.image_ids: Integers = columns["image_ids"]
        self.widths: Integers = columns["widths"]
        self.heights: Integers = columns["heights"]
        self.annotation_ids: Integers = columns["annotation_ids"]
        self.annotation_images: Integers = columns["annotation_images"]
        self.annotation_categories: Integers = columns["annotation_categories"]
        self.boxes: NDArray[np.float64] = columns["boxes"].reshape(-1, 4)
        self.areas: NDArray[np.float64] = columns["areas"]
        self.crowds: NDArray[np.bool_] = columns["crowds"].view(np.bool_)
        self.dropped_ids: Integers = columns["dropped_ids"]
        self.dropped_image_ids: Integers = columns["dropped_image_ids"]
        self.dropped_categories: Integers = columns["dropped_categories"]
        self._columns = columns

    def __reduce__(self) -> tuple[Callable[..., "AnnotationTable"], tuple[Path, Path]]:
        return AnnotationTable, (self.path, self._cache)

    @property
    def category_names(self) -> dict[int, str]:
        """Category id -> name."""
        return {int(entry["id"]): str(entry["name"]) for entry in self.categories}

    @property
    def image_ends(self) -> Integers:
        """int64 [I+1]: the annotations of image i are number ends[i] to ends[i+1] - 1."""
        ends: Integers = self._columns["image_ends"]
        return ends

    def of_image(self, i: int) -> slice:
        """The annotations of image ``i``."""
        return slice(int(self.image_ends[i]), int(self.image_ends[i + 1]))

    def file_name(self, i: int) -> str:
        """Where image ``i`` lies below the image folder."""
        return self._cut("file_names", i).tobytes().decode()

    def absent(self, i: int) -> list[int]:
        """Category ids that are certainly not in image ``i`` (LVIS's ``neg_category_ids``)."""
        ids: list[int] = self._cut("absent", i).tolist()
        return ids

    def not_exhaustive(self, i: int) -> list[int]:
        """Category ids of which not every object of image ``i`` is annotated (LVIS)."""
        ids: list[int] = self._cut("not_exhaustive", i).tolist()
        return ids

    def segmentation(self, a: int) -> list[list[float]] | dict[str, Any]:
        """The mask of annotation ``a`` as the json has it: polygons or a run-length code."""
        code = self._cut("run_lengths", a)
        if len(code):
            image = self.annotation_images[a]
            size = [int(self.heights[image]), int(self.widths[image])]
            return {"size": size, "counts": json.loads(code.tobytes())}
        ends = self._columns["outline_ends"]
        first, last = self._columns["mask_ends"][a : a + 2]
        points = self._columns["points"]
        return [points[ends[o] : ends[o + 1]].tolist() for o in range(first, last)]

    def _cut(self, name: str, i: int) -> NDArray[Any]:
        start, stop = self._columns[f"{name}_ends"][i : i + 2]
        return self._columns[name][start:stop]


def _parsed(path: Path, drop_empty: bool) -> Columns:
    with without_collections():
        return _columns(CheckedLVIS(path, drop_empty=drop_empty))


def _columns(index: CheckedLVIS) -> Columns:
    images = list(index.imgs.values())
    of_image = [index.img_ann_map.get(image["id"], []) for image in images]
    annotations = list(itertools.chain.from_iterable(of_image))
    dropped = index.dataset["dropped"]
    return {
        "categories": _bytes(json.dumps(index.dataset["categories"]).encode()),
        "image_ids": _integers(image["id"] for image in images),
        "widths": _integers(image["width"] for image in images),
        "heights": _integers(image["height"] for image in images),
        **_lists("file_names", [image_file_name(i).encode() for i in images], np.uint8),
        **_lists("absent", [i.get("neg_category_ids", ()) for i in images], np.int64),
        **_lists(
            "not_exhaustive", [i.get("not_exhaustive_category_ids", ()) for i in images], np.int64
        ),
        "image_ends": _ends(of_image),
        "annotation_ids": _integers(a["id"] for a in annotations),
        "annotation_images": np.repeat(np.arange(len(images)), [len(a) for a in of_image]),
        "annotation_categories": _integers(a["category_id"] for a in annotations),
        "boxes": np.fromiter(
            itertools.chain.from_iterable(a["bbox"] for a in annotations), dtype=np.float64
        ),
        "areas": np.fromiter(
            (_area(a, index.imgs[a["image_id"]]) for a in annotations), dtype=np.float64
        ),
        "crowds": np.array([bool(a.get("iscrowd", 0)) for a in annotations], dtype=np.uint8),
        **_mask_columns([a["segmentation"] for a in annotations]),
        "dropped_ids": _integers(a["id"] for a in dropped),
        "dropped_image_ids": _integers(a["image_id"] for a in dropped),
        "dropped_categories": _integers(a["category_id"] for a in dropped),
    }


def _mask_columns(masks: Sequence[Any]) -> Columns:
    """Outlines one after the other in ``points``; ``run_lengths`` are json, empty for polygons."""
    codes = [json.dumps(m["counts"]).encode() if isinstance(m, dict) else b"" for m in masks]
    outlines = [mask if isinstance(mask, list) else () for mask in masks]
    flat = list(itertools.chain.from_iterable(outlines))
    return {
        "mask_ends": _ends(outlines),
        "outline_ends": _ends(flat),
        "points": np.frombuffer(b"".join(flat), dtype=np.float64),
        **_lists("run_lengths", codes, np.uint8),
    }


def _area(annotation: Record, image: Record) -> float:
    if "area" in annotation:
        return float(annotation["area"])
    code = run_length_code(annotation["segmentation"], image["height"], image["width"])
    return float(mask_tools.area(code))


def _lists(name: str, rows: Sequence[Sequence[int]], dtype: type) -> Columns:
    """Rows of numbers one after the other, and where each ends."""
    flat: NDArray[Any] = np.fromiter(itertools.chain.from_iterable(rows), dtype=dtype)
    return {name: flat, f"{name}_ends": _ends(rows)}


def _ends(rows: Sequence[Sequence[Any]]) -> Integers:
    """int64 [R+1]: row r of the flattened rows is ends[r] to ends[r+1] - 1."""
    return np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])


def _integers(values: Iterable[int]) -> Integers:
    return np.fromiter(values, dtype=np.int64)


def _bytes(text: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(text, dtype=np.uint8)
