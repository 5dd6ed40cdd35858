import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fasa_core.prior import FeaturePrior

ORACLES = {
    "official_var_ema": {"spread": "variance"},
    "paper_std_ema_unbiased": {},
    "paper_std_ema_biased": {"unbiased": False},
    "paper_std_ema_unbiased_single_keep": {"single": "keep"},
    "var_ema_unbiased_single_keep": {"spread": "variance", "single": "keep"},
    "ew_total_variance": {"spread": "ew"},
}


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize("variant", ORACLES)
def test_equals_the_reference(
    variant: str, dtype: torch.dtype, rtol: float, shared_oracles: Path
) -> None:
    oracle = json.loads((shared_oracles / "01_prior_update.json").read_text())
    prior = FeaturePrior(oracle["C"], oracle["d"], **ORACLES[variant]).to(dtype)
    for batch, expected in zip(oracle["batches"], oracle[variant], strict=True):
        features = torch.tensor(batch["features"], dtype=dtype)
        prior.observe(features, torch.tensor(batch["labels"]), m=oracle["m"])
        spread = expected["std"] if "std" in expected else expected["var"]
        close(prior.mean, expected["mean"], rtol)
        close(prior.spread, spread, rtol)
        close((prior.n_seen > 0).double(), expected.get("used", expected.get("seen")), 0)
        if "n_seen" in expected:
            assert prior.n_seen.tolist() == expected["n_seen"]


def close(actual: Tensor, expected: list, rtol: float) -> None:
    wanted = torch.tensor(expected, dtype=actual.dtype)
    torch.testing.assert_close(actual, wanted, rtol=rtol, atol=rtol * 1e-2)


def test_two_steps_by_hand() -> None:
    prior = FeaturePrior(2, 1)
    prior.observe(torch.tensor([[1.0], [3.0], [7.0]]), torch.tensor([0, 0, 1]), m=0.1)
    # Class 0: mean 2, variance (1 + 1) / (2 - 1) = 2. Class 1: one row, spread 0.
    assert prior.mean.tolist() == [[2.0], [7.0]]
    assert prior.spread.tolist() == [[pytest.approx(2**0.5)], [0.0]]
    prior.observe(torch.tensor([[12.0]]), torch.tensor([0]), m=0.1)
    # 0.9 * 2 + 0.1 * 12 = 3; the spread shrinks to 0.9 of itself.
    assert prior.mean.tolist() == [[pytest.approx(3.0)], [7.0]]
    assert prior.spread.tolist() == [[pytest.approx(0.9 * 2**0.5)], [0.0]]
    assert prior.n_seen.tolist() == [3, 1]


def test_the_effective_sample_size_by_hand() -> None:
    prior = FeaturePrior(3, 1)
    assert prior.effective_samples.tolist() == [0, 0, 0]
    prior.observe(torch.rand(5, 1), torch.tensor([0, 0, 0, 0, 1]), m=0.5)
    # Four rows of weight 1/4, and a single one of weight 1.
    assert prior.effective_samples.tolist() == [4, 1, 0]
    prior.observe(torch.rand(3, 1), torch.tensor([0, 1, 1]), m=0.5)
    # Class 0: 4 x 1/8 and 1/2: 1 / (4/64 + 1/4) = 3.2: one row of half the weight is a loss.
    # Class 1: 1/2 and 2 x 1/4: 1 / (1/4 + 2/16) = 8/3. The average is of the same weights.
    assert prior.effective_samples.tolist() == pytest.approx([3.2, 8 / 3, 0])
    prior.observe(torch.rand(1, 1), torch.tensor([0]), m=0.5)
    assert prior.effective_samples.tolist() == pytest.approx([1 / (5 / 64 + 1 / 4), 8 / 3, 0])


def test_the_effective_sample_size_settles_however_many_are_seen() -> None:
    """n (2 - m) / m for n rows a batch."""
    prior = FeaturePrior(1, 1).double()
    for _ in range(200):
        prior.observe(torch.rand(3, 1), torch.tensor([0, 0, 0]), m=0.1)
    assert prior.effective_samples.item() == pytest.approx(3 * 1.9 / 0.1)
    assert prior.n_seen.item() == 600


