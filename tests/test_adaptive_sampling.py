import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fasa_core.adaptive_sampling import AdaptationReport, AdaptiveSampling, inverse_frequency
from fasa_core.super_groups import SuperGroups


def grouped(*group_of_class: int, noise: tuple[int, ...] = ()) -> SuperGroups:
    group = np.array(group_of_class, dtype=np.int64)
    return SuperGroups(group, np.isin(np.arange(len(group)), noise), eps=0.5, eps_quantile=0.5)


def adapt(
    sampling: AdaptiveSampling,
    groups: SuperGroups,
    loss_sum: list[float],
    count: list[int],
    *,
    alpha: float = 1.1,
    beta: float = 0.9,
) -> AdaptationReport:
    return sampling.adapt(
        groups, torch.tensor(loss_sum), torch.tensor(count), alpha=alpha, beta=beta, epoch=3
    )


def test_eq_4_by_hand() -> None:
    # 1/1 + 1/2 + 1/4 = 7/4: shares 4/7, 2/7, 1/7; a class without instances stays outside.
    base = inverse_frequency(torch.tensor([1, 2, 0, 4]))
    assert base.tolist() == pytest.approx([4 / 7, 2 / 7, 0, 1 / 7])


def test_eq_4_on_lvis(shared_data: Path) -> None:
    rows = json.loads((shared_data / "lvis_v1_categories.json").read_text())
    counts = torch.tensor([row["instance_count"] for row in rows])
    rare = torch.tensor([row["frequency"] == "r" for row in rows])
    p = inverse_frequency(counts)
    assert (1 / counts.double()).sum().item() == pytest.approx(104.50, abs=0.005)
    assert p.max().item() == pytest.approx(0.00957, rel=1e-3)
    assert p.min().item() == pytest.approx(1.9e-7, rel=0.02)
    assert p[rare].sum().item() == pytest.approx(0.907, abs=5e-4)


