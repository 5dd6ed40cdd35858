"""What is exported is what the run log holds: for TensorBoard's projector, and for NumPy."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feature_builders import coordinates
from PIL import Image
from snapshot_builders import BLUE, NAMES, RED, add_features, feature_values, jpeg

from trainer.feature_export import (
    COLUMNS,
    GROUPS,
    FeatureExportError,
    write_numpy,
    write_tensorboard,
)
from trainer.feature_sprite import class_color, grid_side, tile_side, write_sprite
from trainer.run_log.commands import queue_run
from trainer.run_log.projections import begin_projection, store_measures, store_projection
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import FeatureSnapshot, FeatureValues, Run
from trainer.run_log.writer import RunLogWriter

# Losses and features that a text may spoil; a float16 has 65,536 values and one of them is -0.
VALUES = feature_values(
    real=np.array([[0.1, -0.0, 65504], [6e-8, 1 / 3, 2]], np.float16),
    real_predicted=np.array([1, 5], np.int32),
    real_loss=np.array([0.1, np.nan], np.float32),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "fasa.sqlite"
    queue_run(path, name="d\u00e9mo, first", config={}, dataset="demo")
    return path


def newest(reader: RunLogReader) -> tuple[Run, FeatureSnapshot]:
    return reader.run(1), reader.features.snapshots(1)[-1]


def points(folder: Path) -> tuple[np.ndarray, list[dict[str, str]]]:
    """vectors.tsv and metadata.tsv as TensorBoard reads them."""
    lines = (folder / "vectors.tsv").read_text().split("\n")
    vectors = np.array([line.split("\t") for line in lines if line], dtype=np.float32)
    header, *rest = (folder / "metadata.tsv").read_text().splitlines()
    columns = header.split("\t")
    assert columns == list(COLUMNS)
    return vectors, [dict(zip(columns, line.split("\t"), strict=True)) for line in rest]


# TensorBoard


def test_vectors_are_the_logs_to_the_bit(
    writer: RunLogWriter, reader: RunLogReader, tmp_path: Path
) -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)].reshape(-1, 8)
    values = feature_values(real=np.stack([finite[0], finite[1]]), feature_dim=8,
                            classes=(2,), per_class=len(finite), virtual=finite)  # fmt: skip
    add_features(writer, values)
    write_tensorboard(reader, *newest(reader), tmp_path / "board")
    vectors, rows = points(tmp_path / "board")
    assert len(rows) == len(vectors) == 2 + len(finite)
    assert vectors[2:].tobytes() == finite.astype(np.float32).tobytes()  # minus zero included
    assert vectors[:2].tobytes() == finite[:2].astype(np.float32).tobytes()


def test_metadata_says_what_each_point_is(
    writer: RunLogWriter, reader: RunLogReader, tmp_path: Path
) -> None:
    add_features(writer, feature_values(), VALUES)
    write_tensorboard(reader, *newest(reader), tmp_path / "board")
    _, rows = points(tmp_path / "board")
    here = {"epoch": "2", "step": "20"}
    assert rows[:2] == [
        {"class": "a b c  d ", "frequency": "common", "kind": "real", "split": "train",
         "object": "0", "k": "", "image id": str(2**40), "prediction": "a b c  d ",
         "loss": "0.1"} | here,
        {"class": "tiger", "frequency": "rare", "kind": "real", "split": "holdout", "object": "1",
         "k": "", "image id": "7", "prediction": "background", "loss": ""} | here,
    ]  # fmt: skip
    assert [(row["class"], row["kind"], row["k"]) for row in rows[2:]] == [
        ("a b c  d ", "virtual", "0"), ("a b c  d ", "virtual", "1"),
        ("=2+3", "virtual", "0"), ("=2+3", "virtual", "1"),
    ]  # fmt: skip
    assert {row["object"] + row["split"] + row["image id"] for row in rows[2:]} == {""}
    losses = np.array([row["loss"] for row in rows[2:]], np.float32)
    assert losses.tolist() == VALUES.virtual_loss.tolist()
    expected = [(*NAMES, "background")[label] for label in VALUES.virtual_predicted]
    found = [row["prediction"].split(" ")[0] for row in rows[2:]]
    assert found == [re.split(r"\s", name)[0] for name in expected]


def test_the_sprite_shows_pictures_and_rings(
    writer: RunLogWriter, reader: RunLogReader, tmp_path: Path
) -> None:
    add_features(writer, VALUES)
    write_tensorboard(reader, *newest(reader), tmp_path / "board")
    sprite = np.asarray(Image.open(tmp_path / "board" / "sprite.png")).astype(int)
    assert sprite.shape == (3 * 64, 3 * 64, 3)  # 6 points in a square of 9 tiles
    tiles = sprite.reshape(3, 64, 3, 64, 3).swapaxes(1, 2).reshape(9, 64, 64, 3)
    wide, high = tiles[:2]
    assert np.abs(wide[32, 32] - RED).max() < 8
    assert np.abs(high[32, 32] - BLUE).max() < 8
    assert (wide[20] == 255).all()  # 40 x 20 px in the middle, not enlarged
    assert (high[:, 20] == 255).all()
    for tile, label in zip(tiles[2:6], (1, 1, 3, 3), strict=True):
        assert tile[32, 32].tolist() == [255, 255, 255]  # open
        assert tile[32, 32 + 23].tolist() == list(class_color(label))
        assert tile[32, 32 - 23].tolist() == list(class_color(label))
    assert (tiles[6:] == 255).all()


def test_the_config_names_what_is_there(
    writer: RunLogWriter, reader: RunLogReader, tmp_path: Path
) -> None:
    add_features(writer, VALUES)
    board = tmp_path / "board"
    write_tensorboard(reader, *newest(reader), board)
    config = (board / "projector_config.pbtxt").read_text()
    assert re.findall(r"tensor_shape: (\d+)", config) == ["6", "3"]
    assert re.findall(r"single_image_dim: (\d+)", config) == ["64", "64"]
    named = re.findall(r'_path: "(.+)"', config)
    assert sorted(file.name for file in board.iterdir()) == sorted(
        [*named, "projector_config.pbtxt", "README.txt"]
    )
    assert "tensorboard --logdir" in (board / "README.txt").read_text()
    assert "Left out" not in (board / "README.txt").read_text()


def test_points_that_cannot_be_drawn_are_left_out_and_that_is_said(
    writer: RunLogWriter, reader: RunLogReader, tmp_path: Path
) -> None:
    virtual = np.array([[1, 2, 3], [np.nan, 0, 0], [4, 5, 6], [0, -np.inf, 0]], np.float16)
    real = np.array([[np.inf, 0, 0], [7, 8, 9]], np.float16)
    add_features(writer, feature_values(real=real, virtual=virtual))
    write_tensorboard(reader, *newest(reader), tmp_path / "board")
    vectors, rows = points(tmp_path / "board")
    assert vectors.tolist() == [[7, 8, 9], [1, 2, 3], [4, 5, 6]]
    assert [row["object"] + row["k"] for row in rows] == ["1", "0", "0"]
    assert "3 points with others" in (tmp_path / "board" / "README.txt").read_text()
    sprite = np.asarray(Image.open(tmp_path / "board" / "sprite.png")).astype(int)
    assert np.abs(sprite[32, 32] - BLUE).max() < 8
    with np.errstate(invalid="ignore"):
        lost = feature_values(real=real * np.float16(np.inf), classes=())
    add_features(writer, lost)
    with pytest.raises(FeatureExportError, match="no point of finite numbers: choose another"):
        write_tensorboard(reader, *newest(reader), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_baseline_has_real_points_only(
    writer: RunLogWriter, reader: RunLogReader, tmp_path: Path
) -> None:
    add_features(writer, feature_values(classes=()))
    write_tensorboard(reader, *newest(reader), tmp_path / "board")
    assert [row["kind"] for row in points(tmp_path / "board")[1]] == ["real", "real"]
    write_numpy(reader, *newest(reader), tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz", allow_pickle=False) as found:
        assert found["virtual"].shape == (0, 3)
        assert found["virtual_class"].shape == found["virtual_k"].shape == (0,)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objects": (0, 2)}, "of an object"),
        ({"classes": (1, 5)}, "of a class"),
        ({"real_predicted": np.array([0, 6], np.int32)}, "of a predicted class"),
    ],
)
def test_a_log_that_does_not_hold_what_a_snapshot_speaks_of(
    writer: RunLogWriter, reader: RunLogReader, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    add_features(writer, feature_values(**changes))
    with pytest.raises(FeatureExportError, match=words):
        write_tensorboard(reader, *newest(reader), tmp_path / "board")
    with pytest.raises(FeatureExportError, match=words):
        write_numpy(reader, *newest(reader), tmp_path / "f.npz")
    assert [file for file in tmp_path.iterdir() if not file.name.startswith("fasa.")] == []


# The sprite alone


def test_tiles_shrink_so_that_the_sprite_stays_within_the_limit() -> None:
    assert [grid_side(count) for count in (0, 1, 2, 4, 5, 9, 10)] == [1, 1, 2, 2, 3, 3, 4]
    assert [tile_side(count) for count in (1, 16_384, 16_385, 50_000)] == [64, 64, 63, 36]
    assert grid_side(50_000) * tile_side(50_000) <= 8192
    assert tile_side(8192**2) == 1
    with pytest.raises(ValueError, match="export a snapshot of fewer"):
        tile_side(8192**2 + 1)


def test_many_points_make_small_tiles_in_their_places(tmp_path: Path) -> None:
    """17,000 points: a tile has 62 px, and the picture before the last ring is in its place."""
    count = 17_000
    side = write_sprite(tmp_path / "s.png", [jpeg(RED)], [5] * (count - 1))
    grid = grid_side(count)
    assert (side, grid) == (62, 131)
    with Image.open(tmp_path / "s.png") as sprite:
        assert sprite.size == (grid * side, grid * side)
        column, row = (count - 1) % grid, (count - 1) // grid
        last = np.asarray(
            sprite.crop((column * side, row * side, (column + 1) * side, (row + 1) * side))
        )
        past = sprite.getpixel(((column + 1) * side + 31 + 22, row * side + 31))
    assert (last == class_color(5)).all(axis=-1).any()
    assert past == (255, 255, 255)


def test_a_picture_that_cannot_be_read_is_grey(tmp_path: Path) -> None:
    cut = jpeg(RED, (64, 64))[:200]
    write_sprite(tmp_path / "s.png", [b"\xff\xd8\xff nothing", b"", cut, jpeg(BLUE)], [])
    sprite = np.asarray(Image.open(tmp_path / "s.png")).astype(int)
    for y, x in ((32, 32), (32, 96), (96, 32)):
        assert len(set(sprite[y, x].tolist())) == 1
    assert np.abs(sprite[96, 96] - BLUE).max() < 8


def test_neighbouring_classes_have_other_colours() -> None:
    colors = np.array([class_color(label) for label in range(60)])
    assert len({tuple(color) for color in colors.tolist()}) == 60
    assert np.abs(np.diff(colors, axis=0)).max(axis=1).min() > 60


# NumPy


def test_an_archive_holds_everything_to_the_bit(
    writer: RunLogWriter, reader: RunLogReader, path: Path, tmp_path: Path
) -> None:
    add_features(writer, feature_values(), VALUES)
    run, snapshot = newest(reader)
    places = coordinates(VALUES)
    assert store_projection(
        path, 1, snapshot.id, "umap_real", seconds=1.0, parameters={}, **places
    )  # fmt: skip
    assert begin_projection(path, 1, snapshot.id, "umap")
    shares = np.array([0.5, np.nan, 1, 0, 0.25], np.float32)
    groups = {"all": 0.4375, "rare": 0.25, "common": 0.25, "frequent": None}
    assert store_measures(path, 1, snapshot.id, {"negative_share": (shares, groups)})
    assert store_measures(path, 1, 1, {"accuracy_virtual": (shares, groups)})  # of another one
    write_numpy(reader, run, snapshot, tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz", allow_pickle=False) as archive:
        found = dict(archive)
    for name in FeatureValues.__slots__:
        stored = getattr(snapshot, name)
        assert (found[name].dtype, found[name].shape) == (stored.dtype, stored.shape), name
        assert found.pop(name).tobytes() == stored.tobytes(), name
    for name, values in places.items():
        assert found.pop(f"projection_{name}_umap_real").tobytes() == values.tobytes()
    assert found.pop("measure_negative_share").tobytes() == shares.tobytes()
    assert GROUPS == ("all", "rare", "common", "frequent")
    np.testing.assert_array_equal(
        found.pop("measure_negative_share_groups"), [0.4375, 0.25, 0.25, np.nan]
    )
    assert found.pop("wall_time") == snapshot.wall_time
    assert found.pop("run_uid") == run.uid
    assert {name: value.tolist() for name, value in found.items()} == {
        "run": 1, "run_name": "d\u00e9mo, first", "snapshot": 2, "step": 20, "epoch": 1,
        "class_name": [NAMES[0], NAMES[1].rstrip("\0"), *NAMES[2:]],
        "class_frequency": ["r", "c", "f", "r", "c"],
        "class_instances": [0, 2, 4, 6, 8], "class_images": [0, 1, 2, 3, 4],
        "object_class": [1, 0], "object_split": ["train", "holdout"],
        "object_image_id": [2**40, 7], "object_box": [[1.5, 2.0, 30.0, 40.25]] * 2,
        "virtual_class": [1, 1, 3, 3], "virtual_k": [0, 1, 0, 1],
    }  # fmt: skip
