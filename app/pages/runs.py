"""Runs: every run of the folder, newest first, with how it goes."""

from __future__ import annotations

from app.notices import readable_log, run_list


def show() -> None:
    """Draw the page."""
    if readable_log() is None:
        return
    run_list()


show()