@pytest.mark.parametrize(
    ("counts", "zero_count", "rule"),
    [
        ([3, -1], "exclude", "class_counts must be .* not \\[3, -1\\]"),
        ([0, 0], "exclude", "some positive count"),
        ([], "exclude", "some positive count"),
        ([5, 0], "error", "class 1 has 0 training instances"),
        ([1.0, float("nan")], "exclude", "class_counts must be"),
    ],
)
def test_counts_that_give_no_probability(counts: list, zero_count: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        inverse_frequency(torch.tensor(counts), zero_count=zero_count)  # type: ignore[arg-type]


@pytest.mark.parametrize(("scale", "first"), [(1, 0.4), (2, 0.8), (5, 1.0), (15, 1.0)])
def test_the_initial_scale_is_clamped(scale: float, first: float) -> None:
    sampling = AdaptiveSampling(torch.tensor([1, 2, 4, 2, 4]), initial_scale=scale)
    assert sampling.base_probability[0].item() == pytest.approx(0.4)
    assert sampling.probability[0].item() == pytest.approx(first)


def test_fell_rose_tie_and_no_data_by_hand() -> None:
    sampling = AdaptiveSampling(torch.full((8,), 10))
    groups = grouped(0, 0, 1, 1, 2, 3, 3, -1, noise=(1,))
    count = [2, 1, 4, 0, 5, 0, 0, 3]
    first = adapt(sampling, groups, [2, 3, 4, 0, 5, 0, 0, 3], count)
    assert [g.reason for g in first.groups] == ["baseline"] * 3 + ["no validation data"]
    assert not first.decision.any()
    assert first.groups[0].loss_after == 2.0  # (2 / 2 + 3 / 1) / 2
    assert first.groups[0].loss_before is None

    report = adapt(sampling, groups, [1, 3, 8, 0, 5, 0, 0, 0], count)
    assert [g.reason for g in report.groups] == ["fell", "rose", "tie", "no validation data"]
    assert [g.factor for g in report.groups] == [1.1, 0.9, 1.0, 1.0]
    before_after = [(g.loss_before, g.loss_after) for g in report.groups]
    assert before_after == [(2.0, 1.75), (1.0, 2.0), (1.0, 1.0), (None, None)]
    assert [g.members for g in report.groups] == [[0, 1], [2, 3], [4], [5, 6]]
    assert [g.with_data for g in report.groups] == [[0, 1], [2], [4], []]
    assert report.groups[0].noise_members == [1]
    # Class 3 has no data and moves with its group; class 7 has no group and stays.
    assert report.decision.tolist() == [1, 1, -1, -1, 0, 0, 0, 0]
    expected = 0.125 * np.array([1.1, 1.1, 0.9, 0.9, 1, 1, 1, 1])
    np.testing.assert_allclose(report.probability_after, expected, rtol=1e-6)
    np.testing.assert_allclose(sampling.probability.numpy(), expected, rtol=1e-6)
    np.testing.assert_array_equal(report.probability_before, np.full(8, 0.125))
    assert sampling.group_of_class.tolist() == groups.group_of_class.tolist()


def test_a_class_counts_only_with_data_in_both_evaluations() -> None:
    sampling = AdaptiveSampling(torch.tensor([1, 1]))
    groups = grouped(0, 0)
    adapt(sampling, groups, [2, 0], [1, 0])
    report = adapt(sampling, groups, [1, 100], [1, 1])
    assert (report.groups[0].with_data, report.groups[0].reason) == ([0], "fell")
    # Class 1 had data the last time, so now it decides too: (1 + 100) / 2 -> (1 + 9) / 2.
    report = adapt(sampling, groups, [1, 9], [1, 1])
    assert (report.groups[0].loss_before, report.groups[0].loss_after) == (50.5, 5.0)


def test_the_losses_of_both_epochs_are_grouped_as_now() -> None:
    sampling = AdaptiveSampling(torch.ones(4))
    adapt(sampling, grouped(0, 0, 1, 1), [1, 2, 3, 4], [1, 1, 1, 1])
    report = adapt(sampling, grouped(0, 1, 0, 1), [2, 1, 3, 4], [1, 1, 1, 1])
    assert [(g.loss_before, g.loss_after) for g in report.groups] == [(2.0, 2.5), (3.0, 2.5)]
    assert report.decision.tolist() == [-1, 1, -1, 1]


def test_the_official_statistic_divides_by_all_rois() -> None:
    """Sums over the group, over all RoIs: what the background does moves every probability."""
    groups, count = grouped(0, 0), [2, 1, 7]
    sampling = AdaptiveSampling(torch.tensor([1, 1]), group_statistic="sum")
    first = adapt(sampling, groups, [2, 1, 50], count)
    assert first.groups[0].loss_after == pytest.approx(0.3)
    # The classes are as they were, but half as many background RoIs double the statistic.
    report = adapt(sampling, groups, [2, 1, 50], [2, 1, 2])
    assert report.groups[0].loss_before == pytest.approx(0.3)
    assert report.groups[0].loss_after == pytest.approx(0.6)
    assert report.decision.tolist() == [-1, -1]
    mean = AdaptiveSampling(torch.tensor([1, 1]))
    adapt(mean, groups, [2, 1, 50], count)
    assert adapt(mean, groups, [2, 1, 50], [2, 1, 2]).groups[0].reason == "tie"


def test_the_clamp_at_one_is_reported() -> None:
    sampling = AdaptiveSampling(torch.tensor([1, 4]))  # 0.8 and 0.2
    groups = grouped(0, 0)
    adapt(sampling, groups, [2, 2], [1, 1])
    report = adapt(sampling, groups, [1, 1], [1, 1], alpha=1.5)
    assert report.groups[0].clamped == [0]
    assert sampling.probability.tolist() == pytest.approx([1.0, 0.3])


def test_static_sampling_reports_but_never_moves() -> None:
    sampling = AdaptiveSampling(torch.tensor([1, 3]), static=True)
    before = sampling.probability.clone()
    adapt(sampling, grouped(0, 0), [2, 2], [1, 1])
    report = adapt(sampling, grouped(0, 0), [1, 1], [1, 1])
    assert (report.groups[0].reason, report.groups[0].factor) == ("static", 1.0)
    assert torch.equal(sampling.probability, before)


def test_without_groups_nothing_moves() -> None:
    sampling = AdaptiveSampling(torch.tensor([1, 3]))
    for loss in ([2, 2], [1, 1]):
        report = adapt(sampling, grouped(-1, -1), loss, [1, 1])
    assert (report.groups, report.num_groups, report.largest_group) == ([], 0, 0)
    assert not report.decision.any()


def test_the_report_is_plain_json() -> None:
    groups = SuperGroups(np.array([0, 0, -1]), np.zeros(3, dtype=np.bool_))
    sampling = AdaptiveSampling(torch.tensor([1, 3, 0]))
    report = adapt(sampling, groups, [1, 2, 3], [1, 1, 0]).to_dict()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert (report["eps"], report["eps_quantile"], report["epoch"]) == (None, None, 3)
    assert report["group_of_class"] == [0, 0, -1]
    assert set(report["groups"][0]) == {
        "group",
        "members",
        "noise_members",
        "with_data",
        "loss_before",
        "loss_after",
        "factor",
        "reason",
        "clamped",
    }


@pytest.mark.parametrize(
    ("loss_sum", "count", "rule"),
    [
        (torch.ones(3), torch.ones(2), r"loss_sum must be \[2\], or \[3\] with background last"),
        (torch.ones(2), torch.ones(1), r"count must be \[2\].* not \[1\]"),
        (torch.tensor([1.0, torch.nan]), torch.ones(2), "loss_sum must be finite"),
        (torch.ones(2), torch.tensor([1, -1]), "count must be finite and not negative"),
    ],
)
def test_wrong_evaluations_are_named(loss_sum: Tensor, count: Tensor, rule: str) -> None:
    sampling = AdaptiveSampling(torch.tensor([1, 1]))
    loss_sum = torch.ones(4) if "background last" in rule else loss_sum
    with pytest.raises(ValueError, match=rule):
        sampling.adapt(grouped(0, 0), loss_sum, count, alpha=1.1, beta=0.9, epoch=0)
    assert sampling.evaluations == 0


@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.lists(st.integers(0, 3), min_size=6, max_size=6),
            st.lists(st.floats(0, 10), min_size=6, max_size=6),
            st.lists(st.integers(0, 3), min_size=6, max_size=6),
        ),
        min_size=1,
        max_size=6,
    ),
    statistic=st.sampled_from(["mean", "sum"]),
)
def test_the_report_explains_every_probability(steps: list, statistic: str) -> None:
    sampling = AdaptiveSampling(
        torch.tensor([1, 2, 5, 9, 20, 40]),
        initial_scale=2,
        group_statistic=statistic,  # type: ignore[arg-type]
    )
    for groups, loss, count in steps:
        present = sorted(set(groups))
        group_of_class = [present.index(group) for group in groups]
        before = sampling.probability.numpy().copy()
        report = adapt(sampling, grouped(*group_of_class), loss, count, alpha=1.3, beta=0.8)
        assert sorted(c for g in report.groups for c in g.members) == list(range(6))
        for group in report.groups:
            expected = before[group.members] * group.factor
            held = [c for c, p in zip(group.members, expected, strict=True) if p > 1]
            assert group.clamped == held
            np.testing.assert_allclose(
                report.probability_after[group.members], expected.clip(0, 1), rtol=1e-6
            )
            if group.loss_before is not None and group.loss_after is not None:
                sign = np.sign(group.loss_before - group.loss_after)
                assert group.factor == {1.0: 1.3, -1.0: 0.8, 0.0: 1.0}[float(sign)]
            else:
                assert group.factor == 1


