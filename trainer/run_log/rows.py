"""What the run log's rows look like in Python.

Times are seconds since 1970-01-01 UTC.
Shapes: C classes, S snapshots, N features of length d, P classes with a prior, K virtual features
of each.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Ways to draw features in two dimensions. umap_real is fitted on real features only.
METHODS = ("pca", "umap", "umap_real")

# What is measured of virtual beside real features; docs/feature_space.md defines each.
MEASURES = (
    "frechet_distance",
    "frechet_distance_real",
    "neighbours_virtual",
    "neighbours_holdout",
    "accuracy_virtual",
    "accuracy_holdout",
    "negative_share",
    "effective_sample_size",
)
FEWEST_OBJECTS = 3  # a prior that rests on fewer objects is marked


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


class FeatureObject(NamedTuple):
    """A `FeatureProbeRow` without its picture."""

    object_index: int
    class_index: int
    split: str
    image_id: int
    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FeatureValues:
    """Features of one moment, and what the classifier says of them.

    Attributes:
        objects: [N] whose features they are, an ``object_index`` each, rising.
        real: [N, d] the classifier's input for the object's own box.
        real_predicted: [N] the class of the highest logit, C for background.
        real_loss: [N] classification loss of the feature and its true class.
        classes: [P] class indices that have a prior, rising.
        mean: [P, d] mu_c.
        deviation: [P, d] sigma_c.
        prior_size: [P] effective number of RoIs that the prior rests on.
        virtual: [P * K, d] mu_c + sigma_c * eps with noise fixed per class and k, class by class.
        virtual_predicted: [P * K] as ``real_predicted``.
        virtual_loss: [P * K] as ``real_loss``.
    """

    objects: NDArray[np.int32]
    real: NDArray[np.float16]
    real_predicted: NDArray[np.int32]
    real_loss: NDArray[np.float32]
    classes: NDArray[np.int32]
    mean: NDArray[np.float16]
    deviation: NDArray[np.float16]
    prior_size: NDArray[np.float32]
    virtual: NDArray[np.float16]
    virtual_predicted: NDArray[np.int32]
    virtual_loss: NDArray[np.float32]

    @property
    def virtual_per_class(self) -> int:
        """K; 0 where no class has a prior."""
        return len(self.virtual_predicted) // len(self.classes) if len(self.classes) else 0

    @property
    def virtual_classes(self) -> NDArray[np.int32]:
        """[P * K] the class of each virtual feature."""
        return self.classes.repeat(self.virtual_per_class)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FeatureSnapshot(FeatureValues):
    """A row of the run log: the features, and when they were so."""

    id: int
    step: int
    epoch: int
    wall_time: float


class FeatureSnapshotHead(NamedTuple):
    """A snapshot without its features: N objects, P classes with a prior, P * K virtual ones."""

    id: int
    step: int
    epoch: int
    wall_time: float
    feature_dim: int
    num_objects: int
    num_classes: int
    num_virtual: int
    bytes: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FeatureLabels:
    """What the features of a snapshot are and what the classifier says, without their numbers.

    The attributes are as in `FeatureValues`; ``id`` is the snapshot's.
    """

    id: int
    run_id: int
    objects: NDArray[np.int32]
    real_predicted: NDArray[np.int32]
    real_loss: NDArray[np.float32]
    classes: NDArray[np.int32]
    prior_size: NDArray[np.float32]
    virtual_per_class: int
    virtual_predicted: NDArray[np.int32]
    virtual_loss: NDArray[np.float32]

    @property
    def virtual_classes(self) -> NDArray[np.int32]:
        """[P * K] the class of each virtual feature."""
        return self.classes.repeat(self.virtual_per_class)


class ProjectionHead(NamedTuple):
    """How far the picture of a snapshot is: running, ready or failed (with ``error``)."""

    id: int
    snapshot_id: int
    step: int
    epoch: int
    method: str
    state: str
    started: float
    seconds: float | None
    error: str | None
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Projection:
    """A snapshot in two dimensions, in the snapshot's own order.

    Attributes:
        real: [N, 2] coordinates of the real features.
        virtual: [P * K, 2] of the virtual ones.
        ellipses: [P, 5] mean x and y of each class's prior in the picture, and its variance in x,
            covariance, variance in y; NaN where it is not known.
        parameters: with which it was made.
    """

    id: int
    snapshot_id: int
    step: int
    epoch: int
    method: str
    seconds: float
    parameters: dict[str, Any]
    real: NDArray[np.float32]
    virtual: NDArray[np.float32]
    ellipses: NDArray[np.float32]


class SnapshotStates(NamedTuple):
    """How far the pictures of one snapshot are, by method; a method not begun is not there."""

    run_id: int
    snapshot_id: int
    states: dict[str, str]


class MeasureRow(NamedTuple):
    """One measure of a snapshot: [C] per class (NaN: not to be judged) and by frequency group."""

    snapshot_id: int
    step: int
    epoch: int
    name: str
    per_class: NDArray[np.float32]
    groups: dict[str, float | None]


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
