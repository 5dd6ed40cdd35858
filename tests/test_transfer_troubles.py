"""An import that this installation's disk, its run log or a person stands in the way of."""

import functools
import multiprocessing
import subprocess
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from transfer_logs import add_run, contents, folder

from trainer.run_log.commands import delete_run, queue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import RunLogError, open_for_writing
from trainer.run_log.writer import RunLogWriter
from trainer.runs_folder import RunsFolder
from trainer.transfer.errors import TransferError
from trainer.transfer.export import export_runs
from trainer.transfer.merge import import_runs


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    """An export of one run."""
    add_run(folder(tmp_path / "here"))
    (path,) = export_runs(
        RunsFolder(tmp_path / "here"), [1], format="sqlite", to=tmp_path / "sent.sqlite"
    )
    return path


@pytest.fixture
def there(tmp_path: Path) -> RunsFolder:
    """Another installation with one run of its own."""
    runs = folder(tmp_path / "there")
    queue_run(runs.run_log, name="there before", config={}, dataset="demo")
    return runs


def test_a_full_disk(tiny_disk: Path, tmp_path: Path) -> None:
    here = folder(tmp_path / "here")
    add_run(here, steps=2000, classes=300)
    (sent,) = export_runs(here, [1], format="sqlite", to=tmp_path / "sent.sqlite")
    there = RunsFolder(tiny_disk)
    queue_run(there.run_log, name="there before", config={}, dataset="demo")
    before = contents(there.run_log)
    with pytest.raises(RunLogError, match="is full: free some space"):
        import_runs(there, sent)
    with RunLogReader(there.run_log) as reader:
        assert [run.name for run in reader.runs()] == ["there before"]
        left = [run.id for run in reader.runs(include_deleted=True) if run.deleted]
    # To delete takes space too: what is left is hidden, and goes when a supervisor comes by.
    subprocess.run(["mount", "-o", "remount,size=32m", str(tiny_disk)], check=True)
    for run_id in left:
        delete_run(there.run_log, run_id)
    assert contents(there.run_log, deleted=True) == before
    assert import_runs(there, sent)


def test_an_import_that_is_killed_is_seen_by_nobody(there: RunsFolder, tmp_path: Path) -> None:
    here = folder(tmp_path / "large")
    run_id = queue_run(here.run_log, name="large", config={}, dataset="demo")
    with RunLogWriter(here.run_log, run_id) as writer:
        for step in range(6000):
            writer.class_vectors({"score": np.zeros(1203, np.float32)}, step=step, epoch=0)
    before = contents(there.run_log, deleted=True)
    importing = multiprocessing.get_context("spawn").Process(
        target=import_runs, args=(there, here.run_log)
    )
    importing.start()
    with RunLogReader(there.run_log) as reader:
        while not reader.class_fields(2):  # the first rows are in
            assert importing.is_alive()
            time.sleep(0.005)
        importing.kill()
        importing.join()
        assert [run.name for run in reader.runs()] == ["there before"]
        assert reader.run(2).deleted is not None
    with pytest.raises(TransferError, match="here as run 2, which is deleted"):
        import_runs(there, here.run_log)
    delete_run(there.run_log, 2)  # as the supervisor does
    assert contents(there.run_log, deleted=True) == before
    assert import_runs(there, here.run_log) == [3]


def test_an_import_that_is_interrupted_leaves_nothing(
    there: RunsFolder, sent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(rows: object) -> list[object]:
        if reader.class_fields(2):
            raise KeyboardInterrupt
        return [list(rows)]  # type: ignore[call-overload]

    before = contents(there.run_log, deleted=True)
    monkeypatch.setattr("trainer.transfer.merge.batches", interrupt)
    with RunLogReader(there.run_log) as reader, pytest.raises(KeyboardInterrupt):
        import_runs(there, sent)
    assert contents(there.run_log, deleted=True) == before


def test_a_run_log_that_another_program_locks(
    there: RunsFolder, sent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = functools.partial(open_for_writing, busy_seconds=0.1)
    monkeypatch.setattr("trainer.transfer.merge.open_for_writing", hasty)
    before = contents(there.run_log)
    with closing(open_for_writing(there.run_log)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(RunLogError, match="locked by another program"):
            import_runs(there, sent)
    assert contents(there.run_log) == before
