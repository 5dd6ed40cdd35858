import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fasa_core import super_groups
from fasa_core.options import FASAOptions
from fasa_core.super_groups import SuperGroups, fisher_ratio, form_super_groups


def plain_fisher_ratio(mean: Tensor, variance: Tensor, *, reduction: str, floor: float) -> Tensor:
    """Eq. 5 as it is written, with the K x K x d array."""
    difference = (mean[:, None].double() - mean[None].double()).square()
    total = variance[:, None].double() + variance[None].double() + floor
    if reduction == "mean_of_ratios":
        return (difference / total).mean(dim=-1)
    return difference.sum(dim=-1) / total.sum(dim=-1)


def random_prior(num_classes: int, dim: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """ReLU-like statistics: dead dimensions and widely different variances."""
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(num_classes, dim, generator=generator).clamp(min=0)
    exponent = torch.rand(num_classes, dim, generator=generator) * 4 - 4
    return mean, (10**exponent) * (mean > 0)


REDUCTIONS = ("mean_of_ratios", "ratio_of_sums")


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_equals_the_plain_formula(reduction: Any, dtype: torch.dtype, rtol: float) -> None:
    mean, variance = (values.to(dtype) for values in random_prior(97, 256))
    distance = fisher_ratio(mean, variance, reduction=reduction, floor=1e-3)
    expected = plain_fisher_ratio(mean, variance, reduction=reduction, floor=1e-3)
    assert distance.dtype == dtype
    torch.testing.assert_close(distance.double(), expected, rtol=rtol, atol=0)


@settings(max_examples=40, deadline=None)
@given(
    num_classes=st.integers(1, 12),
    dim=st.integers(1, 40),
    block=st.integers(1, 300),
    reduction=st.sampled_from(REDUCTIONS),
    seed=st.integers(0, 1000),
)
def test_any_block_size_gives_the_same(
    num_classes: int, dim: int, block: int, reduction: Any, seed: int
) -> None:
    mean, variance = (values.double() for values in random_prior(num_classes, dim, seed))
    expected = plain_fisher_ratio(mean, variance, reduction=reduction, floor=0.01)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(super_groups._BLOCK_ELEMENTS, "cpu", block)
        distance = fisher_ratio(mean, variance, reduction=reduction, floor=0.01)
    torch.testing.assert_close(distance, expected, rtol=1e-10, atol=1e-14)
    assert torch.equal(distance, distance.T)
    assert not distance.diagonal().any()


def test_by_hand() -> None:
    mean = torch.tensor([[0.0, 0.0], [2.0, 3.0]])
    variance = torch.tensor([[1.0, 4.0], [2.0, 4.0]])
    # Per dimension 4 / (1 + 2 + 1) = 1 and 9 / (4 + 4 + 1) = 1; in sums 13 / 13.
    assert fisher_ratio(mean, variance, floor=1.0)[0, 1].item() == pytest.approx(1)
    # Without a floor 4 / 3 and 9 / 8, and 13 / 11.
    assert fisher_ratio(mean, variance)[1, 0].item() == pytest.approx((4 / 3 + 9 / 8) / 2)
    sums = fisher_ratio(mean, variance, reduction="ratio_of_sums")
    assert sums[0, 1].item() == pytest.approx(13 / 11)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_classes_without_any_spread_are_ranked_by_their_means(reduction: Any) -> None:
    mean = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    distance = fisher_ratio(mean, torch.zeros_like(mean), reduction=reduction)
    assert distance.isfinite().all()
    assert 0 < distance[0, 1] < distance[0, 2] < distance[1, 2]


def test_an_overflow_is_far_not_infinite() -> None:
    mean = torch.tensor([[0.0], [1e10]])
    assert fisher_ratio(mean, torch.zeros_like(mean)).isfinite().all()


def test_memory_stays_far_below_k_squared_d() -> None:
    num_classes, dim = 300, 256

    class LargestResult(TorchDispatchMode):
        largest = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                self.largest = max(self.largest, result.numel())
            return result

    mean, variance = random_prior(num_classes, dim)
    with LargestResult() as watch:
        fisher_ratio(mean, variance)
    assert num_classes**2 <= watch.largest <= 2**20 < num_classes**2 * dim


def planted(families: int, members: int, dim: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    """Classes 0, 1, ... take turns in well separated families: means, variances, n_seen."""
    generator = torch.Generator().manual_seed(0)
    centre = torch.randn(families, dim, generator=generator) * 2
    mean = centre.repeat(members, 1)
    mean += 0.3 * torch.randn(families * members, dim, generator=generator)
    variance = torch.full_like(mean, 0.25)
    return mean, variance, torch.full((families * members,), 5)


def as_sets(groups: SuperGroups) -> set[frozenset[int]]:
    return {
        frozenset(np.flatnonzero(groups.group_of_class == group).tolist())
        for group in range(groups.num_groups)
    }


@pytest.mark.parametrize("distance", REDUCTIONS)
def test_planted_families_are_found(distance: Any) -> None:
    options = FASAOptions(distance=distance, eps_quantile=1.0)
    groups = form_super_groups(*planted(6, 5), options)
    assert as_sets(groups) == {frozenset(range(family, 30, 6)) for family in range(6)}
    assert (groups.largest_group, groups.noise_share) == (5, 0)


@pytest.mark.parametrize("distance", REDUCTIONS)
def test_half_of_the_classes_are_core_at_the_median_and_no_group_mixes_families(
    distance: Any,
) -> None:
    groups = form_super_groups(*planted(6, 20), FASAOptions(distance=distance))
    assert groups.noise_share == pytest.approx(0.5)
    assert all(len({member % 6 for member in group}) == 1 for group in as_sets(groups))


@settings(max_examples=10, deadline=None)
@given(scale=st.floats(1e-3, 1e3))
def test_the_scale_of_the_features_does_not_matter(scale: float) -> None:
    mean, variance, n_seen = planted(4, 4)
    one = form_super_groups(mean, variance, n_seen, FASAOptions())
    other = form_super_groups(scale * mean, scale**2 * variance, n_seen, FASAOptions())
    assert one.group_of_class.tolist() == other.group_of_class.tolist()
    assert other.eps == pytest.approx(one.eps, rel=1e-4)


def line(*positions: float) -> tuple[Tensor, Tensor, Tensor]:
    """Classes on a line, with distances (x_i - x_j)^2 / 2."""
    mean = torch.tensor(positions, dtype=torch.float64)[:, None]
    return mean, torch.ones_like(mean), torch.ones(len(positions), dtype=torch.int64)


def test_eps_is_the_quantile_of_the_k_distances() -> None:
    prior = line(0, 1, 10, 12, 30, 33, 60, 64)
    groups = form_super_groups(*prior, FASAOptions(floor=0, eps_quantile=0.5))
    # k-distances to the nearest other class: .5 .5 2 2 4.5 4.5 8 8, median 3.25.
    assert groups.eps == pytest.approx(3.25)
    assert groups.eps_quantile == 0.5
    assert groups.noise.tolist() == [False] * 4 + [True] * 4
    # Noise joins its nearest core sample: class 4 (30) and all after it are nearest to 3 (12).
    assert groups.group_of_class.tolist() == [0, 0, 1, 1, 1, 1, 1, 1]
    assert (groups.noise_share, groups.num_groups, groups.largest_group) == (0.5, 2, 6)


def test_noise_can_stay_alone() -> None:
    prior = line(0, 1, 10, 12, 30, 33, 60, 64)
    groups = form_super_groups(*prior, FASAOptions(floor=0, noise="singleton"))
    assert groups.group_of_class.tolist() == [0, 0, 1, 1, 2, 3, 4, 5]
    assert groups.noise_share == 0.5


def test_the_quantile_falls_until_no_cluster_is_too_large() -> None:
    # k-distances x^2 / 2: five classes 1 apart .5, the two pairs .125 and .18, the last one 188.
    prior = line(0, 1, 2, 3, 4, 20, 20.5, 40, 40.6, 60)
    generous = form_super_groups(*prior, FASAOptions(floor=0, largest_share=0.5))
    assert (generous.eps_quantile, generous.eps) == (0.5, pytest.approx(0.5))
    # The five may not be one cluster: at most max(3, a quarter of 10). The quantile .4 of the
    # ten, between the fourth and the fifth value, is .18 + .6 (.5 - .18) = .372.
    groups = form_super_groups(*prior, FASAOptions(floor=0))
    assert (groups.eps_quantile, groups.eps) == (0.4, pytest.approx(0.372))
    assert np.flatnonzero(~groups.noise).tolist() == [5, 6, 7, 8]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (0.5, [0.5, 0.4, 0.3, 0.2, 0.1]),
        (0.35, [0.35, 0.25, 0.15]),
        (0.1, [0.1]),
        (0.05, [0.05]),
        (1.0, [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]),
    ],
)
def test_the_walk_of_the_quantile(start: float, expected: list[float]) -> None:
    assert super_groups._falling_quantiles(start) == pytest.approx(expected)


