"""The lvis package's index over an annotation file, LVIS v1's own or COCO's, checked first."""

import logging
import re
from pathlib import Path, PurePosixPath
from typing import Any

from data.annotations import read_annotations

# Importing lvis sets the root logger up to print everything; a program decides that for itself.
_root = logging.getLogger()
_handlers, _level = list(_root.handlers), _root.level
from lvis import LVIS  # noqa: E402

_root.handlers[:] = _handlers
_root.setLevel(_level)


class CheckedLVIS(LVIS):
    """``lvis.LVIS`` over a document that ``read_annotations`` has accepted; parsed once."""

    def __init__(self, path: Path, *, drop_empty: bool = False) -> None:
        """Raises AnnotationError as ``read_annotations`` does."""
        self._drop_empty = drop_empty
        super().__init__(path)

    def _load_json(self, path: Path) -> dict[str, Any]:
        return read_annotations(path, drop_empty=self._drop_empty)


def image_file_name(image: dict[str, Any]) -> str:
    """Where an image lies below the image folder.

    LVIS v1 gives only the address of the photo in COCO, whose last two parts are COCO's own folder
    and file: ``http://.../train2017/000000000009.jpg`` becomes ``train2017/000000000009.jpg``.
    """
    if "file_name" in image:
        return str(PurePosixPath(image["file_name"]))
    path, *_ = re.split("[?#]", image["coco_url"])
    return "/".join(path.split("/")[-2:])
