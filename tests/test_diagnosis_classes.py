"""Checks of the classes: never seen, swallowed by one group, noise, saturated, virtual only."""

from typing import Any

import numpy as np
import pytest
from healthy_facts import CLASSES, adaptation, ended, found, healthy, only, run
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from app.diagnosis import diagnose
from app.finding import named, percent

counts = hnp.arrays(np.int32, CLASSES, elements=st.integers(0, 5))


def some(count: int, value: Any, rest: Any) -> Any:
    """The first `count` of the classes have one value, the rest another."""
    return np.where(np.arange(CLASSES) < count, value, rest)


def unseen(count: int) -> dict[str, Any]:
    """Vectors where the first `count` classes never gave a RoI, and so no virtual features."""
    return {"observed_rois": some(count, 0, 500), "virtual_features": some(count, 0, 50)}


# Never observed


def test_classes_never_observed_are_named() -> None:
    finding = only(healthy(vectors=unseen(2)))
    assert (finding.key, finding.severity) == ("never_observed", "warn")
    assert "2 classes" in finding.text
    assert "class 0, class 1." in finding.text
    assert finding.number == "2 of 20 classes after epoch 6"


def test_a_quarter_never_observed_is_bad() -> None:
    assert only(healthy(vectors=unseen(5))).severity == "bad"


def test_in_the_first_epoch_nothing_is_overdue() -> None:
    facts = healthy(vectors={"observed_rois": np.zeros(CLASSES, int)}, run=run(epoch=0))
    assert "never_observed" not in found(facts)
    assert "classes seen" in diagnose(facts).not_yet


def test_a_class_without_instances_cannot_be_observed() -> None:
    facts = healthy(instances=some(1, 0, 30), vectors=unseen(1))
    finding = only(facts)
    assert (finding.key, finding.severity) == ("without_instances", "note")
    assert finding.number == "1 of 20 classes"


def test_a_baseline_is_told_too_but_not_of_priors() -> None:
    facts = healthy(run=run(config={"fasa": False}), vectors=unseen(2))
    assert "virtual" not in only(facts).text
    assert "virtual" in only(healthy(vectors=unseen(2))).text


@given(counts, counts)
def test_never_observed_needs_instances_and_no_rois(observed: Any, instances: Any) -> None:
    findings = found(healthy(vectors={"observed_rois": observed}, instances=instances))
    missing = int(((observed == 0) & (instances > 0)).sum())
    assert ("never_observed" in findings) is (missing > 0)
    if missing:
        total = int((instances > 0).sum())
        assert findings["never_observed"].number.startswith(f"{missing} of {total} ")
    assert ("without_instances" in findings) is bool((instances == 0).any())


# Super-groups and noise


@pytest.mark.parametrize(
    ("largest", "severity"),
    [((5, 5, 10), None), ((20, 20, 5), None), ((5, 5, 11), "note"), ((5, 19, 19), "note"),
     ((15, 15, 15), "note"), ((19, 18, 20), "warn"), ((17, 18, 20), "note")],
)  # fmt: skip
def test_one_group(largest: tuple[int, ...], severity: str | None) -> None:
    """Above half of 20 classes; a warning where three epochs running hold nine tenths."""
    rows = [adaptation(3 + index, largest=size) for index, size in enumerate(largest)]
    findings = found(healthy(adaptations=rows))
    if severity is None:
        assert findings == {}
    else:
        assert findings["one_group"].severity == severity
        assert findings["one_group"].number == f"{5 * largest[-1]} %"


def test_the_share_is_of_the_clustered_classes() -> None:
    """Six classes have no prior yet: 10 of the 14 others are most of them."""
    group = some(6, -1, 0)
    finding = only(healthy(vectors={"super_group": group}, adaptations=[adaptation(5, largest=10)]))
    assert "10 of the 14 clustered classes" in finding.text
    assert finding.number == "71 %"


@pytest.mark.parametrize(
    ("share", "severity"), [(0.0, None), (0.45, None), (0.6, "note"), (0.8, "note"), (0.95, "warn")]
)
def test_noise(share: float, severity: str | None) -> None:
    """60 to 80 % is what real runs on the demo set show: said, and no alarm."""
    findings = found(healthy(adaptations=[adaptation(5, noise=share)]))
    assert (findings["noise"].severity if findings else None) == severity
    if severity:
        assert findings["noise"].number == f"{percent(share)} of 20 classes"
        assert "nearest core class" in findings["noise"].text


def test_noise_that_stays_alone_warns() -> None:
    facts = healthy(adaptations=[adaptation(5, noise=0.6)], config={"noise": "singleton"})
    assert only(facts).severity == "warn"
    assert "super-group of its own" in only(facts).text


def test_the_remedy_against_noise_knows_what_narrowed_the_radius() -> None:
    narrowed = healthy(adaptations=[adaptation(5, noise=0.6, eps_quantile=0.3)])
    assert "largest_share" in only(narrowed).remedy
    assert "quantile 0.3" in only(narrowed).remedy
    assert "larger eps_quantile" in only(healthy(adaptations=[adaptation(5, noise=0.6)])).remedy


def test_without_dbscan_there_is_no_noise_to_speak_of() -> None:
    facts = healthy(adaptations=[adaptation(5, noise=0.0, eps=None, eps_quantile=None)])
    assert "noise" not in diagnose(facts).checked


# Probabilities


