"""The image files that an annotation file names: whether they are there, and their pixels."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.annotations import AnnotationError


def missing_files(names: Sequence[str], folder: Path) -> list[str]:
    """Those of the files that are not below ``folder``, at one listing of each folder in it.

    Raises OSError for a folder that can't be listed.
    """
    there: set[str] = set()
    for below in sorted({os.path.dirname(name) for name in names}):
        with os.scandir(folder / below) as entries:
            there.update(os.path.join(below, entry.name) for entry in entries)
    return [name for name in names if name not in there]


def check_files_exist(names: Sequence[str], folder: Path, annotations: Path) -> None:
    """Raise AnnotationError unless all files are below ``folder``, at one listing a folder."""
    try:
        missing = missing_files(names, folder)
    except OSError as error:
        raise AnnotationError(
            f"the image folder {error.filename} can't be listed "
            f"({error.strerror}): give the folder that holds {names[0]}"
        ) from None
    if missing:
        raise AnnotationError(
            f"{len(missing)} of the {len(names)} images of {annotations} are missing "
            f"below {folder}, the first is {missing[0]}: "
            "give the folder that holds them"
        )


def check_sizes(files: Iterable[tuple[Path, int, int]]) -> None:
    """Raise AnnotationError unless each file is an image of the width and height beside it."""
    for path, width, height in files:
        with open_image(path, width, height):
            pass


def open_image(path: Path, width: int, height: int) -> Image.Image:
    """An image whose header was read; AnnotationError if it is none of this size."""
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


def read_image(path: Path, width: int, height: int) -> Tensor:
    """uint8 [3,H,W]; any file Pillow reads, grey or with a palette too. Raises AnnotationError."""
    with open_image(path, width, height) as image:
        try:
            pixels = np.asarray(image.convert("RGB"))
        except (OSError, ValueError, SyntaxError) as error:
            raise AnnotationError(
                f"the image {path} can't be read ({error}): replace the file"
            ) from None
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())
