"""Checks of the feature snapshots: off the manifold, too easy, negative, weak priors, pictures."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from healthy_facts import (
    CLASSES,
    NOW,
    found,
    healthy,
    measure,
    measures,
    only,
    projection,
    run,
    snapshot,
)

from app.diagnosis import diagnose
from app.diagnosis_facts import Facts
from app.diagnosis_features import MANY_NEGATIVE, PICTURE_LATE
from trainer.config import RunConfig

RARE = 6  # of the 20 classes


def with_rare(facts: Facts | None = None, known: int = RARE, **groups: float) -> Facts:
    """Measures where the rare classes have other numbers; of `known` of them."""
    facts = facts or healthy()
    changed = dict(facts.measures)
    for name, value in groups.items():
        row = changed[name]
        values = row.per_class.copy()
        values[:RARE] = np.where(np.arange(RARE) < known, value, np.nan)
        changed[name] = measure(name, values, **{**row.groups, "rare": value})
    return replace(facts, measures=changed)


# Virtual beside real features


@pytest.mark.parametrize(
    ("virtual", "real", "severity"),
    [(0.5, 0.79, None), (0.9, 0.4, None), (0.38, 0.7, "warn"), (0.1, 0.9, "warn")],
)
def test_off_the_manifold_is_three_tenths_below_held_out(
    virtual: float, real: float, severity: str | None
) -> None:
    findings = found(with_rare(neighbours_virtual=virtual, neighbours_holdout=real))
    assert (findings["off_manifold"].severity if findings else None) == severity
    if severity:
        assert findings["off_manifold"].number == (
            f"own-class neighbours {virtual:.2f} against {real:.2f} (rare, 6 classes)"
        )
        assert "features of rare classes" in findings["off_manifold"].text


def test_in_the_first_epochs_being_off_is_no_alarm() -> None:
    facts = with_rare(healthy(run=run(epoch=2)), neighbours_virtual=0.1, neighbours_holdout=0.9)
    assert only(facts).severity == "note"


def test_fewer_than_five_classes_to_compare_say_nothing() -> None:
    assert found(with_rare(known=4, neighbours_virtual=0.1, neighbours_holdout=0.9)) == {}
    assert found(with_rare(known=5, neighbours_virtual=0.1, neighbours_holdout=0.9)) != {}


@pytest.mark.parametrize(
    ("virtual", "real", "easy"),
    [(0.96, 0.4, True), (0.95, 0.5, True), (0.94, 0.1, False), (1.0, 0.51, False)],
)
def test_virtual_features_that_teach_nothing(virtual: float, real: float, easy: bool) -> None:
    findings = found(with_rare(accuracy_virtual=virtual, accuracy_holdout=real))
    assert ("too_easy" in findings) is easy
    if easy:
        assert findings["too_easy"].number.startswith(f"right on {100 * virtual:.0f} % of virtual")


@pytest.mark.parametrize(("share", "said"), [(0.05, False), (MANY_NEGATIVE, True), (0.5, True)])
def test_many_negative_coordinates(share: float, said: bool) -> None:
    findings = found(healthy(measures=measures(negative_share=share)))
    assert ("negative" in findings) is said
    if said:
        assert findings["negative"].severity == "note"
        assert "clamp_negative" in findings["negative"].remedy
        assert "clamp_negative" in RunConfig.model_fields  # the remedy names a real knob


def test_before_the_first_measures_nothing_is_judged() -> None:
    diagnosis = diagnose(healthy(measures={}, snapshots=[], projections=[]))
    assert diagnosis.findings == []
    assert diagnosis.not_yet == [
        "priors' objects", "virtual beside real features", "pictures of features",
    ]  # fmt: skip


def test_before_the_first_prior_virtual_features_are_not_judged() -> None:
    nothing = np.full(CLASSES, np.nan)
    rows = {name: measure(name, nothing) for name in measures()}
    assert "virtual beside real features" in diagnose(healthy(measures=rows)).not_yet


def test_measures_of_other_classes_are_left_alone() -> None:
    """A foreign run: three classes measured, twenty there are."""
    rows = {name: measure(name, [0.1, 0.9, 0.5]) for name in measures()}
    assert diagnose(healthy(measures=rows)).findings == []


# Priors


def sizes(*values: float) -> dict[str, Any]:
    """Measures where the first priors rest on so many objects."""
    rest = np.full(CLASSES - len(values), 12.0)
    row = measure("effective_sample_size", np.concatenate([values, rest]))
    return {**measures(), "effective_sample_size": row}


def test_weak_priors_are_counted_and_named() -> None:
    finding = only(healthy(measures=sizes(1.0, 2.9, 3.0, np.nan, 0.0)))
    assert (finding.key, finding.severity) == ("weak_priors", "note")
    assert finding.number == "2 of 18 priors"  # NaN and 0 are no priors
    assert finding.text.startswith("2 classes have a prior that rests on fewer than 3 objects")
    assert "class 0, class 1." in finding.text


def test_weak_priors_of_scarce_classes_are_told_apart() -> None:
    """Instances are 2, 6, 9 ... 60: no prior of the first class can be strong."""
    instances = np.array([2, *range(6, 63, 3)])
    finding = only(healthy(measures=sizes(1.0, 2.0), instances=instances))
    assert finding.number == "2 of 20 priors, 1 of classes with fewer training objects than that"


def test_a_quarter_of_weak_priors_is_a_warning() -> None:
    assert only(healthy(measures=sizes(*[1.0] * 5))).severity == "note"
    assert only(healthy(measures=sizes(*[1.0] * 6))).severity == "warn"


def test_a_baseline_has_no_priors_to_judge() -> None:
    facts = healthy(run=run(config={"fasa": False}), measures=sizes(*[1.0] * 9))
    assert found(facts) == {}


# Pictures


def test_snapshots_left_out_in_most_epochs() -> None:
    assert found(healthy(snapshots_skipped=3)) == {}  # of 6 epochs
    finding = only(healthy(snapshots_skipped=4))
    assert (finding.key, finding.number) == ("snapshots_skipped", "4 of 6 epochs")
    assert "2 %" in finding.text
    for knob in ("probe_objects_per_class", "probe_objects", "feature_share"):
        assert knob in finding.remedy
        assert knob in RunConfig.model_fields


def test_a_failed_picture_says_why() -> None:
    facts = healthy(projections=[projection(1), projection(2, "failed", "no memory left")])
    finding = only(facts)
    assert (finding.key, finding.severity) == ("projection_failed", "warn")
    assert "no memory left" in finding.text
    assert finding.number == "pca, step 360"


def test_a_failure_that_was_made_up_for_is_forgotten() -> None:
    assert found(healthy(projections=[projection(1, "failed", "x"), projection(2)])) == {}


@pytest.mark.parametrize(("age", "said"), [(PICTURE_LATE - 1, False), (PICTURE_LATE + 1, True)])
def test_a_projector_that_does_not_come(age: float, said: bool) -> None:
    heads = [snapshot(1, age=2000), snapshot(2, age=age)]
    findings = found(healthy(snapshots=heads, projections=[projection(1)]))
    assert ("no_projector" in findings) is said
    if said:
        assert findings["no_projector"].number == "1 waiting, the first for 15 min"


def test_a_projector_that_falls_behind() -> None:
    heads = [snapshot(number) for number in range(1, 6)]
    kept = [projection(1), projection(2), projection(5)]
    assert found(healthy(snapshots=heads, projections=kept)) == {}  # 2 of 4 dropped
    finding = only(healthy(snapshots=heads, projections=[projection(1), projection(5)]))
    assert (finding.key, finding.number) == ("projector_behind", "3 of 4 snapshots")


def test_times_are_those_of_the_run_log() -> None:
    assert snapshot(1, age=60).wall_time == NOW - 60
