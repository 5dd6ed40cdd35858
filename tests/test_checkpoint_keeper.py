"""Which checkpoints are kept, and which one a run goes on from."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trainer.checkpoint import CheckpointError
from trainer.checkpoint_files import checkpoint_path, checkpoints, step_of
from trainer.checkpoint_keeper import CheckpointKeeper
from trainer.config import RunConfig
from trainer.console import Console
from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.writer import RunLogWriter


def _no_wait(reason: str) -> None:
    raise AssertionError(reason)


@dataclass
class Kept:
    """A run with a real log and a folder for its checkpoints."""

    log: Path
    folder: Path
    run_id: int
    writer: RunLogWriter

    def keeper(self, **config: Any) -> CheckpointKeeper:
        with RunLogReader(self.log) as reader:
            run = reader.run(self.run_id)
        return CheckpointKeeper(
            self.folder, run=run, config=RunConfig(**config), writer=self.writer, console=Console()
        )

    def listed(self) -> list[int]:
        assert self.writer.flush()
        with RunLogReader(self.log) as reader:
            return [row.step for row in reader.checkpoints(self.run_id)]

    def files(self) -> list[int]:
        return [step_of(path) for path in checkpoints(self.folder)]


def _content(step: int, epoch: int, batch: int = 0) -> Callable[[], dict[str, Any]]:
    progress = {"step": step, "epoch": epoch, "batch": batch, "passes": 0}
    return lambda: {"progress": progress, "model": {}, "optimizers": [], "random": {}}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    log = tmp_path / "fasa.sqlite"
    run_id = queue_run(log, name="a", config={}, dataset="none")
    with RunLogWriter(log, run_id, commit_interval=0.01) as writer:
        yield Kept(log, tmp_path / "checkpoints", run_id, writer)


def test_the_newest_and_every_nth_epochs_are_kept(kept: Kept) -> None:
    keeper = kept.keeper(keep_checkpoints=2, keep_every=3)
    for epoch in range(1, 9):
        keeper.save(_content(10 * epoch, epoch), wait=_no_wait)
    assert kept.files() == [30, 60, 70, 80]
    assert kept.listed() == kept.files()


def test_a_checkpoint_within_an_epoch_is_not_the_epochs(kept: Kept) -> None:
    keeper = kept.keeper(keep_checkpoints=1, keep_every=1)
    keeper.save(_content(10, 1), wait=_no_wait)
    keeper.save(_content(15, 1, batch=5), wait=_no_wait)
    keeper.save(_content(20, 2), wait=_no_wait)
    keeper.save(_content(30, 3), wait=_no_wait)
    assert kept.files() == [10, 20, 30]


def test_a_run_goes_on_from_the_newest(kept: Kept) -> None:
    keeper = kept.keeper()
    assert keeper.newest() is None
    kept.writer.scalars({"loss/total": 1.0}, step=10, epoch=0)
    keeper.save(_content(10, 1), wait=_no_wait)
    keeper.save(_content(20, 2), wait=_no_wait)
    state = kept.keeper().newest()
    assert state is not None
    assert state["progress"]["step"] == 20
    assert state["log"]["scalars"] == 1
    assert not keeper.is_origin(state)


def test_one_cut_short_is_passed_over_for_the_one_before(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    keeper = kept.keeper()
    for epoch in (1, 2, 3):
        keeper.save(_content(10 * epoch, epoch), wait=_no_wait)
    assert kept.listed() == [10, 20, 30]
    newest = checkpoint_path(kept.folder, 30)
    newest.write_bytes(newest.read_bytes()[:-30])
    (kept.folder / "step-00000040.tmp").write_bytes(b"half")

    keeper = kept.keeper()
    state = keeper.newest()
    assert state is not None
    assert state["progress"]["step"] == 20
    assert "step-00000030.pt cannot be read" in capsys.readouterr().out
    with RunLogReader(kept.log) as reader:
        keeper.take_over(state, reader.checkpoints(kept.run_id))
    assert kept.files() == [10, 20]
    assert kept.listed() == [10, 20]
    assert not list(kept.folder.glob("*.tmp"))


def test_when_none_is_whole_it_says_so(kept: Kept) -> None:
    kept.keeper().save(_content(10, 1), wait=_no_wait)
    checkpoint_path(kept.folder, 10).write_bytes(b"")
    with pytest.raises(CheckpointError, match="none of the 1 checkpoints"):
        kept.keeper().newest()


def test_a_row_lost_with_the_process_is_written_again(kept: Kept) -> None:
    keeper = kept.keeper(keep_checkpoints=1, keep_every=0)
    keeper.save(_content(10, 1), wait=_no_wait)
    keeper.save(_content(20, 2), wait=_no_wait)
    assert kept.listed() == [20]
    with sqlite3.connect(kept.log) as connection:  # killed between the file and its row
        connection.execute("UPDATE checkpoints SET step = 10")
    connection.close()
    keeper = kept.keeper(keep_checkpoints=1)
    state = keeper.newest()
    assert state is not None
    with RunLogReader(kept.log) as reader:
        keeper.take_over(state, reader.checkpoints(kept.run_id))
    assert kept.listed() == [20]


def test_files_of_a_run_log_that_is_gone_are_refused(kept: Kept) -> None:
    kept.keeper().save(_content(10, 1), wait=_no_wait)
    with sqlite3.connect(kept.log) as connection:
        connection.execute("UPDATE runs SET uid = ?", ("0" * 32,))
    connection.close()
    with pytest.raises(CheckpointError, match="belongs to another run that had the same number"):
        kept.keeper().newest()


def test_a_full_disk_is_waited_for(
    kept: Kept, tiny_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.checkpoint_keeper._RETRY_SECONDS", 0.01)
    kept.folder = tiny_disk / "checkpoints"
    ballast = tiny_disk / "ballast"
    with ballast.open("wb") as file, pytest.raises(OSError, match="No space"):
        file.write(bytes(4_000_000))
    reasons: list[str] = []

    def wait(reason: str) -> None:
        reasons.append(reason)
        if len(reasons) == 3:
            ballast.unlink()

    kept.keeper().save(_content(10, 1), wait=wait)
    assert kept.files() == [10]
    assert kept.listed() == [10]
    assert len(reasons) == 3
    assert "free space on the disk" in reasons[0]


def test_no_checkpoint_is_newer_than_its_log(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.checkpoint_keeper._FLUSH_SECONDS", 0.1)
    blocker = sqlite3.connect(kept.log, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")  # another program holds the run log
    kept.writer.scalars({"loss/total": 1.0}, step=10, epoch=0)
    reasons: list[str] = []

    def wait(reason: str) -> None:
        assert kept.files() == []
        reasons.append(reason)
        if len(reasons) == 3:
            blocker.execute("ROLLBACK")
            blocker.close()

    kept.keeper().save(_content(10, 1), wait=wait)
    assert len(reasons) >= 3
    assert kept.files() == [10]
    state = kept.keeper().newest()
    assert state is not None
    assert state["log"]["scalars"] == 1
