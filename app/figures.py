"""Every figure by the name of its route: `/live/runs/ID/figures/NAME`."""

from __future__ import annotations

from collections.abc import Callable

from app import classifier_figures, feature_figures, super_group_figures
from app.detection_ap import ap_against_instances
from app.figure import Figure
from app.figure_routes import Asked
from app.sample_size_figure import sample_sizes

FIGURES: tuple[tuple[str, Callable[[Asked], Figure]], ...] = (
    ("weight_norms", classifier_figures.weight_norms),
    ("biases", classifier_figures.biases),
    ("scores", classifier_figures.scores),
    ("ap_against_instances", ap_against_instances),
    ("groups_map", super_group_figures.groups_map),
    ("groups_flow", super_group_figures.groups_flow),
    ("groups_stability", super_group_figures.groups_stability),
    ("groups_losses", super_group_figures.groups_losses),
    ("feature_neighbours", feature_figures.neighbours),
    ("feature_accuracy", feature_figures.accuracy),
    ("feature_frechet", feature_figures.frechet),
    ("feature_negative", feature_figures.negative),
    ("feature_sizes", sample_sizes),
)
