"""Positions: what a resumed run forgets, and what a fork begins with."""

import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshot_builders import feature_values

from trainer.run_log.commands import queue_run, send_command
from trainer.run_log.history import HISTORY, PART_BYTES
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import RunLogError, open_for_reading
from trainer.run_log.writer import RunLogWriter

REPORT: dict[str, Any] = {
    "num_groups": 1,
    "groups": [
        {"group": 0, "members": [0], "noise_members": [], "with_data": [], "clamped": [],
         "loss_before": None, "loss_after": None, "factor": 1.0, "reason": "baseline"}
    ],
}  # fmt: skip
PROBE = {"object_index": 0, "class_index": 1, "split": "train", "image_id": 7, "x1": 0.0,
         "y1": 1.0, "x2": 2.5, "y2": 3.0, "picture": b"jpeg"}  # fmt: skip
IMAGE = {"index": 0, "image_id": 7, "width": 2, "height": 1, "truth": [{"class": 2}],
         "judged": [0, 2], "picture": b"jpeg"}  # fmt: skip

# What a trainer may write at a step; the kinds cover every table of the history.
Write = Callable[[RunLogWriter, int], None]
WRITES: dict[str, Write] = {
    "scalars": lambda writer, step: writer.scalars(
        {"loss/total": step, "nan": float("nan")}, step=step, epoch=0
    ),
    "class_vectors": lambda writer, step: writer.class_vectors(
        {"score": np.full(3, step, np.float32)}, step=step, epoch=0
    ),
    "adaptation": lambda writer, step: writer.adaptation(REPORT, step=step, epoch=0),
    "event": lambda writer, step: writer.event("note", "x", step=step, epoch=0),
    "feature_snapshot": lambda writer, step: writer.feature_snapshot(
        feature_values(seed=step), step=step, epoch=0
    ),
    "predictions": lambda writer, step: writer.predictions(
        [{"image_index": 0, "detections": [{"score": step / 100}]}], step=step, epoch=0
    ),
    "checkpoint": lambda writer, step: writer.checkpoint_kept(step=step, epoch=0, batch=0, size=9),
}
NAMED = ("feature_probes", "prediction_images", "categories")  # once, not at a step
TABLES = (*HISTORY, "checkpoints", "attempts", "commands", *NAMED)


def rows(path: Path, run_id: int, tables: tuple[str, ...] = TABLES) -> dict[str, list[Any]]:
    """Every row of a run, ids and times included."""
    with closing(open_for_reading(path)) as connection:
        return {
            table: connection.execute(
                f"SELECT * FROM {table} WHERE run_id = ?", (run_id,)
            ).fetchall()
            for table in tables
        }


