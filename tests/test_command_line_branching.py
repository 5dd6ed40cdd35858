"""New runs out of old ones, and runs that leave: `fasa restart`, `fork`, `delete`, `export`."""

import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command_lines import Fasa
from supervised_runs import PATIENCE, ROOT

from trainer.config import load_config
from trainer.lineage import checkpoint_file
from trainer.removal import contents
from trainer.run_log.commands import mark_deleted, queue_run, set_status
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.run_log.writer import RunLogWriter
from trainer.runs_folder import RunsFolder

PARENT: dict[str, Any] = {"demo_classes": 6, "epochs": 4, "beta": 0.8, "seed": 5}


@pytest.fixture
def folder(tmp_path: Path) -> RunsFolder:
    """A run of 4 epochs of 10 steps, stopped in the third; alpha was turned at step 15."""
    folder = RunsFolder(tmp_path / "runs")
    config = load_config(PARENT).model_dump(mode="json")
    queue_run(folder.run_log, name="demo", config=config, dataset="demo (6 classes)")
    with RunLogWriter(folder.run_log, 1) as writer:
        writer.scalars({"knob/alpha": 1.1, "knob/beta": 0.8}, step=0, epoch=0)
        writer.scalars({"knob/alpha": 1.5}, step=15, epoch=1)
        writer.progress(step=25, total_steps=40, epoch=2, total_epochs=4, phase="training")
        for step, epoch, batch in ((10, 1, 0), (20, 2, 0), (25, 2, 5)):
            writer.checkpoint_kept(step=step, epoch=epoch, batch=batch, size=7)
            file = checkpoint_file(folder, 1, step)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"weights")
        writer.status("stopped")
    return folder


@pytest.fixture
def fasa(folder: RunsFolder, capsys: pytest.CaptureFixture[str]) -> Fasa:
    return Fasa(folder.root, capsys)


def _run(folder: RunsFolder, run_id: int) -> Run:
    with RunLogReader(folder.run_log) as reader:
        return reader.run(run_id)


def _count(folder: RunsFolder) -> int:
    with RunLogReader(folder.run_log) as reader:
        return len(reader.runs(include_deleted=True))


# Restart


def test_restart_is_the_same_with_edits(folder: RunsFolder, fasa: Fasa) -> None:
    said = fasa.says("restart", "demo", "--alpha=1.3", "--no-fasa", "--seed=6", "--name=anew")
    assert said.startswith("queued run 2: run 1 again from the start\n")
    new = _run(folder, 2)
    assert (new.name, new.status, new.dataset) == ("anew", "queued", "demo (6 classes)")
    assert (new.parent_run, new.parent_epoch, new.parent_step) == (1, None, None)
    edits = {"alpha": 1.3, "fasa": False, "seed": 6}
    assert new.config == _run(folder, 1).config | edits  # not alpha = 1.5, set while it trained
    assert _run(folder, 1).status == "stopped"


def test_restart_lays_a_preset_and_flags_over_the_parent(folder: RunsFolder, fasa: Fasa) -> None:
    fasa.says("restart", "1", "--preset=static-5,demo-adamw", "--initial-scale=7")
    new = _run(folder, 2)
    assert new.name == "demo (restart)"
    assert (new.config["sampling"], new.config["initial_scale"]) == ("static", 7.0)
    assert new.config["classifier_optimizer"] == "adamw"
    assert new.config["beta"] == 0.8


def test_restart_with_other_data_and_without_a_hold_out(folder: RunsFolder, fasa: Fasa) -> None:
    both = ["--holdout-annotations=h.json", "--holdout-images=h"]
    fasa.says("restart", "1", "--data=coco", "--annotations=a/t.json", "--images=i", *both)
    assert _run(folder, 2).dataset == "t"
    assert _run(folder, 2).config["holdout_annotations"] == "h.json"
    fasa.says("restart", "2", "--holdout-annotations=none", "--holdout-images=none")
    assert _run(folder, 3).config["holdout_annotations"] is None


