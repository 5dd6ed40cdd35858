"""Named numpy columns in one Arrow file, read through a memory map: processes share its pages.

The file holds one record batch of one row, whose every field is a list of all values of a column,
as columns have different lengths. The schema's metadata holds a checksum of each column and
whatever the writer has to say about them.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[Any]]

_METADATA = b"columns"


class DamagedFileError(ValueError):
    """A column file is cut short or not as it was written."""


def write_columns(file: BinaryIO, columns: Columns, about: Mapping[str, Any]) -> None:
    """Write flat columns of numbers (no bool) and what json can hold of ``about``; OSError."""
    arrays = [
        pa.LargeListArray.from_arrays(pa.array([0, len(column)], pa.int64()), pa.array(column))
        for column in columns.values()
    ]
    checksums = {name: _checksum(column) for name, column in columns.items()}
    header = json.dumps({"about": dict(about), "checksums": checksums}).encode("ascii")
    schema = pa.schema(
        [pa.field(name, array.type) for name, array in zip(columns, arrays, strict=True)],
        metadata={_METADATA: header},
    )
    with pa.ipc.new_file(file, schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))


def read_columns(path: Path, *, verify: bool) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The columns, read-only and in no memory until they are used, and ``about``.

    With ``verify`` every byte is held against its checksum, 1 GB in about half a second. Raises
    DamagedFileError, and OSError if there is no such file.
    """
    try:
        with pa.memory_map(str(path)) as source:
            batch = pa.ipc.open_file(source).get_batch(0)
        batch.validate()
        header = json.loads(batch.schema.metadata[_METADATA])
        columns = {
            name: column.values.to_numpy(zero_copy_only=True)
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }
        intact = columns.keys() == header["checksums"].keys() and not (
            verify and any(_checksum(columns[n]) != c for n, c in header["checksums"].items())
        )
        about: dict[str, Any] = header["about"]
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFileError(f"{path} can't be read ({error})") from None
    if not intact:
        raise DamagedFileError(f"{path} is not as it was written")
    return columns, about


def _checksum(column: NDArray[Any]) -> int:
    """Of the numbers and of their type, which stands elsewhere in the file."""
    return zlib.crc32(np.ascontiguousarray(column).data, zlib.crc32(column.dtype.str.encode()))
