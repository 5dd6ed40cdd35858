"""The run log's file: what makes it, brings it up to date, and refuses it."""

import multiprocessing
import os
import re
import sqlite3
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import (
    APPLICATION_ID,
    MIGRATIONS,
    SCHEMA_VERSION,
    RunLogError,
    open_for_reading,
    open_for_writing,
)

OPENERS = [open_for_writing, open_for_reading]
Opener = Callable[[Path], sqlite3.Connection]


def refusal(opener: Callable[[Path], object], path: Path) -> str:
    """The sentence with which an opener refuses a path; checked to be one."""
    with pytest.raises(RunLogError) as caught:
        opener(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text or str(path.parent) in text
    assert re.search(r": .+\.$", text), f"no remedy after a colon: {text}"
    return text


def pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def make(path: Path, version: int = SCHEMA_VERSION) -> Path:
    """A run log of an older version with one run and one scalar, closed."""
    connection = open_for_writing(path, migrations=MIGRATIONS[:version])
    connection.execute(
        "INSERT INTO runs (name, config, dataset, status, created)"
        " VALUES ('old', '{\"m\": 0.1}', 'demo', 'finished', 1.5)"
    )
    connection.execute(
        "INSERT INTO scalars (run_id, name, step, epoch, wall_time, value)"
        " VALUES (1, 'loss/total', 7, 0, 2.5, 0.25)"
    )
    connection.close()
    return path


def test_new_file_says_what_it_is_and_is_safe_to_share(tmp_path: Path) -> None:
    connection = open_for_writing(tmp_path / "fasa.sqlite")
    assert pragma(connection, "application_id") == APPLICATION_ID == int.from_bytes(b"FASA")
    assert pragma(connection, "user_version") == SCHEMA_VERSION
    assert pragma(connection, "journal_mode") == "wal"
    assert pragma(connection, "synchronous") == 1  # NORMAL
    assert pragma(connection, "foreign_keys") == 1
    assert pragma(connection, "busy_timeout") == 10_000
    tables = connection.execute("PRAGMA table_list").fetchall()
    ours = [row for row in tables if not row[1].startswith("sqlite_")]
    assert len(ours) == 16
    assert all(strict for _, _, _, _, _, strict in ours)
    connection.close()


def test_folder_is_made_when_the_one_above_is_there(tmp_path: Path) -> None:
    open_for_writing(tmp_path / "runs" / "fasa.sqlite").close()
    assert (tmp_path / "runs" / "fasa.sqlite").exists()


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    path = make(tmp_path / "fasa.sqlite")
    before = path.read_bytes()
    open_for_writing(path).close()
    open_for_reading(path).close()
    assert path.read_bytes() == before


def test_names_with_spaces_and_question_marks(tmp_path: Path) -> None:
    path = make(tmp_path / "my runs?mode=memory#50%" / "fasa.sqlite")
    assert path.exists()
    open_for_reading(path).close()


def test_a_strict_table_refuses_text_for_a_number(tmp_path: Path) -> None:
    connection = open_for_writing(make(tmp_path / "fasa.sqlite"))
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(
            "INSERT INTO scalars (run_id, name, step, epoch, wall_time) VALUES (1, 'a', 'b', 0, 0)"
        )
    connection.close()


def test_deleting_a_run_takes_its_rows_along(tmp_path: Path) -> None:
    connection = open_for_writing(make(tmp_path / "fasa.sqlite"))
    connection.execute("DELETE FROM runs WHERE id = 1")
    assert connection.execute("SELECT count(*) FROM scalars").fetchone() == (0,)
    connection.close()


def test_space_of_deleted_runs_can_be_given_back(tmp_path: Path) -> None:
    path = make(tmp_path / "fasa.sqlite")
    connection = open_for_writing(path)
    connection.executemany(
        "INSERT INTO class_vectors (run_id, field, step, epoch, wall_time, dtype, data)"
        " VALUES (1, 'score', ?, 0, 0.0, 'float32', zeroblob(4812))",
        [(step,) for step in range(200)],
    )
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert path.stat().st_size > 200 * 4812
    connection.execute("DELETE FROM runs")
    connection.executescript("PRAGMA incremental_vacuum")  # execute() would free one page only
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert path.stat().st_size < 200_000
    connection.close()


# Migrations. The injected ones stand for versions to come; the mechanism is the real one.

ADD_TAG = ("ALTER TABLE runs ADD COLUMN tag TEXT NOT NULL DEFAULT 'none'",)
REBUILD_RUNS = (
    "CREATE TABLE new_runs (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL) STRICT",
    "INSERT INTO new_runs SELECT id, name FROM runs",
    "DROP TABLE runs",
    "ALTER TABLE new_runs RENAME TO runs",
)


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_every_older_version_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    path = make(tmp_path / "fasa.sqlite", version)
    migrations = (*MIGRATIONS, ADD_TAG)
    connection = open_for_writing(path, migrations=migrations)
    assert pragma(connection, "user_version") == SCHEMA_VERSION + 1
    assert connection.execute("SELECT name, tag FROM runs").fetchall() == [("old", "none")]
    assert connection.execute("SELECT value FROM scalars").fetchall() == [(0.25,)]
    connection.close()
    open_for_writing(path, migrations=migrations).close()  # not run a second time


def test_a_migrated_file_has_the_tables_of_a_new_one(tmp_path: Path) -> None:
    migrations = (*MIGRATIONS, ADD_TAG)
    old = open_for_writing(make(tmp_path / "old.sqlite", 1), migrations=migrations)
    new = open_for_writing(tmp_path / "new.sqlite", migrations=migrations)
    schema = "SELECT type, name, sql FROM sqlite_schema ORDER BY name"
    assert old.execute(schema).fetchall() == new.execute(schema).fetchall()
    old.close()
    new.close()


def test_a_failing_migration_leaves_the_old_version_whole(tmp_path: Path) -> None:
    path = make(tmp_path / "fasa.sqlite")
    broken = (*MIGRATIONS, (*ADD_TAG, "ALTER TABLE nowhere ADD COLUMN tag TEXT"))
    with pytest.raises(RunLogError, match="nowhere"):
        open_for_writing(path, migrations=broken)
    connection = open_for_writing(path)
    assert pragma(connection, "user_version") == SCHEMA_VERSION
    assert "tag" not in [row[1] for row in connection.execute("PRAGMA table_info (runs)")]
    connection.close()


def test_a_migration_may_rebuild_a_table_without_losing_what_refers_to_it(tmp_path: Path) -> None:
    path = make(tmp_path / "fasa.sqlite")
    connection = open_for_writing(path, migrations=(*MIGRATIONS, REBUILD_RUNS))
    assert connection.execute("SELECT count(*) FROM scalars").fetchone() == (1,)
    assert pragma(connection, "foreign_keys") == 1
    connection.close()


def test_a_migration_that_orphans_rows_is_undone(tmp_path: Path) -> None:
    path = make(tmp_path / "fasa.sqlite")
    with pytest.raises(RunLogError, match="foreign key"):
        open_for_writing(path, migrations=(*MIGRATIONS, ("DELETE FROM runs",)))
    connection = open_for_reading(path)
    assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    connection.close()


def _queue_runs(path: Path, count: int, together: Barrier) -> None:
    together.wait(60)
    for number in range(count):
        queue_run(path, name=f"run {number}", config={}, dataset="demo")


def test_processes_that_make_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "fasa.sqlite"
    path.parent.mkdir()
    # A fork of this process would copy the locks that its threads hold at that moment.
    context = multiprocessing.get_context("forkserver")
    given = (path, 5, context.Barrier(6))
    processes = [context.Process(target=_queue_runs, args=given) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 6
    with RunLogReader(path) as reader:
        assert [run.id for run in reader.runs()] == list(range(1, 31))


# Refusals.


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "fasa.sqlite"
    open_for_writing(path, migrations=(*MIGRATIONS, ADD_TAG)).close()
    before = path.read_bytes()
    for opener in OPENERS:
        text = refusal(opener, path)
        assert f"schema version {SCHEMA_VERSION + 1}" in text
        assert "update the program" in text
    assert path.read_bytes() == before


def test_reading_an_older_schema_names_what_brings_it_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "fasa.sqlite")
    monkeypatch.setattr("trainer.run_log.schema.MIGRATIONS", (*MIGRATIONS, ADD_TAG))
    assert "fasa up" in refusal(open_for_reading, path)


@pytest.mark.parametrize("opener", OPENERS)
def test_another_programs_file_is_refused_and_left_alone(tmp_path: Path, opener: Opener) -> None:
    path = tmp_path / "fasa.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE runs (id INTEGER)")
    connection.close()
    before = path.read_bytes()
    assert "another program's SQLite file" in refusal(opener, path)
    assert path.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("opener", OPENERS)
