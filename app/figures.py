"""Every figure by the name of its route: `/live/runs/ID/figures/NAME`."""

from __future__ import annotations

from collections.abc import Callable

from app.detection_ap import ap_against_instances
from app.figure import Figure
from app.figure_routes import Asked

FIGURES: tuple[tuple[str, Callable[[Asked], Figure]], ...] = (
    ("ap_against_instances", ap_against_instances),
)
