"""Probe objects and feature snapshots: back to the bit, what does not fit is refused, and a run's
snapshots stay within their megabytes.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snapshot_builders import feature_values

from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import FeatureProbeRow, FeatureSnapshot, FeatureValues
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
    assert len(reader.features.probes(1)) == 3
    rows = [probe(1, split="holdout", class_index=0), probe(0)]
    writer.feature_probes(rows)
    assert writer.flush()
    assert [row._asdict() for row in reader.features.probes(1)] == [rows[1], rows[0]]
    writer.feature_probes([])
    assert writer.flush()
    assert reader.features.probes(1) == []


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


def test_objects_and_pictures_are_read_without_one_another(
    writer: RunLogWriter, reader: RunLogReader
) -> None:
    rows = [probe(0, picture=b"first"), probe(1, picture=b"second", class_index=0)]
    writer.feature_probes(rows)
    assert writer.flush()
    expected = [{**row} for row in rows]
    for row in expected:
        del row["picture"]
    assert [row._asdict() for row in reader.features.objects(1)] == expected
    assert reader.features.pictures(1) == [b"first", b"second"]
    assert reader.features.picture(1, 1) == b"second"
    assert reader.features.picture(1, 2) is reader.features.picture(2, 1) is None
    assert (reader.features.num_objects(1), reader.features.num_objects(2)) == (2, 0)


# Snapshots


@st.composite
def values(draw: st.DrawFn) -> FeatureValues:
    """Any values at all: no objects, no priors, no numbers; bits at random, so NaN too."""
    count, priors, k, d = (draw(st.integers(low, 4)) for low in (0, 0, 0, 1))
    numbers = np.random.default_rng(draw(st.integers(0, 2**32)))
    drawn = priors * k

    def halves(rows: int) -> Any:
        return numbers.integers(0, 2**16, (rows, d), np.uint16).view(np.float16)

    def floats(rows: int) -> Any:
        return numbers.integers(0, 2**32, rows, np.uint32).view(np.float32)

    def integers(rows: int) -> Any:
        return numbers.integers(-(2**31), 2**31, rows, np.int32)

    return FeatureValues(
        objects=integers(count), real=halves(count), real_predicted=integers(count),
        real_loss=floats(count), classes=integers(priors), mean=halves(priors),
        deviation=halves(priors), prior_size=floats(priors), virtual=halves(drawn),
        virtual_predicted=integers(drawn), virtual_loss=floats(drawn),
    )  # fmt: skip


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(given=values())
def test_features_come_back_to_the_bit(
    given: FeatureValues, writer: RunLogWriter, reader: RunLogReader
) -> None:
    last = max((head.id for head in reader.features.heads(1)), default=0)
    writer.feature_snapshot(given, step=7, epoch=2)
    assert writer.flush()
    (found,) = reader.features.snapshots(1, after=last)
    assert (found.step, found.epoch, found.virtual_per_class) == (7, 2, given.virtual_per_class)
    same(found, given)
    again = reader.features.snapshot(found.id)
    assert again is not None
    assert (again.id, again.wall_time) == (found.id, found.wall_time)
    same(again, given)
    assert found.virtual_classes.tolist() == given.virtual_classes.tolist()


def same(found: FeatureValues, given: FeatureValues) -> None:
    for name in FeatureValues.__slots__:
        stored, handed = getattr(found, name), getattr(given, name)
        assert (stored.dtype, stored.shape) == (handed.dtype, handed.shape), name
        assert stored.tobytes() == handed.tobytes(), name


def test_a_head_counts_what_its_snapshot_holds(writer: RunLogWriter, reader: RunLogReader) -> None:
    writer.feature_snapshot(
        feature_values(objects=range(5), classes=(0, 2, 3), per_class=4, feature_dim=7),
        step=30, epoch=4,
    )  # fmt: skip
    writer.feature_snapshot(feature_values(classes=()), step=31, epoch=4)
    assert writer.flush()
    first, baseline = reader.features.heads(1)
    assert first[:3] == (1, 30, 4)
    assert first[4:8] == (7, 5, 3, 12)
    halves, quarters = 7 * (5 + 2 * 3 + 12), 3 * 5 + 2 * 3 + 2 * 12
    assert first.bytes == 2 * halves + 4 * quarters == bytes_of(reader.features.snapshot(1))
    assert baseline[4:8] == (3, 2, 0, 0)
    labels = reader.features.labels(1)
    snapshot = reader.features.snapshot(1)
    assert labels is not None
    assert snapshot is not None
    assert (labels.id, labels.run_id, labels.virtual_per_class) == (1, 1, 4)
    for name in ("objects", "real_loss", "virtual_predicted", "virtual_classes"):
        assert getattr(labels, name).tolist() == getattr(snapshot, name).tolist()
    assert reader.features.labels(3) is reader.features.snapshot(3) is None
    assert reader.features.heads(2) == reader.features.snapshots(2) == []


def bytes_of(snapshot: FeatureSnapshot | None) -> int:
    return sum(getattr(snapshot, name).nbytes for name in FeatureValues.__slots__)


def test_features_of_other_kinds_are_converted(writer: RunLogWriter, reader: RunLogReader) -> None:
    table = np.arange(6, dtype=np.float64).reshape(2, 3)
    writer.feature_snapshot(
        feature_values(real=table, objects=np.array([5, 7]), real_loss=np.array([0.5, 2.0])),
        step=1, epoch=0,
    )  # fmt: skip
    writer.feature_snapshot(
        feature_values(objects=range(3), real=table.T, feature_dim=2), step=1, epoch=0
    )
    writer.feature_snapshot(feature_values(mean=np.full((2, 3), 1e6)), step=1, epoch=0)
    table[:] = -1  # a call copies
    assert writer.flush()
    first, turned, large = reader.features.snapshots(1)
    assert first.real.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (first.real.dtype, first.objects.dtype) == (np.float16, np.int32)
    assert first.objects.tolist() == [5, 7]
    assert first.real_loss.tolist() == [0.5, 2.0]
    assert turned.real.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert np.isposinf(large.mean).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objects": np.zeros(1, int)}, r"real has the shape \(2, 3\) and not \(1, 3\)"),
        ({"real": np.zeros((3, 3), np.float16)}, r"real has the shape \(3, 3\) and not \(2, 3\)"),
        ({"real": np.zeros(2, np.float16)}, "with d >= 1"),
        ({"real": np.zeros((2, 0), np.float16)}, "with d >= 1"),
        ({"real": np.zeros((2, 4), np.float16)}, r"mean has the shape \(2, 3\) and not \(2, 4\)"),
        ({"real_loss": np.zeros(1, np.float32)}, r"real_loss has the shape \(1,\) and not \(2,\)"),
        ({"classes": np.zeros((2, 1), np.int32)}, "classes has the shape"),
        ({"deviation": np.zeros((2, 2), np.float16)}, "deviation has the shape"),
        ({"prior_size": np.zeros(3, np.float32)}, "prior_size has the shape"),
        ({"virtual": np.zeros((3, 3), np.float16)}, r"virtual has the shape \(3, 3\) and not \(4"),
        ({"virtual_predicted": np.zeros(5, np.int32)}, "virtual_predicted has the shape"),
        ({"virtual_loss": np.zeros(3, np.float32)}, "virtual_loss has the shape"),
        ({"real": np.zeros((2, 3), int)}, "real holds floats, not int64"),
        ({"real_predicted": np.zeros(2)}, "real_predicted holds integers, not float64"),
        ({"classes": np.array([0, 2**31])}, "2147483648"),
    ],
)
def test_features_that_do_not_fit(
    writer: RunLogWriter, reader: RunLogReader, changes: dict[str, Any], words: str
) -> None:
    given = dataclasses.replace(feature_values(), **changes)
    with pytest.raises(ValueError, match=words):
        writer.feature_snapshot(given, step=1, epoch=0)
    assert writer.flush()
    assert reader.features.heads(1) == []


# Thinning


def take(writer: RunLogWriter, step: int, most_bytes: int | None, **changes: Any) -> None:
    writer.feature_snapshot(
        feature_values(seed=step, **changes), step=step, epoch=0, most_bytes=most_bytes
    )


def steps(reader: RunLogReader, run_id: int = 1) -> list[int]:
    return [head.step for head in reader.features.heads(run_id)]


def test_the_first_and_the_newest_stay_and_the_oldest_go(
    writer: RunLogWriter, reader: RunLogReader
) -> None:
    take(writer, 0, None)
    assert writer.flush()
    (head,) = reader.features.heads(1)
    kept = []
    for step in range(1, 7):
        take(writer, step, 3 * head.bytes)
        assert writer.flush()
        kept.append(steps(reader))
    assert kept == [[0, 1], [0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5], [0, 5, 6]]
    take(writer, 7, 3 * head.bytes - 1)  # room for two only
    assert writer.flush()
    assert steps(reader) == [0, 7]
    take(writer, 8, 0)  # no room at all: the first and the new one stay in any case
    assert writer.flush()
    assert steps(reader) == [0, 8]
    take(writer, 9, None)  # no bound
    assert writer.flush()
    assert steps(reader) == [0, 8, 9]


def test_large_ones_push_out_more_and_nobody_elses(
    writer: RunLogWriter, reader: RunLogReader, tmp_path: Path
) -> None:
    path = tmp_path / "fasa.sqlite"
    queue_run(path, name="neighbour", config={}, dataset="demo")
    with RunLogWriter(path, 2) as neighbour:
        for step in range(4):
            take(writer, step, None)
            take(neighbour, 100 + step, None)
            assert writer.flush()
            assert neighbour.flush()
        small = reader.features.heads(1)[0].bytes
        # Beside the first (132 bytes) and this one (18 objects of 18 bytes each) one more fits.
        assert small == 132
        take(writer, 4, 5 * small, objects=range(18), classes=())
        assert writer.flush()
        assert reader.features.heads(1)[-1].bytes == 324
        assert steps(reader) == [0, 3, 4]
        take(writer, 5, 10 * small)
        assert writer.flush()
        assert steps(reader) == [0, 3, 4, 5]
        assert steps(reader, 2) == [100, 101, 102, 103]


def test_a_snapshot_larger_than_the_bound_stays(writer: RunLogWriter, reader: RunLogReader) -> None:
    take(writer, 1, 10, objects=range(50))
    assert writer.flush()
    assert steps(reader) == [1]
    take(writer, 2, 10, objects=range(50))
    assert writer.flush()
    assert steps(reader) == [1, 2]