@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(st.lists(st.integers(-1, 4), max_size=9), min_size=1, max_size=6),
    m=st.floats(0.01, 1),
)
def test_the_effective_sample_size_is_that_of_the_weights_in_the_mean(
    batches: list[list[int]], m: float
) -> None:
    """One-hot rows make the mean the list of the weights themselves: Kish is 1 / sum of w^2."""
    rows = sum(map(len, batches))
    prior, row = FeaturePrior(4, max(1, rows)).double(), 0
    for labels in batches:
        x = torch.eye(max(1, rows), dtype=torch.float64)[row : row + len(labels)]
        prior.observe(x, torch.tensor(labels, dtype=torch.int64), m=m)
        row += len(labels)
    seen = prior.n_seen > 0
    expected = torch.where(seen, 1 / prior.mean.square().sum(dim=1), 0.0)
    torch.testing.assert_close(prior.effective_samples, expected)
    assert bool((prior.effective_samples <= prior.n_seen * (1 + 1e-9)).all())
    torch.testing.assert_close(prior.mean.sum(dim=1), seen.double())


def test_single_keep_waits_for_two_rows() -> None:
    prior = FeaturePrior(1, 1, single="keep")
    for value in (4.0, 6.0):
        prior.observe(torch.tensor([[value]]), torch.tensor([0]), m=0.5)
    assert (prior.mean.item(), prior.spread.item()) == (5.0, 0.0)
    prior.observe(torch.tensor([[4.0], [6.0]]), torch.tensor([0, 0]), m=0.5)
    assert prior.spread.item() == pytest.approx(2**0.5)  # taken over whole, not halved
    prior.observe(torch.tensor([[9.0]]), torch.tensor([0]), m=0.5)
    assert prior.spread.item() == pytest.approx(2**0.5)
    assert (prior.n_seen.item(), prior.n_spread.item()) == (5, 1)


def test_ew_is_the_variance_of_the_weighted_mixture() -> None:
    """One row a batch: the classes of the CIFAR tail, where the literal spread would be 0."""
    values, m = torch.tensor([2.0, 5.0, -1.0, 4.0], dtype=torch.float64), 0.3
    prior = FeaturePrior(1, 1, spread="ew").double()
    for value in values:
        prior.observe(value.view(1, 1), torch.tensor([0]), m=m)
    weights = torch.tensor([0.7**3, m * 0.7**2, m * 0.7, m], dtype=torch.float64)
    mean = (weights * values).sum()
    variance = (weights * (values - mean).square()).sum()
    assert weights.sum().item() == pytest.approx(1)
    assert prior.mean.item() == pytest.approx(mean.item())
    assert prior.variance.item() == pytest.approx(variance.item())
    assert prior.standard_deviation().item() == pytest.approx(variance.item() ** 0.5)


@pytest.mark.parametrize(
    ("features", "labels"),
    [
        (torch.empty(0, 3), torch.empty(0, dtype=torch.int64)),
        (torch.ones(4, 3), torch.full((4,), 5)),
        (torch.ones(2, 3), torch.tensor([-1, 99])),
        (torch.tensor([[torch.nan, 1, 1], [1, torch.inf, 1]]), torch.tensor([0, 1])),
    ],
    ids=["no rows", "background only", "labels outside", "not finite"],
)
def test_nothing_to_learn_leaves_no_trace(features: Tensor, labels: Tensor) -> None:
    prior = FeaturePrior(5, 3)
    prior.observe(torch.rand(6, 3), torch.tensor([0, 0, 1, 1, 2, 4]), m=0.1)
    before = {name: value.clone() for name, value in prior.state_dict().items()}
    prior.observe(features, labels, m=0.1)
    for name, value in prior.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_row_that_is_not_finite_spoils_no_other() -> None:
    rows = torch.tensor([[1.0], [torch.inf], [3.0], [torch.nan], [5.0]])
    prior = FeaturePrior(2, 1)
    prior.observe(rows, torch.tensor([0, 0, 0, 1, 2]), m=0.1)
    assert prior.mean.tolist() == [[2.0], [0.0]]
    assert prior.n_seen.tolist() == [2, 0]


def naive_step(
    prior: dict[str, Any], features: Tensor, labels: Tensor, kind: str, m: float
) -> None:
    """Eq. 2 one class at a time, as it is written down."""
    for c in labels.unique().tolist():
        rows = features[labels == c]
        if not 0 <= c < len(prior["mean"]):
            continue
        mean = rows.mean(dim=0)
        variance = rows.var(dim=0) if len(rows) > 1 else torch.zeros_like(mean)
        spread = variance.sqrt() if kind == "std" else variance
        if not prior["seen"][c]:
            prior["mean"][c], prior["spread"][c], prior["seen"][c] = mean, spread, True
            continue
        delta = mean - prior["mean"][c]
        extra = (1 - m) * m * delta**2 if kind == "ew" else 0
        prior["mean"][c] = (1 - m) * prior["mean"][c] + m * mean
        prior["spread"][c] = (1 - m) * prior["spread"][c] + m * spread + extra


