"""What an annotation file holds, counted in one pass with bounded time and memory.

The file is read piece by piece and every image, annotation and category is parsed and let go, so
a gigabyte of json costs time but no memory. What a run needs of the file in detail the trainer
checks when it starts.
"""

from __future__ import annotations

import codecs
import functools
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

PIECE = 1 << 20  # bytes read at a time
MOST_OF_ONE = 64 << 20  # characters of one value: no image or annotation is so large
MOST_NAMES = 64  # of image files that are looked for
LOOK_AT_CLOCK = 512  # records between two looks

NEEDED = {
    "images": ("id", "width", "height"),
    "annotations": ("id", "image_id", "category_id", "bbox", "segmentation"),
    "categories": ("id", "name"),
}
SPACE = " \t\n\r"


@dataclass(frozen=True)
class AnnotationScan:
    """What was found in an annotation file.

    Attributes:
        images: images listed.
        annotations: objects.
        classes: categories listed.
        fewest: objects of the class that has fewest, of those with any; 0 without objects.
        most: objects of the class that has most.
        names: of some image files, evenly over the file, as they lie below the image folder.
        share: of the file that was read, 0..1; below 1 when time was up or it is damaged.
        problem: why it cannot be used, in one sentence, or "".
    """

    images: int = 0
    annotations: int = 0
    classes: int = 0
    fewest: int = 0
    most: int = 0
    names: tuple[str, ...] = ()
    share: float = 0.0
    problem: str = ""


def scan_annotations(path: Path, *, seconds: float) -> AnnotationScan:
    """Count what a json file in LVIS or COCO form holds; remembered until the file changes.

    Args:
        path: the file.
        seconds: time after which the count is broken off; what was counted so far is returned.
    """
    try:
        state = path.stat()
        return _scanned(path, seconds, state.st_size, state.st_mtime_ns)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        return AnnotationScan(problem=f"'{path}' cannot be read ({reason}): check its path")


@functools.lru_cache(maxsize=32)
def _scanned(path: Path, seconds: float, size: int, changed: int) -> AnnotationScan:
    with path.open("rb") as file:
        return _Scan(file, size, time.monotonic() + seconds).run()


class _DamagedError(ValueError):
    """The file is not what it should be; the message is one sentence without the file's name."""


@dataclass
class _Counts:
    """What was counted so far."""

    images: int = 0
    annotations: int = 0
    categories: int = 0
    objects: Counter[Any] = field(default_factory=Counter)
    known: set[Any] = field(default_factory=set)
    names: list[str] = field(default_factory=list)
    stride: int = 1

    def add(self, key: str, record: Any) -> None:
        number = getattr(self, key) + 1
        setattr(self, key, number)
        lacking = [name for name in NEEDED[key] if not isinstance(record, dict)
                   or name not in record]  # fmt: skip
        if lacking:
            raise _DamagedError(
                f"entry {number} of its list '{key}' has no '{lacking[0]}': give an annotation "
                "file in LVIS or COCO form"
            )
        if key == "annotations":
            self.objects[str(record["category_id"])] += 1
        elif key == "categories":
            self.known.add(str(record["id"]))
        elif (number - 1) % self.stride == 0:
            self.names.append(image_file_name(record))
            if len(self.names) > MOST_NAMES:
                self.names, self.stride = self.names[::2], 2 * self.stride


def image_file_name(image: dict[str, Any]) -> str:
    """Where an image lies below the image folder; LVIS gives only its address in COCO.

    Raises:
        ValueError: it names no file.
    """
    name = image.get("file_name")
    if name is None:
        name = "/".join(urlsplit(str(image.get("coco_url", ""))).path.split("/")[-2:])
    if not isinstance(name, str) or not name or "\0" in name:
        raise _DamagedError(f"image {str(image.get('id'))[:20]} names no file: give it a file_name")
    return name