def test_unseen_classes_are_left_out() -> None:
    mean, variance, _ = planted(3, 4)
    n_seen = torch.tensor([5, 0] * 6)
    groups = form_super_groups(mean, variance, n_seen, FASAOptions())
    assert (groups.group_of_class[1::2] == -1).all()
    assert (groups.group_of_class[::2] >= 0).all()
    included = form_super_groups(mean, variance, n_seen, FASAOptions(cluster_unseen=True))
    assert (included.group_of_class >= 0).all()


def test_the_floor_is_relative_to_the_seen_classes() -> None:
    """Unseen classes have variance 0 and must not dilute it."""
    mean, variance, n_seen = planted(3, 4)
    alone = form_super_groups(mean, variance, n_seen, FASAOptions())
    padded = form_super_groups(
        torch.cat([mean, torch.zeros(20, 64)]),
        torch.cat([variance, torch.zeros(20, 64)]),
        torch.cat([n_seen, torch.zeros(20, dtype=torch.int64)]),
        FASAOptions(),
    )
    assert padded.eps == alone.eps
    assert padded.group_of_class[:12].tolist() == alone.group_of_class.tolist()


@pytest.mark.parametrize("clustering", ["dbscan", "affinity_propagation_fixed"])
@pytest.mark.parametrize("seen", [0, 1, 2])
def test_hardly_any_class_seen(clustering: Any, seen: int) -> None:
    mean, variance, _ = planted(2, 2)
    n_seen = torch.tensor([1] * seen + [0] * (4 - seen))
    groups = form_super_groups(mean, variance, n_seen, FASAOptions(clustering=clustering))
    assert (groups.group_of_class >= 0).sum() == seen
    assert (groups.num_groups == 0) == (seen == 0)


