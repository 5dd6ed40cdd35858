"""'Is it on the manifold?' in sentences: what the numbers of a moment mean, made by hand."""

from typing import Any

import numpy as np
from test_charts import category, run

from app.manifold_words import headline
from trainer.run_log.rows import MeasureRow

NAN = float("nan")
CLASSES = [category(i, "r", 4) for i in range(8)] + [category(8 + i, "f", 90) for i in range(6)]
ALL = ("all", "rare", "frequent")


def rows(classes: int = 14, **values: Any) -> dict[str, MeasureRow]:
    """Measures of one snapshot: a number for all classes and groups, or (per class, groups)."""
    made = {}
    for name, given in values.items():
        per_class, groups = (
            given if isinstance(given, tuple) else ([given] * classes, dict.fromkeys(ALL, given))
        )
        made[name] = MeasureRow(3, 35, 6, name, np.array(per_class, np.float32), groups)
    return made


def said(newest: dict[str, MeasureRow], **changes: Any) -> list[str]:
    return headline(newest, CLASSES, run(**changes))


def test_nearer_farther_and_as_near() -> None:
    both = rows(
        neighbours_virtual=([0.8] * 14, {"rare": 0.82, "frequent": 0.40}),
        neighbours_holdout=([0.6] * 14, {"rare": 0.61, "frequent": 0.70}),
    )
    assert said(both)[0] == (  # step 35 of 100 in 10 epochs
        "After 3.5 epochs: virtual features of rare classes sit nearer to their own class than "
        "held-out real ones (0.82 against 0.61); of frequent classes farther from it "
        "(0.40 against 0.70). Nearer is not better: real ones lie farther out."
    )
    near = rows(
        neighbours_virtual=([0.8] * 14, {"rare": 0.65, "frequent": None}),
        neighbours_holdout=([0.6] * 14, {"rare": 0.61, "frequent": 0.70}),
    )
    assert "rare classes sit about as near to their own class as held-out" in said(near)[0]
    assert "frequent" not in said(near)[0]


def test_few_classes_make_it_a_hint() -> None:
    held = [0.5] * 2 + [NAN] * 6 + [0.5] * 6
    newest = rows(neighbours_virtual=0.8, neighbours_holdout=(held, dict.fromkeys(ALL, 0.5)))
    assert said(newest)[0].endswith(
        "Only 2 of 8 rare classes could be compared: take that as a hint."
    )
    assert "hint" not in said(rows(neighbours_virtual=0.8, neighbours_holdout=0.5))[0]


def test_the_classifier_distance_and_negative_share() -> None:
    newest = rows(
        neighbours_virtual=0.8, neighbours_holdout=0.8, accuracy_virtual=0.785,
        accuracy_holdout=0.525, frechet_distance=2514.5, frechet_distance_real=726.9,
        negative_share=0.052,
    )  # fmt: skip
    assert said(newest)[1] == (
        "The classifier gives 78 % of the virtual and 52 % of the held-out real features to their "
        "own class. The squared Fréchet distance of virtual to held-out real features is 2,514; "
        "that of the real ones trained on is 727. 5 % of the virtual features' coordinates are "
        "negative, as those of no real feature are (ReLU)."
    )


def test_weak_priors_are_counted_by_group() -> None:
    sizes = [1.0, 2.9, 3.0, NAN, 0.0, 5.0, 5.0, 5.0, *[50.0] * 6]
    assert said(rows(effective_sample_size=(sizes, {})))[-1] == (
        "2 of 12 priors rest on fewer than 3 objects (2 rare): they are marked weak."
    )


def test_what_is_missing_is_said() -> None:
    assert said({})[0].startswith("Nothing has been measured yet")
    nothing = ([NAN] * 14, dict.fromkeys(ALL))
    no_prior = rows(neighbours_virtual=nothing, neighbours_holdout=0.5)
    assert "no class has a prior yet" in said(no_prior)[0]
    no_held_out = rows(neighbours_virtual=0.75, neighbours_holdout=nothing)
    assert "0.75 of the virtual features lie among their own class; without" in said(no_held_out)[0]


def test_a_baseline_is_the_other_half_of_a_comparison() -> None:
    newest = rows(neighbours_holdout=0.5, accuracy_holdout=0.48)
    [sentence] = said(newest, config={"fasa": False})
    assert sentence == (
        "After 3.5 epochs: a baseline draws no virtual features, so there is nothing to compare. "
        "Of its held-out real features 0.50 lie among their own class and 0.48 are classified "
        "right."
    )


def test_measures_of_other_classes_break_nothing() -> None:
    newest = rows(classes=3, neighbours_virtual=0.8, neighbours_holdout=0.5,
                  effective_sample_size=1.0)  # fmt: skip
    assert "Only 0 of 8 rare and 0 of 6 frequent classes" in said(newest)[0]
