import math
from dataclasses import fields

import pytest

from fasa_core.options import OFFICIAL, PAPER, FASAOptions


def test_the_paper_is_the_default() -> None:
    assert FASAOptions() == PAPER
    assert (PAPER.m, PAPER.alpha, PAPER.beta, PAPER.virtual_loss_weight) == (0.1, 1.1, 0.9, 0.1)
    assert (PAPER.spread, PAPER.clustering, PAPER.group_statistic) == ("std", "dbscan", "mean")


def test_the_official_preset_differs_where_the_official_code_does() -> None:
    different = {
        field.name: getattr(OFFICIAL, field.name)
        for field in fields(FASAOptions)
        if getattr(OFFICIAL, field.name) != getattr(PAPER, field.name)
    }
    assert different == {
        "spread": "variance",
        "zero_count": "error",
        "clustering": "affinity_propagation",
        "cluster_unseen": True,
        "group_statistic": "sum",
        "generator": "global",
        "prior_sync": "none",
        "validation_reduce": "mean",
    }


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("alpha", 0.9, r"alpha must lie in \[1, inf\), not 0.9"),
        ("alpha", math.inf, "alpha must lie in"),
        ("alpha", math.nan, "alpha must lie in"),
        ("beta", 1.1, r"beta must lie in \(0, 1\], not 1.1"),
        ("beta", 0.0, "beta must lie in"),
        ("m", 0.0, r"m must lie in \(0, 1\], not 0.0"),
        ("m", 1.5, "m must lie in"),
        ("m", True, "m must be of type float, not True"),
        ("m", "0.1", "m must be of type float, not '0.1'"),
        ("virtual_loss_weight", -0.1, "virtual_loss_weight must lie in"),
        ("start_epoch", -1, "start_epoch must lie in"),
        ("start_epoch", 1.0, "start_epoch must be of type int, not 1.0"),
        ("initial_scale", 0.0, "initial_scale must lie in"),
        ("floor", -1e-9, "floor must lie in"),
        ("eps_quantile", 0.0, "eps_quantile must lie in"),
        ("largest_share", 1.01, "largest_share must lie in"),
        ("min_samples", 0, "min_samples must lie in"),
        ("unbiased", 1, "unbiased must be of type bool, not 1"),
        ("spread", "sigma", "spread must be one of std, variance, ew, not 'sigma'"),
        ("clustering", "kmeans", "clustering must be one of"),
    ],
)
def test_a_value_out_of_bounds_is_named(name: str, value: object, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        FASAOptions(**{name: value})


@pytest.mark.parametrize(
    "values",
    [
        {"alpha": 1},
        {"beta": 1},
        {"m": 1},
        {"virtual_loss_weight": 0},
        {"start_epoch": 0},
        {"floor": 0},
        {"eps_quantile": 1.0, "largest_share": 1.0, "min_samples": 1},
    ],
)
def test_the_ends_of_the_intervals_are_allowed(values: dict[str, object]) -> None:
    FASAOptions(**values)
