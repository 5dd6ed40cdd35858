"""Runs: every run of the folder, newest first, with how it goes and what can be done with it."""

from __future__ import annotations

from app.notices import readable_log
from app.run_list import run_list


def show() -> None:
    """Draw the page."""
    if readable_log() is None:
        return
    run_list()


show()
