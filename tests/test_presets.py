"""The preset files: each a valid configuration, rows that differ in what they say, and refusals."""

import itertools
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from trainer.__main__ import main
from trainer.config import ConfigError, RunConfig, load_config
from trainer.heads import build_roi_heads, build_rpn
from trainer.presets import (
    PRESETS,
    PresetFolder,
    data_set_of,
    preset_values,
    read_preset,
    scaling_advice,
)
from trainer.run_log.text import NAME_LENGTH

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = [name for name in PRESETS if "/" in name]  # the rows on published data sets
LVIS = "lvis_v1/mask_rcnn_r50_24e"


def config_of(name: str) -> RunConfig:
    """The run of a preset; those on published sets need a folder beside."""
    folder = {"data_folder": "/data"} if name in PUBLISHED else {}
    return load_config(preset_values([name]) | folder)


def differing(one: str, other: str) -> set[str]:
    """The knobs in which two presets' runs differ."""
    first, second = config_of(one), config_of(other)
    return {
        knob for knob in RunConfig.model_fields if getattr(first, knob) != getattr(second, knob)
    }


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_is_a_valid_configuration(name: str) -> None:
    config = config_of(name).model_dump(mode="json")
    for knob, value in PRESETS[name].values.items():
        assert config[knob] == value, knob
        assert type(config[knob]) is type(value), knob  # as the run log keeps it
    assert PRESETS[name].purpose
    assert len(name) <= NAME_LENGTH  # it becomes the run's


def test_presets_lie_over_one_another() -> None:
    values = preset_values(["static-5", "static-15"])
    assert values == {"sampling": "static", "initial_scale": 15.0}
    assert preset_values([LVIS, "official"])["spread"] == "variance"
    with pytest.raises(ConfigError, match="no preset 'demoo': did you mean demo"):
        preset_values(["demoo"])
    with pytest.raises(ConfigError, match=r"no preset '\.\./x': `fasa presets` lists them"):
        preset_values(["../x"])


def test_the_demo_comes_first_and_rows_stand_by_data_set() -> None:
    names = list(PRESETS)
    assert names[0] == "demo"
    assert names.index("static-5") < names.index("static-15")
    assert names.index(LVIS) < names.index("lvis_v1/mask_rcnn_r101_24e")
    titles = [title for title, _ in itertools.groupby(names, key=data_set_of)]
    assert titles == ["Demo, photos and variants of FASA", "COCO-LT", "LVIS v1"]


def test_the_papers_recipe_on_lvis() -> None:
    """METHODS sections 2 and 8, by hand."""
    values = PRESETS[f"{LVIS}_rfs_fasa"].values
    stated = {
        "data": "lvis", "train_min_sizes": [640, 672, 704, 736, 768, 800], "image_min_size": 800,
        "image_max_size": 1333, "flip_probability": 0.5, "train_sampler": "repeat_factor",
        "repeat_threshold": 1e-3, "repeat_rounding": "ceil", "skip_unannotated": True,
        "epochs": 24, "batch_size": 16, "optimizer": "sgd", "learning_rate": 0.02,
        "momentum": 0.9, "weight_decay": 1e-4, "schedule": "steps", "milestones": [16, 22],
        "warmup_steps": 500, "warmup_ratio": 0.001, "backbone": "resnet50", "trainable_layers": 3,
        "batch_norm": "affine", "box_loss": "l1", "class_agnostic_box": False,
        "class_agnostic_mask": False, "rois_per_image": 512, "positive_fraction": 0.25,
        "anchor_sizes": [32, 64, 128, 256, 512], "fpn_channels": 256, "feature_dim": 1024,
        "mask_layers": 4, "mask_channels": 256, "rpn_batch": 256, "rpn_candidates_train": 2000,
        "rpn_candidates_test": 1000, "proposals_train": 1000, "proposals_test": 1000,
        "score_threshold": 1e-4, "nms_threshold": 0.5, "detections_per_image": 300,
        "fasa": True, "m": 0.1, "alpha": 1.1, "beta": 0.9, "virtual_loss_weight": 0.1,
        "start_epoch": 1, "initial_scale": 1.0, "adapt_on": "test",
        "validation_sampler": "repeat_factor",
    }  # fmt: skip
    assert {knob: values[knob] for knob in stated} == stated


def test_the_recipe_on_coco_lt() -> None:
    values = PRESETS["coco_lt/mask_rcnn_r50_12e_fasa"].values
    stated = {
        "data": "coco_lt", "class_agnostic_box": True, "class_agnostic_mask": True,
        "train_min_sizes": [], "image_min_size": 800, "image_max_size": 1333,
        "learning_rate": 0.01, "epochs": 12, "milestones": [8, 11], "gradient_clip": 35.0,
        "score_threshold": 0.05, "detections_per_image": 100, "fasa": True,
    }  # fmt: skip
    assert {knob: values[knob] for knob in stated} == stated
    without = "coco_lt/mask_rcnn_r50_12e"
    assert differing("coco_lt/mask_rcnn_r50_12e_fasa", without) == {"fasa"}


