"""AP by class: its table's numbers and the figure of AP against instances, by hand."""

from pathlib import Path

import numpy as np
import pytest

from app.detection_ap import ap_against_instances, class_precision, rank_correlation, running_median
from app.figure_routes import Asked
from app.live_answers import WantError
from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.writer import RunLogWriter

NAN = float("nan")
INSTANCES = [1, 10, 100, 1000]


@pytest.fixture
def log(tmp_path: Path) -> RunLogReader:
    """Run 1 with two evaluations of four classes, run 2 with none."""
    path = tmp_path / "fasa.sqlite"
    for evaluations in (2, 0):
        run_id = queue_run(path, name="demo", config={}, dataset="demo")
        with RunLogWriter(path, run_id) as writer:
            writer.register_categories([
                {"index": i, "id": i + 1, "name": f"<b>{count}</b>", "frequency": "rccf"[i],
                 "image_count": count, "instance_count": count}
                for i, count in enumerate(INSTANCES)
            ])  # fmt: skip
            for epoch in range(evaluations):
                ap = np.array([NAN, 10, 20, 40]) + epoch * np.array([5, 0, -2.5, 1])
                vectors = {"ap_segm": ap.astype(np.float32), "ap_bbox": ap.astype(np.float32) + 1}
                writer.class_vectors(vectors, step=10 * epoch + 10, epoch=epoch)
    return RunLogReader(path)


def asked(log: RunLogReader, run: int = 1, **params: str) -> Asked:
    return Asked(log, log.run(run), log.categories(run), params, dark=False)


def test_the_table_has_the_newest_ap_and_its_change(log: RunLogReader) -> None:
    answer = class_precision(log, 1, before=None)
    assert answer["moments"] == [(10, 0), (20, 1)]
    assert (answer["step"], answer["epoch"], answer["before"]) == (20, 1, 10)
    assert answer["segm"][1:] == [10, 17.5, 41]
    assert answer["bbox"][1:] == [11, 18.5, 42]
    assert answer["change"][1:] == [0, -2.5, 1]
    assert np.isnan(answer["segm"][0])
    assert np.isnan(answer["change"][0])


def test_the_table_of_a_run_without_evaluation_is_empty(log: RunLogReader) -> None:
    answer = class_precision(log, 2, before=10)
    assert (answer["moments"], answer["step"], answer["segm"]) == ([], None, [])


def test_the_figure_has_a_group_for_each_frequency_and_counts_them(log: RunLogReader) -> None:
    figure = ap_against_instances(asked(log))
    assert [trace["name"] for trace in figure.traces] == ["common (c)", "frequent (f)",
                                                          "running median"]  # fmt: skip
    assert figure.traces[0]["x"] == [10, 100]
    assert figure.traces[0]["y"] == [10, 17.5]
    assert figure.traces[0]["customdata"] == [1, 2]
    assert figure.traces[0]["text"][0] == "&lt;b&gt;10&lt;/b&gt;"
    assert figure.note == ("After epoch 2: Spearman rank correlation +1.00; mean AP common 13.8, "
                           "frequent 41.0.")  # fmt: skip
    assert figure.table["class"][3] == "<b>1000</b>"
    assert figure.table["mask AP"][1:] == [10, 17.5, 41]
    assert figure.layout["xaxis"]["type"] == "log"
    assert figure.layout["xaxis"]["tickvals"][:4] == [10, 20, 50, 100]


def test_the_figure_of_another_evaluation_and_measure(log: RunLogReader) -> None:
    figure = ap_against_instances(asked(log, step="10", measure="bbox"))
    assert figure.traces[0]["y"] == [11, 21]
    assert figure.note.startswith("After epoch 1:")
    assert ap_against_instances(asked(log, step="11")).traces == ()
    assert ap_against_instances(asked(log, run=2)).traces == ()
    with pytest.raises(WantError, match="one of segm, bbox"):
        ap_against_instances(asked(log, measure="area"))


def test_running_median_by_hand() -> None:
    instances = np.array([10.0, 10.0, 10.0, 1000.0, 1000.0])
    x, y = running_median(instances, np.array([1.0, 5.0, 9.0, 50.0, 60.0]))
    assert y == [5.0] * len(x)  # two classes around 1,000 are too few
    assert x[0] == pytest.approx(10)
    assert x[-1] <= 10 * 10**0.25 + 1e-6


def test_rank_correlation_by_hand_with_ties() -> None:
    # Ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4: 4.5 / sqrt(4.5 * 5)
    found = rank_correlation(np.array([1.0, 5, 5, 9]), np.array([0.0, 2, 1, 3]))
    assert found == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    assert np.isnan(rank_correlation(np.ones(4), np.arange(4.0)))
    assert np.isnan(rank_correlation(np.ones(1), np.ones(1)))