def test_a_file_that_is_no_database_is_refused_and_left_alone(
    tmp_path: Path, opener: Opener
) -> None:
    path = tmp_path / "fasa.sqlite"
    path.write_text("epoch,loss\n" * 500)
    assert "move it away" in refusal(opener, path)
    assert path.read_text() == "epoch,loss\n" * 500


@pytest.mark.parametrize("opener", OPENERS)
def test_a_file_cut_short_is_refused(tmp_path: Path, opener: Opener) -> None:
    path = make(tmp_path / "fasa.sqlite")
    os.truncate(path, 5000)
    assert "damaged" in refusal(opener, path)


def test_no_file_to_read(tmp_path: Path) -> None:
    assert "fasa up" in refusal(open_for_reading, tmp_path / "fasa.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_no_run_log_to_read_but_can_become_one(tmp_path: Path) -> None:
    path = tmp_path / "fasa.sqlite"
    path.touch()
    assert "empty" in refusal(open_for_reading, path)
    open_for_writing(path).close()
    open_for_reading(path).close()


def test_folder_two_levels_missing(tmp_path: Path) -> None:
    assert "create it" in refusal(open_for_writing, tmp_path / "a" / "b" / "fasa.sqlite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("opener", OPENERS)
def test_a_folder_in_the_files_place(tmp_path: Path, opener: Opener) -> None:
    assert "is a folder" in refusal(opener, tmp_path)


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    assert "cannot be made" in refusal(open_for_writing, tmp_path / "runs" / "fasa.sqlite")


def test_a_read_only_folder(read_only_folder: Path) -> None:
    assert "writable" in refusal(open_for_writing, read_only_folder / "fasa.sqlite")


def test_a_file_locked_for_too_long(tmp_path: Path) -> None:
    path = make(tmp_path / "fasa.sqlite")
    holder = open_for_writing(path)
    holder.execute("BEGIN IMMEDIATE")
    # Opening needs no lock; a migration does.
    open_for_writing(path, busy_seconds=0.1).close()
    text = refusal(
        lambda path: open_for_writing(path, busy_seconds=0.1, migrations=(*MIGRATIONS, ADD_TAG)),
        path,
    )
    assert "locked" in text
    holder.close()
