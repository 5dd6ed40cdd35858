"""What a person can type: bad input is one sentence, exit code 2, and nothing half-written."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from trainer.__main__ import _parser, main
from trainer.command_line import training
from trainer.command_line.config_flags import given_values
from trainer.config import load_config


def _say(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on standard error of a command that must fail with exit code 2."""
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("fasa: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error


def _coco(folder: Path) -> dict[str, object]:
    """A valid COCO json of one image of 20 x 10 pixels with one box."""
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (20, 10)).save(folder / "images" / "a.png")
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 10}],
        "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
        "annotations": [
            {
                "id": 3,
                "image_id": 1,
                "category_id": 7,
                "bbox": [2, 2, 10, 6],
                "area": 60,
                "iscrowd": 0,
                "segmentation": [[2, 2, 12, 2, 12, 8, 2, 8]],
            }
        ],
    }


def _train(folder: Path, *more: str) -> list[str]:
    return [
        "train",
        f"--runs={folder / 'runs'}",
        "--data=coco",
        f"--annotations={folder / 'train.json'}",
        f"--images={folder / 'images'}",
        *more,
    ]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--alpha=0.5"], "alpha is '0.5'"),
        (["--beta=1.5"], "beta is '1.5'"),
        (["--m=0"], "m is '0'"),
        (["--m=2"], "m is '2'"),
        (["--preset=nope"], "no preset 'nope'"),
        (["--data=coco"], "--annotations FILE and --images FOLDER"),
        (["--epochs=none"], "epochs is 'none'"),
        (["--data=lvis", "--data-folder=/none"], "data_folder is '/none', which is no folder"),
        (["--train-min-sizes=100,"], "train_min_sizes.1 is ''"),
    ],
)
def test_a_bad_value(
    flags: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in _say(capsys, "train", f"--runs={tmp_path / 'runs'}", *flags)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["train", "--epoch", "1"], "`fasa train` takes no '--epoch' (did you mean --epochs?)"),
        (["data", "check", "--dat=lvis"], "`fasa data check` takes no '--dat=lvis' (did you mean"),
        (["train", "demo"], "`fasa train` takes no 'demo': `fasa train --help` says"),
    ],
)
def test_what_a_command_does_not_know_is_said_with_its_name(
    typed: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(typed)
    assert end.value.code == 2
    assert words in capsys.readouterr().err


def test_what_a_processor_computes_slowly_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    for precision, lines in (("float16", 1), ("bfloat16", 0)):
        training._config(
            _parser().parse_args(["queue", "--device=cpu", f"--precision={precision}"])
        )
        assert capsys.readouterr().err.count("precision is float16, which a processor") == lines


def test_an_empty_list_overrules_that_of_a_preset(tmp_path: Path) -> None:
    given = _parser().parse_args([
        "queue", "--preset=lvis_v1/mask_rcnn_r50_24e", f"--data-folder={tmp_path}",
        "--train-min-sizes=",
    ])  # fmt: skip
    assert load_config(given_values(given)).train_min_sizes == ()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda coco: coco["annotations"][0].update(category_id=8), "8"),
        (lambda coco: coco["annotations"][0].update(image_id=5), "5"),
        (lambda coco: coco["annotations"][0].update(bbox=[2, 2, 30, 6]), "box"),
        (lambda coco: coco["annotations"][0].update(segmentation=[[2, 2, 2, 2, 2, 2]]), "mask"),
        (lambda coco: coco["images"][0].update(file_name="b.png"), "b.png"),
        (lambda coco: coco.pop("images"), "images"),
    ],
)
def test_bad_annotations(
    spoil: object, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco = _coco(tmp_path)
    spoil(coco)  # type: ignore[operator]
    (tmp_path / "train.json").write_text(json.dumps(coco))
    assert words in _say(capsys, *_train(tmp_path))
    assert not (tmp_path / "runs").exists()


def test_a_missing_and_a_truncated_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coco = _coco(tmp_path)
    assert "train.json" in _say(capsys, *_train(tmp_path))
    text = json.dumps(coco)
    (tmp_path / "train.json").write_text(text[: len(text) // 2])
    assert "train.json" in _say(capsys, *_train(tmp_path))
    assert not (tmp_path / "runs").exists()


def test_a_run_log_from_a_newer_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import sqlite3

    from trainer.run_log.commands import queue_run

    (tmp_path / "runs").mkdir()
    log = tmp_path / "runs" / "fasa.sqlite"
    queue_run(log, name="x", config={}, dataset="x")
    with sqlite3.connect(log) as connection:
        connection.execute("PRAGMA user_version = 9999")
    connection.close()
    (tmp_path / "train.json").write_text(json.dumps(_coco(tmp_path)))
    assert "9999" in _say(capsys, *_train(tmp_path))


def test_a_foreign_file_in_the_place_of_the_run_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.json").write_text(json.dumps(_coco(tmp_path)))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "fasa.sqlite").write_text("a diary")
    assert "fasa.sqlite" in _say(capsys, *_train(tmp_path))
    assert (tmp_path / "runs" / "fasa.sqlite").read_text() == "a diary"


def test_a_read_only_folder(tmp_path: Path, read_only_folder: Path) -> None:
    (tmp_path / "train.json").write_text(json.dumps(_coco(tmp_path)))
    arguments = [a.replace(f"--runs={tmp_path / 'runs'}", f"--runs={read_only_folder / 'runs'}")
                 for a in _train(tmp_path)]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "trainer", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert str(read_only_folder) in done.stderr


def test_a_full_disk(tiny_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The demo set does not fit: nothing of it is left."""
    assert "space" in _say(capsys, "train", f"--runs={tiny_disk / 'runs'}")
    assert [path for path in tiny_disk.rglob("*") if path.is_file()] == []


def test_help_lists_every_knob_without_loading_torch() -> None:
    code = (
        "import sys; from trainer.__main__ import main\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--virtual-loss-weight" in done.stdout
    assert shutil.which("fasa", path=str(Path(sys.executable).parent))
