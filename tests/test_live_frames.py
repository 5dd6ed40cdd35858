"""What the live route makes of rows: means, quantiles, changes; pure, checked by hand and numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from app.live_frames import (
    Want,
    WantError,
    group_means,
    group_quantiles,
    last_change,
    last_of_each_epoch,
    parse_want,
    pick_classes,
)


def test_group_means_leave_missing_classes_out() -> None:
    nan = np.nan
    values = np.array([[1, 3, nan, 5, nan], [nan, nan, nan, 7, 1]], np.float32)
    group = np.array([0, 0, 0, 1, 2], np.int8)
    means = group_means(values, group)
    np.testing.assert_array_equal(means, np.array([[2, 5, nan], [nan, 7, 1]], np.float32))
    assert np.isnan(group_means(values, np.empty(0, np.int8))).all()  # classes not named yet
    assert group_means(np.empty((0, 5), np.float32), group).shape == (0, 3)


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
               elements=st.floats(-1e6, 1e6, width=32) | st.just(float("nan"))),
    st.data(),
)  # fmt: skip
def test_group_means_equal_numpy(values: np.ndarray, data: st.DataObject) -> None:
    letters = st.lists(st.integers(-1, 2), min_size=values.shape[1], max_size=values.shape[1])
    group = np.array(data.draw(letters), np.int8)
    means = group_means(values, group)
    for row in range(len(values)):
        for index in range(3):
            known = [v for v, g in zip(values[row], group, strict=True) if g == index and v == v]
            expected = np.mean(np.array(known, np.float64)) if known else np.nan
            assert means[row, index] == pytest.approx(expected, rel=1e-5, abs=1e-3, nan_ok=True)


def test_group_quantiles_leave_missing_classes_out() -> None:
    nan = np.nan
    values = np.array([[0, 10, nan, 5, 1], [nan, nan, nan, 7, 1]], np.float32)
    found = group_quantiles(values, np.array([0, 0, 0, 1, -1], np.int8))
    np.testing.assert_allclose(found[0], [1, 2.5, 5, 7.5, 9, *[5] * 5, *[nan] * 5])
    np.testing.assert_allclose(found[1], [*[nan] * 5, *[7] * 5, *[nan] * 5])
    assert np.isnan(group_quantiles(values, np.empty(0, np.int8))).all()
    assert group_quantiles(np.empty((0, 2), np.float32), np.zeros(2, np.int8)).shape == (0, 15)


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=7),
               elements=st.floats(-1e6, 1e6, width=32) | st.just(float("nan"))),
)  # fmt: skip
def test_group_quantiles_equal_numpy(values: np.ndarray) -> None:
    found = group_quantiles(values, np.ones(values.shape[1], np.int8))
    for row, got in zip(values, found, strict=True):
        known = row[~np.isnan(row)].astype(np.float64)
        for place, quantile in enumerate((0.1, 0.25, 0.5, 0.75, 0.9)):
            expected = np.quantile(known, quantile) if len(known) else np.nan
            assert got[5 + place] == pytest.approx(expected, rel=1e-5, abs=0.1, nan_ok=True)


def test_last_of_each_epoch() -> None:
    assert last_of_each_epoch(np.array([0, 0, 1, 3, 3])).tolist() == [1, 2, 4]
    assert last_of_each_epoch(np.array([2])).tolist() == [0]
    assert last_of_each_epoch(np.array([], np.int64)).tolist() == []


def test_last_change_looks_past_repeated_snapshots() -> None:
    nan = np.nan
    history = np.array([[1, 2, nan, 0], [2, 2, nan, 0], [2, 2, nan, 0]], np.float32)
    np.testing.assert_array_equal(last_change(history), np.array([2, 1, nan, nan], np.float32))
    assert np.isnan(last_change(history[1:])).all()  # nothing has changed yet
    assert np.isnan(last_change(history[:1])).all()


def test_pick_classes_keeps_order() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(pick_classes(values, [2, 0]), [[2, 0], [5, 3]])


def test_parse_want() -> None:
    assert parse_want("classes:88:ap:segm:17,23") == Want("classes", 88, field="ap:segm",
                                                         classes=(17, 23))  # fmt: skip
    assert parse_want("scalars:0:loss/*,segm/AP").names == ("loss/*", "segm/AP")
    with pytest.raises(WantError, match="one of scalars, groups"):
        parse_want("drop:0:runs")
