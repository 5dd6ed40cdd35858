"""Reading the run log: cursors, shapes, threads, damage; and that its document is true."""

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from run_log_builders import NUM_CLASSES, STEPS, fill

from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import RunLogError, open_for_reading, open_for_writing
from trainer.run_log.writer import RunLogWriter


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("filled") / "fasa.sqlite")


@pytest.fixture
def reader(filled: Path) -> Iterator[RunLogReader]:
    with RunLogReader(filled) as reader:
        yield reader


def test_runs_and_names(reader: RunLogReader) -> None:
    assert [run.name for run in reader.runs()] == ["demo", "demo-baseline"]
    assert reader.run(2) == reader.runs()[1]
    assert reader.run(1).config == {"fasa": {"alpha": 1.1}}
    assert len(reader.categories(1)) == NUM_CLASSES
    assert reader.scalar_names(1) == [
        "knob/alpha",
        "loss/box",
        "loss/total",
        "segm/AP",
        "segm/AP_r",
    ]
    assert reader.class_fields(2) == ["decision", "probability"]
    with pytest.raises(RunLogError, match="no run 3"):
        reader.run(3)


def test_scalars_by_name_and_cursor(reader: RunLogReader) -> None:
    rows = reader.scalars(1, ["loss/total"])
    assert [row.step for row in rows] == [1, 2, 3, 4]
    assert [row.epoch for row in rows] == [0, 0, 1, 1]
    assert [row.value for row in rows] == [1, 1 / 2, 1 / 3, 1 / 4]
    assert reader.scalars(1, ["loss/total"], after=rows[1].id) == rows[2:]
    assert reader.scalars(1, ["loss/total"], after=rows[-1].id) == []
    both = reader.scalars(1, ["loss/total", "loss/box"])
    assert [row.id for row in both] == sorted(row.id for row in both)
    assert {row.name for row in both} == {"loss/total", "loss/box"}
    assert len(reader.scalars(1)) == 3 * STEPS + 3
    assert reader.scalars(1, []) == []
    assert reader.scalars(1, ["nothing", "it's; DROP TABLE runs"]) == []


def test_class_vectors_by_cursor(reader: RunLogReader) -> None:
    found = reader.class_vectors(1, "probability")
    assert found.steps.tolist() == [1, 2, 3, 4]
    assert found.epochs.tolist() == [0, 0, 1, 1]
    assert found.values.dtype == np.float32
    assert found.values.tolist() == [
        [10 * step + index for index in range(NUM_CLASSES)] for step in (1, 2, 3, 4)
    ]
    later = reader.class_vectors(1, "probability", after=int(found.ids[2]))
    assert later.values.tolist() == found.values[3:].tolist()
    assert later.ids.tolist() == found.ids[3:].tolist()
    assert reader.class_vectors(1, "decision").values.dtype == np.int32
    latest = reader.latest_class_vector(1, "probability")
    assert latest is not None
    assert (latest.id, latest.step) == (found.ids[-1], 4)
    assert latest.values.tolist() == found.values[-1].tolist()
    by_then = reader.latest_class_vector(1, "probability", step=2)
    assert by_then is not None
    assert (by_then.step, by_then.values.tolist()) == (2, found.values[1].tolist())
    assert reader.latest_class_vector(1, "probability", step=0) is None


def test_what_is_not_there_is_empty(reader: RunLogReader) -> None:
    empty = reader.class_vectors(1, "nothing")
    assert empty.ids.shape == empty.steps.shape == (0,)
    assert empty.values.shape == (0, 0)
    assert reader.latest_class_vector(1, "nothing") is None
    for rows in (
        reader.scalars(99),
        reader.categories(99),
        reader.adaptations(99),
        reader.adaptation_summaries(99),
        reader.events(99),
        reader.commands(99),
        reader.scalar_names(99),
        reader.class_fields(99),
        reader.attempts(99),
        reader.checkpoints(99),
        reader.features.probes(99),
        reader.features.snapshots(99),
    ):
        assert rows == []


def test_other_rows_by_cursor(reader: RunLogReader) -> None:
    counts = {
        reader.adaptations: 1,
        reader.adaptation_summaries: 1,
        reader.events: 1,
        reader.commands: 3,
        reader.attempts: 2,
    }
    for read, number in counts.items():
        rows = read(1)
        assert len(rows) == number
        assert read(1, after=rows[0].id) == rows[1:]
        assert read(1, after=rows[0].id - 1) == rows
        assert read(1, after=rows[-1].id) == []


def test_last_scalars_are_those_that_held_at_a_step(reader: RunLogReader) -> None:
    """alpha was written each step, and once more at step 3, where it changed."""
    assert reader.last_scalars(1, "knob/", step=2) == {"knob/alpha": 1.1}
    assert reader.last_scalars(1, "knob/", step=3) == {"knob/alpha": 1.3}
    assert reader.last_scalars(1, "knob/", step=0) == {}
    assert reader.last_scalars(1, "segm/AP", step=3) == {}
    assert reader.last_scalars(1, "segm/AP", step=99) == {"segm/AP": 12.5, "segm/AP_r": 3.5}
    assert reader.last_scalars(1, "%", step=99) == reader.last_scalars(9, "", step=99) == {}
    assert sorted(reader.last_scalars(1, "", step=99)) == reader.scalar_names(1)


