"""The projector's work on a real run log, in this process; its death is tried in test_projector."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.feature_cloud import FeatureCloud
from benchmarks.feature_run import FeatureRun
from trainer import projector_work
from trainer.projector_work import Projector
from trainer.run_log.commands import mark_deleted
from trainer.run_log.projections import begin_projection
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import open_for_writing

SMALL = {"real": 60, "virtual_per_class": 3, "classes": 6, "dim": 12}


@pytest.fixture
def run(tmp_path: Path) -> FeatureRun:
    return FeatureRun(tmp_path / "fasa.sqlite", FeatureCloud(**SMALL))


@pytest.fixture
def reader(run: FeatureRun) -> Iterator[RunLogReader]:
    with RunLogReader(run.path) as reader:
        yield reader


def states(reader: RunLogReader) -> dict[int, dict[str, str]]:
    return {found.snapshot_id: found.states for found in reader.features.states()}


def only_pca(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried here is the same for all methods, and PCA takes no time."""
    monkeypatch.setattr("trainer.projection_queue.WHEN_READY", ())


@pytest.mark.slow
def test_every_snapshot_gets_its_pictures_and_measures(
    run: FeatureRun, reader: RunLogReader
) -> None:
    first, second = run.add(0, 1)
    Projector(run.path).work_off()
    ready = dict.fromkeys(("pca", "umap", "umap_real"), "ready")
    assert states(reader) == {first: ready, second: ready}
    made = reader.features.projection(first, "umap")
    assert made is not None
    assert made.real.shape == (60, 2)
    assert made.virtual.shape == (18, 2)
    assert np.isfinite(made.ellipses).all()
    assert made.parameters["start"] == second
    assert {row.snapshot_id for row in reader.features.measures(run.run_id)} == {first, second}
    heads = reader.features.projections(run.run_id)
    assert [head.snapshot_id for head in heads] == [second, first, second, second, first, first]


