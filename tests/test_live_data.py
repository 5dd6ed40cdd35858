"""The live route: byte layout, cursors, errors; with the real writer, reader and Starlette."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser.synthetic_log import SyntheticRun
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.live_data import LiveData
from app.live_frames import Frame, encode, matching_names
from app.source import Source
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import FILE_NAME

CLASSES = 60


def decode(data: bytes) -> tuple[dict[str, Any], list[dict[str, np.ndarray]]]:
    """Read an answer by the layout in `app/live_data.py`, independently of the encoder."""
    assert data[:4] == b"FASA"
    version, length = struct.unpack_from("<II", data, 4)
    assert version == 1
    assert (12 + length) % 8 == 0
    head = json.loads(data[12 : 12 + length])
    at = 12 + length
    frames = []
    for described in head["frames"]:
        rows, columns = described["rows"], described["columns"]
        frame = {}
        for name, dtype, count in (
            ("wall", "<f8", rows), ("step", "<i4", rows), ("epoch", "<i4", rows),
            ("series", "<i4", rows), ("values", "<f4", rows * columns),
        ):  # fmt: skip
            frame[name] = np.frombuffer(data, dtype, count, at)
            at += frame[name].nbytes
        frame["values"] = frame["values"].reshape(rows, columns)
        at += -at % 8
        frames.append(frame)
    assert at == len(data)
    return head, frames


@pytest.fixture
def synthetic(tmp_path: Path) -> SyntheticRun:
    run = SyntheticRun(tmp_path, classes=CLASSES, epochs=3, steps_per_epoch=20)
    run.start()
    run.advance(45)
    assert run.writer
    run.writer.flush()
    return run


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return TestClient(Starlette(routes=LiveData(Source(tmp_path / FILE_NAME)).routes()))


def ask(client: TestClient, *wants: str, run: int = 1, **parameters: Any) -> tuple[Any, Any]:
    answer = client.get(f"/live/runs/{run}", params={"want": list(wants), **parameters})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["cache-control"] == "no-store"
    return decode(answer.content)


def test_scalars_come_once_and_then_only_what_is_new(
    synthetic: SyntheticRun, client: TestClient
) -> None:
    head, [frame] = ask(client, "scalars:0:loss/total,segm/AP")
    assert head["frames"][0]["names"] == ["loss/total", "segm/AP"]
    assert head["reset"] is False
    assert frame["step"][frame["series"] == 0].tolist() == list(range(1, 46))
    assert frame["step"][frame["series"] == 1].tolist() == [20, 40]
    cursor = head["frames"][0]["cursor"]
    expected = RunLogReader(synthetic.path).scalars(1, ["loss/total"])
    assert frame["values"][frame["series"] == 0, 0] == pytest.approx([r.value for r in expected])
    assert frame["wall"][-1] == expected[-1].wall_time

    head, [frame] = ask(client, f"scalars:{cursor}:loss/total,segm/AP")
    assert len(frame["values"]) == 0
    assert head["frames"][0]["cursor"] == cursor

    synthetic.advance(2)
    assert synthetic.writer
    synthetic.writer.flush()
    head, [frame] = ask(client, f"scalars:{cursor}:loss/total,segm/AP")
    assert frame["step"].tolist() == [46, 47]
    assert head["frames"][0]["cursor"] > cursor


def test_a_star_finds_names_that_nobody_listed(client: TestClient, tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path, classes=4)
    writer = run.start()
    writer.scalars({"loss/seesaw": 1.0, "loss/box": 2.0, "lossy": 3.0}, step=1, epoch=0)
    writer.flush()
    head, [frame] = ask(client, "scalars:0:loss/*")
    assert head["frames"][0]["names"] == ["loss/box", "loss/seesaw"]
    assert sorted(frame["values"][:, 0]) == [1.0, 2.0]
    assert matching_names(["b", "a*"], ["ab", "b", "ba", "a"]) == ["a", "ab", "b"]


def test_groups_are_averaged_here_so_1203_classes_cost_three_numbers(
    synthetic: SyntheticRun, client: TestClient
) -> None:
    head, [frame] = ask(client, "groups:0:probability")
    assert head["frames"][0]["names"] == ["r", "c", "f"]
    reader = RunLogReader(synthetic.path)
    letters = np.array([row.frequency for row in reader.categories(1)])
    stored = reader.class_vectors(1, "probability")
    assert len(stored.ids) == len(frame["values"]) > 3
    for column, group in enumerate("rcf"):
        expected = stored.values[:, letters == group].mean(axis=1)
        assert frame["values"][:, column] == pytest.approx(expected, rel=1e-5)
    assert frame["step"].tolist() == stored.steps.tolist()


def test_classes_ship_only_their_columns(synthetic: SyntheticRun, client: TestClient) -> None:
    head, [frame] = ask(client, "classes:0:score:17,3,999")
    stored = RunLogReader(synthetic.path).class_vectors(1, "score").values
    assert frame["values"].shape == (len(stored), 3)
    assert np.array_equal(frame["values"][:, :2], stored[:, [17, 3]])
    assert np.isnan(frame["values"][:, 2]).all()  # a class the run does not have
    cursor = head["frames"][0]["cursor"]
    assert len(ask(client, f"classes:{cursor}:score:17")[1][0]["values"]) == 0


def test_latest_and_change_send_all_classes_once(
    synthetic: SyntheticRun, client: TestClient
) -> None:
    head, [latest, change] = ask(client, "latest:0:weight_norm", "change:0:probability")
    assert latest["values"].shape == change["values"].shape == (1, CLASSES)
    # The second adaptation (end of epoch 1) is the last one that moved p: by 1.1 or 0.9 each.
    assert set(np.round(change["values"][0], 3)) <= {np.float32(1.1), np.float32(0.9)}
    cursor = head["frames"][0]["cursor"]
    assert len(ask(client, f"latest:{cursor}:weight_norm")[1][0]["values"]) == 0
    assert len(ask(client, "latest:0:no_such_field")[1][0]["values"]) == 0


def test_of_what_did_not_change_nothing_is_sent(client: TestClient, tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path, classes=3)
    writer = run.start()

    def snapshot(*values: float, step: int, epoch: int) -> None:
        vector = np.array(values, np.float32)
        writer.class_vectors({"probability": vector}, step=step, epoch=epoch)
        assert writer.flush()

    nan = float("nan")
    snapshot(0.1, 0.2, nan, step=1, epoch=0)
    snapshot(0.2, 0.2, nan, step=2, epoch=0)
    kinds = ("latest", "change", "epochs")
    head, [latest, change, epochs] = ask(client, *(f"{kind}:0:probability" for kind in kinds))
    np.testing.assert_allclose(latest["values"], [[0.2, 0.2, nan]])
    np.testing.assert_allclose(change["values"], [[2, 1, nan]])
    assert (epochs["epoch"].tolist(), epochs["step"].tolist()) == ([0], [2])

    def refresh() -> tuple[Any, Any]:
        cursors = [frame["cursor"] for frame in head["frames"]]
        return ask(client, *(f"{kind}:{cursor}:probability"
                             for kind, cursor in zip(kinds, cursors, strict=True)))  # fmt: skip

    snapshot(0.2, 0.2, nan, step=3, epoch=0)  # the same again, a missing value too
    cursor = head["frames"][0]["cursor"]
    head, frames = refresh()
    assert [len(frame["values"]) for frame in frames] == [0, 0, 0]
    assert all(frame["cursor"] > cursor for frame in head["frames"])
    snapshot(0.2, 0.2, nan, step=4, epoch=1)  # a new epoch is a column, the same or not
    head, frames = refresh()
    assert [len(frame["values"]) for frame in frames] == [0, 0, 1]
    assert frames[2]["epoch"].tolist() == [1]
    snapshot(0.2, 0.4, nan, step=5, epoch=1)
    snapshot(0.2, 0.2, nan, step=6, epoch=1)  # there and back between two questions
    head, frames = refresh()
    assert [len(frame["values"]) for frame in frames] == [0, 0, 0]
    snapshot(0.2, 0.4, nan, step=7, epoch=1)
    snapshot(0.3, 0.4, nan, step=8, epoch=2)
    head, [latest, change, epochs] = refresh()
    np.testing.assert_allclose(latest["values"], [[0.3, 0.4, nan]])
    np.testing.assert_allclose(change["values"], [[1.5, 1, nan]])  # against step 7
    assert (epochs["epoch"].tolist(), epochs["step"].tolist()) == ([1, 2], [7, 8])
    writer.close()


def test_bands_are_quantiles_of_each_group(synthetic: SyntheticRun, client: TestClient) -> None:
    head, [frame] = ask(client, "bands:0:score")
    names = head["frames"][0]["names"]
    reader = RunLogReader(synthetic.path)
    letters = np.array([row.frequency for row in reader.categories(1)])
    stored = reader.class_vectors(1, "score").values
    assert frame["values"].shape == (len(stored), 15)
    for column, name in enumerate(names):
        letter, quantile, _ = name.split(" ")
        expected = np.quantile(stored[:, letters == letter], float(quantile) / 100, axis=1)
        assert frame["values"][:, column] == pytest.approx(expected, rel=1e-5)


def test_classes_nobody_trains_are_in_no_group(client: TestClient, tmp_path: Path) -> None:
    """Eq. 4 gives a class without instances no probability: p = 0 would drag its group down."""
    writer = SyntheticRun(tmp_path, classes=3).start()
    row = {"frequency": "r", "image_count": 0}
    writer.register_categories(
        [
            row | {"index": place, "id": place + 1, "name": f"class {place}", "instance_count": own}
            for place, own in enumerate((0, 2, 4))
        ]
    )
    scale = np.array([0, 1.1, 0.9], np.float32)
    writer.class_vectors({"scale": scale}, step=1, epoch=0)
    assert writer.flush()
    _, [bands, groups] = ask(client, "bands:0:scale", "groups:0:scale")
    assert bands["values"][0, 2] == pytest.approx(1.0)  # the median of 0.9 and 1.1
    assert groups["values"][0, 0] == pytest.approx(1.0)


def test_a_very_long_curve_comes_thinned_and_goes_on_from_there(
    synthetic: SyntheticRun, client: TestClient
) -> None:
    assert synthetic.writer
    for step in range(6000):
        value = 1.0 if step == 3333 else -1.0 if step == 4444 else 0.0
        synthetic.writer.scalars({"long": value, "short": 0.0} if step < 9 else {"long": value},
                                 step=step, epoch=0)  # fmt: skip
    assert synthetic.writer.flush(30.0)
    head, [frame] = ask(client, "scalars:0:long,short")
    long = frame["step"][frame["series"] == 0]
    assert 2000 <= len(long) <= 4002
    assert {0, 3333, 4444, 5999} <= set(long.tolist())  # both ends, high and low
    assert (frame["series"] == 1).sum() == 9
    cursor = head["frames"][0]["cursor"]
    synthetic.writer.scalars({"long": 5.0}, step=6000, epoch=0)
    synthetic.writer.flush()
    _, [frame] = ask(client, f"scalars:{cursor}:long,short")
    assert frame["step"].tolist() == [6000]


def test_the_head_tells_how_the_run_goes(synthetic: SyntheticRun, client: TestClient) -> None:
    head, _ = ask(client)
    run = head["run"]
    assert (run["status"], run["liveness"], run["phase"]) == ("running", "alive", "training")
    assert (run["step"], run["total_steps"], run["epoch"], run["total_epochs"]) == (45, 60, 3, 3)
    assert run["classes"] == CLASSES
    newest = RunLogReader(synthetic.path).scalars(1, ["segm/AP"])[-1]
    assert run["AP"] == pytest.approx(newest.value)
    assert run["knobs"]["alpha"] == pytest.approx(1.1)
    assert run["seconds_left"] >= 0


def test_a_rewind_makes_the_caller_start_again(synthetic: SyntheticRun, client: TestClient) -> None:
    head, _ = ask(client, "scalars:0:loss/total")
    cursor, rewinds = head["frames"][0]["cursor"], head["run"]["rewinds"]
    assert synthetic.writer
    synthetic.go_back(30)
    synthetic.writer.scalars({"loss/total": 9.0, "segm/AP": 1.5}, step=31, epoch=1)
    synthetic.writer.flush()
    head, [frame] = ask(client, f"scalars:{cursor}:loss/total", rewinds=rewinds)
    assert head["reset"] is True
    assert frame["step"].tolist() == list(range(1, 32))  # all of it, each step once
    assert head["run"]["rewinds"] == rewinds + 1
    assert head["run"]["AP"] == 1.5  # nothing remembered of the rows that are gone
    again = head["frames"][0]["cursor"]
    head, [frame] = ask(client, f"scalars:{again}:loss/total", rewinds=rewinds + 1)
    assert head["reset"] is False
    assert len(frame["values"]) == 0


def test_a_refresh_without_news_is_small(client: TestClient, tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path, classes=1203, epochs=2, steps_per_epoch=20)
    run.start()
    run.advance(25)
    assert run.writer
    run.writer.flush()
    subjects = ["scalars:{}:loss/*,validation/loss", "groups:{}:probability",
                "classes:{}:probability:1,2,3", "latest:{}:weight_norm"]  # fmt: skip
    head, _ = ask(client, *(subject.format(0) for subject in subjects))
    cursors = [frame["cursor"] for frame in head["frames"]]
    wants = [subject.format(cursor) for subject, cursor in zip(subjects, cursors, strict=True)]

    def size() -> int:
        return len(client.get("/live/runs/1", params={"want": wants}).content)

    assert size() < 1200  # uncompressed; a browser gets about 760 bytes
    before = size()
    run.advance(10)  # ten steps and one snapshot of all classes
    run.writer.flush()
    assert size() - before < 10 * 7 * 28 + 2 * 28 + 6 * 4 + 1203 * 4 + 28 + 400


@pytest.mark.parametrize(
    "want",
    [
        "", "scalars", "scalars:0", "scalars:x:loss", "scalars:-1:loss", "scalars:0:", "rows:0:a",
        "scalars:1e3:loss", "scalars:99999999999999999999:loss", "classes:0:score",
        "classes:0:score:", "classes:0:score:a", "classes:0::1",
        "classes:0:score:" + ",".join(map(str, range(65))), "latest:²:score",
    ],
)  # fmt: skip
def test_bad_wants_are_refused_in_a_sentence(
    want: str, synthetic: SyntheticRun, client: TestClient
) -> None:
    answer = client.get("/live/runs/1", params={"want": want})
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/plain")
    assert len(answer.text) > 20
    assert "Traceback" not in answer.text


def test_bad_rewinds_and_too_many_wants_are_refused(
    synthetic: SyntheticRun, client: TestClient
) -> None:
    assert client.get("/live/runs/1", params={"rewinds": "x"}).status_code == 400
    many = client.get("/live/runs/1", params={"want": ["scalars:0:a"] * 33})
    assert many.status_code == 400
    assert "33" in many.text


@pytest.mark.parametrize("run", ["99", "0", "x", "-1", "9" * 30, "²"])
@pytest.mark.parametrize("tail", ["", "/categories"])
def test_an_unknown_run_is_404_in_a_sentence(
    run: str, tail: str, synthetic: SyntheticRun, client: TestClient
) -> None:
    answer = client.get(f"/live/runs/{run}{tail}")
    assert answer.status_code == 404
    assert answer.text.startswith("There is no run ")


def test_no_run_log_yet_is_an_empty_list_and_then_shows_up(
    client: TestClient, tmp_path: Path
) -> None:
    assert client.get("/live/runs").json()["runs"] == []
    answer = client.get("/live/runs/1")
    assert answer.status_code == 503
    assert "no run log" in answer.text
    first = SyntheticRun(tmp_path, name="first", classes=4)
    SyntheticRun(tmp_path, name="second", classes=4)
    assert [run["name"] for run in client.get("/live/runs").json()["runs"]] == ["second", "first"]
    for path in tmp_path.iterdir():
        path.unlink()
    SyntheticRun(tmp_path, name="another file", classes=4)
    assert [run["name"] for run in client.get("/live/runs").json()["runs"]] == ["another file"]
    assert first.id == 1


@pytest.mark.parametrize("content", [b"not a data base at all" * 100, b"\0" * 4096])
def test_a_corrupt_file_is_said_in_a_sentence(
    content: bytes, client: TestClient, tmp_path: Path
) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    for address in ("/live/runs", "/live/runs/1", "/live/runs/1/categories"):
        answer = client.get(address)
        assert answer.status_code == 503
        assert str(tmp_path) in answer.text


def test_a_queued_run_has_a_head_and_no_rows(client: TestClient, tmp_path: Path) -> None:
    SyntheticRun(tmp_path, classes=4)
    head, frames = ask(client, "scalars:0:loss/*", "groups:0:probability", "change:0:probability")
    assert head["run"]["liveness"] == "waiting"
    assert head["run"]["classes"] == 0
    assert [len(frame["values"]) for frame in frames] == [0, 0, 0]
    assert client.get("/live/runs/1/categories").json()["names"] == []


def test_categories_come_as_data(synthetic: SyntheticRun, client: TestClient) -> None:
    columns = client.get("/live/runs/1/categories").json()
    assert columns["names"] == synthetic.names()
    assert columns["instances"] == synthetic.instances.tolist()
    assert set(columns["frequency"]) <= {"r", "c", "f"}


@given(st.integers(0, 5), st.integers(1, 4), st.text(max_size=9))
def test_encoding_survives_any_shape_and_name(rows: int, columns: int, name: str) -> None:
    values = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    index = np.arange(rows, dtype=np.int32)
    frame = Frame(7, index / 3, index, index + 1, index % 2, values, (name,))
    head, [first, second] = decode(encode({"now": 1.5, "name": name}, [frame, frame]))
    assert head["name"] == name
    assert head["frames"][1]["names"] == [name]
    for got in (first, second):
        np.testing.assert_array_equal(got["values"], values)
        np.testing.assert_array_equal(got["wall"], index / 3)
        np.testing.assert_array_equal(got["series"], index % 2)
