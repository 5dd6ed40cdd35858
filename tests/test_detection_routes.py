"""The routes of the page Detections, on a gallery so small that it is counted by hand."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser.synthetic_log import SyntheticRun
from detection_builders import HEIGHT, WIDTH, image, small_gallery, thing
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.live_data import LiveData
from app.source import Source
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import FILE_NAME


@pytest.fixture
def run(tmp_path: Path) -> SyntheticRun:
    run = SyntheticRun(tmp_path, classes=3)
    small_gallery(run.start())
    assert run.writer
    assert run.writer.flush()
    return run


@pytest.fixture
def client(run: SyntheticRun) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=LiveData(Source(run.path)).routes())) as client:
        yield client


def moment(client: TestClient, **query: Any) -> dict[str, Any]:
    answer = client.get("/live/runs/1/detections", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def objects(client: TestClient, **query: Any) -> dict[str, Any]:
    answer = client.get("/live/runs/1/detections/objects", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_newest_moment_is_counted(client: TestClient) -> None:
    answer = moment(client)
    assert answer["moments"] == [[10, 0], [20, 1]]
    assert (answer["step"], answer["epoch"], answer["sentence"]) == (20, 1, "")
    assert answer["objects"] == {"found": 2, "confused": 1, "missed": 1}
    assert answer["detections"] == {"right": 2, "confused": 1, "false alarm": 1}
    assert answer["confusions"] == [[1, 2, 1]]
    first = answer["images"][0]
    assert (first["id"], first["width"], first["height"]) == (1000, WIDTH, HEIGHT)
    assert first["objects"] == [[0, "found", -1], [1, "confused", 2]]
    assert first["detections"] == [[0, "right"], [2, "confused"]]


def test_a_score_leaves_detections_out(client: TestClient) -> None:
    answer = moment(client, score=0.7)
    assert answer["objects"] == {"found": 2, "missed": 2}
    assert answer["confusions"] == []
    assert [len(found["detections"]) for found in answer["images"]] == [1, 0, 1]


def test_an_earlier_moment_and_one_that_is_not_there(client: TestClient) -> None:
    assert moment(client, step=10)["objects"] == {"found": 1, "missed": 3}
    gone = moment(client, step=15)
    assert (gone["step"], gone["images"]) == (None, [])
    assert "step 15" in gone["sentence"]


def test_objects_have_boxes_masks_and_iou(client: TestClient) -> None:
    found = objects(client, step=20, images="0,2")
    assert sorted(found) == ["0", "2"]
    right, confused = found["0"]["detections"]
    assert (right["word"], right["partner"], right["score"]) == ("right", 0, 0.9)
    assert 0.8 < right["iou"] < 0.95  # moved by 4 of 80 pixels
    assert right["mask"]["size"] == [HEIGHT, WIDTH]
    assert (confused["word"], confused["partner"]) == ("confused", 1)
    assert found["0"]["true"][1]["word"] == "confused"
    assert found["0"]["problem"] == ""


def test_a_broken_mask_is_said_and_its_box_compared(client: TestClient) -> None:
    broken = objects(client, step=20, images="2")["2"]
    assert broken["detections"][0]["mask"] is None
    assert broken["detections"][0]["word"] == "right"  # boxes moved by 2 of 80 pixels: IoU 0.95
    assert broken["detections"][0]["iou"] == pytest.approx(78 / 82, abs=1e-3)
    assert broken["problem"] == "1 mask could not be read, so boxes are compared there."


def test_a_picture_is_a_jpeg_that_browsers_keep(client: TestClient, run: SyntheticRun) -> None:
    uid = RunLogReader(run.path).run(1).uid
    answer = client.get(f"/live/runs/1/pictures/{uid}/1")
    assert answer.content.startswith(b"\xff\xd8\xff")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in answer.headers["cache-control"]
    assert "private" in answer.headers["cache-control"]
    for address in (f"{uid}/9", "another/1", f"{uid}/x"):
        refused = client.get(f"/live/runs/1/pictures/{address}")
        assert refused.status_code in (400, 404)
        assert refused.headers["content-type"].startswith("text/plain")


def test_a_picture_that_is_none_is_not_served(client: TestClient, run: SyntheticRun) -> None:
    uid = RunLogReader(run.path).run(1).uid
    with sqlite3.connect(run.path) as log:
        log.execute("UPDATE prediction_images SET picture = ? WHERE image_index = 0",
                    (b"<svg onload='alert(1)'>",))  # fmt: skip
    assert client.get(f"/live/runs/1/pictures/{uid}/0").status_code == 404


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("detections?score=2", "from 0 to 1"),
        ("detections?score=nan", "from 0 to 1"),
        ("detections/objects?step=x&images=0", "whole number"),
        ("detections/objects?step=20&images=a", "whole number"),
        ("detections/objects?step=20&images=" + ",".join(map(str, range(65))), "at most 64"),
        ("ap?before=-1", "whole number"),
    ],
)
def test_a_parameter_that_cannot_be_read_is_said(client: TestClient, path: str, said: str) -> None:
    answer = client.get(f"/live/runs/1/{path}")
    assert answer.status_code == 400
    assert said in answer.text
    assert client.get(f"/live/runs/9/{path}").status_code == 404


def test_images_of_other_data_are_no_pair_although_their_ids_are_equal(
    client: TestClient, run: SyntheticRun
) -> None:
    ours = [one["key"] for one in moment(client)["images"]]
    for name, left in (("same data", 10), ("other data", 12)):
        other = SyntheticRun(run.path.parent, name=name, classes=3)
        writer = other.start()
        box = (left, 10, 90, 80)
        writer.prediction_images([image(0, [thing(0, box), thing(1, (120, 20, 220, 90))])])
        writer.predictions([{"image_index": 0, "detections": []}], step=10, epoch=0)
        assert writer.flush()
        answer = client.get(f"/live/runs/{other.id}/detections").json()
        assert answer["images"][0]["id"] == 1000
        assert (answer["images"][0]["key"] in ours) == (name == "same data")


def test_foreign_rows_do_not_break_a_moment(client: TestClient, run: SyntheticRun) -> None:
    foreign = json.dumps([{"class": "x"}, 7, thing(0, (0, 0, 9, 9))])
    with sqlite3.connect(run.path) as log:
        log.execute("UPDATE predictions SET detections = ? WHERE image_index = 1", (foreign,))
        log.execute("DELETE FROM predictions WHERE image_index = 2")
        log.execute("UPDATE prediction_images SET truth = '{}', judged = '7' WHERE image_index = 0")
    assert moment(client)["objects"] == {"missed": 2}
    found = objects(client, step=20, images="0,1,2")
    assert "1 object could not be read" in found["0"]["problem"]
    assert "2 objects could not be read" in found["1"]["problem"]
    assert "left no detections" in found["2"]["problem"]


def test_a_new_evaluation_and_a_rewind_are_seen(client: TestClient, run: SyntheticRun) -> None:
    assert run.writer
    assert moment(client)["step"] == 20
    rows = [{"image_index": i, "detections": []} for i in range(3)]
    run.writer.predictions(rows, step=30, epoch=2)
    assert run.writer.flush()
    assert moment(client)["objects"] == {"missed": 4}
    run.go_back(20)
    run.writer.predictions([rows[0]], step=30, epoch=2)
    assert run.writer.flush()
    found = objects(client, step=30, images="0,1")  # remembered under the run's rewinds
    assert found["0"]["problem"] == ""
    assert "left no detections" in found["1"]["problem"]


def test_federated_images_judge_only_what_is_labelled(tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path, classes=3)
    writer = run.start()
    writer.prediction_images([image(0, [thing(0, (10, 10, 60, 60))], judged=[0, 1])])
    alarms = [thing(label, (100, 80, 160, 140), score=0.5) for label in (0, 1, 2)]
    writer.predictions([{"image_index": 0, "detections": alarms}], step=10, epoch=0)
    assert writer.flush()
    with TestClient(Starlette(routes=LiveData(Source(run.path)).routes())) as client:
        assert moment(client)["detections"] == {"false alarm": 2, "not judged": 1}


@pytest.mark.parametrize(
    ("config", "status", "said"),
    [
        ({"gallery_images": 0}, "running", "gallery_images = 0"),
        ({"gallery_images": 32, "evaluate_every": 2}, "running", "after epoch 2"),
        ({"data": "coco", "test_annotations": None}, "running", "no test set"),
        ({"gallery_images": 32}, "crashed", "left no detections"),
        ({}, "finished", "left no detections"),
    ],
)
def test_a_run_without_detections_says_why(
    tmp_path: Path, config: dict[str, Any], status: str, said: str
) -> None:
    SyntheticRun(tmp_path)
    with sqlite3.connect(tmp_path / FILE_NAME) as log:
        log.execute("UPDATE runs SET config = ?, status = ?", (json.dumps(config), status))
    with TestClient(Starlette(routes=LiveData(Source(tmp_path / FILE_NAME)).routes())) as client:
        answer = moment(client)
    assert (answer["step"], answer["images"], answer["moments"]) == (None, [], [])
    assert said in answer["sentence"]
