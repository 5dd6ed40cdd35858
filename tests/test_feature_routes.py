"""The routes of the page Feature space, on features so few that they are known by heart."""

import io
import json
import sqlite3
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser.synthetic_log import SyntheticRun
from feature_builders import coordinates, probe_rows, project, small_features
from numpy.typing import NDArray
from snapshot_builders import feature_values
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.live_data import LiveData
from app.source import Source
from trainer.run_log.projections import begin_projection, fail_projection
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import FeatureValues

START = "/live/runs/1/features"


@pytest.fixture
def run(tmp_path: Path) -> SyntheticRun:
    run = SyntheticRun(tmp_path, classes=3)
    run.start()
    return run


@pytest.fixture
def moments(run: SyntheticRun) -> list[FeatureValues]:
    assert run.writer
    return small_features(run.writer, run.path)


@pytest.fixture
def client(run: SyntheticRun) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=LiveData(Source(run.path)).routes())) as client:
        yield client


def overview(client: TestClient) -> dict[str, Any]:
    answer = client.get(START)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def points(client: TestClient, snapshot: int, method: str = "pca") -> Any:
    return client.get(f"{START}/{snapshot}/points", params={"method": method})


def unpacked(body: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """As the page reads it."""
    (size,) = struct.unpack_from("<I", body)
    assert size % 4 == 0
    head = json.loads(body[4 : 4 + size])
    at = 4 + size
    arrays = {}
    for name, kind, shape in head["arrays"]:
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(body, f"<{kind}", count, at).reshape(shape)
        at += 4 * count
    assert at == len(body)
    return head, arrays


def change(run: SyntheticRun, sql: str, *values: Any) -> None:
    """Whatever another program may have done to the file."""
    with sqlite3.connect(run.path) as log:
        log.execute("PRAGMA ignore_check_constraints = ON")
        log.execute(sql, values)


def test_a_run_without_features_is_described_too(client: TestClient, run: SyntheticRun) -> None:
    answer = overview(client)
    assert [one["name"] for one in answer["classes"]] == run.names()
    assert answer["objects"] == {"class": [], "holdout": [], "image": [], "box": []}
    assert (answer["snapshots"], answer["weak"]) == ([], [])
    assert answer["first_seen"] == [None] * 3
    assert answer["cost"]["bytes"] == 0
    assert answer["cost"]["seconds"] is None


@pytest.mark.usefixtures("moments")
def test_what_there_is_of_features(client: TestClient, run: SyntheticRun) -> None:
    assert run.writer
    for step, share in ((10, 0.5), (20, 0.01)):
        values = {"features/seconds": step / 10, "features/share": share}
        run.writer.scalars(values, step=step, epoch=0)
    assert run.writer.flush()
    fail_projection(run.path, 1, 2, "umap", "the projector ended")
    begin_projection(run.path, 1, 2, "umap_real")
    answer = overview(client)
    assert answer["uid"] == RunLogReader(run.path).run(1).uid
    assert answer["objects"] == {
        "class": [0, 1, 1], "holdout": [0, 0, 1], "image": [100, 101, 102],
        "box": [[1.0, 2.0, 21.0, 32.0]] * 3,
    }  # fmt: skip
    first, second = answer["snapshots"]
    assert {k: second[k] for k in ("id", "step", "epoch", "objects", "classes", "virtual")} == {
        "id": 2, "step": 20, "epoch": 1, "objects": 3, "classes": 2, "virtual": 4,
    }  # fmt: skip
    pca = {"state": "ready", "seconds": 1.5, "error": None, "parameters": {"seed": 7}}
    assert first["methods"] == {"pca": pca}
    assert second["methods"]["umap"]["state"] == "failed"
    assert second["methods"]["umap"]["error"] == "the projector ended"
    assert second["methods"]["umap_real"]["state"] == "running"
    # Of 6 numbers: 3 objects; 1 and then 2 classes with mu, sigma and 2 virtual features each.
    # Then 12 bytes an object (index, prediction, loss), 8 a class and 8 a virtual feature.
    sizes = [12 * (3 + 4) + 36 + 8 + 16, 12 * (3 + 8) + 36 + 16 + 32]
    assert [first["bytes"], second["bytes"]] == sizes
    assert answer["cost"]["bytes"] == sum(sizes)
    assert (answer["cost"]["seconds"], answer["cost"]["share"]) == (2.0, 0.01)
    assert answer["weak"] == [0]


@pytest.mark.usefixtures("moments")
def test_bounds_of_the_cost_are_the_configuration_s(client: TestClient, run: SyntheticRun) -> None:
    config = {"feature_megabytes": 2, "feature_share": 0.02}
    change(run, "UPDATE runs SET config = ?", json.dumps(config))
    cost = overview(client)["cost"]
    assert (cost["most_bytes"], cost["most_share"]) == (2_000_000, 0.02)
    change(run, "UPDATE runs SET config = ?", json.dumps({"feature_megabytes": "many"}))
    assert overview(client)["cost"]["most_bytes"] is None


def test_first_sight_is_the_epoch_of_the_first_roi(client: TestClient, run: SyntheticRun) -> None:
    assert run.writer

    def observe(counts: list[int], epoch: int) -> None:
        assert run.writer
        vector = {"observed_rois": np.array(counts, np.int32)}
        run.writer.class_vectors(vector, step=10 * epoch + 10, epoch=epoch)
        assert run.writer.flush()

    observe([0, 4, 0], 0)
    assert overview(client)["first_seen"] == [None, 0, None]
    observe([0, 9, 0], 1)
    observe([1, 9, 0], 2)
    assert overview(client)["first_seen"] == [2, 0, None]
    run.go_back(20)  # epochs 0 and 1 stay
    assert run.writer.flush()
    assert overview(client)["first_seen"] == [None, 0, None]
    observe([0, 9, 5], 2)
    assert overview(client)["first_seen"] == [None, 0, 2]


def test_points_carry_what_was_stored(
    client: TestClient, run: SyntheticRun, moments: list[FeatureValues]
) -> None:
    assert run.writer
    for step, groups in ((10, [0, 0, -1]), (30, [1, 1, 1])):
        vector = {"super_group": np.array(groups, np.int32)}
        run.writer.class_vectors(vector, step=step, epoch=0)
    assert run.writer.flush()
    answer = points(client, 2)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/octet-stream"
    head, arrays = unpacked(answer.content)
    assert (head["snapshot"], head["step"], head["epoch"]) == (2, 20, 1)
    assert (head["method"], head["parameters"]) == ("pca", {"seed": 7})
    values, places = moments[1], coordinates(moments[1], seed=2)
    wanted = {
        "real": places["real"], "virtual": places["virtual"], "objects": [0, 1, 2],
        "virtual_class": [0, 0, 1, 1], "real_predicted": values.real_predicted,
        "virtual_predicted": values.virtual_predicted, "real_loss": values.real_loss,
        "virtual_loss": values.virtual_loss, "ellipse_class": [0, 1],
        "ellipses": places["ellipses"], "super_group": [0, 0, -1],
        "prior_size": values.prior_size,
    }  # fmt: skip
    assert list(arrays) == list(wanted)
    for name, value in wanted.items():
        np.testing.assert_array_equal(arrays[name], value, err_msg=name)


@pytest.mark.usefixtures("moments")
def test_points_of_a_run_without_super_groups(client: TestClient, run: SyntheticRun) -> None:
    change(run, "DELETE FROM class_vectors WHERE field = 'super_group'")
    _, arrays = unpacked(points(client, 1).content)
    assert arrays["super_group"].tolist() == [-1, -1, -1]


def test_a_baseline_has_real_points_alone(client: TestClient, run: SyntheticRun) -> None:
    assert run.writer
    values = feature_values(classes=[])
    run.writer.feature_snapshot(values, step=10, epoch=0)
    assert run.writer.flush()
    project(run.path, 1, 1, "pca", values)
    unnamed = points(client, 1)  # of objects that the log does not name
    assert (unnamed.status_code, "(objects)" in unnamed.text) == (503, True)
    run.writer.feature_probes(probe_rows((0, 1), ("train", "holdout")))
    assert run.writer.flush()
    _, arrays = unpacked(points(client, 1).content)
    shapes = {name: arrays[name].shape for name in ("real", "virtual", "ellipses")}
    assert shapes == {"real": (2, 2), "virtual": (0, 2), "ellipses": (0, 5)}
    assert overview(client)["weak"] == []


@pytest.mark.usefixtures("moments")
def test_points_are_sent_again_only_when_they_changed(
    client: TestClient, run: SyntheticRun, moments: list[FeatureValues]
) -> None:
    first = points(client, 1)
    assert first.headers["cache-control"] == "private, no-cache"
    asked = {"if-none-match": first.headers["etag"]}
    again = client.get(f"{START}/1/points?method=pca", headers=asked)
    assert (again.status_code, again.content) == (304, b"")
    project(run.path, 1, 1, "pca", moments[0])  # drawn anew
    assert client.get(f"{START}/1/points?method=pca", headers=asked).status_code == 200


@pytest.mark.usefixtures("moments")
def test_what_is_not_there_is_said(client: TestClient, run: SyntheticRun) -> None:
    assert "not made yet" in points(client, 1, "umap").text
    begin_projection(run.path, 1, 1, "umap")
    assert "wait a moment" in points(client, 1, "umap").text
    fail_projection(run.path, 1, 1, "umap", "too few points")
    assert "(too few points)" in points(client, 1, "umap").text
    other = SyntheticRun(run.path.parent, name="other", classes=3)
    for address in (
        f"{START}/1/points?method=umap", f"{START}/9/points", f"{START}/9/export",
        f"/live/runs/{other.id}/features/1/points", f"/live/runs/{other.id}/features/1/export",
        f"{START}/pictures/9", f"{START}/pictures/0?uid=another", "/live/runs/nine/features",
    ):  # fmt: skip
        answer = client.get(address)
        assert answer.status_code == 404, address
        assert answer.headers["content-type"].startswith("text/plain")
        assert "\n" not in answer.text


@pytest.mark.usefixtures("moments")
def test_a_snapshot_that_was_thinned_away_between_two_requests(
    client: TestClient, run: SyntheticRun
) -> None:
    assert points(client, 2).status_code == 200
    change(run, "DELETE FROM feature_snapshots WHERE id = 2")
    answer = points(client, 2)
    assert answer.status_code == 404
    assert "choose another epoch" in answer.text
    assert [one["id"] for one in overview(client)["snapshots"]] == [1]


@pytest.mark.usefixtures("moments")
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("1/points?method=tsne", "pca, umap, umap_real"),
        ("x/points", "whole number"),
        ("-1/points", "whole number"),
        ("99999999999999999999/points", "whole number"),
        ("1/export?format=csv", "tensorboard, numpy"),
        ("pictures/x", "whole number"),
    ],
)
def test_a_parameter_that_cannot_be_read_is_said(client: TestClient, path: str, said: str) -> None:
    answer = client.get(f"{START}/{path}")
    assert answer.status_code == 400
    assert said in answer.text


