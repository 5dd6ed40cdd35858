"""The measures by class: table, what is said of each class, and the route from a real run log."""

from pathlib import Path
from typing import Any

import numpy as np
from browser.synthetic_log import SyntheticRun
from snapshot_builders import feature_values
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.figure_routes import figure_routes
from app.measure_routes import class_notes, measure_routes, measure_table
from trainer.run_log.projections import store_measures
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import FEWEST_OBJECTS, MEASURES, MeasureRow

NAN = float("nan")


def measured_run(folder: Path, **values: Any) -> SyntheticRun:
    """A run with one measured snapshot at the end of its first epoch; all classes alike."""
    run = SyntheticRun(folder, epochs=4, steps_per_epoch=10, **values)
    run.start()
    run.advance(10)
    assert run.writer
    classes = range(1, 5) if run.fasa else []
    run.writer.feature_snapshot(
        feature_values(objects=(), classes=list(classes), num_classes=run.classes), step=10, epoch=0
    )
    assert run.writer.flush()
    numbers = np.full(run.classes, 0.75, np.float32)
    numbers[0] = np.nan
    names = MEASURES if run.fasa else [name for name in MEASURES if "holdout" in name]
    groups = dict.fromkeys(("all", "rare", "common", "frequent"), 0.75)
    found = dict.fromkeys(names, (numbers, groups))
    if run.fasa:
        found["effective_sample_size"] = (np.append(NAN, np.arange(1.0, run.classes)), groups)
    assert store_measures(run.path, run.id, 1, found)
    return run


def client(folder: Path) -> TestClient:
    reader = RunLogReader(folder / "fasa.sqlite")
    routes = [*measure_routes(lambda: reader), *figure_routes(lambda: reader)]
    return TestClient(Starlette(routes=routes))


def test_each_class_is_said_what_is_to_be_taken_with_care() -> None:
    def row(name: str, values: list[float]) -> MeasureRow:
        return MeasureRow(1, 10, 0, name, np.array(values, np.float32), {})

    newest = {
        "effective_sample_size": row("effective_sample_size", [NAN, 2.0, 3.0, 1.0]),
        "accuracy_holdout": row("accuracy_holdout", [0.5, 0.5, 0.5, NAN]),
    }
    reasons, of_class = class_notes(newest, 4, fasa=True)
    assert [reasons[index][0] for index in of_class] == [
        "no prior", "weak prior", "", "weak prior, none held out",
    ]  # fmt: skip
    reasons, of_class = class_notes(newest, 4, fasa=False)  # its priors draw nothing
    assert reasons[of_class[0]][0] == ""
    assert class_notes({}, 2, fasa=True)[0][0][0] == "not measured yet"
    reasons, of_class = class_notes(newest, 9, fasa=True)  # of other classes: none judged
    assert {reasons[index][0] for index in of_class} == {"no prior, none held out"}


def test_columns_of_a_run_with_and_without_fasa() -> None:
    table = measure_table(fasa=True)
    measures = [column.measure for column in table.columns if column.measure]
    assert sorted(measures) == sorted(MEASURES)
    assert all(column.missing for column in table.columns if column.measure)
    assert [column.key for column in table.columns if column.weak_below] == [
        "effective_sample_size"
    ]
    assert table.columns[3].weak_below == FEWEST_OBJECTS
    baseline = [column.key for column in measure_table(fasa=False).columns]
    assert baseline[3:] == ["neighbours_holdout", "accuracy_holdout", "why"]


def test_the_route_and_the_figures_answer_from_a_log(tmp_path: Path) -> None:
    measured_run(tmp_path, classes=6)
    asked = client(tmp_path)
    answer = asked.get("/live/runs/1/measures").json()
    assert (answer["snapshot"], answer["step"], answer["epoch"]) == (1, 10, 0)
    assert set(answer["measures"]) == set(MEASURES)
    assert answer["measures"]["accuracy_virtual"] == [None, *[0.75] * 5]
    assert answer["measures"]["effective_sample_size"] == [None, 1, 2, 3, 4, 5]
    words = [answer["reasons"][index][0] for index in answer["of_class"]]
    assert words == ["no prior, none held out", "weak prior", "weak prior", "", "", ""]
    for name in ("neighbours", "accuracy", "frechet", "negative", "sizes"):
        figure = asked.get(f"/live/runs/1/figures/feature_{name}").json()
        assert figure["traces"], name
        assert figure["note"].startswith("After epoch 1: "), name
        table = asked.get(f"/live/runs/1/figures/feature_{name}?format=csv").text
        assert len(table.splitlines()) > 1, name
    pinned = asked.get("/live/runs/1/figures/feature_negative?pins=3,1").json()
    assert len(pinned["traces"]) == 2
    assert asked.get("/live/runs/1/figures/feature_negative?pins=x").status_code == 400


def test_before_the_first_snapshot_and_of_no_run(tmp_path: Path) -> None:
    SyntheticRun(tmp_path, classes=6).start()
    asked = client(tmp_path)
    answer = asked.get("/live/runs/1/measures").json()
    assert (answer["snapshot"], answer["measures"]) == (None, {})
    assert asked.get("/live/runs/1/figures/feature_sizes").json()["traces"] == []
    assert asked.get("/live/runs/1/figures/feature_accuracy").json()["traces"] == []
    assert asked.get("/live/runs/7/measures").status_code == 404


def test_only_the_newest_snapshots_measures_are_read(tmp_path: Path) -> None:
    run = measured_run(tmp_path, classes=6)
    assert run.writer
    run.writer.feature_snapshot(
        feature_values(objects=(), classes=[1], num_classes=6), step=20, epoch=1
    )
    run.writer.feature_snapshot(
        feature_values(objects=(), classes=[1], num_classes=6), step=30, epoch=2
    )
    assert run.writer.flush()
    ones = np.ones(6, np.float32)
    assert store_measures(run.path, 1, 2, {"negative_share": (ones, {"all": 1.0})})
    with RunLogReader(run.path) as reader:
        newest = reader.features.newest_measures(1)
        assert [(row.name, row.snapshot_id, row.epoch) for row in newest.values()] == [
            ("negative_share", 2, 1)
        ]
        assert reader.features.newest_measures(99) == {}


def test_1203_classes_are_answered_small_and_fast(tmp_path: Path) -> None:
    measured_run(tmp_path, classes=1203)
    answer = client(tmp_path).get("/live/runs/1/measures")
    assert len(answer.content) < 120_000
    assert float(answer.headers["server-timing"].split("=")[1]) < 500  # some 15 ms when idle
