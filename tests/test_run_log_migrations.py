"""From each version of the run log's tables to the next, with rows of the older one."""

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from snapshot_builders import feature_values

from trainer.run_log.commands import queue_run
from trainer.run_log.projections import begin_projection
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import MIGRATIONS, RunLogError, open_for_writing
from trainer.run_log.writer import RunLogWriter

VERSION_1_ROWS = (
    "INSERT INTO runs (name, config, dataset, status, process_id, process_start, created, rewinds)"
    " VALUES ('gone', '{}', 'demo', 'finished', 6, 1.5, 1.0, 0),"
    " ('first', '{\"m\": 0.1}', 'demo', 'crashed', 7, 2.5, 2.0, 3)",
    "INSERT INTO runs (name, config, dataset, status, parent_run, parent_epoch, created)"
    " VALUES ('fork', '{}', 'demo', 'running', 2, 6, 3.0), ('last', '{}', 'demo', 'queued',"
    " NULL, NULL, 4.0)",
    "INSERT INTO categories VALUES (2, 0, 10, 'tiger', 'r', 3, 4)",
    "INSERT INTO scalars (run_id, name, step, epoch, wall_time, value)"
    " VALUES (1, 'a', 1, 0, 1.0, NULL), (2, 'a', 1, 0, 1.0, 0.5), (2, 'a', 2, 0, 1.0, 0.25)",
    "INSERT INTO class_vectors (run_id, field, step, epoch, wall_time, dtype, data)"
    " VALUES (2, 'score', 1, 0, 1.0, 'float32', x'0000803F')",
    "INSERT INTO adaptation_summaries (run_id, step, epoch, wall_time, num_groups)"
    " VALUES (2, 1, 0, 1.0, 1)",
    "INSERT INTO adaptations (run_id, step, epoch, wall_time, super_group, members, noise_members,"
    " with_data, clamped, factor, reason)"
    " VALUES (2, 1, 0, 1.0, 0, '[0]', '[]', '[0]', '[]', 1.1, 'fell')",
    "INSERT INTO events (run_id, step, epoch, wall_time, kind, text, payload)"
    " VALUES (2, 1, 0, 1.0, 'note', 'x', '{}')",
    "INSERT INTO commands (run_id, kind, payload, created, answered, applied_step)"
    " VALUES (2, 'set', '{}', 1.0, 2.0, 1), (3, 'pause', '{}', 3.0, NULL, NULL)",
    # Ids that were given out and are gone: they must never come again.
    "DELETE FROM runs WHERE id IN (1, 4)",
    "DELETE FROM scalars WHERE id = 3",
)


def make_version_1(path: Path) -> Path:
    """A run log as version 1 left it, with a row in every table."""
    connection = open_for_writing(path, migrations=MIGRATIONS[:1])
    for statement in VERSION_1_ROWS:
        connection.execute(statement)
    connection.close()
    return path


def rows_of(connection: sqlite3.Connection, columns: dict[str, list[str]]) -> dict[str, Any]:
    return {
        table: connection.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall()
        for table, names in columns.items()
    }


