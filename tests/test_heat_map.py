"""The heat map's specification: what its colours may mean, which rows it asks for."""

import json

from app.class_charts import CLASS_FIELDS
from app.heat_map import FACTOR_COLORS, HEAT_VALUES, VALUE_COLORS, heat_choices, heat_map
from app.looks import FREQUENCY_LOOKS


def test_a_run_is_offered_probability_first_and_a_baseline_none_of_it() -> None:
    assert next(iter(heat_choices(fasa=True))) == "relative"
    offered = heat_choices(fasa=False)
    assert "training_loss" in offered
    assert not {"relative", "step", "probability", "scale", "virtual_features"} & set(offered)
    assert set(CLASS_FIELDS) <= set(heat_choices(fasa=True))


def test_factors_have_a_middle_and_values_do_not() -> None:
    relative, step, logarithmic = (heat_map(key) for key in ("relative", "step", "probability"))
    assert {spec.want for spec in (relative, step, logarithmic)} == {"epochs:probability"}
    assert (relative.scale, relative.relative) == (step.scale, "start") == ("factor", "start")
    assert step.relative == "before"
    assert relative.colors == FACTOR_COLORS
    assert (logarithmic.scale, logarithmic.per_thousand) == ("log", True)
    assert heat_map("score").scale == "linear"
    assert heat_map("score").colors == VALUE_COLORS


def test_groups_are_told_by_word_sign_and_colour_most_frequent_first() -> None:
    groups = heat_map("relative").groups
    assert [(group.letter, group.name, group.sign) for group in groups] == [
        ("f", "frequent", "■"), ("c", "common", "◆"), ("r", "rare", "●"),
    ]  # fmt: skip
    assert all(group.color == FREQUENCY_LOOKS[group.letter].color for group in groups)


def test_every_choice_is_a_small_specification() -> None:
    for key in HEAT_VALUES:
        assert len(json.dumps(heat_map(key).to_dict())) < 3000