@pytest.mark.usefixtures("moments")
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE projections SET real = x'0000000000000000'",
        "UPDATE projections SET virtual = x'000000'",
        "UPDATE projections SET ellipses = x'00000000'",
        "UPDATE projections SET parameters = '{'",
        "UPDATE feature_snapshots SET objects = x'000000'",
        "UPDATE feature_snapshots SET objects = x'000000000100000007000000'",
        "UPDATE feature_snapshots SET classes = x'ffffffff'",
        "UPDATE feature_snapshots SET virtual_per_class = -1",
        "UPDATE feature_snapshots SET real_predicted = x'000000000000000005000000'",
        "INSERT INTO class_vectors (run_id, field, step, epoch, wall_time, dtype, data)"
        " VALUES (1, 'super_group', 10, 0, 0.0, 'int32', x'00000000')",
    ],
)
def test_points_that_do_not_fit_together_are_refused(
    client: TestClient, run: SyntheticRun, damage: str
) -> None:
    change(run, damage)
    answer = points(client, 1)
    assert answer.status_code == 503
    assert "run" in answer.text
    assert "\n" not in answer.text


@pytest.mark.usefixtures("moments")
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE feature_probes SET class_index = 3",
        "DELETE FROM feature_probes WHERE object_index = 0",
        "UPDATE projections SET parameters = '{'",
        "UPDATE feature_measures SET per_class = x'00000000'",
        "UPDATE feature_measures SET groups = '{'",
        "INSERT INTO class_vectors (run_id, field, step, epoch, wall_time, dtype, data)"
        " VALUES (1, 'observed_rois', 10, 0, 0.0, 'int32', x'00000000')",
    ],
)
def test_foreign_rows_are_one_sentence(client: TestClient, run: SyntheticRun, damage: str) -> None:
    change(run, damage)
    answer = client.get(START)
    assert answer.status_code == 503
    assert "\n" not in answer.text


