"""What the projector writes into the run log: each call is one short transaction of its own.

Shapes: N objects, P classes with a prior, K virtual features of each, C classes.
"""

import math
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.run_log.text import storable, to_json
from trainer.run_log.transaction import transaction

_PUT = (
    "INSERT OR REPLACE INTO projections (run_id, snapshot_id, method, state, started, seconds,"
    " error, parameters, real, virtual, ellipses) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_MEASURE = (
    "INSERT OR REPLACE INTO feature_measures (snapshot_id, name, run_id, per_class, groups)"
    " VALUES (?, ?, ?, ?, ?)"
)


def begin_projection(path: Path | str, run_id: int, snapshot_id: int, method: str) -> bool:
    """Say that a picture is being made; False when its snapshot is gone.

    Raises:
        RunLogError: the run log cannot be written.
    """
    return _put(path, run_id, snapshot_id, method, state="running")


def store_projection(
    path: Path | str,
    run_id: int,
    snapshot_id: int,
    method: str,
    *,
    seconds: float,
    parameters: Mapping[str, Any],
    real: NDArray[np.float32],
    virtual: NDArray[np.float32],
    ellipses: NDArray[np.float32],
) -> bool:
    """Store a picture; False when its snapshot is gone.

    Args:
        seconds: that it took.
        parameters: with which it was made, as json.
        real: [N, 2] in the order of the snapshot's objects.
        virtual: [P * K, 2] in the order of its virtual features.
        ellipses: [P, 5] see `Projection`.

    Raises:
        ValueError: shapes other than these, or parameters that are no json.
        RunLogError: the run log cannot be written.
    """
    blobs = (_blob(real, 2), _blob(virtual, 2), _blob(ellipses, 5))
    return _put(
        path, run_id, snapshot_id, method, state="ready", seconds=seconds,
        parameters=to_json(parameters), blobs=blobs,
    )  # fmt: skip


def fail_projection(
    path: Path | str, run_id: int, snapshot_id: int, method: str, error: str
) -> bool:
    """Say in one sentence why there is no picture; False when its snapshot is gone.

    Raises:
        RunLogError: the run log cannot be written.
    """
    return _put(path, run_id, snapshot_id, method, state="failed", error=storable(error))


def abandon_running(path: Path | str) -> None:
    """Take back what a stopped projector left running, so that it is made another time.

    Raises:
        RunLogError: the run log cannot be written.
    """
    with transaction(path) as connection:
        connection.execute("DELETE FROM projections WHERE state = 'running'")


def fail_running(path: Path | str, error: str) -> int:
    """Mark failed what a projector left running that is no more; returns how many.

    Raises:
        RunLogError: the run log cannot be written.
    """
    with transaction(path) as connection:
        rows = connection.execute(
            "SELECT run_id, snapshot_id, method FROM projections WHERE state = 'running'"
        ).fetchall()
        for row in rows:
            connection.execute(_PUT, _row(*row, state="failed", error=storable(error)))
    return len(rows)


def store_measures(
    path: Path | str,
    run_id: int,
    snapshot_id: int,
    measures: Mapping[str, tuple[NDArray[Any], Mapping[str, float | None]]],
) -> bool:
    """Store what was measured of a snapshot: per class [C] and by group; False when it is gone.

    Raises:
        ValueError: the values per class are no vector of floats.
        RunLogError: the run log cannot be written.
    """
    rows = []
    for name, (per_class, groups) in measures.items():
        if per_class.ndim != 1 or per_class.dtype.kind != "f":
            raise ValueError(
                f"{name} has the shape {per_class.shape} of {per_class.dtype}: hand in floats [C]."
            )
        blob = per_class.astype("<f4", copy=False).tobytes()
        known = {group: _finite(value) for group, value in groups.items()}
        rows.append((snapshot_id, name, run_id, blob, to_json(known)))
    with transaction(path) as connection:
        if not _is_there(connection, run_id, snapshot_id):
            return False
        connection.executemany(_MEASURE, rows)
    return True


def _put(
    path: Path | str, run_id: int, snapshot_id: int, method: str, *, state: str, **rest: Any
) -> bool:
    with transaction(path) as connection:
        if not _is_there(connection, run_id, snapshot_id):
            return False
        connection.execute(_PUT, _row(run_id, snapshot_id, method, state=state, **rest))
    return True


def _row(
    run_id: int,
    snapshot_id: int,
    method: str,
    *,
    state: str,
    seconds: float | None = None,
    error: str | None = None,
    parameters: str = "{}",
    blobs: tuple[bytes, bytes, bytes] = (b"", b"", b""),
) -> tuple[Any, ...]:
    started = time.time() - (seconds or 0.0)
    return (run_id, snapshot_id, method, state, started, seconds, error, parameters, *blobs)


def _is_there(connection: sqlite3.Connection, run_id: int, snapshot_id: int) -> bool:
    sql = "SELECT 1 FROM feature_snapshots WHERE id = ? AND run_id = ?"
    return connection.execute(sql, (snapshot_id, run_id)).fetchone() is not None


def _blob(values: NDArray[Any], width: int) -> bytes:
    if values.ndim != 2 or values.shape[1] != width:
        raise ValueError(f"A picture's part has the shape {values.shape}, not [N, {width}].")
    return values.astype("<f4", copy=False).tobytes()


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
