"""Classifier."""

from __future__ import annotations

from app.run_page import open_run_page


def show() -> None:
    """Draw the page."""
    open_run_page()


show()
