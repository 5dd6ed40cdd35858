"""What the run log's rows look like in Python.

Times are seconds since 1970-01-01 UTC. Shapes: C classes, S snapshots.
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
    parent_run: int | None
    parent_epoch: int | None
    process_id: int | None
    process_start: float | None
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