# Fork


def _forked(folder: RunsFolder, run_id: int = 2) -> tuple[int | None, int | None, Any, bool]:
    """Epoch and step it goes on from, its alpha, and whether it has its checkpoint."""
    run = _run(folder, run_id)
    assert run.parent_run == 1
    assert run.parent_step is not None
    own = checkpoint_file(folder, run_id, run.parent_step)
    is_linked = own.exists() and own.samefile(checkpoint_file(folder, 1, run.parent_step))
    return run.parent_epoch, run.parent_step, run.config["alpha"], is_linked


def test_a_fork_goes_on_from_the_newest_checkpoint(folder: RunsFolder, fasa: Fasa) -> None:
    said = fasa.says("fork", "1", "--epochs=9", "--name=longer")
    assert said.startswith("queued run 2: run 1 from step 25 on\n")
    assert _forked(folder) == (2, 25, 1.5, True)
    assert _run(folder, 2).config["epochs"] == 9
    assert _run(folder, 2).name == "longer"


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("--epoch=1", (1, 10, 1.1, True)),  # alpha was turned later
        ("--epoch=2", (2, 20, 1.5, True)),
        ("--step=25", (2, 25, 1.5, True)),
        ("--step=10", (1, 10, 1.1, True)),
    ],
)
def test_a_fork_takes_the_knobs_as_they_stood_there(
    folder: RunsFolder, fasa: Fasa, place: str, expected: object
) -> None:
    fasa.says("fork", "1", place)
    assert _forked(folder) == expected
    assert _run(folder, 2).name == "demo (fork)"
    assert _run(folder, 2).config["beta"] == 0.8


def test_a_fork_with_an_edit(folder: RunsFolder, fasa: Fasa) -> None:
    fasa.says("fork", "1", "--epoch=2", "--alpha=1.3", "--learning-rate=0.01")
    assert _forked(folder) == (2, 20, 1.3, True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--epoch=3"], "keeps no checkpoint at the end of epoch 3: choose from --epoch 1, "
         "--epoch 2, --step 25"),
        (["--step=11"], "keeps no checkpoint at step 11"),
        (["--epoch=0"], "keeps no checkpoint at the end of epoch 0"),
        (["--epoch=1", "--step=10"], "not allowed with"),
        (["--epoch=x"], "invalid int"),
        (["--seed=6"], "a fork cannot change seed"),
        (["--alpha=0.1"], "alpha is '0.1'"),
        (["--epochs=2"], "epochs is 2, but the fork goes on after 2"),
        (["--preset=nope"], "no preset 'nope'"),
        (["--name= "], "1 to 200 characters"),
    ],
)  # fmt: skip
def test_a_fork_that_cannot_be(
    folder: RunsFolder, fasa: Fasa, words: list[str], sentence: str
) -> None:
    assert sentence in fasa.refuses("fork", "1", *words)
    assert _count(folder) == 1


def test_no_checkpoint_and_one_that_is_gone(folder: RunsFolder, fasa: Fasa) -> None:
    checkpoint_file(folder, 1, 20).unlink()
    assert "is gone" in fasa.refuses("fork", "1", "--epoch=2")
    fasa.says("restart", "1")
    assert "has no checkpoint" in fasa.refuses("fork", "2")
    assert _count(folder) == 2


def test_help_of_fork_says_what_an_epoch_is_and_hides_what_no_fork_can_change(fasa: Fasa) -> None:
    shown = " ".join(fasa.says("fork", "--help").split())
    assert "go on from the end of epoch E, that is after E whole epochs" in shown
    assert "--alpha" in shown
    assert "--seed" not in shown
    assert "--seed" in fasa.says("restart", "--help")


# Delete


