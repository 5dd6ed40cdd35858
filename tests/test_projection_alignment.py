"""Where points start, and how a picture is turned onto the last one."""

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.projection_alignment import squared, starting_places, turn_onto
from trainer.projection_points import Points, Start

NAN = float("nan")


def points(keys: list[int], classes: list[int], features: list[list[float]]) -> Points:
    return Points(
        features=np.array(features, np.float32),
        keys=np.array(keys, np.int64),
        classes=np.array(classes, np.int32),
        num_real=sum(key >= 0 for key in keys),
        finite=np.ones(len(keys), np.bool_),
    )


def start(places: dict[int, tuple[float, float]]) -> Start:
    keys = sorted(places)
    coordinates = np.array([places[key] for key in keys], np.float32).reshape(-1, 2)
    return Start(7, np.array(keys, np.int64), coordinates)


def cloud(count: int = 40) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(0, 1, (count, 2)).astype(np.float32)


def test_a_quarter_turn_is_turned_back() -> None:
    # (1, 0) and (0, 2) lay at (0, 1) and (-2, 0): a quarter turn to the left.
    now, last = np.float32([[1, 0], [0, 2]]), np.float32([[0, 1], [-2, 0]])
    turn = turn_onto(now, last, rigid=True)
    np.testing.assert_allclose(turn.apply(np.float32([[3, 0]])), [[0, 3]], atol=1e-6)
    assert turn.scale == 1
    assert turn.points == 2


def test_a_mirrored_picture_is_mirrored_back() -> None:
    last = cloud()
    now = last * np.float32([-1, 1])
    centred = last - last.mean(axis=0)
    turn = turn_onto(now - now.mean(axis=0), centred, rigid=True)
    np.testing.assert_allclose(turn.apply(now - now.mean(axis=0)), centred, atol=1e-5)


def test_a_similarity_is_undone_whole() -> None:
    last = cloud()
    angle = 0.7
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    now = (3 * last @ rotation + [5, -2]).astype(np.float32)
    turn = turn_onto(now, last, rigid=False)
    assert turn.scale == pytest.approx(1 / 3, rel=1e-5)
    np.testing.assert_allclose(turn.apply(now), last, atol=1e-5)


def test_only_common_points_count() -> None:
    last = cloud()
    now = -last
    now[5:] = 100  # anywhere: they are new
    places = np.where(np.arange(len(last))[:, None] < 5, last, np.float32(NAN))
    turn = turn_onto(now, places, rigid=False)
    np.testing.assert_allclose(turn.apply(now)[:5], last[:5], atol=1e-4)
    assert turn.points == 5


@pytest.mark.parametrize("known", [0, 1])
def test_below_two_common_points_nothing_is_turned(known: int) -> None:
    now = cloud()
    places = np.full_like(now, np.nan)
    places[:known] = 9
    np.testing.assert_array_equal(turn_onto(now, places, rigid=False).apply(now), now)


@pytest.mark.parametrize("places", [np.ones((5, 2)), cloud(5)])
def test_a_picture_on_one_spot_stays_finite(places: NDArray[np.float32]) -> None:
    for now, last in [(np.ones((5, 2)), places), (places, np.ones((5, 2)))]:
        turned = turn_onto(now.astype(np.float32), last.astype(np.float32), rigid=False)
        assert np.isfinite(turned.apply(now.astype(np.float32))).all()


def test_points_start_where_they_lay() -> None:
    known = start({0: (1, 2), 3: (5, 6), -9: (7, 8)})
    found = starting_places(
        points([3, 0, -9], [1, 0, 4], [[0], [0], [0]]), np.zeros((3, 1), np.float32), known, seed=0
    )
    np.testing.assert_array_equal(found, [[5, 6], [1, 2], [7, 8]])


def test_a_new_point_starts_amid_its_class() -> None:
    known = start({0: (0, 0), 1: (4, 2), 2: (-50, 50)})
    features = np.zeros((4, 1), np.float32)
    found = starting_places(
        points([0, 1, 2, 3], [5, 5, 6, 5], features.tolist()), features, known, seed=0
    )
    np.testing.assert_allclose(found[3], [2, 1], atol=0.05 * 54)  # the scatter: 1 % of 54, 5 sigma
    assert not (found[3] == [2, 1]).all()


def test_a_point_of_a_new_class_starts_at_its_nearest_real_neighbour() -> None:
    known = start({0: (0, 0), 1: (100, 0), -1: (50, 50)})
    features = np.float32([[0], [10], [7.1], [7]])
    found = starting_places(
        points([0, 1, 2, -1], [0, 1, 2, 3], features.tolist()), features[[0, 1, 2, 3]], known,
        seed=0,
    )  # fmt: skip
    # Nearer still is the virtual one; the real one at 10 is meant.
    np.testing.assert_allclose(found[2], [100, 0], atol=5)


def test_an_object_that_is_not_listed_starts_at_its_nearest_neighbour() -> None:
    known = start({0: (0, 0), 1: (100, 0)})
    features = np.float32([[0], [10], [9]])
    found = starting_places(
        points([0, 1, 2], [-1, 0, -1], features.tolist()), features, known, seed=0
    )
    np.testing.assert_allclose(found[2], [100, 0], atol=5)


def test_where_nothing_is_known_nothing_starts() -> None:
    found = starting_places(
        points([4, 5], [0, 0], [[0], [1]]), np.zeros((2, 1), np.float32), start({}), seed=0
    )
    assert np.isnan(found).all()


@pytest.mark.parametrize("stretch", [1, 3, 0.01])
def test_a_picture_is_turned_until_it_is_as_wide_as_high(stretch: float) -> None:
    picture = cloud() * np.float32([stretch, 1])
    width, height = np.ptp(squared(picture), axis=0)
    assert width == pytest.approx(height, rel=1e-4)
    distance = np.linalg.norm(picture[0] - picture[1])
    turned = squared(picture)
    assert np.linalg.norm(turned[0] - turned[1]) == pytest.approx(distance, rel=1e-4)
