"""Tidy tables as CSV files that a spreadsheet opens without running anything."""

import csv
import io
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa  # type: ignore[import-untyped]

from trainer.transfer.tidy_tables import (
    CLASS_VECTORS,
    TABLES,
    Table,
    class_names,
    read_me,
    snapshots,
)

# A cell that begins with one of the first is a formula to some spreadsheet; tab and line breaks are
# skipped by some before they look. The apostrophe is there so that taking one away is always right.
_LEADING = tuple("=+-@\t\r\n＝＋－＠'")


def write_csv(connection: sqlite3.Connection, run_ids: Sequence[int], folder: Path) -> None:
    """Make ``folder`` with one file a table and a README.txt; memory does not grow with the log."""
    folder.mkdir()
    for table in TABLES:
        with (folder / f"{table.name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerow(column.name for column in table.columns)
            for run_id in run_ids:
                if table is CLASS_VECTORS:
                    _write_vectors(connection, run_id, file)
                else:
                    _write_rows(connection, run_id, table, file)
    (folder / "README.txt").write_text(read_me("csv"), encoding="utf-8")


def harmless(text: str | None) -> str | None:
    """Text that no spreadsheet takes for a formula: an apostrophe goes before one that could be."""
    return "'" + text if text and text.startswith(_LEADING) else text


def _write_rows(connection: sqlite3.Connection, run_id: int, table: Table, file: TextIO) -> None:
    is_text = [column.kind == "text" for column in table.columns]
    csv.writer(file).writerows(
        [harmless(cell) if text else cell for cell, text in zip(row, is_text, strict=True)]
        for row in table.rows(connection, run_id)
    )


def _write_vectors(connection: sqlite3.Connection, run_id: int, file: TextIO) -> None:
    """A line a class: all but its value is made once a snapshot or once a class."""
    names = class_names(connection, run_id)
    middles: list[str] = []
    for snapshot in snapshots(connection, run_id):
        field, step, epoch, wall_time, values = snapshot
        if len(middles) != len(values):
            known = [*names, *[None] * len(values)][: len(values)]
            middles = [_line(index, harmless(name)) for index, name in enumerate(known)]
        start = _line(run_id, harmless(field), step, epoch, wall_time)
        # Arrow prints a float32 as shortly as gives it back: 0.1, not 0.10000000149011612.
        texts = pa.array(values, from_pandas=True).cast(pa.string()).to_pylist()
        file.writelines(
            f"{start},{middle},{text or ''}\r\n"
            for middle, text in zip(middles, texts, strict=True)
        )


def _line(*cells: Any) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue().removesuffix("\r\n")
