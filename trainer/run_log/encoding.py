"""Arrays as the run log's blobs and back: little-endian, one copy each.

Shapes: C classes, S snapshots; of features, see `FeatureValues`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.run_log.history import FEATURE_COLUMNS
from trainer.run_log.rows import FeatureValues
from trainer.run_log.schema import RunLogError

_DTYPES = {"float32": np.dtype("<f4"), "int32": np.dtype("<i4")}
_INT32 = np.iinfo(np.int32)


def encode_classes(field: str, vector: NDArray[Any], num_classes: int) -> tuple[str, bytes]:
    """The stored dtype's name, and [C] as float32 or int32 (float64, int64 converted).

    Args:
        field: whose values they are, for messages.
        vector: [C].
        num_classes: C, or 0 while it is not known.

    Raises:
        ValueError: another shape, another kind of number, or an integer beyond int32.
    """
    if vector.ndim != 1 or (num_classes and len(vector) != num_classes):
        raise ValueError(
            f"{field} must hold one value for each of {num_classes or 'C'} classes, "
            f"not the shape {vector.shape}: hand in a vector [C]."
        )
    if vector.dtype.kind == "f":
        return "float32", vector.astype("<f4", copy=False).tobytes()
    if vector.dtype.kind in "iu":
        return "int32", _encode_integers(field, vector)
    raise ValueError(f"{field} must hold floats or integers, not {vector.dtype}: convert it first.")


def decode_classes(field: str, blobs: Sequence[tuple[str, bytes]], log: Path) -> NDArray[Any]:
    """(dtype's name, data) of S snapshots of a field as [S, C] in this machine's byte order.

    Raises:
        RunLogError: the snapshots, which were read in ``log``, differ in type or length.
    """
    kinds = {(name, len(data)) for name, data in blobs}
    if not kinds:
        return np.empty((0, 0), dtype=np.float32)
    if len(kinds) > 1:
        raise RunLogError(
            f"The snapshots of {field} in {log} differ in type or length "
            f"({sorted(kinds)}): delete this run, it was not written by this program."
        )
    dtype = _DTYPES[blobs[0][0]]
    values = np.frombuffer(b"".join([data for _, data in blobs]), dtype=dtype)
    return values.reshape(len(blobs), -1).astype(dtype.newbyteorder("="), copy=False)


def encode_features(values: FeatureValues) -> tuple[int | bytes, ...]:
    """The columns of a snapshot from feature_dim on: features as float16 (infinity beyond 65504).

    Raises:
        ValueError: the shapes do not fit together, or the numbers are of another kind.
    """
    feature_dim = _require_fitting(values)
    with np.errstate(over="ignore"):
        halves = {
            name: np.asarray(getattr(values, name)).astype("<f2").tobytes()
            for name in ("real", "mean", "deviation", "virtual")
        }
    whole = {
        name: _encode_integers(name, getattr(values, name))
        for name in ("objects", "classes", "real_predicted", "virtual_predicted")
    }
    single = {
        name: np.asarray(getattr(values, name)).astype("<f4").tobytes()
        for name in ("real_loss", "prior_size", "virtual_loss")
    }
    blobs: dict[str, Any] = {**halves, **whole, **single}
    blobs |= {"feature_dim": feature_dim, "virtual_per_class": values.virtual_per_class}
    return tuple(blobs[name] for name in FEATURE_COLUMNS)


def decode_features(row: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """What `encode_features` made of the arrays of `FeatureValues`, by their names."""
    stored = dict(zip(FEATURE_COLUMNS, row, strict=True))
    feature_dim = stored["feature_dim"]
    arrays: dict[str, NDArray[Any]] = {}
    for name in ("real", "mean", "deviation", "virtual"):
        arrays[name] = decode_array(stored[name], "f2").reshape(-1, feature_dim)
    for name in ("objects", "classes", "real_predicted", "virtual_predicted"):
        arrays[name] = decode_array(stored[name], "i4")
    for name in ("real_loss", "prior_size", "virtual_loss"):
        arrays[name] = decode_array(stored[name], "f4")
    return arrays


def decode_array(blob: bytes, kind: str) -> NDArray[Any]:
    """A blob's numbers, of the kind f2, f4 or i4, in this machine's byte order."""
    stored = np.dtype(f"<{kind}")
    return np.frombuffer(blob, stored).astype(stored.newbyteorder("="), copy=False)


def _require_fitting(values: FeatureValues) -> int:
    """d, when the arrays belong together.

    Raises:
        ValueError: they do not.
    """
    n, p = len(values.objects), len(values.classes)
    m = p * values.virtual_per_class
    d = values.real.shape[1] if values.real.ndim == 2 else 0
    shapes = {
        "objects": (n,), "real": (n, d), "real_predicted": (n,), "real_loss": (n,),
        "classes": (p,), "mean": (p, d), "deviation": (p, d), "prior_size": (p,),
        "virtual": (m, d), "virtual_predicted": (m,), "virtual_loss": (m,),
    }  # fmt: skip
    for name, shape in shapes.items():
        array = getattr(values, name)
        integers = name in ("objects", "classes", "real_predicted", "virtual_predicted")
        if array.shape != shape or not d:
            raise ValueError(
                f"{name} has the shape {array.shape} and not {shape}, with N = {n} objects and "
                f"P = {p} classes: hand in arrays that belong together, with d >= 1."
            )
        if array.dtype.kind not in ("iu" if integers else "f"):
            kind = "integers" if integers else "floats"
            raise ValueError(f"{name} holds {kind}, not {array.dtype}: convert it first.")
    return int(d)


def _encode_integers(field: str, values: NDArray[Any]) -> bytes:
    is_wider = values.dtype.itemsize > 4 or values.dtype.kind == "u"
    if is_wider and len(values) and not _INT32.min <= values.min() <= values.max() <= _INT32.max:
        raise ValueError(
            f"{field} holds integers beyond int32 (largest {values.max()}): hand in float32."
        )
    return values.astype("<i4", copy=False).tobytes()