def test_nothing_seen_forms_no_group_even_with_unseen_classes_included() -> None:
    mean = torch.zeros(3, 2)
    groups = form_super_groups(mean, mean, torch.zeros(3), FASAOptions(cluster_unseen=True))
    assert groups.num_groups == 0


def test_coincident_classes_form_one_group() -> None:
    mean = torch.ones(5, 3)
    groups = form_super_groups(mean, torch.zeros(5, 3), torch.ones(5), FASAOptions())
    assert groups.group_of_class.tolist() == [0] * 5
    assert groups.eps == 1e-12


def test_the_same_prior_gives_the_same_groups() -> None:
    mean, variance, n_seen = planted(5, 7)
    first = form_super_groups(mean, variance, n_seen, FASAOptions())
    second = form_super_groups(mean, variance, n_seen, FASAOptions())
    assert first.group_of_class.tolist() == second.group_of_class.tolist()
    assert first.eps == second.eps


def blobs(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Twelve classes, four each around three centres at nearly equal distances."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.diag(torch.tensor([6.0, 7.0, 8.0])).repeat_interleave(4, dim=0)
    mean = centre + 0.5 * torch.randn(12, 3, generator=generator)
    return mean, torch.ones_like(mean), torch.ones(12)


def test_affinity_propagation_with_the_official_sign_joins_far_classes() -> None:
    families = {frozenset({0, 1, 2, 3}), frozenset({4, 5, 6, 7}), frozenset({8, 9, 10, 11})}
    converged = 0
    for seed in range(10):
        fixed = FASAOptions(clustering="affinity_propagation_fixed")
        assert as_sets(form_super_groups(*blobs(seed), fixed)) == families
        literal = FASAOptions(clustering="affinity_propagation")
        groups = form_super_groups(*blobs(seed), literal)
        assert math.isnan(groups.eps)
        converged += groups.num_groups > 0
        assert not as_sets(groups) & families
    assert converged >= 3


def test_affinity_propagation_that_does_not_converge_forms_no_group() -> None:
    mean = planted(3, 3)[0]
    options = FASAOptions(clustering="affinity_propagation")
    groups = form_super_groups(mean, torch.ones_like(mean), torch.ones(9), options)
    assert groups.group_of_class.tolist() == [-1] * 9
    assert (groups.num_groups, groups.noise_share, groups.largest_group) == (0, 0, 0)
