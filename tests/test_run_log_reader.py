"""Reading the run log: cursors, shapes, threads, damage; and that its document is true."""

import re
import shutil
import sqlite3
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from trainer.run_log.commands import queue_run, send_command
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import RunLogError, open_for_reading, open_for_writing
from trainer.run_log.writer import RunLogWriter

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "run_log.md"
NUM_CLASSES = 5
STEPS = 4


def fill(path: Path) -> Path:
    """Two runs of two epochs with a bit of everything."""
    for name in ("demo", "demo-baseline"):
        run_id = queue_run(path, name=name, config={"fasa": {"alpha": 1.1}}, dataset="demo")
        with RunLogWriter(path, run_id) as writer:
            writer.register_categories(
                [
                    {
                        "index": index,
                        "id": 100 + index,
                        "name": f"class {index}",
                        "frequency": "rcf"[index % 3],
                        "image_count": index,
                        "instance_count": 2 * index,
                    }
                    for index in range(NUM_CLASSES)
                ]
            )
            for step in range(1, STEPS + 1):
                epoch = (step - 1) // 2
                scalars = {"loss/total": 1 / step, "loss/box": 0.5, "knob/alpha": 1.1}
                writer.scalars(scalars, step=step, epoch=epoch)
                probability = np.arange(NUM_CLASSES, dtype=np.float32) + 10 * step
                decision = np.full(NUM_CLASSES, step, dtype=np.int32)
                vectors = {"probability": probability, "decision": decision}
                writer.class_vectors(vectors, step=step, epoch=epoch)
            group = {"group": 0, "members": [0, 1, 2], "noise_members": [2], "with_data": [0]}
            losses = {"loss_before": 2.0, "loss_after": 1.0, "factor": 1.1, "reason": "fell"}
            report = {"eps": 0.5, "eps_quantile": 0.5, "num_groups": 1, "noise_share": 0.2}
            groups = [{**group, **losses, "clamped": []}]
            full = {**report, "largest_group": 3, "groups": groups}
            writer.adaptation(full, step=STEPS, epoch=1)
            writer.scalars({"segm/AP": 12.5, "segm/AP_r": 3.5}, step=STEPS, epoch=1)
            writer.event("set", "alpha = 1.3", step=3, epoch=1, payload={"alpha": 1.3})
            send_command(path, run_id, "set", {"alpha": 1.3})
            writer.status("running")
    return path


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
    assert len(reader.scalars(1)) == 3 * STEPS + 2
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
    ):
        assert rows == []


def test_other_rows_by_cursor(reader: RunLogReader) -> None:
    for read in (reader.adaptations, reader.adaptation_summaries, reader.events, reader.commands):
        rows = read(1)
        assert len(rows) == 1
        assert read(1, after=rows[0].id) == []
        assert read(1, after=rows[0].id - 1) == rows


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
    reader.adaptations(1, after=3)
    reader.adaptation_summaries(1, after=3)
    reader.events(1, after=3)
    reader.commands(1, after=3)
    watched.set_trace_callback(None)
    assert len(statements) == 11
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


# The document for outsiders.


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


@pytest.mark.parametrize("sql", blocks("sql"))
def test_every_query_of_the_document_runs(filled: Path, sql: str) -> None:
    connection = sqlite3.connect(f"file:{filled}?mode=ro", uri=True)
    rows = connection.execute(sql).fetchall()
    connection.close()
    assert rows, "the query finds nothing in a log that has a bit of everything"


def test_every_python_example_of_the_document_runs(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(filled.parent.parent)
    Path("runs").unlink(missing_ok=True)
    Path("runs").symlink_to(filled.parent)
    assert blocks("python")
    for code in blocks("python"):
        names: dict[str, object] = {}
        exec(compile(code, str(DOCUMENT), "exec"), names)
        values = names["values"]
        assert isinstance(values, np.ndarray)
        assert values.shape == (STEPS, NUM_CLASSES)
        assert values[:, 2].tolist() == [12, 22, 32, 42]


def test_the_document_names_every_table_and_column(filled: Path) -> None:
    connection = open_for_reading(filled)
    tables = [
        row[0]
        for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        if not row[0].startswith("sqlite_")
    ]
    sections = dict(re.findall(r"\n### `(\w+)`\n(.*?)(?=\n##|\Z)", DOCUMENT.read_text(), re.DOTALL))
    assert sorted(sections) == sorted(tables)
    for table in tables:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info ({table})")]
        documented = re.findall(r"^\| `(\w+)` \|", sections[table], re.MULTILINE)
        assert documented == columns, table
    connection.close()


def test_one_value_can_be_cut_out_of_a_blob_in_sql(filled: Path) -> None:
    """The document's way to read class 2 without numpy, checked against struct."""
    connection = open_for_reading(filled)
    (data,) = connection.execute(
        "SELECT substr(data, 4 * 2 + 1, 4) FROM class_vectors WHERE field = 'probability'"
    ).fetchone()
    connection.close()
    assert struct.unpack("<f", data) == (12.0,)
