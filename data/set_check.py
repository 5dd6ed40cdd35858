"""Is a set whole: a file for every image, and pictures and masks that are what the json says.

Nothing here stops at the first mistake, as training does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.annotation_table import AnnotationTable
from data.annotations import AnnotationError
from data.detection import DetectionDataset
from data.image_files import missing_files

SAMPLE = 200  # images that are read, with the masks of their objects


@dataclass(frozen=True)
class SetCheck:
    """What was found of one set.

    Attributes:
        images: images listed.
        objects: annotations of single objects.
        crowds: crowd regions.
        without_area: annotations with an empty box or mask, which are left out.
        classes: categories listed.
        without_file: listed images that have no file.
        sampled: images, evenly over the set, that were to be read; 0 when files are missing.
        read: those that are a picture of the size the json states.
        masks: masks of the objects in them, which were drawn.
        problems: a sentence for everything that is wrong; empty for a whole set.
    """

    images: int
    objects: int
    crowds: int
    without_area: int
    classes: int
    without_file: int
    sampled: int
    read: int
    masks: int
    problems: Sequence[str]


def check_set(table: AnnotationTable, images: Path, *, drop_empty: bool = False) -> SetCheck:
    """Look at the files of a set, whose json `table` has already been accepted.

    Args:
        table: of the json.
        images: folder below which its image files lie.
        drop_empty: as the table was opened with.
    """
    names = [table.file_name(i) for i in range(len(table.image_ids))]
    try:
        missing = len(missing_files(names, images))
    except OSError:
        missing = len(names)
    sampled, read, masks, problems = _sample(table.path, images, drop_empty)
    crowds = int(table.crowds.sum())
    return SetCheck(
        images=len(names),
        objects=len(table.annotation_ids) - crowds,
        crowds=crowds,
        without_area=len(table.dropped_ids),
        classes=len(table.categories),
        without_file=missing,
        sampled=sampled,
        read=read,
        masks=masks,
        problems=problems,
    )


def _sample(annotations: Path, images: Path, drop_empty: bool) -> tuple[int, int, int, list[str]]:
    """How many images were to be read, how many could be, their masks, and what is wrong."""
    try:
        dataset = DetectionDataset(annotations, images, drop_empty=drop_empty)
    except AnnotationError as error:
        return 0, 0, 0, [str(error)]
    read, masks, problems = 0, 0, []
    places = np.unique(np.linspace(0, len(dataset) - 1, SAMPLE).astype(int)).tolist()
    for place in places:
        try:
            _, target = dataset[place]
        except AnnotationError as error:
            problems.append(str(error))
            continue
        read += 1
        masks += len(target["masks"])
    return len(places), read, masks, problems
