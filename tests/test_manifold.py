"""The measures of one snapshot, per class and per frequency group."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from trainer.manifold import measure
from trainer.run_log.rows import MEASURES, FeatureSnapshot

NAN = math.nan
GROUPS = ("all", "rare", "common", "frequent")


def snapshot(
    *,
    real: ArrayLike = (),
    real_predicted: ArrayLike = (),
    objects: ArrayLike | None = None,
    classes: ArrayLike = (),
    prior_size: ArrayLike | None = None,
    virtual: ArrayLike = (),
    virtual_predicted: ArrayLike = (),
    dim: int = 2,
) -> FeatureSnapshot:
    """Features of `dim` coordinates; the objects are 0, 1, ... where not given."""
    x = np.array(real, np.float16).reshape(-1, dim)
    drawn = np.array(virtual, np.float16).reshape(-1, dim)
    labels = np.array(classes, np.int32)
    sizes = np.full(len(labels), 9) if prior_size is None else prior_size
    return FeatureSnapshot(
        id=7, step=10, epoch=1, wall_time=0.0,
        objects=np.array(range(len(x)) if objects is None else objects, np.int32),
        real=x,
        real_predicted=np.resize(np.array(real_predicted, np.int32), len(x)),
        real_loss=np.zeros(len(x), np.float32),
        classes=labels,
        mean=np.zeros((len(labels), dim), np.float16),
        deviation=np.zeros((len(labels), dim), np.float16),
        prior_size=np.array(sizes, np.float32),
        virtual=drawn,
        virtual_predicted=np.resize(np.array(virtual_predicted, np.int32), len(drawn)),
        virtual_loss=np.zeros(len(drawn), np.float32),
    )  # fmt: skip


def measured(
    moment: FeatureSnapshot,
    class_of: ArrayLike,
    held_out: ArrayLike,
    frequencies: str,
    **given: Any,
) -> dict[str, Any]:
    instances = given.get("instances", [100] * len(frequencies))
    return measure(
        moment,
        class_of=np.array(class_of, np.int32),
        held_out=np.array(held_out, bool),
        frequencies=list(frequencies),
        instances=np.array(instances, np.int32),
    )


# Three classes. 0 (rare) and 1 (frequent): two objects trained on, two held out, two virtual
# features; 2 (common): one object trained on, nothing else.
CLASS_OF = [0, 0, 0, 0, 1, 1, 1, 1, 2]
HELD_OUT = [0, 0, 1, 1, 0, 0, 1, 1, 0]
REAL = [[0, 0], [2, 2], [0, 1], [2, 1], [8, 0], [8, 4], [9, 2], [9, 4], [0, 9]]
REAL_PREDICTED = [0, 0, 0, 3, 1, 1, 1, 1, 2]  # 3: background
VIRTUAL = [[1, -1], [1, 1], [8, 2], [4, 9]]
VIRTUAL_PREDICTED = [0, 1, 1, 2]


def three() -> dict[str, Any]:
    moment = snapshot(
        real=REAL, real_predicted=REAL_PREDICTED, classes=[0, 1], prior_size=[2.5, 40],
        virtual=VIRTUAL, virtual_predicted=VIRTUAL_PREDICTED,
    )  # fmt: skip
    return measured(moment, CLASS_OF, HELD_OUT, "rfc", instances=[5, 30, 1])


def test_every_measure_has_a_value_a_class_and_a_group() -> None:
    found = three()
    assert sorted(found) == sorted(MEASURES)
    for per_class, groups in found.values():
        assert per_class.shape == (3,)
        assert per_class.dtype == np.float32
        assert tuple(groups) == GROUPS


@pytest.mark.parametrize(
    ("name", "per_class", "groups"),
    [
        # V is the sum of the variances; 2 features a side, so chance counts V/2.
        # Class 0, held out: means 1, 1; V = 2 + 0. Virtual: means 1, 0; V = 0 + 2.
        #   centres 0 + 1 - 2/2 - 2/2 = -1; radii 0
        # Class 1, held out: means 9, 3; V = 0 + 2. Virtual: means 6, 5.5; V = 8 + 24.5.
        #   centres 9 + 6.25 - 2/2 - 32.5/2 = -2; radii 2 + 32.5 - 2 sqrt(65)
        (
            "frechet_distance",
            [-1, 32.5 - 2 * math.sqrt(65), NAN],
            [15.75 - math.sqrt(65), -1, None, 32.5 - 2 * math.sqrt(65)],
        ),
        # Class 0, trained on: means 1, 1; V = 2 + 2.
        #   centres 0 - 2/2 - 4/2 = -3; radii 2 + 4 - 2 sqrt(8)
        # Class 1, trained on: means 8, 2; V = 0 + 8.
        #   centres 1 + 1 - 2/2 - 8/2 = -3; radii 2 + 8 - 2 sqrt(16) = 2
        (
            "frechet_distance_real",
            [3 - 2 * math.sqrt(8), -1, NAN],
            [1 - math.sqrt(8), 3 - 2 * math.sqrt(8), None, -1],
        ),
        # The two nearest of (0, 0), (2, 2) of class 0, (8, 0), (8, 4) of 1, (0, 9) of 2.
        # Class 0: of (1, -1) and of (1, 1) both are its own.
        # Class 1: of (8, 2) both; of (4, 9) the nearest is (0, 9), then (8, 4): 1/2.
        ("neighbours_virtual", [1, 0.75, NAN], [0.875, 1, None, 0.75]),
        # Held-out ones lie among their own class.
        ("neighbours_holdout", [1, 1, NAN], [1, 1, None, 1]),
        ("accuracy_virtual", [0.5, 0.5, NAN], [0.5, 0.5, None, 0.5]),
        ("accuracy_holdout", [0.5, 1, NAN], [0.75, 0.5, None, 1]),
        # One of class 0's four coordinates.
        ("negative_share", [0.25, 0, NAN], [0.125, 0.25, None, 0]),
        # Class 0's prior rests on 2.5 RoIs, class 1's on 40 RoIs of 30 objects.
        ("effective_sample_size", [2.5, 30, NAN], [16.25, 2.5, None, 30]),
    ],
)
def test_by_pencil(name: str, per_class: list[float], groups: list[float | None]) -> None:
    found, found_groups = three()[name]
    np.testing.assert_allclose(found, per_class, rtol=1e-5)
    assert list(found_groups.values()) == [
        None if value is None else pytest.approx(value, rel=1e-5) for value in groups
    ]


def test_a_group_compares_the_same_classes() -> None:
    """Class 0 has virtual and held-out features, 1 virtual ones only, 2 (common) likewise."""
    moment = snapshot(
        real=[[0, 0]], real_predicted=[0], classes=[0, 1, 2],
        virtual=[[0, 0], [1, 1], [2, 2]], virtual_predicted=[0, 9, 2],
    )  # fmt: skip
    found = measured(moment, [0], [1], "rrc")
    per_class, groups = found["accuracy_virtual"]
    assert per_class.tolist() == [1, 0, 1]
    # Rare: class 0 alone, as class 1 has nothing held out. Common: there is none to compare with.
    assert groups == {"all": 1, "rare": 1, "common": 1, "frequent": None}
    assert found["accuracy_holdout"][1] == {"all": 1, "rare": 1, "common": None, "frequent": None}
    # A measure without a counterpart is the mean over all classes that have it.
    assert found["effective_sample_size"][1]["rare"] == 9


def test_a_group_without_a_class_in_common_is_not_judged() -> None:
    moment = snapshot(real=[[0, 0]], real_predicted=[0], classes=[1], virtual=[[1, 1]],
                      virtual_predicted=[1])  # fmt: skip
    found = measured(moment, [0], [1], "rr")
    assert found["accuracy_virtual"][1]["rare"] is None
    assert found["accuracy_holdout"][1]["rare"] is None


def test_held_out_objects_are_no_references() -> None:
    """The virtual feature lies on a held-out object of class 0, and next to class 1's."""
    moment = snapshot(real=[[0, 0], [9, 9], [8, 8]], classes=[0], virtual=[[9, 9]],
                      real_predicted=[0], virtual_predicted=[0])  # fmt: skip
    found = measured(moment, [0, 0, 1], [0, 1, 0], "rr")
    assert found["neighbours_virtual"][0][0] == 0


