"""`fasa features list` and `fasa features export`."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from command_lines import Fasa
from snapshot_builders import add_features, feature_values

from trainer.run_log.commands import queue_run
from trainer.run_log.projections import begin_projection, fail_projection, store_measures
from trainer.run_log.rows import FeatureValues
from trainer.run_log.writer import RunLogWriter

BOARD = ["README.txt", "metadata.tsv", "projector_config.pbtxt", "sprite.png", "vectors.tsv"]
FIRST, SECOND, THIRD = (feature_values(seed=seed) for seed in range(3))


@pytest.fixture
def fasa(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Fasa:
    """Run 1 has three snapshots, two of them of epoch 2; run 2 waits and has none."""
    log = tmp_path / "runs" / "fasa.sqlite"
    log.parent.mkdir()
    queue_run(log, name="demo", config={}, dataset="demo")
    queue_run(log, name="waits [red]", config={}, dataset="demo")
    with RunLogWriter(log, 1) as writer:
        add_features(writer, FIRST, SECOND)
        writer.feature_snapshot(THIRD, step=25, epoch=1)
    begin_projection(log, 1, 1, "umap")
    begin_projection(log, 1, 2, "pca")
    fail_projection(log, 1, 2, "umap", "it did not converge")
    judged = {
        "frechet_distance": 1234.56, "frechet_distance_real": -0.5, "neighbours_virtual": 0.5,
        "neighbours_holdout": 0.666, "accuracy_virtual": 1.0, "accuracy_holdout": None,
        "negative_share": 0.48,
    }  # fmt: skip
    shares = np.zeros(5, np.float32)
    store_measures(log, 1, 2, {name: (shares, {"all": value}) for name, value in judged.items()})
    return Fasa(log.parent, capsys)


def features_of(folder: Path) -> list[list[float]]:
    lines = (folder / "vectors.tsv").read_text().splitlines()
    return np.array([line.split("\t") for line in lines], dtype=np.float32).tolist()


# The list


def test_list_is_a_table(fasa: Fasa) -> None:
    header, *rows = fasa.says("features", "list", "demo").splitlines()
    assert re.split(r"\s{2,}", header.strip()) == [
        "snapshot", "epoch", "step", "objects", "virtual", "MB", "pca", "umap", "umap_real",
        "frechet virtual / real", "neighbours virtual / real", "accuracy virtual / real",
        "negative", "prior size",
    ]  # fmt: skip
    assert rows[0].split() == ["1", "1", "10", "2", "4", "0.0", "running"]
    assert re.split(r"\s{2,}", rows[1].strip()) == [
        "2", "2", "20", "2", "4", "0.0", "running", "failed", "1235 / -0.5",
        "50 % / 67 %", "100 % / -", "48 %",
    ]  # fmt: skip
    assert rows[2].split() == ["3", "2", "25", "2", "4", "0.0"]


def test_list_of_a_run_without_snapshots_says_when_there_will_be_one(fasa: Fasa) -> None:
    said = fasa.says("features", "list", "2")
    assert said == (
        "run 2 'waits [red]' has no feature snapshot: it takes one at the end of each epoch, and "
        "`fasa snapshot 2` asks for one while it trains\n"
    )


# The export


def test_export_makes_what_tensorboard_reads_of_the_newest_snapshot(
    fasa: Fasa, tmp_path: Path
) -> None:
    board = tmp_path / "board"
    said = fasa.says("features", "export", "1", f"--to={board}")
    assert said.splitlines() == [str(board / name) for name in BOARD]
    assert sorted(path.name for path in board.iterdir()) == sorted(BOARD)
    assert features_of(board) == [*THIRD.real.tolist(), *THIRD.virtual.tolist()]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("--epoch=1", FIRST), ("--epoch=2", THIRD), ("--snapshot=2", SECOND)],
)
def test_export_of_another_moment(
    fasa: Fasa, tmp_path: Path, choice: str, expected: FeatureValues
) -> None:
    fasa.says("features", "export", "1", choice, f"--to={tmp_path / 'board'}")
    assert features_of(tmp_path / "board")[:2] == expected.real.tolist()


def test_export_for_numpy(fasa: Fasa, tmp_path: Path) -> None:
    said = fasa.says("features", "export", "1", "--format=numpy", f"--to={tmp_path / 'arrays'}")
    assert said == f"{tmp_path / 'arrays' / 'features.npz'}\n"
    with np.load(said.strip(), allow_pickle=False) as archive:
        assert archive["real"].tobytes() == THIRD.real.tobytes()
        assert archive["epoch"] == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["export", "1", "--epoch=3"], "run 1 has no feature snapshot of epoch 3: choose --epoch "
                                       "from 1, 2"),
        (["export", "1", "--epoch=0"], "no feature snapshot of epoch 0"),
        (["export", "1", "--snapshot=9"], "no feature snapshot 9: choose --snapshot from 1, 2, 3"),
        (["export", "2"], "has no feature snapshot: it takes one"),
        (["export", "9"], "there is no run '9': `fasa runs --all` lists them"),
        (["list", "9"], "there is no run '9'"),
        (["export", "1", "--epoch=1", "--snapshot=1"], "not allowed with"),
        (["export", "1", "--format=umap"], "'tensorboard', 'numpy'"),
        (["sing"], "'sing'"),
        ([], "ACTION"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_that_says_what_there_is(
    fasa: Fasa, tmp_path: Path, words: list[str], sentence: str
) -> None:
    to = [f"--to={tmp_path / 'board'}"] if "export" in words else []
    if words:
        assert sentence in fasa.refuses("features", *words, *to)
    else:
        assert sentence in fasa.refuses("features")
    assert not (tmp_path / "board").exists()


def test_export_needs_a_place(fasa: Fasa) -> None:
    assert "--to" in fasa.refuses("features", "export", "1")


def test_of_many_snapshots_an_error_names_a_few(fasa: Fasa, tmp_path: Path) -> None:
    with RunLogWriter(tmp_path / "runs" / "fasa.sqlite", 1) as writer:
        for epoch in range(2, 40):
            writer.feature_snapshot(FIRST, step=100 + epoch, epoch=epoch)
    said = fasa.refuses("features", "export", "1", "--epoch=99", f"--to={tmp_path / 'board'}")
    assert "from 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 ... 40 (`fasa features list`" in said


# What stands in the way


@pytest.mark.parametrize("form", ["tensorboard", "numpy"])
def test_nothing_is_written_over(fasa: Fasa, tmp_path: Path, form: str) -> None:
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "vectors.tsv").write_text("mine")
    said = fasa.refuses("features", "export", "1", f"--format={form}", f"--to={foreign}")
    assert "is there already and an export overwrites nothing" in said
    assert [path.name for path in foreign.iterdir()] == ["vectors.tsv"]
    assert (foreign / "vectors.tsv").read_text() == "mine"
    os.symlink(tmp_path / "nowhere", tmp_path / "link")
    assert "is there already" in fasa.refuses("features", "export", "1", f"--to={tmp_path}/link")
    missing = fasa.refuses("features", "export", "1", f"--to={tmp_path}/no/board")
    assert "is not there: create it" in missing


@pytest.mark.parametrize("form", ["tensorboard", "numpy"])
def test_a_full_disk_leaves_nothing(fasa: Fasa, tmp_path: Path, tiny_disk: Path, form: str) -> None:
    large = feature_values(objects=(0, 1), classes=range(5), per_class=1500, feature_dim=1024)
    with RunLogWriter(tmp_path / "runs" / "fasa.sqlite", 1) as writer:
        writer.feature_snapshot(large, step=30, epoch=2)
    said = fasa.refuses("features", "export", "1", f"--format={form}", f"--to={tiny_disk}/board")
    assert f"The disk that holds {tiny_disk}/board is full: free some space on it." in said
    assert list(tiny_disk.iterdir()) == []
