"""Files that an import refuses: each with one sentence, and with nothing left of it."""

import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from transfer_logs import add_run, contents, folder, tampered

from trainer.run_log.commands import queue_run
from trainer.run_log.schema import SCHEMA_VERSION, RunLogError, open_for_writing
from trainer.run_log.tables import MIGRATIONS
from trainer.runs_folder import RunsFolder
from trainer.transfer.errors import TransferError
from trainer.transfer.export import export_runs
from trainer.transfer.merge import import_runs


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an export of one run, and with another installation that has a run too."""
    place = tmp_path_factory.mktemp("originals")
    add_run(folder(place / "here"))
    export_runs(RunsFolder(place / "here"), [1], format="sqlite", to=place / "sent.sqlite")
    there = folder(place / "there")
    queue_run(there.run_log, name="there before", config={}, dataset="demo")
    return place


@pytest.fixture
def sent(originals: Path, tmp_path: Path) -> Path:
    """A whole export of one run, to be spoiled."""
    return Path(shutil.copy(originals / "sent.sqlite", tmp_path))


@pytest.fixture
def there(originals: Path, tmp_path: Path) -> RunsFolder:
    """Another installation with one run of its own."""
    return RunsFolder(Path(shutil.copytree(originals / "there", tmp_path / "there")))


def refusal(there: RunsFolder, path: Path) -> str:
    """The sentence with which a file is refused; nothing came of it."""
    before = contents(there.run_log, deleted=True)
    with pytest.raises((TransferError, RunLogError)) as caught:
        import_runs(there, path)
    assert contents(there.run_log, deleted=True) == before
    assert [p.name for p in there.root.iterdir() if p.name.startswith(".")] == []
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    assert re.search(r": .+\.$", text), f"no remedy after a colon: {text}"
    return text


# Files that are no run log, or not a whole one.


def test_no_such_file(there: RunsFolder, tmp_path: Path) -> None:
    assert "There is no file" in refusal(there, tmp_path / "nothing.sqlite")


def test_a_folder(there: RunsFolder, tmp_path: Path) -> None:
    assert "is a folder" in refusal(there, tmp_path)


def test_an_empty_file(there: RunsFolder, tmp_path: Path) -> None:
    path = tmp_path / "empty.sqlite"
    path.touch()
    assert "is empty" in refusal(there, path)


def test_a_text(there: RunsFolder, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("epoch,loss\n" * 500)
    assert "damaged or no SQLite file" in refusal(there, path)


def test_another_programs_file(there: RunsFolder, tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with tampered(path) as connection:
        connection.execute("CREATE TABLE runs (id INTEGER)")
    assert "another program's SQLite file" in refusal(there, path)


@pytest.mark.parametrize("kept", [50, 5000, 0.5, 0.95])
def test_a_file_cut_short(there: RunsFolder, sent: Path, kept: float) -> None:
    size = sent.stat().st_size
    os.truncate(sent, int(size * kept) if kept < 1 else int(kept))
    assert "damaged or no SQLite file" in refusal(there, sent)


def test_pages_overwritten_in_the_middle(there: RunsFolder, sent: Path) -> None:
    with sent.open("r+b") as file:
        file.seek(sent.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xa5" * 8192)
    assert "damaged or no SQLite file" in refusal(there, sent)


def test_a_newer_version(there: RunsFolder, sent: Path) -> None:
    with tampered(sent) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    assert "update the program" in refusal(there, sent)


def test_a_file_in_use(there: RunsFolder, tmp_path: Path) -> None:
    busy = folder(tmp_path / "busy")
    add_run(busy)
    with closing(open_for_writing(busy.run_log)) as connection:
        connection.execute("UPDATE runs SET epoch = 0")
        assert "fasa export" in refusal(there, busy.run_log)
    assert import_runs(there, busy.run_log) == [2]


def test_a_file_without_runs(there: RunsFolder, tmp_path: Path) -> None:
    open_for_writing(tmp_path / "none.sqlite").close()
    assert "holds no runs" in refusal(there, tmp_path / "none.sqlite")


def test_names_that_mean_something_in_an_address(there: RunsFolder, sent: Path) -> None:
    odd = sent.with_name("my runs?mode=rwc#50%.sqlite")
    sent.rename(odd)
    assert import_runs(there, odd) == [2]


# Tables that are not ours to the letter.


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM runs; END",
        "CREATE VIEW v AS SELECT load_extension('x')",
        "CREATE TABLE more (a)",
        "ALTER TABLE runs ADD COLUMN more TEXT",
        "DROP TABLE events",
        "DROP INDEX runs_by_uid",
        "CREATE INDEX i ON events (text)",
        "ANALYZE",
    ],
)
def test_another_schema(there: RunsFolder, sent: Path, change: str) -> None:
    with tampered(sent) as connection:
        connection.execute(change)
    assert "not those of a run log" in refusal(there, sent)


def test_a_table_replaced_by_a_view(there: RunsFolder, sent: Path) -> None:
    with tampered(sent) as connection:
        connection.execute("ALTER TABLE events RENAME TO hidden")
        connection.execute("CREATE VIEW events AS SELECT * FROM hidden")
    assert "not those of a run log" in refusal(there, sent)


def test_a_trigger_in_a_log_of_the_first_version_never_runs(
    there: RunsFolder, tmp_path: Path
) -> None:
    path = tmp_path / "old.sqlite"
    with closing(open_for_writing(path, migrations=MIGRATIONS[:1])) as connection:
        connection.execute(
            "INSERT INTO runs (name, config, dataset, status, created)"
            " VALUES ('old', '{}', 'demo', 'finished', 1.5)"
        )
        connection.execute(
            "CREATE TRIGGER t AFTER UPDATE ON runs BEGIN UPDATE runs SET name = 'mine'; END"
        )
    before = path.read_bytes()
    assert "not those of a run log" in refusal(there, path)
    assert path.read_bytes() == before


def test_a_first_version_that_says_it_is_the_second(there: RunsFolder, tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    open_for_writing(path, migrations=MIGRATIONS[:1]).close()
    with tampered(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    assert "not those of a run log" in refusal(there, path)


# Rows that would make a page, a chart or a trainer stumble.

DEEP = "[" * 1500 + "]" * 1500

ROWS = {
    "status": "UPDATE runs SET status = 'flying'",
    "uid": "UPDATE runs SET uid = '../../etc'",
    "uid in capitals": "UPDATE runs SET uid = upper(uid)",
    "empty name": "UPDATE runs SET name = ' '",
    "long name": "UPDATE runs SET name = hex(zeroblob(150))",
    "zero in name": "UPDATE runs SET name = 'a' || char(0) || 'b'",
    "turned name": "UPDATE runs SET name = 'a' || char(0x202e)",
    "long note": "UPDATE runs SET note = hex(zeroblob(6000))",
    "many tags": "UPDATE runs SET tags = (SELECT json_group_array('t' || id) FROM scalars)",
    "tags object": "UPDATE runs SET tags = '{}'",
    "tag number": "UPDATE runs SET tags = '[1]'",
    "config array": "UPDATE runs SET config = '[]'",
    "config deep": f"UPDATE runs SET config = '{{\"a\": {DEEP}}}'",
    "config huge integer": f"UPDATE runs SET config = '{{\"a\": {'9' * 5000}}}'",
    "config infinite": "UPDATE runs SET config = '{\"a\": 1e999}'",
    "config half a character": """UPDATE runs SET config = '{"a": "\\ud800"}'""",
    "config no json": "UPDATE runs SET config = '{'",
    "own parent": "UPDATE runs SET parent_run = id",
    "negative step": "UPDATE runs SET step = -1",
    "year 30000": "UPDATE runs SET created = 1e12",
    "infinite time": "UPDATE scalars SET wall_time = 9e999 WHERE id = 3",
    "text for a number": "UPDATE scalars SET step = 'many' WHERE id = 3",
    "blob for a text": "UPDATE events SET text = x'ff'",
    "text that is no UTF-8": "UPDATE events SET text = CAST(x'ff41' AS TEXT)",
    "huge text": "UPDATE events SET text = hex(zeroblob(600000))",
    "payload array": "UPDATE events SET payload = '[]'",
    "class gap": "UPDATE categories SET class_index = 9 WHERE class_index = 4",
    "frequency": "UPDATE categories SET frequency = '<b>'",
    "negative count": "UPDATE categories SET image_count = -3",
    "blob for a name": "UPDATE runs SET name = x'616263'",
    "blob for a note": "UPDATE runs SET note = x'35'",
    "blob for json": "UPDATE runs SET config = x'7b7d'",
    "null step": "UPDATE events SET step = NULL",
    "short vector": "UPDATE class_vectors SET data = substr(data, 1, 16) WHERE id = 2",
    "odd vector": "UPDATE class_vectors SET data = substr(data, 1, 17) WHERE id = 2",
    "long vectors": "UPDATE class_vectors SET data = zeroblob(4000)",
    "mixed types": "UPDATE class_vectors SET dtype = 'int32' WHERE id = 1",
    "type of another kind": "UPDATE class_vectors SET dtype = 'object'",
    "class beyond": "UPDATE adaptations SET members = '[5]'",
    "class below": "UPDATE adaptations SET clamped = '[-1]'",
    "class of text": """UPDATE adaptations SET with_data = '["1"]'""",
    "class beyond int64": "UPDATE adaptations SET members = '[99999999999999999999]'",
    "probe of no class": "UPDATE feature_probes SET class_index = 5",
    "probe nowhere": "UPDATE feature_probes SET x1 = -9e999",
    "picture": "UPDATE feature_probes SET picture = CAST('<svg>' AS BLOB)",
    "objects with a gap": "UPDATE feature_probes SET object_index = 7 WHERE object_index = 1",
    "image without size": "UPDATE prediction_images SET width = 0",
    "image larger than any": "UPDATE prediction_images SET height = 2147483648",
    "images with a gap": "UPDATE prediction_images SET image_index = 7 WHERE image_index = 1",
    "image as a page": "UPDATE prediction_images SET picture = CAST('<svg>' AS BLOB)",
    "truth of no list": "UPDATE prediction_images SET truth = '{}'",
    "truth of no class": "UPDATE prediction_images SET truth = json_set(truth, '$[0].class', 5)"
                         " WHERE image_index = 0",
    "crowd of two": "UPDATE prediction_images SET truth = json_set(truth, '$[0].crowd', 2)"
                    " WHERE image_index = 0",
    "judged of no class": "UPDATE prediction_images SET judged = '[-1]'",
    "judged of text": """UPDATE prediction_images SET judged = '["0"]'""",
    "detection on no image": "UPDATE predictions SET image_index = 2",
    "detections of no list": "UPDATE predictions SET detections = '7'",
    **{
        f"detection with {name}": "UPDATE predictions SET detections = json_set(detections,"
        f" '$[0].{path}', {value}) WHERE image_index = 0"
        for name, path, value in (
            ("score of text", "score", "'1'"), ("score beyond 1", "score", "1.5"),
            ("a box of three", "box", "json('[1, 2, 3]')"), ("a box of text", "box[1]", "'2'"),
            ("more than that", "name", "'<b>'"), ("no mask", "mask", "NULL"),
            ("another size", "mask.size", "json('[4, 6]')"),
            ("a short mask", "mask.counts", "'0220007'"),
            ("a long mask", "mask.counts", "'0220009'"),
            ("a cut mask", "mask.counts", "'02200'"), ("an open mask", "mask.counts", "'022000P'"),
            ("a strange mask", "mask.counts", "'\u00e9'"), ("a negative run", "mask.counts", "'O'"),
            ("a run without end", "mask.counts", "'PPPPPPPPPPPP0'"),
        )
    },
    "command step": "UPDATE commands SET applied_step = -1",
    "picture beyond 4 MiB": "UPDATE feature_probes"
                            " SET picture = CAST(x'ffd8ff' || zeroblob(4194302) AS BLOB)",
}  # fmt: skip


@pytest.mark.parametrize("change", ROWS.values(), ids=ROWS.keys())
def test_a_row_that_cannot_be(there: RunsFolder, sent: Path, change: str) -> None:
    with tampered(sent) as connection:
        # STRICT cannot be switched off; what it refuses is put in as the schema's cache allows.
        _with_loose_tables(connection, lambda: connection.execute(change))
    text = refusal(there, sent)
    assert "export the runs again" in text


def _with_loose_tables(connection: sqlite3.Connection, change: Callable[[], object]) -> None:
    """Make a change as if the tables were not STRICT, and give them their own words back."""
    connection.execute("PRAGMA writable_schema = ON")
    version = connection.execute("PRAGMA schema_version").fetchone()[0]
    before = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'")
    original = [(sql, name) for name, sql in before.fetchall() if not name.startswith("sqlite_")]
    loose = [(_loosened(sql), name) for sql, name in original]
    for number, tables in enumerate((loose, original)):
        if number:
            change()
        connection.executemany("UPDATE sqlite_schema SET sql = ? WHERE name = ?", tables)
        connection.execute(f"PRAGMA schema_version = {version + 1 + number}")
    connection.execute("PRAGMA writable_schema = RESET")


def _loosened(sql: str) -> str:
    sql = re.sub(r"\) STRICT(, WITHOUT ROWID)?$", lambda m: ")" + (m[1] or "")[1:], sql)
    return sql if "WITHOUT ROWID" in sql else sql.replace(" NOT NULL", "")


def test_two_runs_with_one_uid(there: RunsFolder, tmp_path: Path) -> None:
    here = folder(tmp_path / "twins")
    add_run(here)
    add_run(here, seed=1)
    (path,) = export_runs(here, [1, 2], format="sqlite", to=tmp_path / "twins.sqlite")
    with tampered(path) as connection:
        (index,) = connection.execute(
            "SELECT sql FROM sqlite_schema WHERE name = 'runs_by_uid'"
        ).fetchone()
        connection.execute("DROP INDEX runs_by_uid")
        connection.execute(index.replace("UNIQUE ", ""))
        connection.execute("UPDATE runs SET uid = (SELECT min(uid) FROM runs)")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'runs_by_uid'", (index,))
    assert "share a uid" in refusal(there, path)


def test_rows_of_no_run_are_not_taken(there: RunsFolder, sent: Path) -> None:
    with tampered(sent) as connection:
        connection.execute(
            "INSERT INTO events (run_id, step, epoch, wall_time, kind, text, payload)"
            " VALUES (9, 1, 0, 1.0, 'x', 'x', '{}')"
        )
    assert import_runs(there, sent) == [2]
    assert len(contents(there.run_log)["events"]) == 1


def test_tampering_that_leaves_nothing_wrong_passes(there: RunsFolder, sent: Path) -> None:
    """Against tests that pass because the tampering itself is what is refused."""
    with tampered(sent) as connection:
        _with_loose_tables(
            connection, lambda: connection.execute("UPDATE events SET text = 'as good as any'")
        )
    assert import_runs(there, sent) == [2]