class _Scan:
    """One pass over one file."""

    def __init__(self, file: BinaryIO, size: int, deadline: float) -> None:
        self._text, self._at = "", 0
        self._file, self._size, self._deadline = file, size, deadline
        self._bytes = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder()
        self._counts = _Counts()

    def run(self) -> AnnotationScan:
        """The whole pass."""
        problem, done = "", False
        try:
            done = self._document()
        except _DamagedError as error:
            problem = str(error)
        except (ValueError, RecursionError) as error:
            problem = f"it is not complete json ({error}): it is damaged or cut short"
        found = self._counts
        if done and not problem:
            problem = self._missing()
        share = 1.0 if done else min(1.0, self._file.tell() / max(1, self._size))
        counts = found.objects.values()
        return AnnotationScan(
            found.images, found.annotations, found.categories, min(counts, default=0),
            max(counts, default=0), tuple(found.names), share, problem,
        )  # fmt: skip

    def _missing(self) -> str:
        for key in NEEDED:
            if key != "annotations" and not getattr(self._counts, key):
                return f"it lists no {key}: give an annotation file in LVIS or COCO form"
        unknown = self._counts.objects.keys() - self._counts.known
        if unknown:
            some = min(unknown)[:20]
            return f"an annotation names the category {some}, which it does not list: correct it"
        return ""

    def _document(self) -> bool:
        """False when time was up before the end."""
        if self._next() != "{":
            raise _DamagedError(
                "it does not begin with an object: give a file in LVIS or COCO form"
            )
        for key in self._keys():
            if key in NEEDED and self._next() == "[":
                if not self._list(key):
                    return False
            else:
                self._value()
        if self._next():
            raise _DamagedError(
                "more follows after its last bracket: it is damaged, fetch it again"
            )
        return True

    def _keys(self) -> Iterator[str]:
        """The keys of the outer object, each with the stream standing at its value."""
        self._at += 1
        if self._next() == "}":
            self._at += 1
            return
        while True:
            if self._next() != '"':
                raise ValueError("a key is missing")
            key = self._value()
            self._expect(":")
            yield key
            if self._expect(",}") == "}":
                return

    def _list(self, key: str) -> bool:
        self._at += 1
        if self._next() == "]":
            self._at += 1
            return True
        while True:
            self._counts.add(key, self._value())
            if self._expect(",]") == "]":
                return True
            if getattr(self._counts, key) % LOOK_AT_CLOCK == 0 and self._is_late():
                return False

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline

    def _expect(self, letters: str) -> str:
        found = self._next()
        if not found or found not in letters:
            raise ValueError(f"'{letters[0]}' is missing")
        self._at += 1
        return found

    def _next(self) -> str:
        """The next letter that is no space, "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in SPACE:
                self._at += 1
            if self._at < len(self._text) or not self._read(PIECE):
                return self._text[self._at : self._at + 1]

    def _value(self) -> Any:
        """Parse the value that begins at the next letter."""
        self._next()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except ValueError:
                end = len(self._text)
                value = None
            # What ends with the piece may go on in the next one, as a number does.
            if end < len(self._text):
                self._at = end
                return value
            left = len(self._text) - self._at
            if left > MOST_OF_ONE:
                raise ValueError("one value has no end")
            if not self._read(max(PIECE, left)):
                value, self._at = self._json.raw_decode(self._text, self._at)
                return value

    def _read(self, size: int) -> bool:
        """Drop what was parsed and read on; False at the end of the file."""
        piece = self._file.read(size)
        self._text = self._text[self._at :] + self._bytes.decode(piece, not piece)
        self._at = 0
        return bool(piece)


def missing_images(folder: Path, names: tuple[str, ...]) -> list[str]:
    """Those of the image files that cannot be read, are not there, or lead outside the folder."""
    root = folder.resolve()
    return [name for name in names if not _is_readable(root, name)]


def _is_readable(root: Path, name: str) -> bool:
    try:
        path = (root / name).resolve()
        return path.is_relative_to(root) and path.is_file() and os.access(path, os.R_OK)
    except (OSError, ValueError, RuntimeError):
        return False
