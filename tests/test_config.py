"""RunConfig: bounds, sentences, live knobs, and its agreement with fasa_core's options."""

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasa_core.options import OFFICIAL, PAPER, FASAOptions
from trainer.config import ConfigError, RunConfig, check_live, live_knobs, load_config
from trainer.presets import PRESETS, preset_values


def test_every_knob_says_its_group_and_meaning() -> None:
    for name, field in RunConfig.model_fields.items():
        assert field.description, name
        assert isinstance(field.json_schema_extra, dict), name
        assert field.json_schema_extra["group"], name


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"alpha": 0.9}, "alpha is 0.9"),
        ({"beta": 1.1}, "beta is 1.1"),
        ({"m": 0}, "m is 0"),
        ({"m": 1.5}, "m is 1.5"),
        ({"m": float("nan")}, "m is nan"),
        ({"alpha": "fast"}, "alpha is 'fast'"),
        ({"colour": 1}, "no setting 'colour'"),
        ({"data": "coco"}, "--annotations FILE and --images FOLDER"),
        ({"test_images": "x"}, "go together"),
        ({"backbone": "vgg"}, "backbone is 'vgg'"),
        ({"image_max_size": 100}, "below image_min_size"),
    ],
)
def test_a_broken_rule_is_one_sentence(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(values)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_configuration_survives_json() -> None:
    config = load_config({"data": "coco", "annotations": "a.json", "images": "b"})
    assert load_config(config.model_dump(mode="json")) == config
    assert config.annotations == Path("a.json")


def test_the_live_knobs() -> None:
    assert set(live_knobs()) == {"alpha", "beta", "m", "virtual_loss_weight"}
    assert check_live({"alpha": 1.3, "m": 0.2}) == {"alpha": 1.3, "m": 0.2}
    for values in ({"alpha": 0.5}, {"seed": 1}, {}, {"beta": 2}):
        with pytest.raises(ConfigError):
            check_live(values)


@given(alpha=st.floats(1, 10), beta=st.floats(0.01, 1), m=st.floats(0.01, 1))
def test_what_is_within_the_bounds_is_taken(alpha: float, beta: float, m: float) -> None:
    assert check_live({"alpha": alpha, "beta": beta, "m": m}) == {
        "alpha": alpha,
        "beta": beta,
        "m": m,
    }


def _fasa_options(config: RunConfig) -> FASAOptions:
    return FASAOptions(**{f.name: getattr(config, f.name) for f in fields(FASAOptions)})


def test_the_defaults_are_the_papers() -> None:
    assert _fasa_options(RunConfig()) == PAPER


def test_the_official_preset_is_fasa_cores() -> None:
    assert _fasa_options(load_config(preset_values(["official"]))) == OFFICIAL


def test_presets_lie_over_one_another() -> None:
    values = preset_values(["static-5", "static-15"])
    assert values == {"sampling": "static", "initial_scale": 15.0}
    with pytest.raises(ConfigError, match="no preset 'demoo': choose from demo"):
        preset_values(["demoo"])


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_is_a_valid_configuration(name: str) -> None:
    load_config(preset_values([name]))