def test_a_snapshot_may_follow_some_of_the_objects_only() -> None:
    moment = snapshot(real=[[0, 0], [1, 1]], real_predicted=[0, 0], objects=[1, 3])
    found = measured(moment, [1, 0, 1, 1], [0, 1, 0, 1], "rr")
    assert found["accuracy_holdout"][0].tolist() == [1, 0]


def test_a_baseline_has_held_out_measures_only() -> None:
    moment = snapshot(real=REAL, real_predicted=REAL_PREDICTED)
    found = measured(moment, CLASS_OF, HELD_OUT, "rfc")
    of_virtual = {"frechet_distance", "neighbours_virtual", "accuracy_virtual", "negative_share",
                  "effective_sample_size"}  # fmt: skip
    for name, (per_class, groups) in found.items():
        assert np.isnan(per_class).all() == (name in of_virtual), name
        assert (groups["all"] is None) == (name in of_virtual), name
    assert found["accuracy_holdout"][1]["all"] == 0.75


@pytest.mark.parametrize(
    ("real", "held_out"), [([], []), (REAL, [0] * 9)], ids=["no objects", "none held out"]
)
def test_without_held_out_objects_virtual_ones_stand_alone(
    real: list[list[float]], held_out: list[int]
) -> None:
    moment = snapshot(real=real, real_predicted=REAL_PREDICTED, classes=[0, 1], virtual=VIRTUAL,
                      virtual_predicted=VIRTUAL_PREDICTED)  # fmt: skip
    found = measured(moment, CLASS_OF[: len(real)], held_out, "rfc")
    assert found["accuracy_virtual"][1]["all"] == 0.5
    assert found["negative_share"][1]["all"] == 0.125
    for name in ("frechet_distance", "frechet_distance_real", "neighbours_holdout",
                 "accuracy_holdout"):  # fmt: skip
        assert np.isnan(found[name][0]).all()
        assert set(found[name][1].values()) == {None}


