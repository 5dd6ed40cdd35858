"""Tidy tables as Parquet files, compressed with zstd.

Shapes: C classes, S snapshots of one row group.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from trainer.transfer.tidy_tables import (
    CLASS_VECTORS,
    TABLES,
    Snapshot,
    Table,
    class_names,
    read_me,
    snapshots,
)

ROWS_A_GROUP = 100_000  # bounds the memory; more would compress little better

_TYPES = {
    "integer": pa.int64(),
    "real": pa.float64(),
    "text": pa.string(),
    "json": pa.string(),
    "texts": pa.list_(pa.string()),
    "integers": pa.list_(pa.int32()),
}
# Words that come again and again; pandas reads them as categories.
_WORDS = pa.dictionary(pa.int32(), pa.string())


def write_parquet(connection: sqlite3.Connection, run_ids: Sequence[int], folder: Path) -> None:
    """Make ``folder`` with one file a table and a README.txt; memory does not grow with the log."""
    folder.mkdir()
    for table in TABLES:
        schema = _schema(table)
        path = folder / f"{table.name}.parquet"
        batches = _vector_batches if table is CLASS_VECTORS else _batches
        # Values seldom repeat: with their bytes sorted by rank they take a third less space than
        # with a dictionary, which serves all other columns.
        values = [name for name in schema.names if name == "value"]
        words = [name for name in schema.names if name != "value"]
        with pq.ParquetWriter(
            path, schema, compression="zstd", use_dictionary=words, use_byte_stream_split=values
        ) as writer:
            for run_id in run_ids:
                for columns in batches(connection, run_id, table):
                    writer.write_batch(pa.record_batch(columns, schema=schema))
    (folder / "README.txt").write_text(read_me("parquet"), encoding="utf-8")


def _schema(table: Table) -> pa.Schema:
    fields = []
    for column in table.columns:
        is_word = table is CLASS_VECTORS and column.kind == "text"
        kind = _WORDS if is_word else _TYPES[column.kind]
        fields.append(pa.field(column.name, kind, metadata={"meaning": column.meaning}))
    return pa.schema(fields)


def _batches(connection: sqlite3.Connection, run_id: int, table: Table) -> Iterator[list[pa.Array]]:
    rows = table.rows(connection, run_id)
    while batch := list(islice(rows, ROWS_A_GROUP)):
        yield [
            pa.array(
                map(json.loads, values) if column.kind in ("texts", "integers") else values,
                _TYPES[column.kind],
            )
            for column, values in zip(table.columns, zip(*batch, strict=True), strict=True)
        ]


def _vector_batches(
    connection: sqlite3.Connection, run_id: int, table: Table
) -> Iterator[list[pa.Array]]:
    names = class_names(connection, run_id)
    source = snapshots(connection, run_id)
    for first in source:
        width = max(1, len(first.values))
        group = [first, *islice(source, max(0, ROWS_A_GROUP // width - 1))]
        yield _vector_columns(group, run_id, names)


def _vector_columns(group: list[Snapshot], run_id: int, names: list[str]) -> list[pa.Array]:
    """S snapshots [C] as columns of S x C rows (C may differ in a log of another program)."""
    counts = [len(snapshot.values) for snapshot in group]
    total = sum(counts)
    fields, codes = np.unique([snapshot.field for snapshot in group], return_inverse=True)
    indices = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
    # A class without a name gets none: masked rows are null.
    named = pa.array(indices, mask=indices >= len(names))
    values = np.concatenate([snapshot.values.astype(np.float64) for snapshot in group])

    def repeated(cells: Any, kind: Any) -> pa.Array:
        return pa.array(np.repeat(np.array(cells, dtype=kind), counts))

    return [
        pa.array(np.full(total, run_id, dtype=np.int64)),
        pa.DictionaryArray.from_arrays(repeated(codes, np.int32), pa.array(fields.tolist())),
        repeated([snapshot.step for snapshot in group], np.int64),
        repeated([snapshot.epoch for snapshot in group], np.int64),
        repeated([snapshot.wall_time for snapshot in group], np.float64),
        pa.array(indices.astype(np.int64)),
        pa.DictionaryArray.from_arrays(named, pa.array(names, pa.string())),
        pa.array(values, from_pandas=True),  # NaN becomes null
    ]