def test_probabilities_at_one() -> None:
    few = only(healthy(vectors={"probability": some(1, 1.0, 0.2).astype(np.float32)}))
    assert (few.key, few.severity, few.number) == ("probability_at_one", "note", "1 of 20 classes")
    many = only(healthy(vectors={"probability": some(2, 1.0, 0.2)}))
    assert many.severity == "warn"
    assert "class 0, class 1." in many.text


def test_probabilities_near_zero_are_told_by_their_fall_not_by_their_size() -> None:
    tiny = some(20, 2e-7, 0)  # as LVIS's most frequent classes start
    assert found(healthy(vectors={"probability": tiny})) == {}
    fallen = {"probability": tiny, "scale": some(3, 0.009, 1.0)}
    assert only(healthy(vectors=fallen)).number == "3 of 20 classes"
    # Static scales of the ablation are no fall.
    started_low = healthy(vectors={"scale": np.full(20, 0.005)}, config={"initial_scale": 0.005})
    assert found(started_low) == {}


@given(hnp.arrays(np.float32, CLASSES, elements=st.sampled_from([0.0, 1e-6, 0.5, 0.999, 1.0])),
       counts)  # fmt: skip
def test_saturation_counts_both_ends(probability: Any, instances: Any) -> None:
    """A class without instances is kept at 0 by definition."""
    facts = healthy(vectors={"probability": probability}, instances=instances)
    findings = found(facts)
    zeros = int(((probability == 0) & (instances > 0)).sum())
    ones = int((probability == 1).sum())
    for key, count in (("probability_at_zero", zeros), ("probability_at_one", ones)):
        assert (key in findings) is (count > 0)
        if count:
            assert findings[key].number.startswith(f"{count} of ")


# Virtual without real


def history(real: Any, virtual: Any) -> Any:
    """Facts where classes gained so many RoIs and virtual features in three epochs."""
    before = {"observed_rois": np.full(CLASSES, 7), "virtual_features": np.full(CLASSES, 3)}
    now = {name: before[name] + gain for name, gain in zip(before, (real, virtual), strict=True)}
    return healthy(before=before, vectors=now)


def test_virtual_without_real_features() -> None:
    finding = only(history(some(1, 0, 4), some(1, 9, 2)))
    assert (finding.key, finding.severity) == ("virtual_only", "note")
    assert finding.number == "1 of 20 classes; at most 9 virtual, 0 real"
    assert "class 0" in finding.text
    assert only(history(some(2, 0, 4), 2)).severity == "warn"


@given(counts, counts)
def test_virtual_only_needs_both(real: Any, virtual: Any) -> None:
    stale = int(((real == 0) & (virtual > 0)).sum())
    findings = found(history(real, virtual))
    assert ("virtual_only" in findings) is (stale > 0)
    if stale:
        assert findings["virtual_only"].number.startswith(f"{stale} of 20 ")


def test_before_there_are_enough_epochs_it_is_not_judged() -> None:
    diagnosis = diagnose(healthy(before={}))
    assert diagnosis.findings == []
    assert diagnosis.not_yet == ["priors fresh"]


# Validation loss of classes


@pytest.mark.parametrize(("missing", "severity"), [(1, "note"), (10, "note"), (11, "warn")])
def test_classes_without_validation_loss(missing: int, severity: str) -> None:
    finding = only(healthy(validation_loss=some(missing, np.nan, 2.0)))
    assert (finding.key, finding.severity) == ("unvalidated", severity)
    assert finding.number == f"{missing} of 20 classes"


def test_an_infinite_validation_loss_is_bad() -> None:
    finding = only(healthy(validation_loss=some(2, np.inf, 2.0)))
    assert (finding.key, finding.severity) == ("validation_not_finite", "bad")


@given(hnp.arrays(np.float32, CLASSES, elements=st.sampled_from([0.5, 3.0, np.nan, np.inf])))
def test_validation_findings_do_not_overlap(loss: Any) -> None:
    keys = set(found(healthy(validation_loss=loss)))
    absent = np.isnan(loss)
    expected = set()
    if absent.all():
        expected = {"validation_missing"}
    else:
        expected |= {"unvalidated"} if absent.any() else set()
        expected |= {"validation_not_finite"} if np.isinf(loss).any() else set()
    assert keys == expected


# A real run


def test_a_real_run_of_the_demo_set_gets_notes_only() -> None:
    """Noise, largest group and RoIs of each epoch of a real run of the demo set (60 classes)."""
    noise = (0.6, 0.7, 0.7, 0.6, 0.7, 0.8, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7)
    largest = (33, 28, 36, 14, 48, 40, 51, 47, 24, 55, 55, 24)
    rows = [
        adaptation(epoch, noise=noise[epoch], largest=largest[epoch], eps_quantile=0.3)
        for epoch in range(12)
    ]
    for epoch in range(1, 13):
        at = ended("finished") if epoch == 12 else run(epoch=epoch)
        facts = healthy(60, run=at, adaptations=rows[:epoch][-3:], validation_epoch=epoch - 1)
        severities = {finding.severity for finding in diagnose(facts).findings}
        assert severities == {"note"}, epoch


# Words


@given(st.integers(0, 12))
def test_a_list_of_names_stays_short(count: int) -> None:
    names = [f"x{index}" for index in range(12)]
    text = named(names, np.arange(12) < count)
    assert text.count("x") == min(4, count)
    assert text.endswith(f"and {count - 4} more") is (count > 4)


@given(st.floats(0, 1))
def test_only_all_is_all_and_only_nothing_is_nothing(share: float) -> None:
    assert (percent(share) == "100 %") is (share == 1)
    assert (percent(share) == "0 %") is (share == 0)
