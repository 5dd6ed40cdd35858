"""Test images and predictions in the run log: what goes in comes out, and cursors are short."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import PredictionImage
from trainer.run_log.writer import RunLogWriter

MASK = {"size": [4, 5], "counts": "0220008"}
OBJECT = {"class": 2, "box": [0.0, 0.25, 3.0, 2.0], "mask": MASK}


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[RunLogWriter]:
    path = tmp_path / "fasa.sqlite"
    for name in ("first", "second"):
        queue_run(path, name=name, config={}, dataset="demo")
    with RunLogWriter(path, 1) as writer:
        yield writer


@pytest.fixture
def reader(writer: RunLogWriter, tmp_path: Path) -> Iterator[RunLogReader]:
    with RunLogReader(tmp_path / "fasa.sqlite") as reader:
        yield reader


def image(index: int, **changes: Any) -> dict[str, Any]:
    row = {"index": index, "image_id": 2**40 + index, "width": 5, "height": 4, "judged": None,
           "truth": [OBJECT | {"crowd": 0}], "picture": bytes([index, 255])}  # fmt: skip
    return row | changes


def found(step: int, indices: tuple[int, ...], score: float) -> dict[str, Any]:
    rows = [{"image_index": i, "detections": [OBJECT | {"score": score}]} for i in indices]
    return {"rows": rows, "step": step, "epoch": step // 10}


def test_images_come_back_and_their_pictures_apart(
    writer: RunLogWriter, reader: RunLogReader
) -> None:
    assert reader.prediction_images(1) == []
    assert reader.prediction_picture(1, 0) is None
    writer.prediction_images([image(1, judged=[]), image(0, judged=[2, 0])])
    assert writer.flush()
    truth = [OBJECT | {"crowd": 0}]
    first = PredictionImage(0, 2**40, 5, 4, truth, [2, 0])
    assert reader.prediction_images(1) == [first, PredictionImage(1, 2**40 + 1, 5, 4, truth, [])]
    assert [reader.prediction_picture(1, index) for index in (0, 1, 2)] == [
        b"\x00\xff", b"\x01\xff", None,
    ]  # fmt: skip
    assert reader.prediction_images(2) == []


def test_an_image_named_again_is_replaced_and_the_others_stay(
    writer: RunLogWriter, reader: RunLogReader
) -> None:
    writer.prediction_images([image(0), image(1)])
    writer.prediction_images([image(1, width=9, judged=[1]), image(2)])
    assert writer.flush()
    rows = reader.prediction_images(1)
    assert [(row.index, row.width, row.judged) for row in rows] == [
        (0, 5, None), (1, 9, [1]), (2, 5, None),
    ]  # fmt: skip


def test_predictions_are_read_by_their_moment(writer: RunLogWriter, reader: RunLogReader) -> None:
    assert reader.prediction_moments(1) == []
    assert reader.predictions(1, step=9) == []
    seen = [reader.versions(1)["prediction"]]
    for arguments in (found(9, (0, 1), 0.5), found(18, (1, 0), 0.75)):
        writer.predictions(arguments.pop("rows"), **arguments)
        assert writer.flush()
        seen.append(reader.versions(1)["prediction"])
    assert reader.prediction_moments(1) == [(9, 0), (18, 1)]
    rows = reader.predictions(1, step=18)
    assert [(row.step, row.epoch, row.image_index) for row in rows] == [(18, 1, 0), (18, 1, 1)]
    assert [row.detections for row in rows] == [[OBJECT | {"score": 0.75}]] * 2
    assert reader.predictions(1, step=10) == []
    assert seen[0] == 0 < seen[1] < seen[2]
    assert reader.versions(2)["prediction"] == 0
    assert reader.prediction_moments(2) == []


def test_an_image_without_detections_has_a_row_all_the_same(
    writer: RunLogWriter, reader: RunLogReader
) -> None:
    writer.predictions([{"image_index": 0, "detections": []}], step=3, epoch=0)
    assert writer.flush()
    assert [row.detections for row in reader.predictions(1, step=3)] == [[]]


def test_what_is_no_json_is_refused(writer: RunLogWriter) -> None:
    with pytest.raises(ValueError, match="finite"):
        writer.prediction_images([image(0, truth=[{"box": [float("nan")]}])])
    with pytest.raises(ValueError, match="json only"):
        writer.predictions([{"image_index": 0, "detections": [b"x"]}], step=1, epoch=0)


def test_the_newest_predictions_are_found_without_reading_them_all(
    writer: RunLogWriter, reader: RunLogReader
) -> None:
    """The live page asks for the version every second: an index answers, no scan of the rows."""
    plan = [
        row[3]
        for row in reader._rows(
            "EXPLAIN QUERY PLAN SELECT id FROM predictions WHERE run_id = 1"
            " ORDER BY step DESC, epoch DESC, image_index DESC LIMIT 1"
        )
    ]
    assert plan == ["SEARCH predictions USING COVERING INDEX predictions_by_step (run_id=?)"]
