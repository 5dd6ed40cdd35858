"""What the rows of a file from elsewhere must be, beyond what the tables themselves demand.

The tables are strict: where a row is inserted its types, NOT NULL and CHECK rules are enforced (in
a file that is opened read-only SQLite looks at no CHECK). Here is the rest: what would make a page,
a chart or a trainer stumble.

Shape: C classes.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trainer.run_log.schema import STATUSES, RunLogError
from trainer.run_log.text import checked_name, checked_note, checked_tags
from trainer.transfer.copying import HISTORY, Row, columns
from trainer.transfer.errors import untakable
from trainer.transfer.feature_checks import check_snapshot, require_within
from trainer.transfer.prediction_checks import check_objects, check_size

WORDS_LENGTH = 10_000  # characters of what should be a few words
TEXT_LENGTH = 1_000_000  # characters of messages and tracebacks
PICTURE_BYTES = 4 * 2**20
_LARGEST_COUNT = 2**53  # beyond it a browser's numbers have gaps
_LATEST = 253_402_300_800.0  # the year 10000, where Python's dates end
_UID = re.compile(r"[0-9a-f]{32}")

Test = Callable[[Any], object]


def count(value: int | None) -> None:
    """A number of things, or None."""
    if value is not None and not 0 <= value <= _LARGEST_COUNT:
        raise ValueError(f"{value} is no count")


def moment(value: float | None) -> None:
    """Seconds since 1970-01-01 UTC, or None."""
    if value is not None and not 0 <= value < _LATEST:
        raise ValueError(f"{value} is no time")


def finite(value: float) -> None:
    """A number."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is not finite")


def words(value: str | None) -> None:
    """A short text, or None."""
    _require_length(value, WORDS_LENGTH)


def text(value: str | None) -> None:
    """A text, or None."""
    _require_length(value, TEXT_LENGTH)


def json_object(value: str) -> None:
    """The json text of an object."""
    if not isinstance(_parsed(value), dict):
        raise ValueError("its json is no object")


def _require_length(value: str | None, most: int) -> None:
    if value is not None and len(value) > most:
        raise ValueError(f"a text has {len(value)} characters, more than {most}")


def _parsed(value: str) -> Any:
    parsed = json.loads(value)
    # What Python reads and json or a browser does not: infinite numbers, halves of characters.
    json.dumps(parsed, allow_nan=False, ensure_ascii=False).encode("utf-8")
    return parsed


def _uid(value: str) -> None:
    if not _UID.fullmatch(value):
        raise ValueError(f"{value[:40]!r} is no uid of 32 hex digits")


def _status(value: str | None) -> None:
    if value is not None and value not in STATUSES:
        raise ValueError(f"{value[:40]!r} is no status")


def _frequency(value: str) -> None:
    if value not in ("r", "c", "f"):
        raise ValueError(f"{value[:40]!r} is no frequency")


def _tags(value: str) -> None:
    tags = _parsed(value)
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ValueError("its tags are no list of texts")
    checked_tags(tags)


def _picture(value: bytes) -> None:
    if not value.startswith(b"\xff\xd8\xff") or len(value) > PICTURE_BYTES:
        raise ValueError(f"a picture is no JPEG of at most {PICTURE_BYTES} bytes")


# By the column's name, which means the same in every table; of the rest the tables' rules suffice.
_TESTS: dict[str, Test] = {
    **dict.fromkeys(
        ("step", "epoch", "total_steps", "total_epochs", "parent_epoch", "parent_step", "rewinds",
         "class_index", "image_count", "instance_count", "num_groups", "largest_group",
         "applied_step", "from_step", "to_step", "object_index", "image_index",
         "feature_dim", "virtual_per_class"),
        count,
    ),
    **dict.fromkeys(
        ("wall_time", "created", "started", "ended", "archived", "deleted", "copied", "answered"),
        moment,
    ),
    **dict.fromkeys(("x1", "y1", "x2", "y2"), finite),
    **dict.fromkeys(("name", "dataset", "phase", "field", "kind", "reason"), words),
    **dict.fromkeys(("error", "text", "refusal"), text),
    **dict.fromkeys(("config", "payload"), json_object),
    "uid": _uid,
    "status": _status,
    "frequency": _frequency,
    "tags": _tags,
    "note": checked_note,
    "picture": _picture,
}  # fmt: skip