@pytest.mark.usefixtures("moments")
def test_a_picture_is_a_jpeg_that_browsers_keep(client: TestClient, run: SyntheticRun) -> None:
    uid = RunLogReader(run.path).run(1).uid
    answer = client.get(f"{START}/pictures/1?uid={uid}")
    assert answer.content.startswith(b"\xff\xd8\xff")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, max-age=3600"
    unnamed = client.get(f"{START}/pictures/1")
    assert unnamed.headers["cache-control"] == "private, no-cache"
    known = {"if-none-match": unnamed.headers["etag"]}
    assert client.get(f"{START}/pictures/1", headers=known).status_code == 304
    assert client.get(f"{START}/pictures/0", headers=known).status_code == 200
    change(run, "UPDATE feature_probes SET picture = ? WHERE object_index = 1", b"<svg onload='1'>")
    assert client.get(f"{START}/pictures/1").status_code == 404


def test_a_snapshot_is_exported(
    client: TestClient, run: SyntheticRun, moments: list[FeatureValues]
) -> None:
    answer = client.get(f"{START}/2/export?format=tensorboard")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    assert "fasa-run-1-step-20-tensorboard.zip" in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = {Path(name).name: name for name in archive.namelist()}
        assert {"vectors.tsv", "metadata.tsv", "sprite.png"} <= set(names)
        assert len(archive.read(names["vectors.tsv"]).splitlines()) == 3 + 4
    answer = client.get(f"{START}/2/export?format=numpy")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        (name,) = archive.namelist()
        arrays = np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
    np.testing.assert_array_equal(arrays["virtual"], moments[1].virtual)


@pytest.mark.usefixtures("moments")
def test_a_snapshot_that_cannot_be_exported_is_said(client: TestClient, run: SyntheticRun) -> None:
    change(run, "DELETE FROM feature_probes WHERE object_index = 2")
    answer = client.get(f"{START}/2/export")
    assert answer.status_code == 503
    assert "does not name" in answer.text
