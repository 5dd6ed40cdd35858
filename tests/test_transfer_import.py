"""Runs from one installation to another by way of a SQLite file."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from transfer_logs import add_run, contents, folder, tampered, uid_of

from trainer.run_log.commands import mark_deleted, queue_run, requeue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import LIVE_STATUSES, RunLogError, open_for_reading, open_for_writing
from trainer.run_log.tables import MIGRATIONS
from trainer.runs_folder import RunsFolder
from trainer.transfer.copying import HISTORY, blueprint
from trainer.transfer.errors import TransferError
from trainer.transfer.export import export_runs
from trainer.transfer.merge import import_runs


@pytest.fixture
def here(tmp_path: Path) -> RunsFolder:
    """An installation with three runs, the second restarted from the first."""
    runs = folder(tmp_path / "here")
    first = add_run(runs, name="first", seed=1)
    add_run(runs, name="second", parent=first, seed=2)
    add_run(runs, name="third", seed=3, status="failed")
    return runs


@pytest.fixture
def there(tmp_path: Path) -> RunsFolder:
    """Another installation, empty but for one run of its own."""
    runs = folder(tmp_path / "there")
    queue_run(runs.run_log, name="there before", config={}, dataset="demo")
    return runs


def send(here: RunsFolder, run_ids: list[int], to: Path) -> Path:
    (made,) = export_runs(here, run_ids, format="sqlite", to=to)
    return made


def test_every_table_of_a_run_is_dealt_with() -> None:
    with closing(blueprint()) as connection:
        tables = [row[1] for row in connection.execute("PRAGMA table_list")]
        with_run = {
            table
            for table in tables
            if "run_id" in [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        }
    assert with_run == {*HISTORY, "checkpoints", "projections", "feature_measures"}


def test_round_trip_into_an_empty_installation(here: RunsFolder, tmp_path: Path) -> None:
    sent = send(here, [1, 2, 3], tmp_path / "sent.sqlite")
    new = RunsFolder(tmp_path / "new" / "runs")
    assert import_runs(new, sent) == [1, 2, 3]
    again = send(new, [1, 2, 3], tmp_path / "again.sqlite")

    before = contents(here.run_log)
    assert all(before[table] for table in HISTORY)  # or the comparison would say little
    assert before.pop("checkpoints")
    for path in (sent, new.run_log, again):
        after = contents(path)
        assert after.pop("checkpoints") == []
        assert after == before


def test_rows_get_new_ids_in_the_same_order(
    here: RunsFolder, there: RunsFolder, tmp_path: Path
) -> None:
    sent = send(here, [2, 3], tmp_path / "sent.sqlite")
    assert import_runs(there, sent) == [2, 3]
    with RunLogReader(here.run_log) as old, RunLogReader(there.run_log) as new:
        for before, after in ((2, 2), (3, 3)):
            rows, others = old.scalars(before), new.scalars(after)
            assert repr([row[1:] for row in rows]) == repr([row[1:] for row in others])
            assert [row.id for row in others] == sorted({row.id for row in others})
        assert new.run(1).name == "there before"


def test_a_parent_that_came_along_is_linked(
    here: RunsFolder, there: RunsFolder, tmp_path: Path
) -> None:
    first, second = import_runs(there, send(here, [1, 2], tmp_path / "sent.sqlite"))
    with RunLogReader(there.run_log) as reader:
        assert reader.run(second).parent_run == first == 2
        assert (reader.run(second).parent_epoch, reader.run(second).parent_step) == (0, 6)


def test_a_parent_that_is_here_already_is_linked_by_its_uid(
    here: RunsFolder, there: RunsFolder, tmp_path: Path
) -> None:
    (first,) = import_runs(there, send(here, [1], tmp_path / "one.sqlite"))
    (second,) = import_runs(there, send(here, [2], tmp_path / "two.sqlite"))
    with RunLogReader(there.run_log) as reader:
        assert reader.run(second).parent_run == first
        assert len(reader.runs()) == 3
        assert len(reader.runs(include_deleted=True)) == 3  # no stub came along


def test_a_parent_nobody_knows_is_none(here: RunsFolder, there: RunsFolder, tmp_path: Path) -> None:
    (second,) = import_runs(there, send(here, [2], tmp_path / "two.sqlite"))
    with RunLogReader(there.run_log) as reader:
        assert reader.run(second).parent_run is None


@pytest.mark.parametrize("status", LIVE_STATUSES)
def test_a_live_run_arrives_interrupted(there: RunsFolder, tmp_path: Path, status: str) -> None:
    here = folder(tmp_path / "here")
    add_run(here, status=status)
    (run_id,) = import_runs(there, send(here, [1], tmp_path / "sent.sqlite"))
    with RunLogReader(there.run_log) as reader:
        run = reader.run(run_id)
        assert run.status == "interrupted"
        assert run.error is not None
        assert f"exported while it was {status}" in run.error
        assert (run.process_id, run.process_identity, run.heartbeat) == (None, None, None)
        assert run.ended is not None
        assert all(command.refusal for command in reader.commands(run_id))
        for attempt in reader.attempts(run_id):
            assert (attempt.status, attempt.to_step) == ("interrupted", 12)


def test_a_copy_cannot_be_resumed_without_its_checkpoints(
    here: RunsFolder, there: RunsFolder, tmp_path: Path
) -> None:
    add_run(here, status="stopped", seed=5)
    with RunLogReader(here.run_log) as reader:
        last = reader.runs()[-1].id
    (run_id,) = import_runs(there, send(here, [last], tmp_path / "sent.sqlite"))
    for log, number in ((there.run_log, run_id), (tmp_path / "sent.sqlite", last)):
        with pytest.raises(RunLogError, match="checkpoints did not come along: restart it"):
            requeue_run(log, number)
    requeue_run(here.run_log, last)  # the original can


def test_a_copied_log_of_a_dead_machine_is_taken_too(there: RunsFolder, tmp_path: Path) -> None:
    here = folder(tmp_path / "here")
    add_run(here, status="running")
    add_run(here, status="finished", seed=1)
    (_, finished) = import_runs(there, here.run_log)
    with RunLogReader(there.run_log) as reader:
        assert [run.status for run in reader.runs()] == ["queued", "interrupted", "finished"]
        assert reader.checkpoints(finished) == []
    assert sorted(path.name for path in here.root.iterdir()) == ["fasa.sqlite"]


def test_deleted_runs_stay_behind(here: RunsFolder, there: RunsFolder) -> None:
    mark_deleted(here.run_log, 1, True)
    assert import_runs(there, here.run_log) == [2, 3]
    with RunLogReader(there.run_log) as reader:
        assert [run.name for run in reader.runs()] == ["there before", "second", "third"]
        assert reader.run(2).parent_run is None


def test_a_run_that_is_here_already_is_refused_with_all_others(
    here: RunsFolder, there: RunsFolder, tmp_path: Path
) -> None:
    import_runs(there, send(here, [2], tmp_path / "two.sqlite"))
    before = contents(there.run_log)
    sent = send(here, [1, 2, 3], tmp_path / "all.sqlite")
    with pytest.raises(TransferError, match=r"here already as run 2, and nothing was imported"):
        import_runs(there, sent)
    assert contents(there.run_log, deleted=True) == before


def test_a_run_that_is_deleted_here_is_refused(
    here: RunsFolder, there: RunsFolder, tmp_path: Path
) -> None:
    sent = send(here, [2], tmp_path / "two.sqlite")
    import_runs(there, sent)
    mark_deleted(there.run_log, 2, True)
    with pytest.raises(TransferError, match="here as run 2, which is deleted"):
        import_runs(there, sent)


def test_a_log_of_the_first_version_is_brought_up_to_date_on_a_copy(
    there: RunsFolder, tmp_path: Path
) -> None:
    path = tmp_path / "old.sqlite"
    with closing(open_for_writing(path, migrations=MIGRATIONS[:1])) as connection:
        connection.execute(
            "INSERT INTO runs (name, config, dataset, status, created)"
            " VALUES ('old', '{}', 'demo', 'finished', 1.5)"
        )
        connection.execute(
            "INSERT INTO scalars (run_id, name, step, epoch, wall_time, value)"
            " VALUES (1, 'loss/total', 7, 0, 2.5, 0.25)"
        )
    before = path.read_bytes()
    (run_id,) = import_runs(there, path)
    with RunLogReader(there.run_log) as reader:
        assert reader.run(run_id).name == "old"
        assert len(reader.run(run_id).uid) == 32
        assert [row.value for row in reader.scalars(run_id)] == [0.25]
    assert path.read_bytes() == before
    assert all(p.name.startswith("fasa.sqlite") for p in there.root.iterdir())  # no copy left
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old.sqlite", "there"]


def test_an_import_that_finds_its_runs_being_deleted_gives_up(
    here: RunsFolder, there: RunsFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the machine slept for minutes and a supervisor took the mark for a request."""
    sent = send(here, [1], tmp_path / "sent.sqlite")
    from trainer.transfer import merge

    original = merge._Merge.add

    def add_late(self: merge._Merge, table: str, rows: list) -> None:
        if table == "events":
            with tampered(there.run_log) as connection:
                connection.execute("UPDATE runs SET phase = 'being deleted' WHERE id = 2")
        original(self, table, rows)

    monkeypatch.setattr(merge._Merge, "add", add_late)
    with pytest.raises(TransferError, match="deleted runs while they were imported"):
        import_runs(there, sent)
    assert [run["name"] for run in contents(there.run_log, deleted=True)["runs"]] == [
        "there before"
    ]


def test_uid_is_kept(here: RunsFolder, there: RunsFolder, tmp_path: Path) -> None:
    (run_id,) = import_runs(there, send(here, [3], tmp_path / "sent.sqlite"))
    assert uid_of(there.run_log, run_id) == uid_of(here.run_log, 3)


def test_the_imported_log_is_sound(here: RunsFolder, there: RunsFolder, tmp_path: Path) -> None:
    import_runs(there, send(here, [1, 2, 3], tmp_path / "sent.sqlite"))
    with closing(open_for_reading(there.run_log)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_an_export_of_runs_meets_the_rules_of_every_sqlite_tool(
    here: RunsFolder, tmp_path: Path
) -> None:
    sent = send(here, [1, 2, 3], tmp_path / "sent.sqlite")
    with closing(sqlite3.connect(f"file:{sent}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
