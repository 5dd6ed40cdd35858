"""Runs that are forked, that crash, and that meet a bad day: they go on as if nothing had been."""

import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import curves, queue_small, stop_when

from trainer.checkpoint import read_checkpoint
from trainer.checkpoint_files import checkpoint_path, checkpoints, step_of
from trainer.config import child_config
from trainer.execute import execute
from trainer.model import FASAMaskRCNN
from trainer.run_log.commands import queue_run, requeue_run, send_command
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.runs_folder import RunsFolder

pytestmark = pytest.mark.slow


def _run(folder: RunsFolder, run_id: int) -> Run:
    with RunLogReader(folder.run_log) as reader:
        return reader.run(run_id)


def _per_epoch(folder: RunsFolder, run_id: int) -> int:
    return _run(folder, run_id).step // 3


def _fork(folder: RunsFolder, parent: int, *, epochs_done: int, **edits: Any) -> int:
    """Queue a fork and bring its checkpoint, as the supervisor does."""
    run = _run(folder, parent)
    step = epochs_done * _per_epoch(folder, parent)
    config = child_config(run.config, edits, fork=True)
    fork = queue_run(
        folder.run_log, name="fork", config=config.model_dump(mode="json"), dataset=run.dataset,
        parent_run=parent, parent_epoch=epochs_done, parent_step=step,
    )  # fmt: skip
    folder.checkpoints(fork).mkdir(parents=True)
    shutil.copy(
        checkpoint_path(folder.checkpoints(parent), step),
        checkpoint_path(folder.checkpoints(fork), step),
    )
    return fork


def test_a_fork_without_edits_becomes_its_parent(folder: RunsFolder, finished: int) -> None:
    fork = _fork(folder, finished, epochs_done=2)
    assert execute(folder, fork) == "finished"
    knobs_noted_at_the_fork = [row for row in curves(folder, fork) if row[0].startswith("knob/")]
    mine = [row for row in curves(folder, fork) if not row[0].startswith("knob/")]
    parents = [row for row in curves(folder, finished) if not row[0].startswith("knob/")]
    assert mine == parents
    assert len(knobs_noted_at_the_fork) == 10  # at the start and at the fork
    with RunLogReader(folder.run_log) as reader:
        events = reader.events(fork)
        assert [event.kind for event in events] == ["fork"]
        assert events[0].text == f"fork of run {finished} after 2 epochs"
        (attempt,) = reader.attempts(fork)
    assert attempt.from_step == 2 * _per_epoch(folder, finished)


def test_what_if_alpha_had_been_another_from_there_on(folder: RunsFolder, finished: int) -> None:
    fork = _fork(folder, finished, epochs_done=1, alpha=2.0)
    assert execute(folder, fork) == "finished"
    per_epoch = _per_epoch(folder, finished)
    with RunLogReader(folder.run_log) as reader:
        alphas = [(row.step, row.value) for row in reader.scalars(fork, ["knob/alpha"])]
        factors = {row.factor for row in reader.adaptations(fork) if row.epoch >= 1}
    assert alphas == [(0, 1.1), (per_epoch, 2.0)]
    assert 1.1 not in factors
    before = [row for row in curves(folder, fork, until=per_epoch) if row[0] != "knob/alpha"]
    parents = [row for row in curves(folder, finished, until=per_epoch) if row[0] != "knob/alpha"]
    assert [row for row in before if "knob/" not in row[0]] == [
        row for row in parents if "knob/" not in row[0]
    ]


def test_a_fork_may_go_without_fasa_or_with_it(folder: RunsFolder, finished: int) -> None:
    without = _fork(folder, finished, epochs_done=2, fasa=False)
    assert execute(folder, without) == "finished"
    with RunLogReader(folder.run_log) as reader:
        virtual = [row.step for row in reader.scalars(without, ["loss/virtual"])]
    assert max(virtual) == 2 * _per_epoch(folder, finished)
    again = _fork(folder, without, epochs_done=3, fasa=True, epochs=4)
    assert execute(folder, again) == "finished"


def test_a_fork_outlives_its_parent_and_a_kill(folder: RunsFolder, finished: int) -> None:
    fork = _fork(folder, finished, epochs_done=2, virtual_loss_weight=0.5)
    stop_when(folder, fork, lambda run: run.step > 2 * _per_epoch(folder, finished))
    origin = read_checkpoint(checkpoints(folder.checkpoints(fork))[0])
    assert origin["uid"] == _run(folder, fork).uid  # no longer the parent's
    before = curves(folder, fork, until=2 * _per_epoch(folder, finished))
    requeue_run(folder.run_log, fork)
    assert execute(folder, fork) == "finished"
    assert curves(folder, fork, until=2 * _per_epoch(folder, finished)) == before
    with RunLogReader(folder.run_log) as reader:
        assert [event.kind for event in reader.events(fork)].count("fork") == 1


def test_a_fork_with_nothing_left_to_do_says_so(folder: RunsFolder, finished: int) -> None:
    fork = _fork(folder, finished, epochs_done=3)
    with pytest.raises(ValueError, match="its epochs is 3: give it more"):
        execute(folder, fork)
    assert _run(folder, fork).status == "failed"