@pytest.mark.parametrize("name", ["demo", "photos"])
def test_a_baseline_has_no_fasa_and_nothing_else_of_its_own(name: str) -> None:
    # The distance is of FASA's super-groups.
    assert differing(name, f"{name}-baseline") == {"fasa", "distance"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_row_says_every_value_itself(name: str) -> None:
    values = PRESETS[name].values
    unused = {"learning_rate_factor"}  # a knob to turn while it trains
    unused |= {"smooth_l1_beta"} if values["box_loss"] == "l1" else set()
    for knob, field in RunConfig.model_fields.items():
        extra: Any = field.json_schema_extra
        groups = ("Optimisation", "Model", "Validation") + ("FASA",) * values["fasa"]
        if extra["group"] in groups and knob not in unused:
            assert knob in values, knob
    # Without FASA and with it, the classifier is trained as everything else.
    for knob in ("optimizer", "learning_rate", "weight_decay"):
        assert values[f"classifier_{knob}"] == values[knob]
    assert f"--preset {name} " in PRESETS[name].text  # its comment names the command
    for knob in ("backbone", "epochs", "fasa"):
        assert knob in values


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_row_says_what_no_knob_sets(name: str) -> None:
    """METHODS sections 2 and 8, as the heads are built."""
    small = {"fpn_channels": 8, "feature_dim": 8, "mask_channels": 8}
    text, config = PRESETS[name].text, config_of(name).model_copy(update=small)
    heads, rpn = build_roi_heads(config, class_counts=[1, 1]), build_rpn(config)
    for stage, weight in zip(heads.stages, heads.loss_weights, strict=True):
        iou, units = stage.sampler.foreground_iou, (f"{1 / w:.4g}" for w in stage.coder.weights)
        line = f"#   positive from IoU {iou} on, box offsets divided by {', '.join(units)}"
        weighted = f", losses times {weight:g}" * (len(heads.stages) > 1)
        assert f"{line}{weighted}\n" in text
    assert text.count("#   positive from IoU") == len(heads.stages)
    matcher = rpn.proposal_matcher
    assert (matcher.high_threshold, matcher.low_threshold, rpn.nms_thresh) == (0.7, 0.3, 0.7)
    assert rpn.anchor_generator.aspect_ratios[0] == (0.5, 1.0, 2.0)
    said = "ratios 0.5, 1 and 2, positive from IoU 0.7 on,\n# background below 0.3; NMS at 0.7"
    assert said in text


def ends_of(name: str) -> list[str]:
    """A row's variants that exist: of samplers and FASA."""
    return [f"{name}{sampler}{fasa}" for sampler in ("", "_rfs") for fasa in ("", "_fasa")]


@pytest.mark.parametrize(
    "name",
    ["lvis_v1/mask_rcnn_r50_12e", LVIS, "lvis_v1/mask_rcnn_r101_24e",
     "lvis_v1/mask_rcnn_x101_32x8d_24e", "lvis_v1/cascade_mask_rcnn_r101_24e"],
)  # fmt: skip
def test_rows_of_one_model_differ_in_sampler_and_fasa_alone(name: str) -> None:
    plain, fasa, rfs, both = ends_of(name)
    assert differing(plain, rfs) == differing(fasa, both) == {"train_sampler"}
    assert differing(plain, fasa) == differing(rfs, both) == {"fasa"}
    assert [config_of(row).fasa for row in (plain, fasa, rfs, both)] == [False, True, False, True]
    assert config_of(rfs).train_sampler == "repeat_factor"


CASCADE = {"detector", "class_agnostic_box", "box_loss", "smooth_l1_beta", "proposals_train"}


@pytest.mark.parametrize(
    ("one", "other", "knobs"),
    [
        ("lvis_v1/mask_rcnn_r50_12e", LVIS, {"epochs", "milestones"}),
        ("lvis_v1/mask_rcnn_r101_24e", LVIS, {"backbone"}),
        ("lvis_v1/mask_rcnn_x101_32x8d_24e", LVIS, {"backbone"}),
        ("lvis_v1/cascade_mask_rcnn_r101_24e", "lvis_v1/mask_rcnn_r101_24e", CASCADE),
    ],
)
def test_models_and_schedules_differ_in_what_their_names_say(
    one: str, other: str, knobs: set[str]
) -> None:
    for first, second in zip(ends_of(one), ends_of(other), strict=True):
        assert differing(first, second) == knobs


def test_the_published_code_differs_from_the_paper_in_the_preset_official() -> None:
    official, paper = "lvis_v1/official_mask_rcnn_r50_24e_fasa", f"{LVIS}_fasa"
    stated = preset_values(["official"])
    assert differing(official, paper) == set(stated) - {"adapt_on"}  # the paper's too
    config = config_of(official).model_dump(mode="json")
    assert {knob: config[knob] for knob in stated} == stated


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# x\ncolour = 1\n", "sets 'colour', which is no knob"),
        ("# x\nlearning_rat = 1\n", "did you mean learning_rate?"),
        ("# x\nepochs = 0\n", "sets epochs to 0, but input should be greater than or equal to 1"),
        ("# x\nepochs = 1.5\n", "sets epochs to 1.5, but"),
        ('# x\nlearning_rate = "0.1"\n', "sets learning_rate to '0.1', but"),
        ("# x\nfasa = 1\n", "sets fasa to 1, but"),
        ("# x\nepochs = true\n", "sets epochs to True, but"),
        ('# x\nsampling = "often"\n', "sets sampling to 'often', but"),
        ("# x\nmilestones = [8, 'a']\n", "sets milestones to"),
        ("# x\nmilestones = 8\n", "sets milestones to 8, but"),
        ("# x\nepochs = 2020-01-01\n", "sets epochs to a date"),
        ("# x\nlearning_rate = nan\n", "sets learning_rate to nan, but"),
        ("# x\n[fasa]\nm = 1\n", "sets fasa to {'m': 1}, but"),
        ("# x\nepochs 3\n", "is no TOML"),
        ("# x\nepochs = 3\nepochs = 4\n", "is no TOML"),
        ("epochs = 3\n", "does not begin with a comment"),
        ("#\nepochs = 3\n", "does not begin with a comment"),
        ("", "does not begin with a comment"),
    ],
)
def test_a_file_that_breaks_a_rule_is_one_sentence_with_its_name(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_preset(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"# \xff\n")
    with pytest.raises(ConfigError, match=r"a\.toml is no TOML"):
        read_preset(tmp_path / "a.toml")
    with pytest.raises(ConfigError, match=r"b\.toml cannot be read"):
        read_preset(tmp_path / "b.toml")


def test_a_folder_is_read_by_name_and_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "row.toml").write_text("# a row\nepochs = 3\nlearning_rate = 1\n")
    (tmp_path / "broken.toml").write_text("no TOML")
    presets = PresetFolder(tmp_path)
    assert list(presets) == ["broken", "set/row"]
    assert presets["set/row"].purpose == "a row"
    assert presets["set/row"].values == {"epochs": 3, "learning_rate": 1.0}
    assert "nothing" not in presets
    with pytest.raises(ConfigError):
        presets["broken"]


