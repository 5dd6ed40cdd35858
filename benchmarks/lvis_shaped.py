"""Annotation files with the shape of LVIS v1, at any size, for benchmarks and tests.

What is like LVIS: the 1,203 classes with their letters, how often each is drawn, images with few
classes of which some have many objects, outlines of tens of points to two decimals (about 850
bytes of json an annotation, so that 100,170 images make about 1 GB), negative and not exhaustively
annotated classes, photos named by ``coco_url`` only. Objects are blobs at random places; pictures
have nothing to do with them.

Shapes: C classes, A annotations of an image, P points of all their outlines together.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.categories import frequency_from_image_count

NUM_CLASSES = 1203
LVIS_IMAGES = 100_170  # of LVIS v1 train
_LVIS_ANNOTATIONS_PER_IMAGE = 12.68
_CLASSES_PER_IMAGE = 3.6
# Width and height of a photo, as shares of the longest side: COCO's usual ones.
_SIDES = ((1, 0.75), (0.75, 1), (1, 0.667), (0.667, 1), (1, 0.5625), (1, 1))
_PICTURES_OF_A_SIZE = 4
_SHARED_TABLE = Path(__file__).resolve().parents[2] / "shared" / "data" / "lvis_v1_categories.json"

Record = dict[str, Any]


@dataclass(frozen=True)
class _Objects:
    """The annotations of one image: outlines as hundredths of a pixel, one after the other."""

    classes: NDArray[np.int64]  # [A], 0..C-1
    lengths: NDArray[np.int64]  # [A], points of each outline
    points: NDArray[np.int64]  # [P,2], x and y


def lvis_categories() -> list[Record]:
    """LVIS v1's class table, in the form its json has, or a computed tail of the same length.

    The real one is ``lvis_v1_categories.json`` in the shared test material (``FASA_TEST_DATA``).
    """
    table = Path(os.environ.get("FASA_TEST_DATA", _SHARED_TABLE.parent)) / _SHARED_TABLE.name
    if table.is_file():
        rows: list[Record] = json.loads(table.read_text())
        return rows
    images = np.maximum(1, 60_000 * 0.993 ** np.arange(NUM_CLASSES)).astype(int).tolist()
    return [
        {
            "id": number,
            "name": f"class_{number}",
            "synset": f"class.n.{number:02d}",
            "frequency": frequency_from_image_count(count),
            "image_count": count,
            "instance_count": 3 * count,
        }
        for number, count in enumerate(images, start=1)
    ]


def write_lvis_shaped(
    path: Path,
    *,
    images: int,
    seed: int,
    annotations_per_image: float = 12.7,
    image_folder: Path | None = None,
    longest_side: int = 640,
) -> Path:
    """Write an annotation file in LVIS v1's form; the same arguments give the same bytes.

    Args:
        path: the json to write.
        images: how many; LVIS v1 train has ``LVIS_IMAGES``.
        seed: of everything drawn.
        annotations_per_image: mean, 12.7 in LVIS v1 train.
        image_folder: where to put a readable photo for every image, in ``train2017`` below it; the
            files are hard links to a few pictures. None: no photos.
        longest_side: of a photo, in pixels; objects shrink with it.

    Returns:
        `path`.
    """
    generator = np.random.default_rng(seed)
    categories = lvis_categories()
    counts = np.array([[c["image_count"], c["instance_count"]] for c in categories], float)
    crowding = annotations_per_image / _LVIS_ANNOTATIONS_PER_IMAGE
    shown, drawn = np.zeros((2, len(categories)), dtype=np.int64)
    sizes = [(round(w * longest_side), round(h * longest_side)) for w, h in _SIDES]
    size_of = generator.integers(len(sizes), size=images)
    # Ids with gaps, as the ids of COCO's photos have.
    image_ids = (np.cumsum(generator.integers(1, 10, size=images))).tolist()
    records: list[Record] = []
    number = 1
    with path.open("w", encoding="ascii") as file:
        file.write('{"info": {"description": "shaped like LVIS v1"}, "annotations": [')
        for position, image_id in enumerate(image_ids):
            width, height = sizes[size_of[position]]
            found = _draw_objects(generator, counts, crowding, width, height)
            number = _write_annotations(file, found, image_id, number)
            shown[np.unique(found.classes)] += 1
            np.add.at(drawn, found.classes, 1)
            records.append(_image(generator, image_id, width, height, found, len(categories)))
        file.write("], ")
        for category, image_count, count in zip(categories, shown, drawn, strict=True):
            category.update(image_count=int(image_count), instance_count=int(count))
        rest = {"images": records, "categories": categories, "licenses": []}
        file.write(json.dumps(rest)[1:])
    if image_folder is not None:
        _write_photos(image_folder, records, generator)
    return path


def _draw_objects(
    generator: np.random.Generator,
    counts: NDArray[np.float64],
    crowding: float,
    width: int,
    height: int,
) -> _Objects:
    """Some classes by their number of images, of each some objects by its objects an image."""
    kinds = 1 + generator.poisson(_CLASSES_PER_IMAGE - 1)
    share = np.cumsum(counts[:, 0])
    chosen = np.unique(np.searchsorted(share, generator.random(kinds) * share[-1], side="right"))
    each = np.maximum(1.01, counts[chosen, 1] / np.maximum(1, counts[chosen, 0]) * crowding)
    classes = np.repeat(chosen, np.minimum(generator.geometric(1 / each), 300))
    a = len(classes)
    lengths = np.clip(generator.lognormal(3.55, 0.75, a), 4, 400).astype(np.int64)
    owner = np.repeat(np.arange(a), lengths)
    first = np.cumsum(lengths) - lengths
    turn = 2 * np.pi * (np.arange(len(owner)) - first[owner]) / lengths[owner]
    phase = generator.random((3, a)) * 2 * np.pi
    radius = 1 + sum(
        0.25 / wave * np.cos(wave * turn + phase[wave - 1, owner]) for wave in (1, 2, 3)
    )
    half = np.clip(generator.lognormal(-3.2, 0.9, (2, a)), 0.006, 0.24) * max(width, height)
    middle = (0.03 + 0.94 * generator.random((2, a))) * np.array([[width], [height]])
    x = middle[0, owner] + half[0, owner] * radius * np.cos(turn)
    y = middle[1, owner] + half[1, owner] * radius * np.sin(turn)
    # The middle lies well within the photo: something is left of every blob that an edge cuts.
    points = np.stack([np.clip(x, 0, width), np.clip(y, 0, height)], axis=1)
    return _Objects(classes, lengths, np.rint(points * 100).astype(np.int64))


_HUNDREDTHS = [repr(value / 100) for value in range(200_001)]  # as json has them


def _write_annotations(file: TextIO, found: _Objects, image_id: int, number: int) -> int:
    """Write the annotations of an image, the first with the id `number`; the next id."""
    start = 0
    text = _HUNDREDTHS
    for label, length in zip(found.classes.tolist(), found.lengths.tolist(), strict=True):
        points = found.points[start : start + length]
        start += length
        left, top = points.min(axis=0).tolist()
        right, bottom = points.max(axis=0).tolist()
        # Some objects lie in two parts, as behind a pole.
        parts = np.split(points, [length // 2]) if number % 7 == 0 and length >= 12 else [points]
        outlines = ", ".join(
            f"[{', '.join([text[value] for value in part.ravel().tolist()])}]" for part in parts
        )
        file.write(
            f'{", " if number > 1 else ""}{{"area": {sum(map(_area, parts)):.2f}, "id": {number}, '
            f'"segmentation": [{outlines}], "image_id": {image_id}, '
            f'"bbox": [{text[left]}, {text[top]}, {text[right - left]}, {text[bottom - top]}], '
            f'"category_id": {label + 1}}}'
        )
        number += 1
    return number


def _area(points: NDArray[np.int64]) -> float:
    """What an outline encloses, in pixels (shoelace)."""
    x, y = points[:, 0], points[:, 1]
    return abs(int(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 20_000


def _image(
    generator: np.random.Generator,
    image_id: int,
    width: int,
    height: int,
    found: _Objects,
    num_classes: int,
) -> Record:
    """The json's image: absent classes are none of its own, not exhaustive ones are."""
    own = np.unique(found.classes)
    absent = np.setdiff1d(generator.integers(num_classes, size=generator.poisson(12)), own)
    open_ended = own[generator.random(len(own)) < 0.1]
    name = f"{image_id:012d}.jpg"
    return {
        "id": image_id,
        "width": width,
        "height": height,
        "license": 1,
        "date_captured": "2013-11-14 16:28:13",
        "coco_url": f"http://images.cocodataset.org/train2017/{name}",
        "flickr_url": f"http://farm1.staticflickr.com/1/{image_id}_z.jpg",
        "neg_category_ids": (absent + 1).tolist(),
        "not_exhaustive_category_ids": (open_ended + 1).tolist(),
    }


def _write_photos(folder: Path, records: list[Record], generator: np.random.Generator) -> None:
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    (folder / "train2017").mkdir()
    sources: dict[tuple[int, int], Iterator[Path]] = {}
    for record in records:
        size = record["width"], record["height"]
        if size not in sources:
            sources[size] = _pictures(pictures, *size, generator)
        name = record["coco_url"].rpartition("/")[2]
        os.link(next(sources[size]), folder / "train2017" / name)


def _pictures(
    folder: Path, width: int, height: int, generator: np.random.Generator
) -> Iterator[Path]:
    """A few pictures of one size in turn, without end: soft blots with grain, as photos have."""
    paths = [folder / f"{width}x{height}-{n}.jpg" for n in range(_PICTURES_OF_A_SIZE)]
    for path in paths:
        blots = generator.integers(256, size=(9, 12, 3), dtype=np.uint8)
        soft = Image.fromarray(blots).resize((width, height), Image.Resampling.BICUBIC)
        grain = generator.normal(0, 6, (height, width, 1))
        pixels = np.clip(np.asarray(soft) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path, quality=85)
    while True:
        yield from paths
