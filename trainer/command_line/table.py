"""A table on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from trainer.command_line.plain_text import plain

_UNLIMITED = 100_000  # columns of a pipe or file


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """One line a row, as wide as it needs to be where nobody looks; cells are text."""
    from rich.console import Console  # takes a moment to load
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else _UNLIMITED).print(table)