class RowChecks:
    """Checks the rows of one file, table by table in the order of `HISTORY`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tests = {
            table: [(at, _TESTS[name]) for at, name in enumerate(columns(table)) if name in _TESTS]
            for table in ("runs", *HISTORY)
        }
        self._names = {table: columns(table) for table in ("runs", *HISTORY)}
        self._num_classes: dict[int, int] = defaultdict(int)  # by run id
        self._num_probes: dict[int, int] = defaultdict(int)
        self._image_sizes: dict[int, list[tuple[int, int]]] = defaultdict(list)  # height, width
        self._vectors: dict[tuple[int, str], tuple[str, int]] = {}
        self._more: dict[str, Callable[[dict[str, Any]], None]] = {
            "runs": self._check_run,
            "categories": self._check_category,
            "class_vectors": self._check_vector,
            "adaptations": self._check_adaptation,
            "feature_probes": self._check_probe,
            "feature_snapshots": self._check_snapshot,
            "prediction_images": self._check_image,
            "predictions": self._check_prediction,
        }

    def check(self, table: str, row: Row) -> Row:
        """The row, when it is what it should be.

        Raises:
            TransferError: it is not.
        """
        try:
            for at, test in self._tests[table]:
                test(row[at])
            if more := self._more.get(table):
                more(dict(zip(self._names[table], row, strict=True)))
        except RecursionError as error:
            raise untakable(self._path, table, "its json is nested too deep") from error
        except (ValueError, TypeError, AttributeError, OverflowError, RunLogError) as error:
            raise untakable(self._path, table, error) from error
        return row

    def _check_run(self, row: dict[str, Any]) -> None:
        checked_name(row["name"])
        parent = row["parent_run"]
        if parent is not None and not parent < row["id"]:
            raise ValueError(f"run {row['id']} is older than its parent {parent}")

    def _check_category(self, row: dict[str, Any]) -> None:
        expected = self._num_classes[row["run_id"]]
        if row["class_index"] != expected:
            raise ValueError(f"class {row['class_index']} comes where {expected} should")
        self._num_classes[row["run_id"]] += 1

    def _check_vector(self, row: dict[str, Any]) -> None:
        """As many values as there are classes, and of the same type each time."""
        width = len(row["data"])
        classes = self._num_classes.get(row["run_id"])
        if classes is not None and width != 4 * classes:
            raise ValueError(f"a vector has {width} bytes for {classes} classes")
        first = self._vectors.setdefault((row["run_id"], row["field"]), (row["dtype"], width))
        if first != (row["dtype"], width):
            raise ValueError("the snapshots of a field differ in type or length")

    def _check_adaptation(self, row: dict[str, Any]) -> None:
        for name in ("members", "noise_members", "with_data", "clamped"):
            members = _parsed(row[name])
            if not isinstance(members, list) or not all(type(m) is int for m in members):
                raise ValueError(f"{name} is no list of class indices")
            self._require_classes(row["run_id"], np.array(members, dtype=np.int64))

    def _check_probe(self, row: dict[str, Any]) -> None:
        self._require_classes(row["run_id"], np.array([row["class_index"]]))
        expected = self._num_probes[row["run_id"]]
        if row["object_index"] != expected:
            raise ValueError(f"object {row['object_index']} comes where {expected} should")
        self._num_probes[row["run_id"]] += 1

    def _check_snapshot(self, row: dict[str, Any]) -> None:
        check_snapshot(
            row,
            num_objects=self._num_probes[row["run_id"]],
            num_classes=self._num_classes.get(row["run_id"], 0),
        )

    def _check_image(self, row: dict[str, Any]) -> None:
        sizes = self._image_sizes[row["run_id"]]
        if row["image_index"] != len(sizes):
            raise ValueError(f"image {row['image_index']} comes where {len(sizes)} should")
        check_size(row["width"], row["height"])
        sizes.append((row["height"], row["width"]))
        self._check_objects(row, "truth", "crowd", sizes[-1])
        if row["judged"] is not None:
            judged = _parsed(row["judged"])
            if not isinstance(judged, list) or not all(type(label) is int for label in judged):
                raise ValueError("judged is no list of class indices")
            self._require_classes(row["run_id"], np.array(judged, dtype=np.int64))

    def _check_prediction(self, row: dict[str, Any]) -> None:
        sizes = self._image_sizes[row["run_id"]]
        if row["image_index"] >= len(sizes):
            raise ValueError(f"an image index is not one of 0 to {len(sizes) - 1}")
        self._check_objects(row, "detections", "score", sizes[row["image_index"]])

    def _check_objects(
        self, row: dict[str, Any], column: str, more: str, size: tuple[int, int]
    ) -> None:
        classes = self._num_classes.get(row["run_id"], 0)
        check_objects(_parsed(row[column]), size=size, num_classes=classes, more=more)

    def _require_classes(self, run_id: int, indices: Any) -> None:
        require_within(indices, self._num_classes.get(run_id, 0), "a class index")
