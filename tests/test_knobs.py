"""Knobs turn together or not at all."""

import pytest

from fasa_core.fasa import FASA
from trainer.config import ConfigError, RunConfig
from trainer.knobs import Knobs


def _fasa() -> FASA:
    return FASA(2, 3, [5, 1])


def test_they_start_as_configured() -> None:
    knobs = Knobs(RunConfig(learning_rate_factor=0.5), [_fasa()])
    assert knobs.values() == {
        "learning_rate_factor": 0.5,
        "m": 0.1,
        "alpha": 1.1,
        "beta": 0.9,
        "virtual_loss_weight": 0.1,
    }


def test_what_is_set_reaches_fasa() -> None:
    fasa = _fasa()
    knobs = Knobs(RunConfig(), [fasa])
    assert knobs.set({"alpha": 1.3, "learning_rate_factor": 2}) == {
        "alpha": 1.3,
        "learning_rate_factor": 2.0,
    }
    assert fasa.alpha == 1.3
    assert knobs.learning_rate_factor == 2.0
    assert knobs.values()["beta"] == 0.9


def test_one_bad_value_changes_nothing() -> None:
    knobs = Knobs(RunConfig(), [_fasa()])
    with pytest.raises(ConfigError, match="beta is 7"):
        knobs.set({"alpha": 1.3, "learning_rate_factor": 2, "beta": 7})
    assert knobs.values() == Knobs(RunConfig(), [_fasa()]).values()


def test_a_baseline_has_the_learning_rate_alone() -> None:
    knobs = Knobs(RunConfig(fasa=False), [])
    assert knobs.set({"learning_rate_factor": 0.1}) == {"learning_rate_factor": 0.1}
    assert knobs.values() == {"learning_rate_factor": 0.1}
    with pytest.raises(ConfigError, match="'alpha' cannot be changed"):
        knobs.set({"alpha": 1.3})


def test_a_forks_edits_lie_over_its_checkpoint() -> None:
    fasa = _fasa()
    knobs = Knobs(RunConfig(alpha=1.3), [fasa])
    fasa.set_knobs(alpha=2.0, m=0.5)  # as a checkpoint would
    knobs.learning_rate_factor = 3.0
    knobs.set_as_configured()
    assert knobs.values() == Knobs(RunConfig(alpha=1.3), []).values() | {
        "m": 0.1,
        "alpha": 1.3,
        "beta": 0.9,
        "virtual_loss_weight": 0.1,
    }