def test_every_query_goes_through_an_index(filled: Path, reader: RunLogReader) -> None:
    """What a refresh costs must not grow with what the log holds."""
    statements: list[str] = []
    watched = open_for_reading(filled)
    watched.set_trace_callback(statements.append)
    reader._idle.append(watched)
    reader.run(1)
    reader.categories(1)
    reader.scalar_names(1)
    reader.scalars(1, ["loss/total", "loss/box"], after=3)
    reader.class_fields(1)
    reader.class_vectors(1, "probability", after=3)
    reader.latest_class_vector(1, "probability")
    reader.latest_class_vector(1, "probability", step=3)
    reader.adaptations(1, after=3)
    reader.adaptation_summaries(1, after=3)
    reader.events(1, after=3)
    reader.commands(1, after=3)
    reader.attempts(1, after=3)
    reader.checkpoints(1)
    reader.features.probes(1)
    reader.features.snapshots(1, after=3)
    reader.last_scalars(1, "knob/", step=3)
    watched.set_trace_callback(None)
    assert len(statements) == 18
    for statement in statements:
        steps = [row[3] for row in watched.execute(f"EXPLAIN QUERY PLAN {statement}")]
        tables = [step for step in steps if re.search(r"SCAN (?!found|json_each|CONSTANT)", step)]
        assert not tables, (statement, steps)
        if "id > " in statement and "json_each" not in statement:
            assert any("id>?" in step for step in steps), (statement, steps)
        if "json_each" in statement:
            assert any("(run_id=? AND name=? AND id>?)" in step for step in steps), steps


def test_data_version_tells_news_from_none(tmp_path: Path) -> None:
    path = fill(tmp_path / "fasa.sqlite")
    with RunLogReader(path) as reader:
        first = reader.data_version()
        reader.scalars(1)
        assert reader.data_version() == first
        queue_run(path, name="new", config={}, dataset="demo")
        second = reader.data_version()
        assert second != first
        assert reader.data_version() == second


def test_many_threads_share_a_reader_while_a_run_is_written(tmp_path: Path) -> None:
    path = fill(tmp_path / "fasa.sqlite")
    stop = threading.Event()
    faults: list[str] = []

    def read(reader: RunLogReader) -> None:
        cursor, steps = 0, []
        while not stop.is_set():
            fresh = reader.class_vectors(3, "score", after=cursor)
            if len(fresh.ids):
                cursor = int(fresh.ids[-1])
                steps += fresh.steps.tolist()
                if (fresh.values != fresh.steps[:, None]).any():
                    faults.append("a row holds another step's values")
            time.sleep(0.002)
        if steps != list(range(len(steps))):
            faults.append(f"a cursor missed or repeated steps: {steps}")

    run_id = queue_run(path, name="new", config={}, dataset="demo")
    with RunLogReader(path) as reader, RunLogWriter(path, run_id, commit_interval=0.01) as writer:
        threads = [threading.Thread(target=read, args=(reader,)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for step in range(300):
            writer.class_vectors({"score": np.full(1203, step, np.float32)}, step=step, epoch=0)
            time.sleep(0.002)
        assert writer.flush()
        time.sleep(0.1)
        stop.set()
        for thread in threads:
            thread.join()
        assert faults == []
        assert len(reader._idle) <= 5


def test_a_reader_does_not_hold_the_writer_up(tmp_path: Path) -> None:
    path = fill(tmp_path / "fasa.sqlite")
    snapshot = open_for_reading(path)
    snapshot.execute("BEGIN")
    snapshot.execute("SELECT count(*) FROM runs").fetchone()  # a read transaction stays open
    with RunLogWriter(path, 1) as writer:
        writer.scalars({"loss/total": 0.0}, step=9, epoch=2)
        assert writer.flush(timeout=5.0)
    snapshot.close()


# Files that go, come and break.


def test_a_deleted_file_is_said_and_a_new_one_is_followed(tmp_path: Path) -> None:
    path = fill(tmp_path / "fasa.sqlite")
    with RunLogReader(path) as reader:
        version = reader.data_version()
        assert len(reader.runs()) == 2
        for file in tmp_path.iterdir():
            file.unlink()
        for read in (reader.runs, reader.data_version):
            with pytest.raises(RunLogError, match="No run log at"):
                read()
        queue_run(path, name="new", config={}, dataset="demo")
        assert [run.name for run in reader.runs()] == ["new"]
        assert reader.data_version() != version


def test_damage_in_the_middle_is_said(tmp_path: Path) -> None:
    path = fill(tmp_path / "fasa.sqlite")
    connection = open_for_writing(path)
    (root,) = connection.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = 'scalars_by_name'"
    ).fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek(4096 * (root - 1))
        file.write(b"\xff" * 4096)
    with RunLogReader(path) as reader:
        assert len(reader.runs()) == 2
        with pytest.raises(RunLogError, match=r"damaged.*move it away"):
            reader.scalars(1)
        assert len(reader.runs()) == 2  # what is whole can still be read


def test_vectors_of_mixed_lengths_are_said(tmp_path: Path) -> None:
    path = fill(tmp_path / "fasa.sqlite")
    connection = open_for_writing(path)
    connection.execute(
        "INSERT INTO class_vectors (run_id, field, step, epoch, wall_time, dtype, data)"
        " VALUES (1, 'probability', 5, 2, 0.0, 'float32', zeroblob(12))"
    )
    connection.close()
    with RunLogReader(path) as reader, pytest.raises(RunLogError, match="differ in type or length"):
        reader.class_vectors(1, "probability")


def test_a_run_log_on_read_only_media_says_what_to_do(
    filled: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue("read_only_folder")
    remount = ["mount", "-o", "remount,{},size=8m", str(folder)]
    commands = [[word.format(mode) for word in remount] for mode in ("rw", "ro")]
    if subprocess.run(commands[0], capture_output=True, check=False).returncode:
        pytest.skip("only root can mount file systems")
    shutil.copy(filled, folder / "fasa.sqlite")
    subprocess.run(commands[1], check=True)
    with pytest.raises(RunLogError, match="use another folder"):
        RunLogReader(folder / "fasa.sqlite")