def test_neither_zero_is_negative() -> None:
    moment = snapshot(classes=[0], virtual=[[0.0, -0.0], [-6e-8, 1]], virtual_predicted=[0])
    assert measured(moment, [], [], "r")["negative_share"][0].tolist() == [0.25]


def test_an_empty_snapshot_judges_nothing() -> None:
    found = measured(snapshot(), [], [], "rcf")
    assert all(np.isnan(per_class).all() for per_class, _ in found.values())
    assert all(set(groups.values()) == {None} for _, groups in found.values())


def test_one_class_has_no_neighbours_to_be_mistaken_for() -> None:
    moment = snapshot(real=REAL[:4], real_predicted=[0], classes=[0], virtual=VIRTUAL[:2],
                      virtual_predicted=[0])  # fmt: skip
    found = measured(moment, CLASS_OF[:4], HELD_OUT[:4], "r")
    assert np.isnan(found["neighbours_virtual"][0]).all()
    assert found["frechet_distance"][0][0] == -1


@pytest.mark.parametrize("broken", [math.inf, -math.inf, math.nan])
def test_features_that_are_not_finite_are_left_out(broken: float) -> None:
    """Of a real one (class 0, held out, right) and a virtual one (class 1, right)."""
    real, virtual = np.array(REAL, float), np.array(VIRTUAL, float)
    real[2, 1] = virtual[2, 0] = broken
    moment = snapshot(
        real=real, real_predicted=REAL_PREDICTED, classes=[0, 1], virtual=virtual,
        virtual_predicted=VIRTUAL_PREDICTED,
    )  # fmt: skip
    found = measured(moment, CLASS_OF, HELD_OUT, "rfc")
    assert found["accuracy_holdout"][0].tolist()[:2] == [0, 1]
    assert found["accuracy_virtual"][0].tolist()[:2] == [0.5, 0]
    assert np.isnan(found["frechet_distance"][0]).all()  # one is left on either side
    assert found["negative_share"][0].tolist()[:2] == [0.25, 0]


