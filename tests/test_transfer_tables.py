"""Exports as CSV and Parquet: what pandas reads back is what the run log's reader gives."""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transfer_logs import CLASSES, NAMES, add_run, folder

from trainer.run_log.commands import queue_run, set_note, set_tags
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import RunLogError
from trainer.run_log.text import checked_name, checked_note, checked_tags
from trainer.runs_folder import RunsFolder
from trainer.transfer.csv_tables import harmless
from trainer.transfer.export import export_runs
from trainer.transfer.parquet_tables import ROWS_A_GROUP
from trainer.transfer.tidy_tables import TABLES

FORMATS = ("csv", "parquet")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> RunsFolder:
    """Two runs with other numbers of classes, and a third that is not exported."""
    made = folder(tmp_path_factory.mktemp("tables") / "runs")
    add_run(made, name="-first", seed=1)
    add_run(made, name="second", parent=1, seed=2, classes=3, status="failed")
    add_run(made, name="third", seed=3)
    return made


@pytest.fixture(scope="module", params=FORMATS)
def exported(
    request: pytest.FixtureRequest, runs: RunsFolder, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    to = tmp_path_factory.mktemp(request.param) / request.param
    files = export_runs(runs, [2, 1, 2], format=request.param, to=to)
    assert sorted(files) == sorted(to.iterdir())
    names = {f"{table.name}.{request.param}" for table in TABLES} | {"README.txt"}
    assert {file.name for file in files} == names
    return to


def read(exported: Path, name: str) -> pd.DataFrame:
    """A table as its README says it is read, lists and text as in the run log."""
    table = next(table for table in TABLES if table.name == name)
    if exported.name == "parquet":
        frame = pd.read_parquet(exported / f"{name}.parquet")
    else:
        path = exported / f"{name}.csv"
        dtype = {column.name: str for column in table.columns if column.kind == "text"}
        frame = pd.read_csv(path, dtype=dtype, keep_default_na=False, na_values=[""])
    assert list(frame.columns) == [column.name for column in table.columns]
    for column in table.columns:
        if column.kind in ("texts", "integers"):
            frame[column.name] = frame[column.name].map(
                json.loads if exported.name == "csv" else list
            )
        elif column.kind == "text" and exported.name == "csv":
            frame[column.name] = frame[column.name].map(bare, na_action="ignore")
    return frame


def bare(text: str) -> str:
    return text.removeprefix("'")


def same(cell: Any, value: Any) -> bool:
    """Equal; an empty cell is None, not-a-number, or no text."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return bool(pd.isna(cell)) or cell == ""
    return bool(cell == value)


def assert_rows(frame: pd.DataFrame, rows: list[Any], names: dict[str, str] | None = None) -> None:
    """A run's part of a table against the reader's rows, attribute by attribute."""
    assert len(frame) == len(rows) > 0
    for cells, row in zip(frame.to_dict("records"), rows, strict=True):
        for column, cell in cells.items():
            if column == "run_id" and not hasattr(row, "run_id"):
                continue
            value = getattr(row, (names or {}).get(column, column))
            if column in ("payload", "config"):
                cell = json.loads(cell)
            assert same(cell, value), (column, cell, value)


def part(frame: pd.DataFrame, run_id: int) -> pd.DataFrame:
    return frame[frame.run_id == run_id]


@pytest.fixture(scope="module")
def reader(runs: RunsFolder) -> Iterator[RunLogReader]:
    with RunLogReader(runs.run_log) as found:
        yield found


def test_runs(exported: Path, reader: RunLogReader) -> None:
    frame = read(exported, "runs")
    assert_rows(frame, [reader.run(1), reader.run(2)])
    assert list(frame.tags) == [["@night", "café"]] * 2


@pytest.mark.parametrize("run_id", [1, 2])
def test_rows_equal_the_readers(exported: Path, reader: RunLogReader, run_id: int) -> None:
    for name, found, names in (
        ("categories", reader.categories, {"class_index": "index", "category_id": "id"}),
        ("adaptations", reader.adaptations, None),
        ("adaptation_summaries", reader.adaptation_summaries, None),
        ("events", reader.events, None),
        ("commands", reader.commands, None),
        ("attempts", reader.attempts, None),
        ("checkpoints", reader.checkpoints, None),
    ):
        assert_rows(part(read(exported, name), run_id), found(run_id), names)
    frame = part(read(exported, "scalars"), run_id)
    assert_rows(frame.sort_values("id"), reader.scalars(run_id))
    assert frame.value.isna().sum() == 1  # the NaN
    assert np.isinf(frame.value).sum() == 1


@pytest.mark.parametrize("run_id", [1, 2])
def test_class_vectors_equal_the_readers(exported: Path, reader: RunLogReader, run_id: int) -> None:
    frame = part(read(exported, "class_vectors"), run_id)
    names = {category.index: category.name for category in reader.categories(run_id)}
    assert sorted(frame.field.unique()) == reader.class_fields(run_id)
    for field in reader.class_fields(run_id):
        stored = reader.class_vectors(run_id, field)
        rows = frame[frame.field == field]
        values = rows.value.to_numpy().astype(stored.values.dtype).reshape(stored.values.shape)
        np.testing.assert_array_equal(values, stored.values)
        classes = len(names)
        assert rows.step.tolist() == np.repeat(stored.steps, classes).tolist()
        assert rows.epoch.tolist() == np.repeat(stored.epochs, classes).tolist()
        assert rows.wall_time.tolist() == np.repeat(stored.wall_times, classes).tolist()
        assert rows.class_index.tolist() == list(range(classes)) * len(stored.ids)
        expected = [names[index] for index in rows.class_index]
        assert rows.class_name.astype(str).tolist() == expected


def test_the_other_run_is_not_there(exported: Path) -> None:
    for table in TABLES:
        frame = read(exported, table.name)
        assert set(frame["id" if table.name == "runs" else "run_id"]) == {1, 2}


def test_the_readme_names_every_file_and_column(exported: Path) -> None:
    text = (exported / "README.txt").read_text()
    for table in TABLES:
        assert f"{table.name}.{exported.name}: " in text
        assert all(f"  {column.name}" in text for column in table.columns)


def test_the_readmes_example_works(
    exported: Path, reader: RunLogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (exported / "README.txt").read_text().splitlines()
    code = "\n".join(line[4:] for line in lines if line.startswith("    "))
    assert "read_" in code
    monkeypatch.chdir(exported)
    found: dict[str, Any] = {}
    exec(code, found)
    if exported.name == "csv":
        rows = reader.scalars(1, ["loss/total"])
        assert found["loss"].index.tolist() == [row.step for row in rows]
        assert repr(found["loss"].tolist()) == repr([row.value for row in rows])
        assert found["runs"].name.tolist() == ["'-first", "second"]
    else:
        stored = reader.class_vectors(1, "score")
        assert found["score"].index.tolist() == stored.steps.tolist()
        known = ~np.isnan(stored.values).all(axis=0)
        values = found["score"].to_numpy(np.float32)
        np.testing.assert_array_equal(values, stored.values[:, known])


def test_parquet_is_compressed_and_a_filter_reads_part_of_it(
    runs: RunsFolder, tmp_path: Path
) -> None:
    add_run(folder(tmp_path / "wide"), classes=1203, steps=300)
    wide = RunsFolder(tmp_path / "wide")
    export_runs(wide, [1], format="parquet", to=tmp_path / "out")
    file = pq.ParquetFile(tmp_path / "out" / "class_vectors.parquet")
    assert file.metadata.num_rows == 2 * 100 * 1203
    assert file.metadata.num_row_groups == 3
    for number in range(3):
        group = file.metadata.row_group(number)
        assert group.num_rows <= ROWS_A_GROUP
        assert {group.column(i).compression for i in range(group.num_columns)} == {"ZSTD"}
    filters = [("run_id", "==", 1), ("field", "==", "score"), ("step", ">=", 298)]
    found = pd.read_parquet(tmp_path / "out" / "class_vectors.parquet", filters=filters)
    with RunLogReader(wide.run_log) as reader:
        newest = reader.latest_class_vector(1, "score")
    assert newest is not None
    np.testing.assert_array_equal(found.value.to_numpy(np.float32), newest.values)


def test_a_run_that_only_waits(tmp_path: Path) -> None:
    runs = folder(tmp_path / "runs")
    add_run(runs, status="queued")
    for kind in FORMATS:
        export_runs(runs, [1], format=kind, to=tmp_path / kind)  # type: ignore[arg-type]
        assert len(read(tmp_path / kind, "runs")) == 1
        assert len(read(tmp_path / kind, "class_vectors")) == 0


# Text.


@pytest.mark.parametrize("sign", "=+-@\t\r\n＝＋－＠")
def test_a_formula_becomes_text(sign: str) -> None:
    assert harmless(f'{sign}HYPERLINK("http://a")') == f'\'{sign}HYPERLINK("http://a")'


def test_other_text_stays_as_it_is() -> None:
    for text in ("a=b", "", " =1", "3", None, "naïve", "[1]"):
        assert harmless(text) == text
    assert harmless("'quoted'") == "''quoted'"


def test_no_text_cell_of_a_csv_is_a_formula(runs: RunsFolder, tmp_path: Path) -> None:
    export_runs(runs, [1], format="csv", to=tmp_path / "out")
    seen = set()
    for table in TABLES:
        with (tmp_path / "out" / f"{table.name}.csv").open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for column in table.columns:
                    if column.kind not in ("integer", "real"):
                        assert not row[column.name].startswith(("=", "+", "-", "@"))
                        seen.add(row[column.name])
    assert {"'-first", "'=note of -first\nsecond line", "'=2+3", "'-1"} <= seen
    assert {name for name in NAMES if name[0] not in "=-"} <= seen
    assert len(NAMES) == CLASSES


def storable_name(text: str) -> bool:
    try:
        return checked_name(text) == text
    except RunLogError:
        return False


def storable_note(text: str) -> bool:
    try:
        return checked_note(text) == text
    except RunLogError:
        return False


ODD = st.text(st.characters(codec="utf-8"), max_size=40)
NAMES_GIVEN = (st.sampled_from(["=", "+", "-", "@", "'", ""]) | ODD).flatmap(
    lambda start: ODD.map(lambda rest: start + rest)
)


@settings(max_examples=25, deadline=None)  # each makes a log and two folders
@given(
    name=NAMES_GIVEN.filter(storable_name),
    note=NAMES_GIVEN.filter(storable_note),
    tags=st.lists(NAMES_GIVEN.filter(storable_name).map(lambda t: t[:40].strip()), max_size=3),
)
@example(name="NA", note="nan", tags=["null"])
@example(name="'=1", note="a\r\nb\rc\n", tags=["=1", '"', ","])
def test_odd_text_survives(
    tmp_path_factory: pytest.TempPathFactory, name: str, note: str, tags: list[str]
) -> None:
    place = tmp_path_factory.mktemp("odd")
    runs = folder(place / "runs")
    queue_run(runs.run_log, name=name, config={}, dataset=name)
    set_note(runs.run_log, 1, note)
    tags = checked_tags([tag for tag in tags if tag])
    set_tags(runs.run_log, 1, tags)
    export_runs(runs, [1], format="csv", to=place / "csv")
    with (place / "csv" / "runs.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (bare(row["name"]), bare(row["note"]), bare(row["dataset"])) == (name, note, name)
    assert json.loads(row["tags"]) == tags
    assert read(place / "csv", "runs").name[0] == name
    export_runs(runs, [1], format="parquet", to=place / "parquet")
    (found,) = pq.read_table(place / "parquet" / "runs.parquet").to_pylist()
    assert (found["name"], found["note"], found["tags"]) == (name, note, tags)