def test_the_draw_follows_the_probabilities() -> None:
    sampling = AdaptiveSampling(torch.tensor([1, 3, 0]), initial_scale=1)  # .75, .25, 0
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat([sampling.draw(generator) for _ in range(4000)])
    assert drawn.dtype == torch.int64
    share = torch.bincount(drawn, minlength=3) / 4000
    assert share.tolist() == pytest.approx([0.75, 0.25, 0], abs=0.035)  # five standard errors


def test_the_draw_resolves_tiny_probabilities() -> None:
    """float32 uniforms are multiples of 6e-8: p = 1e-8 would come six times too often."""
    sampling = AdaptiveSampling(torch.ones(100_000))
    sampling.probability.fill_(1e-8)
    generator = torch.Generator().manual_seed(0)
    drawn = sum(len(sampling.draw(generator)) for _ in range(100))  # 1e7 draws, 0.1 expected
    assert drawn <= 2


def test_the_draw_sees_every_change_of_the_probabilities() -> None:
    sampling = AdaptiveSampling(torch.ones(4))
    generator = torch.Generator().manual_seed(0)
    sampling.probability.fill_(1.0)
    assert sampling.draw(generator).tolist() == [0, 1, 2, 3]
    sampling.probability.zero_()
    assert sampling.draw(generator).tolist() == []
    sampling.load_state_dict({**sampling.state_dict(), "probability": torch.tensor([0, 1.0, 0, 1])})
    assert sampling.draw(generator).tolist() == [1, 3]
    state = {**sampling.state_dict(), "probability": torch.tensor([1.0, 0, 0, 0])}
    sampling.load_state_dict(state, assign=True)
    assert sampling.draw(generator).tolist() == [0]
    assert sampling.double().draw(generator).tolist() == [0]
