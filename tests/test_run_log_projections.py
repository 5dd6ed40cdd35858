"""What the projector writes: pictures and measures, which go when their snapshot goes."""

import functools
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feature_builders import coordinates
from snapshot_builders import feature_values

from trainer.run_log.commands import delete_run, mark_deleted, queue_run, set_status
from trainer.run_log.projections import (
    begin_projection,
    fail_projection,
    fail_running,
    store_measures,
    store_projection,
)
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import METHODS
from trainer.run_log.schema import RunLogError, open_for_reading, open_for_writing
from trainer.run_log.writer import RunLogWriter

VALUES = feature_values()
PLACES = coordinates(VALUES)
GROUPS = {"all": 0.5, "rare": None, "common": 0.25, "frequent": 1.0}
SHARES = np.array([0.5, np.nan, 1], np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Run 1 with the snapshots 1 and 2, run 2 with snapshot 3."""
    path = tmp_path / "fasa.sqlite"
    for run_id, count in ((1, 2), (2, 1)):
        queue_run(path, name="run", config={}, dataset="demo")
        with RunLogWriter(path, run_id) as writer:
            for step in range(1, count + 1):
                writer.feature_snapshot(VALUES, step=step, epoch=step - 1)
    return path


def store(path: Path, run_id: int, snapshot_id: int, method: str = "pca", **changes: Any) -> bool:
    given: dict[str, Any] = {"seconds": 2.0, "parameters": {"seed": 7}, **PLACES}
    return store_projection(path, run_id, snapshot_id, method, **given | changes)


def states(reader: RunLogReader, run_id: int = 1) -> dict[tuple[int, str], str]:
    rows = reader.features.projections(run_id)
    found = {(row.snapshot_id, row.method): row.state for row in rows}
    assert len(found) == len(rows)  # one a snapshot and method
    return found


# From running to ready or failed


def test_a_picture_is_running_then_ready(path: Path, reader: RunLogReader) -> None:
    assert begin_projection(path, 1, 2, "umap")
    (running,) = reader.features.projections(1)
    assert running[1:6] == (2, 2, 1, "umap", "running")
    assert (running.seconds, running.error, running.parameters) == (None, None, {})
    assert running.started == pytest.approx(time.time(), abs=60)
    assert reader.features.projection(2, "umap") is None  # nothing to be drawn yet
    assert store(path, 1, 2, "umap")
    (ready,) = reader.features.projections(1)
    assert (ready.state, ready.seconds, ready.parameters) == ("ready", 2.0, {"seed": 7})
    assert ready.started == pytest.approx(time.time() - 2, abs=60)
    picture = reader.features.projection(2, "umap")
    assert picture is not None
    assert (picture.snapshot_id, picture.step, picture.epoch, picture.method) == (2, 2, 1, "umap")
    for name, given in PLACES.items():
        stored = getattr(picture, name)
        assert (stored.dtype, stored.shape) == (given.dtype, given.shape)
        assert stored.tobytes() == given.tobytes()
    assert reader.features.projection(1, "umap") is reader.features.projection(2, "pca") is None


def test_a_picture_that_failed_says_why_and_may_be_made_again(
    path: Path, reader: RunLogReader
) -> None:
    assert begin_projection(path, 1, 1, "umap_real")
    assert fail_projection(path, 1, 1, "umap_real", "no memory was left: \ud800")
    (row,) = reader.features.projections(1)
    assert row.state == "failed"
    assert row.error is not None
    assert row.error.startswith("no memory was left: ")
    assert reader.features.projection(1, "umap_real") is None
    assert begin_projection(path, 1, 1, "umap_real")
    assert store(path, 1, 1, "umap_real")
    (row,) = reader.features.projections(1)
    assert (row.state, row.error) == ("ready", None)


def test_every_method_has_a_picture_of_its_own(path: Path, reader: RunLogReader) -> None:
    for method in METHODS:
        assert store(path, 1, 1, method)
    assert states(reader) == {(1, method): "ready" for method in METHODS}


def test_a_baseline_and_no_ellipses(path: Path, reader: RunLogReader) -> None:
    ellipses = np.full((2, 5), np.nan, np.float32)
    assert store(path, 1, 1, virtual=np.zeros((0, 2)), ellipses=ellipses)
    picture = reader.features.projection(1, "pca")
    assert picture is not None
    assert picture.virtual.shape == (0, 2)
    assert picture.ellipses.dtype == np.float32
    assert np.isnan(picture.ellipses).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"real": np.zeros((2, 3))}, r"shape \(2, 3\)"),
        ({"virtual": np.zeros(4)}, r"shape \(4,\)"),
        ({"ellipses": np.zeros((2, 2))}, r"shape \(2, 2\)"),
        ({"parameters": {"a": {1, 2}}}, "json|JSON|serializ"),
    ],
)
def test_what_is_no_picture(
    path: Path, reader: RunLogReader, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        store(path, 1, 1, **changes)
    assert states(reader) == {}


def test_a_method_that_nobody_knows_is_refused(path: Path, reader: RunLogReader) -> None:
    with pytest.raises(RunLogError, match="CHECK constraint"):
        begin_projection(path, 1, 1, "tsne")
    assert states(reader) == {}


def test_what_a_dead_projector_left_is_marked_failed(path: Path, reader: RunLogReader) -> None:
    assert begin_projection(path, 1, 1, "umap")
    assert begin_projection(path, 2, 3, "pca")
    assert store(path, 1, 2, "pca")
    assert fail_projection(path, 1, 2, "umap", "an error of its own")
    assert fail_running(path, "the projector ended in the middle: it tries again") == 2
    assert states(reader) == {(2, "pca"): "ready", (2, "umap"): "failed", (1, "umap"): "failed"}
    errors = {row.snapshot_id: row.error for row in reader.features.projections(1) if row.error}
    assert errors[2] == "an error of its own"
    assert errors[1].startswith("the projector ended")
    assert states(reader, 2) == {(3, "pca"): "failed"}
    assert fail_running(path, "again") == 0


# Measures


def test_measures_come_back_and_are_replaced(path: Path, reader: RunLogReader) -> None:
    measures = {"negative_share": (SHARES, GROUPS), "accuracy_virtual": (SHARES[::-1], {})}
    assert store_measures(path, 1, 2, measures)
    assert store_measures(path, 1, 1, {"negative_share": (SHARES * 0, GROUPS)})
    rows = reader.features.measures(1)
    assert [(row.snapshot_id, row.step, row.epoch, row.name) for row in rows] == [
        (1, 1, 0, "negative_share"), (2, 2, 1, "accuracy_virtual"), (2, 2, 1, "negative_share"),
    ]  # fmt: skip
    assert rows[2].per_class.tobytes() == SHARES.tobytes()
    assert rows[1].per_class.tobytes() == SHARES[::-1].tobytes()
    assert rows[2].groups == GROUPS
    (one, two) = reader.features.measures(1, ["negative_share", "no such"])
    assert (one.snapshot_id, two.snapshot_id) == (1, 2)
    assert set(reader.features.newest_measures(1)) == set(measures)
    assert reader.features.measures(1, []) == reader.features.measures(2) == []
    again = {"negative_share": (SHARES * 2, {"all": float("nan"), "rare": float("inf")})}
    assert store_measures(path, 1, 2, again)
    row = reader.features.newest_measures(1)["negative_share"]
    assert row.per_class.tobytes() == (SHARES * 2).tobytes()
    assert row.groups == {"all": None, "rare": None}  # no number in json: not to be judged
    assert len(reader.features.measures(1)) == 3


@pytest.mark.parametrize("values", [np.zeros((2, 2)), np.zeros(2, int), np.array(1.0)])
def test_what_is_no_measure(path: Path, reader: RunLogReader, values: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"hand in floats \[C\]"):
        store_measures(path, 1, 1, {"good": (SHARES, {}), "negative_share": (values, {})})
    assert reader.features.measures(1) == []  # both or none


# A snapshot goes


def rows(path: Path) -> tuple[list[Any], list[Any]]:
    """(run, snapshot) of every picture and of every measure, whatever its snapshot."""
    with closing(open_for_reading(path)) as connection:
        pictures, measures = (
            connection.execute(f"SELECT run_id, snapshot_id FROM {table} ORDER BY 1, 2").fetchall()
            for table in ("projections", "feature_measures")
        )
    return pictures, measures


@pytest.fixture
def drawn(path: Path) -> Path:
    """Each of the three snapshots has a picture, a failure and a measure."""
    for run_id, snapshot_id in ((1, 1), (1, 2), (2, 3)):
        assert store(path, run_id, snapshot_id)
        assert fail_projection(path, run_id, snapshot_id, "umap", "why")
        assert store_measures(path, run_id, snapshot_id, {"negative_share": (SHARES, GROUPS)})
    return path


def test_pictures_and_measures_go_with_a_snapshot_that_is_thinned_away(drawn: Path) -> None:
    with RunLogWriter(drawn, 1) as writer:
        writer.feature_snapshot(VALUES, step=3, epoch=2, most_bytes=0)
    assert rows(drawn) == ([(1, 1), (1, 1), (2, 3), (2, 3)], [(1, 1), (2, 3)])


def test_they_go_when_the_run_goes_back(drawn: Path) -> None:
    with RunLogWriter(drawn, 1) as writer:
        writer.truncate_after({"feature_snapshots": 1}, step=1)
    assert rows(drawn) == ([(1, 1), (1, 1), (2, 3), (2, 3)], [(1, 1), (2, 3)])


def test_they_go_with_the_run_and_nobody_elses_do(drawn: Path) -> None:
    set_status(drawn, 1, "finished")
    mark_deleted(drawn, 1, True)
    delete_run(drawn, 1)
    assert rows(drawn) == ([(2, 3), (2, 3)], [(2, 3)])


def test_of_a_snapshot_that_is_gone_nothing_is_stored(path: Path, reader: RunLogReader) -> None:
    assert begin_projection(path, 1, 2, "umap")
    with RunLogWriter(path, 1) as writer:
        writer.feature_snapshot(VALUES, step=3, epoch=2, most_bytes=0)  # takes its place
    for run_id, snapshot_id in ((1, 2), (1, 99), (2, 1)):  # the last is of another run
        assert not begin_projection(path, run_id, snapshot_id, "pca")
        assert not store(path, run_id, snapshot_id)
        assert not fail_projection(path, run_id, snapshot_id, "pca", "why")
        assert not store_measures(path, run_id, snapshot_id, {"a": (SHARES, GROUPS)})
    assert rows(path) == ([], [])
    assert states(reader) == {}


def test_a_fork_has_the_snapshots_and_no_pictures_of_them(
    drawn: Path, reader: RunLogReader
) -> None:
    with RunLogWriter(drawn, 1) as parent:
        position = parent.position()
        parent.feature_snapshot(VALUES, step=3, epoch=2)  # after the checkpoint
    child = queue_run(drawn, name="fork", config={}, dataset="demo", parent_run=1)
    with RunLogWriter(drawn, child) as writer:
        writer.copy_history(1, position)
    copies = reader.features.snapshots(child)
    originals = reader.features.snapshots(1)[:2]
    assert [row.step for row in copies] == [1, 2]
    assert min(row.id for row in copies) > 4
    for copy, original in zip(copies, originals, strict=True):
        assert copy.virtual.tobytes() == original.virtual.tobytes()
        assert copy.wall_time == original.wall_time
    assert states(reader, child) == {}
    assert reader.features.measures(child) == []
    assert len(states(reader, 1)) == 4
    # The copy is the fork's own: it outlives what the parent loses.
    with RunLogWriter(drawn, 1) as parent:
        parent.feature_snapshot(VALUES, step=4, epoch=3, most_bytes=0)
    assert [head.step for head in reader.features.heads(child)] == [1, 2]
    assert store(drawn, child, copies[0].id)


# Others beside


def test_two_projectors_leave_one_picture_of_each_kind(path: Path, reader: RunLogReader) -> None:
    problems: list[BaseException] = []

    def project(place: float) -> None:
        try:
            for snapshot_id in (1, 2) * 5:
                for method in ("pca", "umap"):
                    assert begin_projection(path, 1, snapshot_id, method)
                    real = np.full((2, 2), place, np.float32)
                    assert store(path, 1, snapshot_id, method, real=real)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=project, args=(place,)) for place in (1.0, 2.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert states(reader) == {(s, m): "ready" for s in (1, 2) for m in ("pca", "umap")}
    for snapshot_id in (1, 2):
        picture = reader.features.projection(snapshot_id, "umap")
        assert picture is not None
        assert picture.real.tolist() in ([[1, 1], [1, 1]], [[2, 2], [2, 2]])  # whole, of one


def test_a_locked_log_is_said_and_nothing_is_stored(
    path: Path, reader: RunLogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = functools.partial(open_for_writing, busy_seconds=0.1)
    monkeypatch.setattr("trainer.run_log.transaction.open_for_writing", hasty)
    with closing(open_for_writing(path)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        for write in (
            lambda: begin_projection(path, 1, 1, "pca"),
            lambda: store(path, 1, 1),
            lambda: fail_projection(path, 1, 1, "pca", "why"),
            lambda: fail_running(path, "why"),
            lambda: store_measures(path, 1, 1, {"a": (SHARES, GROUPS)}),
        ):
            with pytest.raises(RunLogError, match="locked by another program"):
                write()
        holder.execute("ROLLBACK")
    assert rows(path) == ([], [])
    assert store(path, 1, 1)


def test_the_version_changes_with_each_snapshot_picture_and_failure(
    path: Path, reader: RunLogReader
) -> None:
    def version() -> int:
        return reader.versions(1)["feature"]

    found = [version()]
    begin_projection(path, 1, 2, "pca")
    found.append(version())
    store(path, 1, 2)
    found.append(version())
    fail_projection(path, 1, 2, "umap", "why")
    found.append(version())
    with RunLogWriter(path, 1) as writer:
        writer.feature_snapshot(VALUES, step=3, epoch=2)
    found.append(version())
    assert len(set(found)) == len(found)
    store(path, 2, 3)  # of another run
    assert version() == found[-1]
