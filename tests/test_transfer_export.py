"""Exports: the SQLite file, live runs, and what is refused."""

import re
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from transfer_logs import add_run, contents, folder

from trainer.run_log.commands import claim_run, mark_deleted, queue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import RunLogError, open_for_reading, open_for_writing
from trainer.run_log.writer import RunLogWriter
from trainer.runs_folder import RunsFolder
from trainer.transfer.errors import TransferError
from trainer.transfer.export import Format, export_runs

FORMATS: tuple[Format, ...] = ("csv", "parquet", "sqlite")
WIDTH = 50


@pytest.fixture
def runs(tmp_path: Path) -> RunsFolder:
    """Two runs, the second forked from the first."""
    made = folder(tmp_path / "runs")
    add_run(made, name="first", seed=1)
    add_run(made, name="second", parent=1, seed=2)
    return made


def refusal(runs: RunsFolder, run_ids: list[int], kind: Format, to: Path) -> str:
    """The sentence with which an export is refused; nothing came of it."""
    before = sorted(to.parent.iterdir()) if to.parent.is_dir() else []
    with pytest.raises((TransferError, RunLogError)) as caught:
        export_runs(runs, run_ids, format=kind, to=to)
    assert (sorted(to.parent.iterdir()) if to.parent.is_dir() else []) == before
    text = str(caught.value)
    assert "\n" not in text
    assert re.search(r": .+\.$", text), f"no remedy after a colon: {text}"
    return text


# The SQLite file.


def test_it_is_one_file_and_a_run_log_of_its_own(runs: RunsFolder, tmp_path: Path) -> None:
    to = tmp_path / "out" / "fasa.sqlite"
    to.parent.mkdir()
    assert export_runs(runs, [1, 2], format="sqlite", to=to) == [to]
    assert list(to.parent.iterdir()) == [to]
    assert to.stat().st_mode & 0o777 == (runs.run_log.stat().st_mode & 0o777)
    with RunLogReader(to) as copy, RunLogReader(runs.run_log) as log:
        assert repr(copy.scalars(1)) == repr(log.scalars(1))
        assert copy.run(2).parent_run == 1
        np.testing.assert_array_equal(
            copy.class_vectors(2, "score").values, log.class_vectors(2, "score").values
        )
    # `fasa up` on its folder: it opens for writing, queues runs, gives space back.
    assert queue_run(to, name="another", config={}, dataset="demo") == 3
    with closing(open_for_writing(to)) as connection:
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)


def test_only_the_chosen_run_is_in_it(runs: RunsFolder, tmp_path: Path) -> None:
    add_run(runs, name="third", seed=3)
    export_runs(runs, [3], format="sqlite", to=tmp_path / "out.sqlite")
    found, everything = contents(tmp_path / "out.sqlite"), contents(runs.run_log)
    uid = found["runs"][0]["uid"]
    for table, rows in found.items():
        expected = [row for row in everything[table] if row.get("uid", row.get("run_id")) == uid]
        assert rows == ([] if table == "checkpoints" else expected)


def test_of_a_parent_that_stays_only_the_uid_travels(runs: RunsFolder, tmp_path: Path) -> None:
    export_runs(runs, [2], format="sqlite", to=tmp_path / "out.sqlite")
    with RunLogReader(tmp_path / "out.sqlite") as copy, RunLogReader(runs.run_log) as log:
        assert [run.name for run in copy.runs()] == ["second"]
        stub = copy.run(1)
        assert stub.uid == log.run(1).uid
        assert stub.deleted is not None
        assert (stub.config, stub.note, stub.tags) == ({}, "", [])
        assert "first" not in repr(stub)


def test_nothing_of_a_process_is_in_it(tmp_path: Path) -> None:
    """Or a supervisor on the copy would take the original's trainer for its own."""
    runs = folder(tmp_path / "runs")
    add_run(runs, status="running")
    add_run(runs, status="queued")
    export_runs(runs, [1, 2], format="sqlite", to=tmp_path / "out.sqlite")
    with RunLogReader(tmp_path / "out.sqlite") as copy:
        for run in copy.runs():
            assert run.status == "interrupted"
            assert (run.process_id, run.process_identity, run.heartbeat) == (None, None, None)
        assert copy.attempts(1)[0].status == "interrupted"
    with RunLogReader(runs.run_log) as log:
        assert [run.status for run in log.runs()] == ["running", "queued"]


# A run that trains.