def test_delete_needs_a_yes_and_says_what_goes(folder: RunsFolder, fasa: Fasa) -> None:
    refused = fasa.refuses("delete", "1")
    assert "run 1 'demo' with 3 rows, 3 checkpoints and 0.0 MB of files needs your yes" in refused
    assert contents(folder, 1).checkpoints == 3
    assert "deleted run 1 'demo'" in fasa.says("delete", "1", "--yes")
    assert _count(folder) == 0
    assert not folder.run(1).exists()


@pytest.mark.parametrize(
    ("answer", "code", "left"), [(b"y\n", 0, 0), (b"\n", 1, 1), (b"n\n", 1, 1)]
)
def test_delete_asks_in_a_terminal(folder: RunsFolder, answer: bytes, code: int, left: int) -> None:
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "trainer", "delete", "demo", f"--runs={folder.root}"]
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, cwd=ROOT)
    os.close(its)
    said = b""
    deadline = time.monotonic() + PATIENCE
    while b"[y/N]" not in said and time.monotonic() < deadline:
        said += os.read(ours, 1000)
    assert b"3 checkpoints" in said
    os.write(ours, answer)
    assert process.wait(PATIENCE) == code
    os.close(ours)
    assert _count(folder) == left
    assert folder.run(1).exists() == bool(left)


def test_what_is_at_work_or_about_to_be_forked_is_not_deleted(
    folder: RunsFolder, fasa: Fasa
) -> None:
    fasa.says("fork", "1")
    assert "run 2 is about to be forked from run 1" in fasa.refuses("delete", "1", "--yes")
    set_status(folder.run_log, 2, "running")
    assert "stop it before you delete it" in fasa.refuses("delete", "2", "--yes")
    fasa.says("delete", "1", "--yes")
    assert checkpoint_file(folder, 2, 25).read_bytes() == b"weights"
    assert _run(folder, 2).parent_run is None


def test_a_queued_run_can_be_deleted(folder: RunsFolder, fasa: Fasa) -> None:
    fasa.says("restart", "1")
    fasa.says("delete", "2", "--yes")
    assert _count(folder) == 1


# Export and import


def test_runs_travel_to_another_installation(
    folder: RunsFolder, fasa: Fasa, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fasa.says("restart", "1", "--name=second")
    file = tmp_path / "two.sqlite"
    assert fasa.says("export", "demo", "2", f"--to={file}") == f"{file}\n"
    other = Fasa(tmp_path / "other", capsys)
    assert other.says("import", str(file)) == "run 1 'demo'\nrun 2 'second'\n"
    assert "demo" in other.says("runs")
    assert "there already" in fasa.refuses("export", "1", f"--to={file}")


def test_all_but_archived_and_deleted_runs_are_exported(
    folder: RunsFolder, fasa: Fasa, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("kept", "put aside", "deleted"):
        fasa.says("restart", "1", f"--name={name}")
    fasa.says("archive", "put aside")
    mark_deleted(folder.run_log, 4, True)
    fasa.says("export", f"--to={tmp_path / 'all.sqlite'}")
    imported = Fasa(tmp_path / "other", capsys).says("import", str(tmp_path / "all.sqlite"))
    assert "'demo'" in imported
    assert "'kept'" in imported
    assert imported.count("\n") == 2


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_for_other_tools(fasa: Fasa, tmp_path: Path, kind: str) -> None:
    out = fasa.says("export", "1", f"--format={kind}", f"--to={tmp_path / 'tables'}")
    assert f"{tmp_path / 'tables' / 'scalars'}.{kind}" in out.splitlines()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["export", "1"], "--to"),
        (["export", "1", "--to=x", "--format=xls"], "invalid choice: 'xls'"),
        (["import", "nothing.sqlite"], "nothing.sqlite"),
        (["import"], "FILE"),
    ],
)
def test_bad_input(fasa: Fasa, words: list[str], sentence: str) -> None:
    assert sentence in fasa.refuses(*words)