def test_a_fork_whose_checkpoint_is_gone_says_so(folder: RunsFolder, finished: int) -> None:
    fork = _fork(folder, finished, epochs_done=2)
    shutil.rmtree(folder.run(fork))
    with pytest.raises(ValueError, match=r"checkpoint at step \d+ it begins from is not there"):
        execute(folder, fork)
    assert "Traceback" not in str(_run(folder, fork).error)


def test_a_checkpoint_cut_short_is_passed_over(folder: RunsFolder, finished: int) -> None:
    run_id = queue_small(folder)
    per_epoch = _per_epoch(folder, finished)
    stop_when(folder, run_id, lambda run: run.step > 2 * per_epoch)
    for file in checkpoints(folder.checkpoints(run_id)):
        if step_of(file) >= 2 * per_epoch:
            file.write_bytes(file.read_bytes()[:-100])
    requeue_run(folder.run_log, run_id)
    assert execute(folder, run_id) == "finished"
    assert curves(folder, run_id) == curves(folder, finished)
    with RunLogReader(folder.run_log) as reader:
        starts = [attempt.from_step for attempt in reader.attempts(run_id)]
        assert starts == [0, per_epoch]
        assert [a.status for a in reader.attempts(run_id)] == ["stopped", "finished"]


def test_snapshots_of_features_leave_no_trace_in_the_training(
    folder: RunsFolder, finished: int
) -> None:
    run_id = queue_small(folder)
    send_command(folder.run_log, run_id, "snapshot_features", {})
    per_epoch = _per_epoch(folder, finished)
    stop_when(folder, run_id, lambda run: run.step > per_epoch)
    with RunLogReader(folder.run_log) as reader:
        stopped_at = reader.run(run_id).step
    requeue_run(folder.run_log, run_id)
    send_command(folder.run_log, run_id, "snapshot_features", {})
    assert execute(folder, run_id) == "finished"
    assert curves(folder, run_id) == curves(folder, finished)
    with RunLogReader(folder.run_log) as reader:
        heads = reader.features.heads(run_id)
        objects = reader.features.objects(run_id)
    # Asked for at the start and after the stop; the others end an epoch.
    asked = [heads[0], heads[2]]
    assert [head.step for head in asked] == [0, stopped_at]
    assert [head.num_virtual > 0 for head in asked] == [False, True]  # no prior yet, and one
    ends = [head.step for head in heads if head not in asked]
    assert (ends[0], ends[-1]) == (per_epoch, 3 * per_epoch)
    assert {row.class_index for row in objects} == set(range(6))
    assert all(head.num_objects == len(objects) for head in heads)


def _fail_at(monkeypatch: pytest.MonkeyPatch, step: int, error: Exception) -> None:
    """Let the model break in the training step after `step` others."""
    forward = FASAMaskRCNN.forward
    calls = [0]

    def broken(self: FASAMaskRCNN, images: Any, targets: Any = None) -> Any:
        calls[0] += targets is not None and self.training
        if calls[0] == step + 1:
            raise error
        return forward(self, images, targets)

    monkeypatch.setattr(FASAMaskRCNN, "forward", broken)


def test_an_exception_in_the_model_fails_the_run_which_can_go_on(
    folder: RunsFolder, finished: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = queue_small(folder)
    with monkeypatch.context() as patch:
        _fail_at(patch, _per_epoch(folder, finished) + 2, ZeroDivisionError("of the head"))
        with pytest.raises(ZeroDivisionError):
            execute(folder, run_id)
    run = _run(folder, run_id)
    assert run.status == "failed"
    assert "ZeroDivisionError: of the head" in str(run.error)
    requeue_run(folder.run_log, run_id)
    assert execute(folder, run_id) == "finished"
    assert curves(folder, run_id) == curves(folder, finished)


def test_a_gpu_without_memory_is_said_with_the_remedy(
    folder: RunsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = queue_small(folder)
    _fail_at(monkeypatch, 2, torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB\nmore"))
    with pytest.raises(RuntimeError, match=r"no memory left at step 2 on images \["):
        execute(folder, run_id)
    run = _run(folder, run_id)
    assert run.status == "failed"
    assert "lower batch_size or image_max_size (CUDA out of memory. Tried 2 GiB)" in str(run.error)


def test_a_clock_set_back_changes_nothing_but_times(
    folder: RunsFolder, finished: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = queue_small(folder)
    now = time.time
    started = time.monotonic()
    monkeypatch.setattr(
        time, "time", lambda: now() - (3600 if time.monotonic() > started + 1.5 else 0)
    )
    assert execute(folder, run_id) == "finished"
    assert curves(folder, run_id) == curves(folder, finished)


def test_a_full_disk_holds_the_run_until_there_is_room(
    folder: RunsFolder, finished: int, small_disk: Path
) -> None:
    there = RunsFolder(small_disk)
    run_id = queue_small(there)
    ballast = small_disk / "ballast"
    noticed: list[str] = []

    def fill_and_free() -> None:
        with RunLogReader(there.run_log) as reader:
            while reader.run(run_id).epoch < 1:
                time.sleep(0.01)
            with ballast.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(2**20))
                except OSError:
                    pass
            heartbeat = reader.run(run_id).step
            time.sleep(4)
            noticed.append(f"held at {reader.run(run_id).step} after {heartbeat}")
            ballast.unlink()

    thread = threading.Thread(target=fill_and_free)
    thread.start()
    assert execute(there, run_id) == "finished"
    thread.join()
    assert noticed
    assert curves(there, run_id) == curves(folder, finished)
