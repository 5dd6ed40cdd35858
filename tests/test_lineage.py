"""A fork's folder gets its parent's checkpoint, once, and independent of what the parent does."""

import errno
import os
from pathlib import Path

import pytest

from trainer.checkpoint_files import checkpoint_path, checkpoints
from trainer.lineage import (
    CheckpointMissing,
    bring_checkpoint,
    bring_checkpoints,
    checkpoint_file,
)
from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.runs_folder import RunsFolder

STEP = 123


@pytest.fixture
def folder(tmp_path: Path) -> RunsFolder:
    """Run 1 with a checkpoint, run 2 forked from it."""
    made = RunsFolder(tmp_path)
    queue_run(made.run_log, name="parent", config={}, dataset="none")
    queue_run(
        made.run_log, name="fork", config={}, dataset="none",
        parent_run=1, parent_epoch=6, parent_step=STEP,
    )  # fmt: skip
    made.checkpoints(1).mkdir(parents=True)
    checkpoint_file(made, 1, STEP).write_bytes(b"weights")
    return made


def _run(folder: RunsFolder, run_id: int) -> Run:
    with RunLogReader(folder.run_log) as reader:
        return reader.run(run_id)


def test_files_are_named_as_the_trainer_names_them(folder: RunsFolder) -> None:
    assert checkpoint_file(folder, 1, STEP) == checkpoint_path(folder.checkpoints(1), STEP)
    assert checkpoints(folder.checkpoints(1)) == [checkpoint_file(folder, 1, STEP)]


def test_it_is_the_same_file_until_one_of_them_drops_it(folder: RunsFolder) -> None:
    target = bring_checkpoint(folder, _run(folder, 2))
    assert target == checkpoint_file(folder, 2, STEP)
    source = checkpoint_file(folder, 1, STEP)
    assert target.samefile(source)
    source.unlink()
    assert target.read_bytes() == b"weights"


def test_twice_is_fine_and_what_has_a_checkpoint_is_left_alone(folder: RunsFolder) -> None:
    run = _run(folder, 2)
    bring_checkpoint(folder, run)
    assert bring_checkpoint(folder, run) is None
    checkpoint_file(folder, 2, STEP).unlink()
    checkpoint_file(folder, 2, STEP + 50).write_bytes(b"its own")  # trained on, then interrupted
    assert bring_checkpoint(folder, run) is None
    assert [path.name for path in folder.checkpoints(2).iterdir()] == ["step-00000173.pt"]


def test_a_run_that_is_no_fork_gets_nothing(folder: RunsFolder) -> None:
    restart = queue_run(folder.run_log, name="again", config={}, dataset="none", parent_run=1)
    assert bring_checkpoint(folder, _run(folder, restart)) is None
    assert not folder.run(restart).exists()


def test_without_links_it_is_a_copy(folder: RunsFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_links)
    target = bring_checkpoint(folder, _run(folder, 2))
    assert target is not None
    assert target.read_bytes() == b"weights"
    assert not target.samefile(checkpoint_file(folder, 1, STEP))
    assert list(folder.checkpoints(2).iterdir()) == [target]


def test_across_file_systems_it_is_a_copy_and_nothing_is_left_of_half_a_one(
    folder: RunsFolder, tiny_disk: Path
) -> None:
    (tiny_disk / "run-2").mkdir()
    folder.run(2).symlink_to(tiny_disk / "run-2")
    target = bring_checkpoint(folder, _run(folder, 2))
    assert target is not None
    assert target.read_bytes() == b"weights"
    target.unlink()
    checkpoint_file(folder, 1, STEP).write_bytes(bytes(4 * 2**20))  # does not fit
    failed = bring_checkpoints(folder, [_run(folder, 2)])
    assert "space" in failed[2]
    assert list(folder.checkpoints(2).iterdir()) == []


def test_one_that_is_gone_is_a_sentence(folder: RunsFolder) -> None:
    checkpoint_file(folder, 1, STEP).unlink()
    with pytest.raises(CheckpointMissing, match=rf"Run 2 was to go on from step {STEP} of run 1"):
        bring_checkpoint(folder, _run(folder, 2))
    runs = [_run(folder, 1), _run(folder, 2)]
    assert list(bring_checkpoints(folder, runs)) == [2]