def test_features_as_large_as_float16_holds() -> None:
    most = float(np.finfo(np.float16).max)
    moment = snapshot(real=np.array(REAL) * most / 9, real_predicted=REAL_PREDICTED,
                      classes=[0, 1], virtual=np.array(VIRTUAL) * most / 9,
                      virtual_predicted=VIRTUAL_PREDICTED)  # fmt: skip
    found, expected = measured(moment, CLASS_OF, HELD_OUT, "rfc"), three()
    for name in ("neighbours_virtual", "neighbours_holdout", "negative_share"):
        np.testing.assert_array_equal(found[name][0], expected[name][0])
    ratio = found["frechet_distance"][0][:2] / expected["frechet_distance"][0][:2]
    np.testing.assert_allclose(ratio, (most / 9) ** 2, rtol=0.01)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"real": [[0, 0]], "objects": [2], "real_predicted": [0]}, "object 2, but the run has 2"),
        ({"real": [[0, 0]], "objects": [-1], "real_predicted": [0]}, "object -1, but the run has"),
        ({"classes": [0, 3], "virtual": VIRTUAL, "virtual_predicted": [0]}, "class 3, but the run"),
    ],
)
def test_rows_of_another_run_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measured(snapshot(**given), [0, 0], [0, 0], "rr")


def random_run(seed: int) -> tuple[FeatureSnapshot, NDArray[Any], NDArray[Any], str]:
    rng = np.random.default_rng(seed)
    count, objects, dim = int(rng.integers(2, 6)), int(rng.integers(0, 25)), 3
    classes = np.flatnonzero(rng.random(count) < 0.7)
    moment = snapshot(
        real=np.maximum(rng.standard_normal((objects, dim)), 0), dim=dim,
        real_predicted=rng.integers(0, count + 1, objects),
        classes=classes, prior_size=rng.random(len(classes)) * 10,
        virtual=rng.standard_normal((len(classes) * 3, dim)),
        virtual_predicted=rng.integers(0, count + 1, len(classes) * 3),
    )  # fmt: skip
    frequencies = "".join(rng.choice(list("rcf"), count))
    return moment, rng.integers(0, count, objects), rng.random(objects) < 0.5, frequencies


@given(st.integers(0, 2**32 - 1))
def test_ranges_and_groups_of_any_run(seed: int) -> None:
    moment, class_of, held_out, frequencies = random_run(seed)
    found = measured(moment, class_of, held_out, frequencies)
    for name, (per_class, groups) in found.items():
        judged = per_class[np.isfinite(per_class)]
        if "frechet" not in name:
            assert (judged >= 0).all()
        if "frechet" not in name and name != "effective_sample_size":
            assert (judged <= 1).all()
        for value in groups.values():
            assert value is None or judged.min() - 1e-4 <= value <= judged.max() + 1e-4


@given(st.integers(0, 2**32 - 1))
def test_numbers_of_the_classes_do_not_matter(seed: int) -> None:
    """Class c is called C - 1 - c instead: every number goes with its class."""
    moment, class_of, held_out, frequencies = random_run(seed)
    last = len(frequencies) - 1
    blocks = np.arange(len(moment.virtual)).reshape(len(moment.classes), 3)[::-1].ravel()
    renamed = snapshot(
        real=moment.real, dim=3, real_predicted=last - moment.real_predicted,
        classes=last - moment.classes[::-1], prior_size=moment.prior_size[::-1],
        virtual=moment.virtual[blocks], virtual_predicted=last - moment.virtual_predicted[blocks],
    )  # fmt: skip
    expected = measured(moment, class_of, held_out, frequencies)
    found = measured(renamed, last - class_of, held_out, frequencies[::-1])
    for name, (per_class, groups) in expected.items():
        np.testing.assert_allclose(found[name][0][::-1], per_class, rtol=1e-5, atol=1e-6)
        for group, value in groups.items():
            close = None if value is None else pytest.approx(value, rel=1e-5, abs=1e-6)
            assert found[name][1][group] == close
