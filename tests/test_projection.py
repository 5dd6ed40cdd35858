"""Pictures of feature snapshots: their numbers by hand, and what cannot be a picture."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness

from benchmarks.feature_cloud import FeatureCloud
from trainer.projection import Picture, project
from trainer.projection_points import ProjectionError, start_from
from trainer.run_log.rows import FeatureSnapshot, Projection

METHODS = ("pca", "umap", "umap_real")


def snapshot(
    real: Any, virtual: Any = (), *, mean: Any = (), deviation: Any = (), snapshot_id: int = 1
) -> FeatureSnapshot:
    """Features given as lists; every class has as many virtual ones."""
    real = np.array(real, np.float16)
    dim = real.shape[1]
    virtual = np.array(virtual, np.float16).reshape(-1, dim)
    mean = np.array(mean, np.float16).reshape(-1, dim)
    return FeatureSnapshot(
        id=snapshot_id, step=1, epoch=0, wall_time=0.0,
        objects=np.arange(len(real), dtype=np.int32),
        real=real,
        real_predicted=np.zeros(len(real), np.int32),
        real_loss=np.zeros(len(real), np.float32),
        classes=np.arange(len(mean), dtype=np.int32),
        mean=mean,
        deviation=np.array(deviation, np.float16).reshape(-1, dim),
        prior_size=np.ones(len(mean), np.float32),
        virtual=virtual,
        virtual_predicted=np.zeros(len(virtual), np.int32),
        virtual_loss=np.zeros(len(virtual), np.float32),
    )  # fmt: skip


def picture(of: FeatureSnapshot, method: str, **more: Any) -> Picture:
    return project(of, method, class_of=np.zeros(len(of.objects), np.int32), **more)


def as_start(of: FeatureSnapshot, made: Picture) -> Any:
    stored = Projection(
        id=1, snapshot_id=of.id, step=1, epoch=0, method="", seconds=0.0, parameters={},
        real=made.real, virtual=made.virtual, ellipses=made.ellipses,
    )  # fmt: skip
    return start_from(of, stored)


def together(made: Picture) -> NDArray[np.float32]:
    return np.concatenate([made.real, made.virtual])


# PCA


def test_pca_by_hand() -> None:
    # Along x by -3, -1, 1, 3 and along y by -1, 1, 1, -1: variances 20/3 and 4/3, the sum is 8.
    features = [[-3, -1, 5], [-1, 1, 5], [1, 1, 5], [3, -1, 5]]
    made = picture(
        snapshot(features[:2], features[2:], mean=[[0, 0, 5]], deviation=[[2, 3, 7]]), "pca"
    )
    shares = made.parameters["variance"]
    np.testing.assert_allclose(shares, [20 / 24, 4 / 24], rtol=1e-5)
    signs = np.sign(together(made)[3]) * [1, -1]
    np.testing.assert_allclose(together(made) * signs, np.array(features)[:, :2], atol=1e-5)
    # The prior is drawn where its mean falls; its variances are those along x and y, 4 and 9.
    np.testing.assert_allclose(made.ellipses, [[0, 0, 4, 0, 9]], atol=1e-4)


def test_a_priors_ellipse_through_slanted_components() -> None:
    # All variance is along (1, 1) / sqrt 2, and a little along (1, -1) / sqrt 2.
    features = [[-4, -4], [4, 4], [1, -1], [-1, 1]]
    made = picture(snapshot(features, mean=[[3, 1]], deviation=[[2, 1]]), "pca")
    x, y, var_x, cov, var_y = made.ellipses[0]
    root = np.sqrt(2)
    # Mean: (3 + 1) / sqrt 2 and (3 - 1) / sqrt 2. Variances: (4 + 1) / 2 both, covariance 3 / 2.
    assert (abs(x), abs(y)) == (
        pytest.approx(4 / root, rel=1e-4),
        pytest.approx(2 / root, rel=1e-4),
    )
    assert (var_x, var_y) == (pytest.approx(2.5, rel=1e-4), pytest.approx(2.5, rel=1e-4))
    assert cov * np.sign(x * y) == pytest.approx(1.5, rel=1e-4)


def test_a_priors_ellipse_is_that_of_its_virtual_features() -> None:
    cloud = FeatureCloud(real=60, virtual_per_class=4000, classes=2, dim=20)
    taken = cloud.snapshot()
    made = project(taken, "pca", class_of=cloud.class_of)
    for own, ellipse in zip(np.split(made.virtual, 2), made.ellipses, strict=True):
        np.testing.assert_allclose(own.mean(axis=0), ellipse[:2], atol=0.05)
        np.testing.assert_allclose(np.cov(own.T).ravel()[[0, 1, 3]], ellipse[2:], atol=0.1)


def test_pca_is_turned_onto_the_last_picture_with_its_ellipses() -> None:
    cloud = FeatureCloud(real=100, virtual_per_class=3, classes=5, dim=30)
    taken = cloud.snapshot()
    first = project(taken, "pca", class_of=cloud.class_of)
    mirrored = dataclasses.replace(
        first, real=-first.real[:, ::-1], virtual=-first.virtual[:, ::-1]
    )
    again = project(taken, "pca", class_of=cloud.class_of, start=as_start(taken, mirrored))
    np.testing.assert_allclose(together(again), together(mirrored), atol=1e-4)
    swapped = first.ellipses[:, [1, 0, 4, 3, 2]] * np.float32([-1, -1, 1, 1, 1])
    np.testing.assert_allclose(again.ellipses, swapped, atol=1e-4)
    assert again.parameters["start"] == taken.id
    assert first.parameters["start"] == "pca"


# UMAP


@pytest.fixture(scope="module")
def cloud() -> FeatureCloud:
    return FeatureCloud(real=240, virtual_per_class=5, classes=12, dim=64)


@pytest.fixture(scope="module")
def first(cloud: FeatureCloud) -> dict[str, Picture]:
    taken = cloud.snapshot(0, snapshot_id=1)
    return {method: project(taken, method, class_of=cloud.class_of) for method in METHODS}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_the_same_input_makes_the_same_picture(
    cloud: FeatureCloud, first: dict[str, Picture], method: str
) -> None:
    again = project(cloud.snapshot(0, snapshot_id=1), method, class_of=cloud.class_of)
    np.testing.assert_array_equal(together(again), together(first[method]))
    np.testing.assert_array_equal(again.ellipses, first[method].ellipses)
    assert json.loads(json.dumps(again.parameters)) == first[method].parameters


@pytest.mark.slow
@pytest.mark.parametrize("method", ["umap", "umap_real"])
def test_the_next_picture_is_as_true_and_does_not_jump(
    cloud: FeatureCloud, first: dict[str, Picture], method: str
) -> None:
    start = as_start(cloud.snapshot(0, snapshot_id=1), first[method])
    taken = cloud.snapshot(1, snapshot_id=2)
    made = project(taken, method, class_of=cloud.class_of, start=start)
    features = np.concatenate([taken.real, taken.virtual]).astype(np.float32)
    assert trustworthiness(features, together(made), n_neighbors=10) > 0.95
    size = np.ptp(together(first[method]), axis=0).max()
    moved = np.linalg.norm(together(made) - together(first[method]), axis=1) / size
    assert np.median(moved) < 0.1
    anew = project(taken, method, class_of=cloud.class_of)
    jumped = np.linalg.norm(together(anew) - together(first[method]), axis=1) / size
    assert np.median(jumped) > 2 * np.median(moved)


@pytest.mark.slow
def test_umap_of_the_real_ones_does_not_hear_of_the_virtual_ones(
    cloud: FeatureCloud, first: dict[str, Picture]
) -> None:
    taken = cloud.snapshot(0, snapshot_id=1)
    moved = dataclasses.replace(taken, virtual=taken.virtual + np.float16(3))
    made = project(moved, "umap_real", class_of=cloud.class_of)
    np.testing.assert_array_equal(made.real, first["umap_real"].real)
    assert not np.allclose(made.virtual, first["umap_real"].virtual)


@pytest.mark.slow
def test_umap_ellipses_are_those_of_the_virtual_points(first: dict[str, Picture]) -> None:
    own = first["umap"].virtual[5:10].astype(np.float64)
    expected = [*own.mean(axis=0), own[:, 0].var(ddof=1), None, own[:, 1].var(ddof=1)]
    expected[3] = ((own[:, 0] - expected[0]) * (own[:, 1] - expected[1])).sum() / 4
    np.testing.assert_allclose(first["umap"].ellipses[1], expected, rtol=1e-4, atol=1e-6)


# What is no picture, or hardly one


@pytest.mark.parametrize("method", METHODS)
def test_no_feature_at_all(method: str) -> None:
    with pytest.raises(ProjectionError, match="holds no feature"):
        picture(snapshot(np.zeros((0, 3)), np.zeros((0, 3))), method)


@pytest.mark.parametrize("method", METHODS)
def test_not_one_finite_feature(method: str) -> None:
    with pytest.raises(ProjectionError, match="None of the 2 features"):
        picture(snapshot([[np.nan, 1], [2, np.inf]]), method)


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_points(count: int) -> None:
    features = [[1, 2, 3], [4, 6, 3]][:count]
    made = picture(snapshot(features), "pca")
    assert np.isfinite(made.real).all()
    if count == 2:
        assert np.linalg.norm(made.real[0] - made.real[1]) == pytest.approx(5)
    with pytest.raises(ProjectionError, match=f"at least 4 features and this snapshot has {count}"):
        picture(snapshot(features), "umap")


def test_umap_of_real_ones_needs_real_ones() -> None:
    few = snapshot(np.eye(3, 5), np.eye(5), mean=np.eye(5), deviation=np.eye(5))
    with pytest.raises(ProjectionError, match="at least 4 real features and this snapshot has 3"):
        picture(few, "umap_real")


@pytest.mark.slow
@pytest.mark.parametrize("count", [4, 6, 40])
@pytest.mark.parametrize("method", METHODS)
def test_few_identical_and_overflown_points(count: int, method: str) -> None:
    features = np.random.default_rng(0).normal(0, 1, (count, 8))
    for real in (features, np.ones((count, 8)), np.repeat(features[:2], count, axis=0)):
        assert np.isfinite(picture(snapshot(real), method).real).all()
    overflown = np.concatenate([features, [[np.inf] * 8, [np.nan] * 8]])
    made = picture(
        snapshot(overflown, overflown[:count], mean=features[:1], deviation=features[:1]), method
    )
    assert np.isfinite(made.real[:count]).all()
    assert np.isnan(made.real[count:]).all()
    assert np.isfinite(made.virtual).all()
    assert made.parameters["num_left_out"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_without_virtual_features(method: str) -> None:
    cloud = FeatureCloud(real=50, virtual_per_class=0, classes=5, dim=16)
    made = project(cloud.snapshot(), method, class_of=cloud.class_of)
    assert made.real.shape == (50, 2)
    assert made.virtual.shape == (0, 2)
    assert made.ellipses.shape == (0, 5)


def test_a_prior_that_overflew_has_no_ellipse() -> None:
    made = picture(
        snapshot(np.eye(4), np.eye(4)[:2], mean=[[np.inf] * 4, [1] * 4], deviation=np.ones((2, 4))),
        "pca",
    )
    assert np.isnan(made.ellipses[0]).all()
    assert np.isfinite(made.ellipses[1]).all()


@pytest.mark.slow
def test_below_three_virtual_points_umap_knows_no_ellipse() -> None:
    real = np.random.default_rng(0).normal(0, 1, (30, 4))
    made = picture(snapshot(real, real[:4], mean=real[:2], deviation=real[:2]), "umap")
    assert np.isnan(made.ellipses).all()
    assert made.ellipses.shape == (2, 5)


def test_a_method_there_is_not() -> None:
    with pytest.raises(ValueError, match="not 'tsne'"):
        picture(snapshot(np.eye(3)), "tsne")
