"""RunConfig: bounds, sentences, live knobs, and its agreement with fasa_core's options."""

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasa_core.options import OFFICIAL, PAPER, FASAOptions
from trainer.config import (
    ConfigError,
    RunConfig,
    check_live,
    child_config,
    dataset_title,
    fork_knobs,
    live_knobs,
    load_config,
)
from trainer.data_paths import check_paths
from trainer.presets import preset_values


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
        ({"anchor_sizes": (16, 32, 0, 90)}, "anchor_sizes.2 is 0"),
        ({"anchor_sizes": (16, 32, 56)}, "anchor_sizes is (16, 32, 56)"),
        ({"milestones": (8, -1)}, "milestones.1 is -1"),
        ({"epochs": 10**20}, "epochs is 100000000000000000000"),
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
    fasa = {"alpha", "beta", "m", "virtual_loss_weight"}
    assert set(live_knobs()) == fasa | {"learning_rate_factor"}
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


def test_a_baseline_has_no_knob_of_fasa() -> None:
    baseline = RunConfig(fasa=False)
    assert check_live({"learning_rate_factor": 0.5}, baseline) == {"learning_rate_factor": 0.5}
    with pytest.raises(ConfigError, match=r"'alpha' cannot be changed.*learning_rate_factor"):
        check_live({"alpha": 1.3}, baseline)


def test_a_child_has_its_parents_values_and_the_edits() -> None:
    parent = RunConfig(beta=0.8, seed=3).model_dump(mode="json")
    child = child_config(parent, {"alpha": "1.3"}, fork=True)
    assert (child.alpha, child.beta, child.seed) == (1.3, 0.8, 3)


def test_a_fork_cannot_change_what_its_checkpoint_rests_on() -> None:
    parent = RunConfig().model_dump(mode="json")
    with pytest.raises(ConfigError, match="a fork cannot change batch_size, seed"):
        child_config(parent, {"seed": 3, "batch_size": 2, "alpha": 1.3}, fork=True)
    assert child_config(parent, {"seed": 3}, fork=False).seed == 3
    assert child_config(parent, {"seed": 0}, fork=True).seed == 0  # named, but not changed
    assert "alpha" in fork_knobs()
    assert "feature_dim" not in fork_knobs()


def test_the_data_sets_title() -> None:
    assert dataset_title(RunConfig(demo_classes=7)) == "demo (7 classes)"
    unused = RunConfig(annotations="x/a.json")
    assert dataset_title(unused) == "demo (60 classes)"
    assert dataset_title(RunConfig(data="coco", annotations="x/a.json", images="b")) == "a"


def _coco(annotations: Path | str) -> RunConfig:
    return RunConfig(data="coco", annotations=annotations, images="/data/images")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/data/../etc/passwd",
        "../a.json",
        "/data2/a.json",
        "\0",
    ],
)
def test_a_path_outside_the_data_folders_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=r"annotations is .* not inside /data") as caught:
        check_paths(_coco(path), [Path("/data")])
    assert len(str(caught.value)) < 300


def test_a_path_inside_the_data_folders_is_taken(tmp_path: Path) -> None:
    check_paths(_coco("/data/lvis/../a.json"), [tmp_path, Path("/data")])
    check_paths(RunConfig(), [])  # the demo names no file
    check_paths(RunConfig(backbone_weights="none", trainable_layers=5), [])
    with pytest.raises(ConfigError, match="none is configured"):
        check_paths(_coco("/data/a.json"), [])
    with pytest.raises(ConfigError, match="backbone_weights"):
        check_paths(RunConfig(backbone_weights="/etc/passwd"), [tmp_path])


def test_a_link_that_leads_outside_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "link").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="annotations"):
        check_paths(_coco(data / "link" / "a.json"), [data])


def _fasa_options(config: RunConfig) -> FASAOptions:
    return FASAOptions(**{f.name: getattr(config, f.name) for f in fields(FASAOptions)})


def test_the_defaults_are_the_papers() -> None:
    assert _fasa_options(RunConfig()) == PAPER


def test_the_official_preset_is_fasa_cores() -> None:
    assert _fasa_options(load_config(preset_values(["official"]))) == OFFICIAL