def without_owner(found: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """History without id and run_id, in the order of the ids."""
    return {table: [row[2:] for row in sorted(found[table])] for table in HISTORY}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "fasa.sqlite"
    queue_run(path, name="parent", config={}, dataset="demo")
    queue_run(path, name="neighbour", config={}, dataset="demo")
    return path


def write_all(writer: RunLogWriter, step: int) -> None:
    for write in WRITES.values():
        write(writer, step)


def test_the_writes_fill_every_table_of_the_history(path: Path, writer: RunLogWriter) -> None:
    write_all(writer, 1)
    assert writer.flush()
    assert all(rows(path, 1, tuple(HISTORY)).values())


# Going back to a checkpoint.

writings = st.lists(
    st.tuples(st.integers(1, 2), st.sampled_from(sorted(WRITES)), st.integers(0, 5)), max_size=12
)


@settings(max_examples=30, deadline=None)
@given(before=writings, after=writings, step=st.integers(0, 5))
def test_what_is_left_is_what_was_there_at_the_position(
    before: list[tuple[int, str, int]], after: list[tuple[int, str, int]], step: int
) -> None:
    """Whatever was written after, at any step, by this run and by another one beside it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fasa.sqlite"
        for name in ("first", "second"):
            queue_run(path, name=name, config={}, dataset="demo")
        with RunLogWriter(path, 1) as first, RunLogWriter(path, 2) as second:
            writers = {1: first, 2: second}
            for run_id, kind, at in before:
                WRITES[kind](writers[run_id], at)
            assert second.flush()
            position = first.position()
            kept = rows(path, 1)
            for run_id, kind, at in after:
                WRITES[kind](writers[run_id], at)
            assert first.flush()
            assert second.flush()
            others = rows(path, 2)
            checkpoints = [row for row in rows(path, 1)["checkpoints"] if row[1] <= step]
            first.truncate_after(position, step=step)
            assert first.flush()
        assert rows(path, 1) == kept | {"checkpoints": checkpoints}
        assert rows(path, 2) == others


def test_going_back_is_told_and_ids_are_not_used_again(
    path: Path, writer: RunLogWriter, reader: RunLogReader
) -> None:
    write_all(writer, 4)
    writer.progress(step=4, total_steps=9, epoch=0, total_epochs=1, phase="training")
    position = writer.position()
    write_all(writer, 5)
    writer.progress(step=5, total_steps=9, epoch=0, total_epochs=1, phase="training")
    assert writer.flush()
    cursor = reader.scalars(1)[-1].id
    assert reader.run(1).rewinds == 0
    writer.truncate_after(position, step=4)
    writer.scalars({"loss/total": 50.0}, step=5, epoch=0)
    assert writer.flush()
    assert (reader.run(1).rewinds, reader.run(1).step) == (1, 4)
    assert [row.step for row in reader.scalars(1, ["loss/total"])] == [4, 5]
    assert [row.step for row in reader.checkpoints(1)] == [4]
    # No id is used twice, so a reader's cursor still finds exactly what is new.
    assert [row.value for row in reader.scalars(1, after=cursor)] == [50.0]


def test_rows_of_the_passes_after_an_epoch_go_though_their_step_is_the_checkpoints(
    writer: RunLogWriter, reader: RunLogReader
) -> None:
    writer.scalars({"loss/total": 1.0}, step=30, epoch=0)
    position = writer.position()
    writer.scalars({"validation/loss": 2.0, "segm/AP": 3.0}, step=30, epoch=0)
    writer.truncate_after(position, step=30)
    assert writer.flush()
    assert reader.scalar_names(1) == ["loss/total"]


def test_going_back_keeps_its_place_in_the_queue(
    writer: RunLogWriter, reader: RunLogReader
) -> None:
    position = writer.position()
    writer.scalars({"loss/total": 1.0}, step=5, epoch=0)
    writer.truncate_after(position, step=4)
    writer.scalars({"loss/total": 2.0}, step=5, epoch=0)
    assert writer.flush()
    assert [row.value for row in reader.scalars(1)] == [2.0]


def test_without_a_checkpoint_all_of_this_run_is_forgotten(
    path: Path, writer: RunLogWriter
) -> None:
    with RunLogWriter(path, 2) as neighbour:
        write_all(neighbour, 1)
    write_all(writer, 1)
    writer.begin_attempt(from_step=0)
    writer.feature_probes([PROBE])
    writer.prediction_images([IMAGE])
    send_command(path, 1, "pause")
    writer.truncate_after({}, step=0)
    assert writer.flush()
    left = rows(path, 1)
    assert {table for table in TABLES if left[table]} == {"attempts", "commands", *NAMED[:2]}
    assert all(rows(path, 2, tuple(HISTORY)).values())


def test_a_clock_that_was_set_back_changes_no_order(
    writer: RunLogWriter, reader: RunLogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids decide what is old and new, never times."""
    clock = iter([5000.0, 4000.0, 3000.0, 2000.0, 1000.0] * 40)
    monkeypatch.setattr("trainer.run_log.changes.time.time", lambda: next(clock))
    for step in (1, 2):
        write_all(writer, step)
    position = writer.position()
    kept = [row.id for row in reader.scalars(1)]
    write_all(writer, 3)
    assert writer.flush()
    times = [row.wall_time for row in reader.scalars(1)]
    assert times != sorted(times)
    assert [row.step for row in reader.events(1)] == [1, 2, 3]
    assert reader.class_vectors(1, "score").steps.tolist() == [1, 2, 3]
    latest = reader.latest_class_vector(1, "score")
    assert latest is not None
    assert latest.step == 3
    assert reader.last_scalars(1, "loss/", step=9) == {"loss/total": 3.0}
    assert [row.step for row in reader.events(1, after=reader.events(1)[0].id)] == [2, 3]
    writer.truncate_after(position, step=2)
    assert writer.flush()
    assert [row.id for row in reader.scalars(1)] == kept


# A fork's first rows.


def fork(path: Path, step: int) -> int:
    return queue_run(
        path, name="fork", config={}, dataset="demo", parent_run=1, parent_epoch=0, parent_step=step
    )


def test_a_fork_begins_with_the_parents_rows_up_to_the_position(
    path: Path, writer: RunLogWriter
) -> None:
    with RunLogWriter(path, 2) as neighbour:
        for step in (1, 2, 3):
            write_all(writer, step)
            write_all(neighbour, step)
            assert writer.flush()
            assert neighbour.flush()
        writer.feature_probes([PROBE])
        writer.prediction_images([IMAGE])
        position = writer.position()
        expected = without_owner(rows(path, 1))
        write_all(writer, 3)  # under the same step, after the checkpoint
        write_all(neighbour, 3)
        assert writer.flush()
    parent, other = rows(path, 1), rows(path, 2)
    child = fork(path, 3)
    with RunLogWriter(path, child) as its_writer:
        its_writer.copy_history(1, position)
        found = rows(path, child)  # it waits until all is committed
    assert without_owner(found) == expected
    assert found["checkpoints"] == found["attempts"] == found["commands"] == []
    assert [row[1:] for row in found["feature_probes"]] == [tuple(PROBE.values())]
    (image,) = found["prediction_images"]
    assert image[1:] == (0, 7, 2, 1, '[{"class": 2}]', "[0, 2]", b"jpeg")
    for table in HISTORY:
        assert min(row[0] for row in found[table]) > max(row[0] for row in parent[table])
    assert (rows(path, 1), rows(path, 2)) == (parent, other)
    with RunLogReader(path) as reader:
        assert reader.run(child).rewinds == 0
        assert np.isnan(reader.scalars(child, ["nan"])[0].value)


def test_a_copy_that_was_cut_short_is_made_again(path: Path, writer: RunLogWriter) -> None:
    for step in (1, 2):
        write_all(writer, step)
    position = writer.position()
    expected = without_owner(rows(path, 1))
    child = fork(path, 2)
    with RunLogWriter(path, child) as its_writer:
        its_writer.copy_history(1, position)
        write_all(its_writer, 3)  # and this is lost too: the fork never got to a checkpoint
        its_writer.copy_history(1, position)
        its_writer.copy_history(1, position)
    assert without_owner(rows(path, child)) == expected
    with RunLogReader(path) as reader:
        assert reader.run(child).rewinds == 2
    assert without_owner(rows(path, 1)) == expected


def test_a_fork_of_a_fork_and_of_nothing(path: Path, writer: RunLogWriter) -> None:
    write_all(writer, 1)
    position = writer.position()
    child, grandchild, empty = fork(path, 1), fork(path, 1), fork(path, 0)
    with RunLogWriter(path, child) as its_writer:
        its_writer.copy_history(1, position)
        write_all(its_writer, 2)
        later = its_writer.position()
    with RunLogWriter(path, grandchild) as its_writer:
        its_writer.copy_history(child, later)
    with RunLogWriter(path, empty) as its_writer:
        its_writer.copy_history(1, {})
        with pytest.raises(RunLogError, match="no run 99"):
            its_writer.copy_history(99, position)
    steps = [row[0] for row in without_owner(rows(path, grandchild))["events"]]
    assert steps == [1, 2]
    assert not any(rows(path, empty, tuple(HISTORY)).values())


def test_a_long_history_is_copied_in_bounded_transactions_while_others_write(
    path: Path, writer: RunLogWriter
) -> None:
    """Five times what one transaction may hold; the neighbour's commits wait for one at most."""
    vectors = {f"field {number}": np.full(5000, number, np.float32) for number in range(100)}
    total = 5 * PART_BYTES
    for step in range(total // (100 * 20_000)):
        writer.class_vectors(vectors, step=step, epoch=0)
    position = writer.position()
    child = fork(path, 3)
    waits: list[float] = []
    sizes: list[int] = []
    done = threading.Event()

    def beside() -> None:
        with RunLogWriter(path, 2, commit_interval=0.01) as neighbour, RunLogReader(path) as reader:
            while not done.is_set():
                start = time.monotonic()
                neighbour.scalars({"loss/total": 1.0}, step=1, epoch=0)
                assert neighbour.flush()
                waits.append(time.monotonic() - start)
                sizes.append(count(reader, child))

    thread = threading.Thread(target=beside)
    thread.start()
    with RunLogWriter(path, child) as its_writer:
        its_writer.copy_history(1, position)
    done.set()
    thread.join()
    assert without_owner(rows(path, child)) == without_owner(rows(path, 1))
    assert len(waits) > 5
    assert max(waits) < 2.0, waits
    assert len({size for size in sizes if 0 < size < total}) >= 2, sizes  # seen half-way


def count(reader: RunLogReader, run_id: int) -> int:
    """Bytes of class vectors a run has."""
    with reader._connection() as connection:
        sql = "SELECT coalesce(sum(length(data)), 0) FROM class_vectors WHERE run_id = ?"
        number: int = connection.execute(sql, (run_id,)).fetchone()[0]
        return number


def test_the_parents_rows_are_copied_by_ids_of_the_position_alone(
    path: Path, writer: RunLogWriter
) -> None:
    """A parent that goes on, and is taken back, while its fork waits: nothing of that shows."""
    write_all(writer, 1)
    position = writer.position()
    expected = without_owner(rows(path, 1))
    write_all(writer, 2)
    writer.truncate_after(position, step=1)
    write_all(writer, 2)
    assert writer.flush()
    child = fork(path, 1)
    with RunLogWriter(path, child) as its_writer:
        its_writer.copy_history(1, position)
    assert without_owner(rows(path, child)) == expected
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
