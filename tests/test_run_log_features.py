"""Probe objects and feature snapshots: back to the bit, and what does not fit is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import FeatureProbeRow
from trainer.run_log.writer import RunLogWriter


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[RunLogWriter]:
    path = tmp_path / "fasa.sqlite"
    queue_run(path, name="first", config={}, dataset="demo")
    with RunLogWriter(path, 1) as writer:
        yield writer


@pytest.fixture
def reader(writer: RunLogWriter, tmp_path: Path) -> Iterator[RunLogReader]:
    with RunLogReader(tmp_path / "fasa.sqlite") as reader:
        yield reader


def probe(index: int, **changes: Any) -> dict[str, Any]:
    row = FeatureProbeRow(
        object_index=index, class_index=3, split="train", image_id=2**40, x1=0.5, y1=1.5, x2=20.25,
        y2=30.0, picture=bytes(range(256)),
    )  # fmt: skip
    return row._replace(**changes)._asdict()


def test_probe_objects_take_the_place_of_earlier_ones(
    writer: RunLogWriter, reader: RunLogReader
) -> None:
    writer.feature_probes([probe(index) for index in range(3)])
    assert writer.flush()
    assert len(reader.feature_probes(1)) == 3
    rows = [probe(1, split="holdout", class_index=0), probe(0)]
    writer.feature_probes(rows)
    assert writer.flush()
    assert [row._asdict() for row in reader.feature_probes(1)] == [rows[1], rows[0]]
    writer.feature_probes([])
    assert writer.flush()
    assert reader.feature_probes(1) == []


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([probe(1)], r"1 objects must be 0\.\.0"),
        ([probe(0), probe(0)], r"2 objects must be 0\.\.1"),
        ([probe(0, split="test")], "train or holdout, not 'test'"),
    ],
)
def test_probe_objects_that_do_not_fit(
    writer: RunLogWriter, rows: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        writer.feature_probes(rows)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=hnp.arrays(
        np.float16, hnp.array_shapes(min_dims=2, max_dims=2), elements=st.floats(width=16)
    ),
    kind=st.sampled_from(["real", "virtual"]),
)
def test_features_come_back_to_the_bit(
    data: np.ndarray, kind: str, writer: RunLogWriter, reader: RunLogReader
) -> None:
    last = max((row.id for row in reader.feature_snapshots(1)), default=0)
    subjects = np.arange(len(data), dtype=np.int32)[::-1]
    writer.feature_snapshot(kind, subjects, data, step=7, epoch=2)
    assert writer.flush()
    (found,) = reader.feature_snapshots(1, after=last)
    assert (found.kind, found.step, found.epoch) == (kind, 7, 2)
    assert found.data.dtype == np.float16
    assert found.data.shape == data.shape
    assert found.data.tobytes() == data.tobytes()
    assert found.subjects.dtype == np.int32
    assert found.subjects.tolist() == subjects.tolist()


def test_features_of_other_kinds_are_converted(writer: RunLogWriter, reader: RunLogReader) -> None:
    table = np.arange(12, dtype=np.float64).reshape(3, 4)
    writer.feature_snapshot("real", np.array([5, 6, 7]), table, step=1, epoch=0)
    writer.feature_snapshot("real", np.zeros(4, np.int32), table.T, step=1, epoch=0)
    writer.feature_snapshot("virtual", np.zeros(0, int), np.zeros((0, 4)), step=1, epoch=0)
    writer.feature_snapshot("real", np.zeros(1, int), np.full((1, 1), 1e6), step=1, epoch=0)
    table[:] = -1  # a call copies
    assert writer.flush()
    first, turned, empty, large = reader.feature_snapshots(1)
    assert first.data.tolist() == np.arange(12).reshape(3, 4).tolist()
    assert first.subjects.tolist() == [5, 6, 7]
    assert turned.data.tolist() == np.arange(12).reshape(3, 4).T.tolist()
    assert (empty.data.shape, empty.subjects.shape) == ((0, 4), (0,))
    assert np.isposinf(large.data).all()


@pytest.mark.parametrize(
    ("kind", "subjects", "data", "words"),
    [
        ("imaginary", np.zeros(2, int), np.zeros((2, 3)), "real or virtual, not 'imaginary'"),
        ("real", np.zeros(3, int), np.zeros((2, 3)), r"\(2, 3\) do not belong.*\(3,\)"),
        ("real", np.zeros((2, 1), int), np.zeros((2, 3)), r"\(2, 3\) do not belong.*\(2, 1\)"),
        ("real", np.zeros(2, int), np.zeros(2), r"\(2,\) do not belong"),
        ("real", np.zeros(2, int), np.zeros((2, 0)), "d >= 1"),
        ("real", np.zeros(2), np.zeros((2, 3)), "integers, not float64"),
        ("real", np.array([0, 2**31]), np.zeros((2, 3)), "2147483648"),
        ("real", np.zeros(2, int), np.zeros((2, 3), int), "floats, not int64"),
    ],
)
def test_features_that_do_not_fit(
    writer: RunLogWriter, kind: str, subjects: np.ndarray, data: np.ndarray, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        writer.feature_snapshot(kind, subjects, data, step=1, epoch=0)
