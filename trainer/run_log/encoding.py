"""Arrays as the run log's blobs and back: little-endian, one copy each.

Shapes: C classes, S snapshots, N features of length d.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def encode_features(subjects: NDArray[Any], data: NDArray[Any]) -> tuple[int, bytes, bytes]:
    """d, then [N] as int32 and [N, d] as float16 (infinity beyond its range of 65504).

    Raises:
        ValueError: the shapes do not fit together, the data are no floats, or the subjects no
            integers of int32.
    """
    if data.ndim != 2 or not data.shape[1] or subjects.shape != data.shape[:1]:
        raise ValueError(
            f"Features of the shape {data.shape} do not belong to subjects of the shape "
            f"{subjects.shape}: hand in [N, d] with d >= 1, and [N]."
        )
    if subjects.dtype.kind not in "iu":
        raise ValueError(f"Subjects are integers, not {subjects.dtype}: hand in indices.")
    if data.dtype.kind != "f":
        raise ValueError(f"Features are floats, not {data.dtype}: convert them first.")
    encoded = _encode_integers("subjects", subjects)
    with np.errstate(over="ignore"):
        return data.shape[1], encoded, data.astype("<f2", copy=False).tobytes()


def decode_features(
    subjects: bytes, data: bytes, feature_dim: int
) -> tuple[NDArray[np.int32], NDArray[np.float16]]:
    """[N] and [N, d] in this machine's byte order."""
    return (
        np.frombuffer(subjects, "<i4").astype(np.int32, copy=False),
        np.frombuffer(data, "<f2").reshape(-1, feature_dim).astype(np.float16, copy=False),
    )


def _encode_integers(field: str, values: NDArray[Any]) -> bytes:
    is_wider = values.dtype.itemsize > 4 or values.dtype.kind == "u"
    if is_wider and len(values) and not _INT32.min <= values.min() <= values.max() <= _INT32.max:
        raise ValueError(
            f"{field} holds integers beyond int32 (largest {values.max()}): hand in float32."
        )
    return values.astype("<i4", copy=False).tobytes()
