"""docs/run_log.md is true: tables and columns are all there, and its examples run."""

import re
import sqlite3
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_log_builders import NUM_CLASSES, STEPS, fill
from snapshot_builders import feature_values

from trainer.run_log.schema import open_for_reading

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "run_log.md"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("filled") / "fasa.sqlite")


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
    names: dict[str, Any] = {}
    found = []
    for code in blocks("python"):
        exec(compile(code, str(DOCUMENT), "exec"), names)
        found.append(names.pop("values", None))
    assert [values is None for values in found] == [False, False, True]
    for values in found[:2]:
        assert isinstance(values, np.ndarray)
        assert values.shape == (STEPS, NUM_CLASSES)
        assert values[:, 2].tolist() == [12, 22, 32, 42]
    read = ("features", "classes", "virtual_features", "virtual_classes")
    assert {name: names[name].tolist() for name in read} == {
        "features": [[0, 1, 2]],
        "classes": [1],
        "virtual_features": feature_values(objects=(0,)).virtual.tolist(),
        "virtual_classes": [1, 1, 3, 3],
    }


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