def test_what_comes_while_it_works_is_next(
    run: FeatureRun, reader: RunLogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_pca(monkeypatch)
    run.add(0, 1)
    projector = Projector(run.path)
    assert projector.work()
    (newest,) = run.add(2)
    assert projector.work()
    assert states(reader)[newest] == {"pca": "ready"}
    assert projector.work()
    assert not projector.work()


def test_a_picture_that_cannot_be_made_is_tried_once(
    run: FeatureRun, reader: RunLogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_pca(monkeypatch)
    tried = []

    def broken(*given: Any, **more: Any) -> None:
        tried.append(given)
        raise FloatingPointError("the library tripped.\nand more")

    monkeypatch.setattr(projector_work, "project", broken)
    run.add(0)
    for _ in range(2):
        Projector(run.path).work_off()
    assert len(tried) == 1
    (head,) = reader.features.projections(run.run_id)
    assert head.error == ("The picture could not be made: FloatingPointError, the library tripped.")


def test_a_picture_that_cannot_be_measured_is_made(
    run: FeatureRun,
    reader: RunLogReader,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    only_pca(monkeypatch)
    with closing(sqlite3.connect(run.path)) as connection, connection:
        connection.execute("DELETE FROM feature_probes")
    (taken,) = run.add(0)
    Projector(run.path).work_off()
    assert states(reader) == {taken: {"pca": "ready"}}
    assert reader.features.measures(run.run_id) == []
    assert "was not measured" in capsys.readouterr().err


def test_what_a_dead_projector_left_is_failed_and_not_tried_again(
    run: FeatureRun, reader: RunLogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_pca(monkeypatch)
    (taken,) = run.add(0)
    assert begin_projection(run.path, run.run_id, taken, "pca")
    Projector(run.path).work_off()
    (head,) = reader.features.projections(run.run_id)
    assert head.state == "failed"
    assert "does not try it again" in str(head.error)


def test_a_stopped_one_takes_its_picture_back_and_begins_no_other(
    run: FeatureRun, reader: RunLogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_pca(monkeypatch)
    (taken,) = run.add(0)
    stopped, begun, go_on = Projector(run.path), threading.Event(), threading.Event()

    def make(*given: Any, **more: Any) -> None:
        begun.set()
        assert go_on.wait(60)

    with monkeypatch.context() as patch:
        patch.setattr(projector_work, "project", make)
        thread = threading.Thread(target=stopped.work_off, daemon=True)
        thread.start()
        assert begun.wait(60)
        assert states(reader) == {taken: {"pca": "running"}}
        stopped.take_back()
        assert states(reader) == {taken: {}}
        go_on.set()
        thread.join(1.0)  # in which it would begin another
        assert thread.is_alive()
        assert states(reader) == {taken: {}}
    Projector(run.path).work_off()
    assert states(reader) == {taken: {"pca": "ready"}}


def test_a_snapshot_thinned_away_meanwhile_leaves_nothing(
    run: FeatureRun, reader: RunLogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_pca(monkeypatch)
    gone, kept = run.add(0, 1)

    def thinned(snapshot: Any, *given: Any, **more: Any) -> Any:
        if snapshot.id == kept:
            with closing(sqlite3.connect(run.path)) as connection, connection:
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute("DELETE FROM feature_snapshots WHERE id = ?", (kept,))
        return made(snapshot, *given, **more)

    made = projector_work.project
    monkeypatch.setattr(projector_work, "project", thinned)
    Projector(run.path).work_off()
    assert states(reader) == {gone: {"pca": "ready"}}


def test_a_run_marked_deleted_gets_no_pictures(
    run: FeatureRun, reader: RunLogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_pca(monkeypatch)
    run.add(0)
    mark_deleted(run.path, run.run_id, True)
    assert not Projector(run.path).work()
    mark_deleted(run.path, run.run_id, False)
    assert Projector(run.path).work()


def test_a_locked_log_is_waited_for_and_said_once(
    run: FeatureRun,
    reader: RunLogReader,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    only_pca(monkeypatch)
    (taken,) = run.add(0)
    monkeypatch.setitem(open_for_writing.__kwdefaults__, "busy_seconds", 0.05)
    made = projector_work.project
    tries = []

    def locked(*given: Any, **more: Any) -> Any:
        lock.execute("BEGIN IMMEDIATE")
        return made(*given, **more)

    def waited(seconds: float) -> None:
        tries.append(seconds)
        if len(tries) == 2:
            lock.execute("ROLLBACK")

    with closing(sqlite3.connect(run.path, isolation_level=None)) as lock:
        monkeypatch.setattr(projector_work, "project", locked)
        monkeypatch.setattr(time, "sleep", waited)
        Projector(run.path).work_off()
    assert states(reader) == {taken: {"pca": "ready"}}
    assert len(tries) == 2
    assert capsys.readouterr().err.count("is locked") == 1


def test_a_log_that_was_replaced_gets_nothing_of_the_old_one(
    run: FeatureRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_pca(monkeypatch)
    run.add(0)
    other = FeatureRun(tmp_path / "other.sqlite", FeatureCloud(**SMALL))
    (untouched,) = other.add(3)
    made = projector_work.project

    def replaced(*given: Any, **more: Any) -> Any:
        if other.path.exists():
            for end in ("-wal", "-shm"):
                Path(f"{run.path}{end}").unlink(missing_ok=True)
            other.path.rename(run.path)
        else:
            assert more["start"] is None
        return made(*given, **more)

    monkeypatch.setattr(projector_work, "project", replaced)
    projector = Projector(run.path)
    assert projector.work()
    with RunLogReader(run.path) as reader:
        assert states(reader) == {untouched: {}}
        assert projector.work()
        assert states(reader) == {untouched: {"pca": "ready"}}


def test_a_log_that_was_deleted_is_not_made_anew(
    run: FeatureRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_pca(monkeypatch)
    run.add(0)
    made = projector_work.project

    def deleted(*given: Any, **more: Any) -> Any:
        run.path.unlink()
        return made(*given, **more)

    monkeypatch.setattr(projector_work, "project", deleted)
    assert Projector(run.path).work()
    assert not run.path.exists()
