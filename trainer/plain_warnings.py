"""Warnings as whoever gave a command reads them: one line, no place in the code."""

from __future__ import annotations

import sys
import warnings
from typing import TextIO

from trainer.command_line.plain_text import plain


def show_plainly() -> None:
    """From now on this process shows warnings like this."""
    warnings.showwarning = _show


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"fasa: warning: {plain(' '.join(str(message).split()))}", file=file or sys.stderr)