def test_an_installed_package_has_the_files(tmp_path: Path) -> None:
    """A wheel of it, which is what a container installs."""
    pytest.importorskip("setuptools")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "trainer", tmp_path / "trainer")
    code = "from setuptools import build_meta; build_meta.build_wheel('wheels')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    [wheel] = (tmp_path / "wheels").glob("*.whl")
    packed = zipfile.ZipFile(wheel).namelist()
    assert [name for name in PRESETS if f"trainer/preset_files/{name}.toml" not in packed] == []


def test_the_list_and_a_file_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets"]) == 0
    listed = capsys.readouterr().out
    assert listed.index("\nCOCO-LT\n") < listed.index("\nLVIS v1\n")
    for name, preset in PRESETS.items():
        [line] = [line for line in listed.splitlines() if line.split()[:1] == [name]]
        assert line.endswith(f"  {preset.purpose}")
    assert main(["presets", LVIS]) == 0
    file = ROOT / "trainer" / "preset_files" / f"{LVIS}.toml"
    assert capsys.readouterr().out == file.read_text()
    assert main(["presets", f"{LVIS}e"]) == 2
    assert f"did you mean {LVIS}" in capsys.readouterr().err
    assert main(["queue", "--preset", LVIS]) == 2
    assert "--data-folder FOLDER" in capsys.readouterr().err


def test_another_batch_size_is_advised_on_by_the_linear_rule() -> None:
    given = preset_values([LVIS])
    assert scaling_advice(given, given) == ""
    said = scaling_advice(given, {**given, "batch_size": 4})
    assert "learning_rate 0.02 is for batches of 16 images" in said
    assert said.endswith("has learning_rate 0.005 and classifier_learning_rate 0.005: set them")
    scaled = {"batch_size": 32, "learning_rate": 0.04, "classifier_learning_rate": 0.04}
    assert scaling_advice(given, {**given, **scaled}) == ""
    assert scaling_advice(preset_values(["demo"]), RunConfig(batch_size=4).model_dump()) == ""
    other = {"batch_size": 4, "optimizer": "adamw"}
    assert scaling_advice(given, {**given, **other}) == ""


def test_the_document_lists_every_preset_as_its_file_says() -> None:
    document = (ROOT / "docs" / "presets.md").read_text()
    listed = [line for line in document.splitlines() if line.startswith("| `")]
    assert listed == [f"| `{name}` | {preset.purpose} |" for name, preset in PRESETS.items()]
    for title in map(data_set_of, PRESETS):
        assert f"\n**{title}**\n" in document
