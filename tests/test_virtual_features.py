import pytest
import torch

from fasa_core.prior import FeaturePrior
from fasa_core.virtual_features import IGNORE, draw_virtual_features


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def known_prior(spread: str = "std") -> FeaturePrior:
    """Classes 0 and 1 with means 1 and 5, variances 4 and 9; class 2 was never seen."""
    prior = FeaturePrior(3, 2, spread=spread)  # type: ignore[arg-type]
    prior.mean[:2] = torch.tensor([[1.0], [5.0]])
    variance = torch.tensor([[4.0], [9.0]])
    prior.spread[:2] = variance.sqrt() if spread == "std" else variance
    prior.n_seen[:2] = 1
    return prior


@pytest.mark.parametrize("spread", ["std", "variance", "ew"])
def test_mean_plus_sigma_times_noise(spread: str) -> None:
    classes = torch.tensor([1, 0])
    x, y = draw_virtual_features(known_prior(spread), classes, generator=seeded())
    noise = torch.randn(2, 2, generator=seeded())
    expected = torch.stack([5 + 3 * noise[0], 1 + 2 * noise[1]])
    torch.testing.assert_close(x, expected)
    assert y.tolist() == [1, 0]


def test_a_class_without_a_prior_is_marked() -> None:
    x, y = draw_virtual_features(known_prior(), torch.tensor([0, 2, 1]), generator=seeded())
    assert y.tolist() == [0, IGNORE, 1]
    assert x.isfinite().all()


def test_no_class_gives_no_features() -> None:
    empty = torch.empty(0, dtype=torch.int64)
    x, y = draw_virtual_features(known_prior(), empty, generator=seeded())
    assert x.shape == (0, 2)
    assert y.shape == (0,)
    assert y.dtype == torch.int64


def test_clamping_is_a_choice() -> None:
    classes = torch.zeros(100, dtype=torch.int64)
    free, _ = draw_virtual_features(known_prior(), classes, generator=seeded())
    clamped, _ = draw_virtual_features(
        known_prior(), classes, generator=seeded(), clamp_negative=True
    )
    assert (free < 0).any()
    assert torch.equal(clamped, free.clamp(min=0))


def test_the_draws_have_the_priors_moments() -> None:
    x, _ = draw_virtual_features(
        known_prior(), torch.ones(20_000, dtype=torch.int64), generator=seeded()
    )
    # Standard errors: 3 / sqrt(20000) = 0.021 for the mean, 0.015 for the deviation.
    assert x.mean(dim=0).tolist() == pytest.approx([5.0, 5.0], abs=0.1)
    assert x.std(dim=0).tolist() == pytest.approx([3.0, 3.0], abs=0.1)


def test_no_generator_means_torchs_own() -> None:
    classes = torch.tensor([0, 1])
    torch.manual_seed(3)
    first, _ = draw_virtual_features(known_prior(), classes, generator=None)
    torch.manual_seed(3)
    second, _ = draw_virtual_features(known_prior(), classes, generator=None)
    assert torch.equal(first, second)
    seeded_state = torch.get_rng_state()
    draw_virtual_features(known_prior(), classes, generator=seeded())
    assert torch.equal(torch.get_rng_state(), seeded_state)


def test_the_dtype_is_the_priors() -> None:
    x, _ = draw_virtual_features(known_prior().double(), torch.tensor([0]), generator=seeded())
    assert x.dtype == torch.float64
