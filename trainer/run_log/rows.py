"""What the run log's rows look like in Python.

Times are seconds since 1970-01-01 UTC.
Shapes: C classes, S snapshots, N features of length d.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Run:
    """One run as it stands. ``None`` where it is not known or has not happened yet."""

    id: int
    name: str
    config: dict[str, Any]
    dataset: str
    status: str
    uid: str
    parent_run: int | None
    parent_epoch: int | None
    parent_step: int | None
    process_id: int | None
    process_identity: str | None
    heartbeat: float | None
    created: float
    started: float | None
    ended: float | None
    step: int
    total_steps: int | None
    epoch: int
    total_epochs: int | None
    phase: str
    error: str | None
    rewinds: int
    note: str
    tags: list[str]
    archived: float | None
    deleted: float | None
    copied: float | None


class Attempt(NamedTuple):
    """One time a trainer took a run up; what is known at its end is None until then."""

    id: int
    started: float
    ended: float | None
    from_step: int
    to_step: int | None
    status: str | None
    error: str | None


class CheckpointRow(NamedTuple):
    """A checkpoint kept on disk: after ``step`` steps, ``batch`` batches into ``epoch``."""

    step: int
    epoch: int
    batch: int
    wall_time: float
    bytes: int


@dataclass(frozen=True, slots=True)
class CategoryRow:
    """Class ``index`` of a run: id and name in its annotations, frequency r, c or f, counts."""

    index: int
    id: int
    name: str
    frequency: str
    image_count: int
    instance_count: int


class ScalarRow(NamedTuple):
    """One value of one curve; NaN when the value was not a number."""

    id: int
    name: str
    step: int
    epoch: int
    wall_time: float
    value: float


class ClassVector(NamedTuple):
    """One snapshot of one field: values [C] float32 or int32."""

    id: int
    step: int
    epoch: int
    wall_time: float
    values: NDArray[Any]


class ClassVectors(NamedTuple):
    """All snapshots of one field, oldest first: values [S, C] float32 or int32."""

    ids: NDArray[np.int64]
    steps: NDArray[np.int64]
    epochs: NDArray[np.int64]
    wall_times: NDArray[np.float64]
    values: NDArray[Any]


class AdaptationRow(NamedTuple):
    """What one adaptation did to one super-group; lists hold class indices."""

    id: int
    step: int
    epoch: int
    wall_time: float
    super_group: int
    members: list[int]
    noise_members: list[int]
    with_data: list[int]
    clamped: list[int]
    loss_before: float | None
    loss_after: float | None
    factor: float
    reason: str


class AdaptationSummary(NamedTuple):
    """One adaptation as a whole; ``eps`` is None where nothing was clustered."""

    id: int
    step: int
    epoch: int
    wall_time: float
    eps: float | None
    eps_quantile: float | None
    num_groups: int
    noise_share: float | None
    largest_group: int | None


class FeatureProbeRow(NamedTuple):
    """An object whose features are followed: its box in pixels of the image, and a JPEG of it."""

    object_index: int
    class_index: int
    split: str
    image_id: int
    x1: float
    y1: float
    x2: float
    y2: float
    picture: bytes


class FeatureSnapshot(NamedTuple):
    """Features at one moment: data [N, d] float16 and whose they are, subjects [N] int32.

    A subject is an ``object_index`` where ``kind`` is real, a class index where it is virtual.
    """

    id: int
    step: int
    epoch: int
    wall_time: float
    kind: str
    subjects: NDArray[np.int32]
    data: NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class PredictionImage:
    """A test image whose predictions are kept, without its picture (`prediction_picture`).

    Attributes:
        index: 0..N-1.
        image_id: as in the annotation file.
        width: of the original image, in pixels, which boxes and masks are in.
        height: likewise.
        truth: its objects, as json objects: class (index), box [x1, y1, x2, y2], mask (`size`
            [height, width] and `counts`, compressed run lengths of COCO), crowd (1 for a region of
            many objects, whose detections are neither right nor wrong).
        judged: the classes whose detections are wrong where they match no object; of the others
            that is not known (LVIS labels each image with some classes only). None: all.
    """

    index: int
    image_id: int
    width: int
    height: int
    truth: list[dict[str, Any]]
    judged: list[int] | None


class PredictionRow(NamedTuple):
    """What one evaluation found on one image: detections as json objects, the best score first.

    Each has class (index), score (0..1), and box and mask as in `PredictionImage.truth`.
    """

    id: int
    step: int
    epoch: int
    wall_time: float
    image_index: int
    detections: list[dict[str, Any]]


class Event(NamedTuple):
    """Something worth a mark on every chart."""

    id: int
    step: int
    epoch: int
    wall_time: float
    kind: str
    text: str
    payload: dict[str, Any]


class Command(NamedTuple):
    """A person's wish for a run: pending while ``answered`` is None, refused with ``refusal``."""

    id: int
    run_id: int
    kind: str
    payload: dict[str, Any]
    created: float
    answered: float | None
    applied_step: int | None
    refusal: str | None
    applied_epoch: int | None
    applied_phase: str | None
