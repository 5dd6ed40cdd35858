"""Deleted runs leave the disk, with all that is theirs and nothing else."""

import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest

from trainer import removal
from trainer.lineage import bring_checkpoint, checkpoint_file
from trainer.removal import Removal, contents, remove_run, waiting_fork
from trainer.run_log.commands import UNDO_SECONDS, mark_deleted, queue_run, set_status
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.run_log.schema import RunLogError
from trainer.run_log.writer import RunLogWriter
from trainer.runs_folder import RunsFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunsFolder:
    """Two finished runs with rows, a console and a checkpoint."""
    made = RunsFolder(tmp_path / "runs")
    for name in ("first", "second"):
        run_id = queue_run(made.run_log, name=name, config={}, dataset="none")
        with RunLogWriter(made.run_log, run_id) as writer:
            for step in range(50):
                writer.scalars({"loss/total": 1.0}, step=step, epoch=0)
                writer.class_vectors({"score": np.zeros(9, np.float32)}, step=step, epoch=0)
            writer.status("finished")
        made.checkpoints(run_id).mkdir(parents=True)
        checkpoint_file(made, run_id, 50).write_bytes(bytes(1000))
        (made.run(run_id) / "console.log").write_text("training")
    return made


def _runs(folder: RunsFolder) -> dict[int, Run]:
    with RunLogReader(folder.run_log) as reader:
        return {run.id: run for run in reader.runs(include_deleted=True)}


def _delete_long_ago(folder: RunsFolder, run_id: int, seconds: float = UNDO_SECONDS + 1) -> None:
    mark_deleted(folder.run_log, run_id, True)
    with sqlite3.connect(folder.run_log) as connection:
        connection.execute(
            "UPDATE runs SET deleted = ? WHERE id = ?", (time.time() - seconds, run_id)
        )
    connection.close()


def _poll(removal: Removal, folder: RunsFolder, *, busy: tuple[int, ...] = ()) -> None:
    """One look, until what it began is done."""
    removal.poll(list(_runs(folder).values()), busy=busy)
    if removal._thread is not None:
        removal._thread.join(30)
        assert not removal._thread.is_alive()


def _fork(folder: RunsFolder) -> int:
    return queue_run(
        folder.run_log, name="fork", config={}, dataset="none",
        parent_run=1, parent_epoch=1, parent_step=50,
    )  # fmt: skip


def test_what_a_run_takes_is_counted(folder: RunsFolder) -> None:
    assert contents(folder, 1) == (100, 1, 1008)
    fork = _fork(folder)
    with RunLogReader(folder.run_log) as reader:
        bring_checkpoint(folder, reader.run(fork))
    assert contents(folder, 1) == (100, 1, 8)  # the checkpoint stays on the disk for the fork
    assert contents(folder, 99) == (0, 0, 0)


def test_files_and_rows_go_and_the_other_run_stays(folder: RunsFolder) -> None:
    _delete_long_ago(folder, 1)
    _poll(Removal(folder), folder)
    assert list(_runs(folder)) == [2]
    assert not folder.run(1).exists()
    assert contents(folder, 1) == (0, 0, 0)
    assert contents(folder, 2) == (100, 1, 1008)


@pytest.mark.parametrize(
    ("seconds", "is_gone"),
    [
        (UNDO_SECONDS - 10, False),
        (UNDO_SECONDS + 1, True),
        (5 - UNDO_SECONDS, False),  # the clock was set back a little
        (-86400, True),  # it was set back by a day: the deletion is not put off by that
    ],
)
def test_only_what_nobody_will_take_back(folder: RunsFolder, seconds: float, is_gone: bool) -> None:
    _delete_long_ago(folder, 1, seconds)
    _poll(Removal(folder), folder)
    assert (1 not in _runs(folder)) == is_gone
    assert folder.run(1).exists() != is_gone


def test_a_run_with_a_process_or_a_waiting_fork_waits(folder: RunsFolder) -> None:
    _delete_long_ago(folder, 1)
    remover = Removal(folder)
    _poll(remover, folder, busy=(1,))
    assert 1 in _runs(folder)
    mark_deleted(folder.run_log, 1, False)
    fork = _fork(folder)
    _delete_long_ago(folder, 1)
    assert waiting_fork(_runs(folder).values(), 1) == _runs(folder)[fork]
    _poll(remover, folder)
    assert folder.run(1).exists()
    set_status(folder.run_log, fork, "running")
    _poll(remover, folder)
    assert list(_runs(folder)) == [2, fork]


def test_a_removal_that_was_cut_short_is_finished(
    folder: RunsFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def locked(*_: object) -> None:
        raise RunLogError("The run log is locked.")

    _delete_long_ago(folder, 1)
    remover = Removal(folder)
    with monkeypatch.context() as patched:
        patched.setattr(removal, "delete_run", locked)
        for _ in range(3):
            _poll(remover, folder)
    assert capsys.readouterr().err.count("locked") == 1  # said once, not every half second
    assert not folder.run(1).exists()
    assert 1 in _runs(folder)
    _poll(remover, folder)
    assert list(_runs(folder)) == [2]


def test_links_out_of_the_folder_are_not_followed(folder: RunsFolder, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("a thesis")
    (folder.run(1) / "link").symlink_to(elsewhere)
    (folder.checkpoints(1) / "file").symlink_to(elsewhere / "precious")
    mark_deleted(folder.run_log, 1, True)
    remove_run(folder, 1)
    assert not folder.run(1).exists()
    folder.run(2).rename(tmp_path / "moved")
    folder.run(2).symlink_to(tmp_path / "moved")
    mark_deleted(folder.run_log, 2, True)
    remove_run(folder, 2)
    assert not folder.run(2).is_symlink()
    assert (tmp_path / "moved" / "console.log").exists()
    assert (elsewhere / "precious").read_text() == "a thesis"
    assert _runs(folder) == {}


def test_a_run_that_is_not_marked_keeps_everything(folder: RunsFolder) -> None:
    with pytest.raises(RunLogError, match="not marked deleted"):
        remove_run(folder, 1)
    assert contents(folder, 1) == (100, 1, 1008)