@pytest.mark.parametrize("kind", FORMATS)
def test_a_run_that_trains_is_exported_as_it_stood_at_one_moment(
    tmp_path: Path, kind: Format
) -> None:
    runs = folder(tmp_path / "runs")
    run_id = queue_run(runs.run_log, name="live", config={}, dataset="demo")
    claim_run(runs.run_log, run_id, process_id=1, process_identity=None)
    stop = threading.Event()

    def train(writer: RunLogWriter) -> None:
        step = 0
        while not stop.wait(0.001):
            step += 1
            vector = np.full(WIDTH, step, dtype=np.float32)
            # Two tables that must tell of the same steps, but for the commit between them.
            writer.class_vectors({"score": vector}, step=step, epoch=0)
            writer.scalars({"loss/total": step}, step=step, epoch=0)

    with RunLogWriter(runs.run_log, run_id, commit_interval=0.005) as writer:
        trainer = threading.Thread(target=train, args=(writer,))
        trainer.start()
        try:
            counts = []
            for number in range(4):
                assert writer.flush()
                to = tmp_path / f"out-{number}"
                export_runs(runs, [run_id], format=kind, to=to)
                counts.append(_check_steps(to, kind))
        finally:
            stop.set()
            trainer.join()
    assert counts == sorted(counts)
    assert counts[-1] > 0
    assert len(set(counts)) > 1, "nothing was written between two exports"


def _check_steps(to: Path, kind: Format) -> int:
    """Every step up to the last is there, in both tables; returns how many."""
    if kind == "sqlite":
        with RunLogReader(to) as reader:
            scalars = [row.step for row in reader.scalars(1)]
            vectors = reader.class_vectors(1, "score")
            steps = vectors.steps.tolist()
            assert vectors.values.tolist() == [[step] * WIDTH for step in steps]
    else:
        import pandas as pd

        read = pd.read_csv if kind == "csv" else pd.read_parquet
        scalars = read(to / f"scalars.{kind}").step.tolist()
        steps = read(to / f"class_vectors.{kind}").step.to_numpy()[::WIDTH].tolist()
    assert scalars == list(range(1, len(scalars) + 1))
    assert steps in (scalars, [*scalars, len(scalars) + 1])
    return len(scalars)


# Refusals.


@pytest.mark.parametrize("kind", FORMATS)
def test_a_target_that_is_there_is_never_overwritten(
    runs: RunsFolder, tmp_path: Path, kind: Format
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    place = tmp_path / "place"
    place.mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    for to in (file, place, link):
        assert "overwrites nothing" in refusal(runs, [1], kind, to)
    assert file.read_text() == "mine"
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("kind", FORMATS)
def test_a_target_that_comes_up_meanwhile_is_not_overwritten(
    runs: RunsFolder, tmp_path: Path, kind: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "out"
    monkeypatch.setattr("trainer.transfer.target._sync", lambda path: to.write_text("mine"))
    with pytest.raises(TransferError, match="overwrites nothing"):
        export_runs(runs, [1], format=kind, to=to)
    assert to.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "runs"]


@pytest.mark.parametrize("kind", FORMATS)
def test_runs_that_are_not_there(runs: RunsFolder, tmp_path: Path, kind: Format) -> None:
    to = tmp_path / "out"
    assert "There is no run 9" in refusal(runs, [1, 9], kind, to)
    assert "at least one run" in refusal(runs, [], kind, to)
    mark_deleted(runs.run_log, 2, True)
    assert "Run 2 is deleted" in refusal(runs, [1, 2], kind, to)


@pytest.mark.parametrize("kind", FORMATS)
def test_places_that_cannot_be_written(
    runs: RunsFolder, tmp_path: Path, kind: Format, read_only_folder: Path
) -> None:
    assert "is not there: create it" in refusal(runs, [1], kind, tmp_path / "a" / "b")
    assert "is not there: create it" in refusal(runs, [1], kind, runs.run_log / "b")
    assert "cannot be written" in refusal(runs, [1], kind, read_only_folder / "out")


def test_an_unknown_format(runs: RunsFolder, tmp_path: Path) -> None:
    text = refusal(runs, [1], "xlsx", tmp_path / "out")  # type: ignore[arg-type]
    assert "csv, parquet, sqlite" in text


@pytest.mark.parametrize("kind", FORMATS)
def test_no_run_log(tmp_path: Path, kind: Format) -> None:
    assert "No run log" in refusal(RunsFolder(tmp_path / "none"), [1], kind, tmp_path / "out")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_full_disk(tmp_path: Path, tiny_disk: Path, kind: Format) -> None:
    runs = folder(tmp_path / "runs")
    run_id = queue_run(runs.run_log, name="large", config={}, dataset="demo")
    with RunLogWriter(runs.run_log, run_id) as writer:
        generator = np.random.default_rng(0)
        for step in range(1000):
            noise = generator.random(1203, dtype=np.float32)
            writer.class_vectors({"score": noise}, step=step, epoch=0)
    assert "is full: free some space" in refusal(runs, [1], kind, tiny_disk / "out")
    assert list(tiny_disk.iterdir()) == []


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_log(runs: RunsFolder, tmp_path: Path, kind: Format) -> None:
    with closing(open_for_reading(runs.run_log)) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'events'"
        ).fetchone()
    with runs.run_log.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xa5" * 4096)
    assert "damaged" in refusal(runs, [1], kind, tmp_path / "out")