@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(st.lists(st.integers(-1, 6), max_size=12), min_size=1, max_size=5),
    kind=st.sampled_from(["std", "variance", "ew"]),
    m=st.floats(0.01, 1),
    seed=st.integers(0, 2**31),
)
def test_equals_a_loop_over_classes(
    batches: list[list[int]], kind: Any, m: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    prior = FeaturePrior(6, 3, spread=kind).double()
    naive = {"mean": torch.zeros(6, 3).double(), "spread": torch.zeros(6, 3).double()}
    naive["seen"] = torch.zeros(6, dtype=torch.bool)
    for labels in batches:
        y = torch.tensor(labels, dtype=torch.int64)
        x = torch.rand(len(y), 3, generator=generator, dtype=torch.float64)
        prior.observe(x, y, m=m)
        naive_step(naive, x, y, kind, m)
    torch.testing.assert_close(prior.mean, naive["mean"], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(prior.spread, naive["spread"], rtol=1e-9, atol=1e-9)
    assert torch.equal(prior.n_seen > 0, naive["seen"])


def test_a_small_spread_far_from_zero_survives_float32() -> None:
    """E[x^2] - E[x]^2 would lose all digits here: 1e4^2 has an ulp of 8, the variance is 1e-4."""
    offset = torch.tensor([-0.01, 0.01]).repeat(8)[:, None] + 1e4
    prior = FeaturePrior(1, 1)
    prior.observe(offset, torch.zeros(16, dtype=torch.int64), m=0.1)
    exact = offset.double().std().item()
    assert exact > 0.009
    assert prior.spread.item() == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_prior_stays_float32_whatever_comes_in(dtype: torch.dtype) -> None:
    x, y = torch.rand(32, 4).to(dtype), torch.randint(0, 3, (32,))
    given_dtype, given_float32 = FeaturePrior(3, 4), FeaturePrior(3, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        given_dtype.observe(x, y, m=0.1)
    given_float32.observe(x.float(), y, m=0.1)
    assert given_dtype.mean.dtype == torch.float32
    assert torch.equal(given_dtype.mean, given_float32.mean)
    assert torch.equal(given_dtype.spread, given_float32.spread)


def test_features_with_gradients_leave_no_graph() -> None:
    prior = FeaturePrior(2, 4)
    prior.observe(torch.rand(3, 4, requires_grad=True), torch.tensor([0, 1, 1]), m=0.1)
    assert not prior.mean.requires_grad


def test_the_cost_does_not_grow_with_the_classes() -> None:
    """No operation but the views of the buffers themselves yields anything near C x d."""
    num_classes, rows, dim = 5000, 8, 64

    class LargestResult(TorchDispatchMode):
        largest = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            own = {prior.mean.data_ptr(), prior.spread.data_ptr()}
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor) and leaf.data_ptr() not in own:
                    self.largest = max(self.largest, leaf.numel())
            return result

    prior = FeaturePrior(num_classes, dim)
    with LargestResult() as watch:
        prior.observe(torch.rand(rows, dim), torch.randint(0, num_classes, (rows,)), m=0.1)
    assert rows * dim < watch.largest <= max(num_classes, (rows + 1) * dim)


@pytest.mark.parametrize(
    ("features", "labels", "rule"),
    [
        (torch.rand(2, 3), torch.tensor([0, 1]), r"features must be \[N, 4\], not \[2, 3\]"),
        (torch.rand(4), torch.tensor([0]), r"features must be \[N, 4\]"),
        (torch.rand(2, 4), torch.tensor([0]), r"labels must be int64 \[2\].*not torch.int64 \[1\]"),
        (torch.rand(1, 4), torch.tensor([0.0]), r"labels must be int64 \[1\].*torch.float32"),
    ],
)
def test_wrong_shapes_are_named(features: Tensor, labels: Tensor, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        FeaturePrior(2, 4).observe(features, labels, m=0.1)


def test_a_prior_needs_classes_and_features() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 1, not 0"):
        FeaturePrior(0, 4)
    with pytest.raises(ValueError, match="feature_dim must be at least 1, not 0"):
        FeaturePrior(4, 0)