def test_version_2_keeps_all_that_version_1_had_but_the_start_times(tmp_path: Path) -> None:
    path = make_version_1(tmp_path / "fasa.sqlite")
    old = sqlite3.connect(path)
    tables = [row[0] for row in old.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    columns = {
        table: [row[1] for row in old.execute(f"PRAGMA table_info ({table})")] for table in tables
    }
    columns["runs"].remove("process_start")
    before = rows_of(old, columns)
    old.close()
    assert all(before.values())
    connection = open_for_writing(path)
    assert rows_of(connection, columns | {"sqlite_sequence": ["name", "seq"]}) == before
    runs = connection.execute(
        "SELECT uid, process_identity, parent_step, note, tags, archived, deleted FROM runs"
    ).fetchall()
    assert [row[1:] for row in runs] == [(None, None, "", "[]", None, None)] * 2
    assert all(re.fullmatch("[0-9a-f]{32}", row[0]) for row in runs)
    assert runs[0][0] != runs[1][0]
    connection.close()
    with RunLogReader(path) as reader:
        assert [(run.name, run.parent_run, run.tags) for run in reader.runs()] == [
            ("first", None, []),
            ("fork", 2, []),
        ]
        assert reader.scalars(2, after=1)[0].id == 2
        assert (reader.commands(2)[0].applied_step, reader.commands(2)[0].applied_epoch) == (
            1,
            None,
        )
    assert queue_run(path, name="new", config={}, dataset="demo") == 5
    with RunLogWriter(path, 5) as writer:
        writer.scalars({"a": 1.0}, step=1, epoch=0)
    with RunLogReader(path) as reader:
        assert [row.id for row in reader.scalars(5)] == [4]


def test_a_migration_cut_short_leaves_version_1_whole(tmp_path: Path) -> None:
    path = make_version_1(tmp_path / "fasa.sqlite")
    for length in range(len(MIGRATIONS[1]) + 1):
        broken = (MIGRATIONS[0], (*MIGRATIONS[1][:length], "INSERT INTO nowhere VALUES (1)"))
        with pytest.raises(RunLogError, match="nowhere"):
            open_for_writing(path, migrations=broken)
    connection = open_for_writing(path, migrations=MIGRATIONS[:1])
    assert connection.execute("SELECT process_start FROM runs WHERE id = 2").fetchone() == (2.5,)
    tables = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'attempts'")
    assert tables.fetchone() == (0,)
    connection.close()


def test_version_3_adds_tables_and_touches_no_row(tmp_path: Path) -> None:
    path = tmp_path / "fasa.sqlite"
    old = open_for_writing(path, migrations=MIGRATIONS[:2])
    old.execute(
        "INSERT INTO runs (name, config, dataset, status, created, uid)"
        " VALUES ('first', '{}', 'demo', 'finished', 1.0, 'a')"
    )
    tables = [row[0] for row in old.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    before = rows_of(old, {table: ["*"] for table in tables})
    old.close()
    connection = open_for_writing(path)
    assert rows_of(connection, {table: ["*"] for table in tables}) == before
    connection.close()
    with RunLogReader(path) as reader:
        assert (reader.prediction_images(1), reader.prediction_moments(1)) == ([], [])
    image = {"index": 0, "image_id": 7, "width": 2, "height": 1, "truth": [], "judged": None}
    with RunLogWriter(path, 1) as writer:
        writer.prediction_images([image | {"picture": b"jpeg"}])
        writer.predictions([{"image_index": 0, "detections": []}], step=5, epoch=1)
    with RunLogReader(path) as reader:
        assert reader.prediction_moments(1) == [(5, 1)]


def test_version_4_forgets_older_snapshots_and_touches_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "fasa.sqlite"
    old = open_for_writing(path, migrations=MIGRATIONS[:3])
    old.execute(
        "INSERT INTO runs (name, config, dataset, status, created, uid)"
        " VALUES ('first', '{}', 'demo', 'finished', 1.0, 'a')"
    )
    old.execute(
        "INSERT INTO feature_probes (run_id, object_index, class_index, split, image_id, x1, y1,"
        " x2, y2, picture) VALUES (1, 0, 0, 'train', 7, 0.0, 0.0, 1.0, 1.0, x'ff')"
    )
    old.execute(
        "INSERT INTO feature_snapshots (run_id, step, epoch, wall_time, kind, feature_dim,"
        " subjects, data) VALUES (1, 1, 0, 1.0, 'real', 2, x'00000000', x'00000000')"
    )
    tables = [
        row[0]
        for row in old.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        if row[0] not in ("feature_snapshots", "sqlite_sequence")
    ]
    before = rows_of(old, {table: ["*"] for table in tables})
    old.close()
    connection = open_for_writing(path)
    assert rows_of(connection, {table: ["*"] for table in tables}) == before
    connection.close()
    with RunLogReader(path) as reader:
        assert reader.features.heads(1) == []
        assert [row.image_id for row in reader.features.objects(1)] == [7]
    with RunLogWriter(path, 1) as writer:
        writer.feature_snapshot(feature_values(), step=5, epoch=1)
    with RunLogReader(path) as reader:
        (head,) = reader.features.heads(1)
        assert (head.step, head.num_virtual) == (5, 4)
    assert begin_projection(path, 1, head.id, "pca")
