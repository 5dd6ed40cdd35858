"""Whole runs of several real processes: they take commands, end, are killed, and go on."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
import torch
from rank_processes import execute_run, run_ranks, start_ranks
from small_runs import curves, queue_small
from supervised_runs import ROOT, is_gone, until

from trainer.checkpoint import read_checkpoint
from trainer.checkpoint_files import checkpoints
from trainer.run_log.commands import requeue_run, send_command
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.runs_folder import RunsFolder

pytestmark = pytest.mark.slow
PATIENCE = 120.0
TWO = {"processes": 2, "epochs": 2, "threads": 2, "gallery_images": 4}


def _run(folder: RunsFolder, run_id: int) -> Run:
    with RunLogReader(folder.run_log) as reader:
        return reader.run(run_id)


def _newest(folder: RunsFolder, run_id: int) -> dict[str, Any]:
    return read_checkpoint(checkpoints(folder.checkpoints(run_id))[-1])


def _execute(folder: RunsFolder, run_id: int, *, world: int = 2) -> None:
    run_ranks(world, execute_run, folder.root, run_id)


@pytest.fixture(scope="module")
def whole(folder: RunsFolder) -> int:
    """A run of two ranks that nobody disturbed."""
    run_id = queue_small(folder, **TWO)
    send_command(folder.run_log, run_id, "set", {"alpha": 1.3})
    _execute(folder, run_id)
    return run_id


@pytest.fixture(scope="module")
def stopped(folder: RunsFolder, whole: int) -> Callable[[], int]:
    """Makes a run like it that was paused, resumed and stopped in its second epoch."""

    def make() -> int:
        run_id = queue_small(folder, **TWO)
        send_command(folder.run_log, run_id, "set", {"alpha": 1.3})
        processes = start_ranks(2, execute_run, folder.root, run_id)
        half = _run(folder, whole).step // 2
        until(lambda: _run(folder, run_id).step > half, seconds=PATIENCE)
        send_command(folder.run_log, run_id, "pause")
        until(lambda: _run(folder, run_id).status == "paused", seconds=PATIENCE)
        send_command(folder.run_log, run_id, "stop")
        for process in processes:
            process.join(PATIENCE)
        assert [process.exitcode for process in processes] == [0, 0]
        return run_id

    return make


def test_both_ranks_end_and_the_first_one_alone_writes(folder: RunsFolder, whole: int) -> None:
    run = _run(folder, whole)
    assert (run.status, run.step, run.error) == ("finished", run.total_steps, None)
    with RunLogReader(folder.run_log) as reader:
        losses = [row.step for row in reader.scalars(whole, ["loss/total"])]
        assert losses == list(range(1, run.step + 1))
        assert len(reader.attempts(whole)) == 1
        assert {"segm/AP", "images_per_second"} <= set(reader.scalar_names(whole))
        drawn = reader.class_vectors(whole, "virtual_features").values[-1]
        observed = reader.class_vectors(whole, "observed_rois").values[-1]
    state = _newest(folder, whole)
    assert len(state["ranks"]) == 2
    prior = "roi_heads.box.fasa.prior.n_seen"
    name = next(name for name in state["model"] if name.endswith(prior.split(".", 2)[-1]))
    # The prior saw what both ranks did: as many RoIs as the statistics count.
    assert state["model"][name].tolist() == observed.tolist()
    assert drawn.sum() > 0


def test_a_command_takes_hold_on_all_ranks(folder: RunsFolder, whole: int) -> None:
    """Each rank decides by its own knobs: with other ones the ranks would part."""
    with RunLogReader(folder.run_log) as reader:
        (command,) = reader.commands(whole)
    assert (command.applied_step, command.refusal) == (0, None)
    generators = [state["generators"][0] for state in _newest(folder, whole)["ranks"]]
    assert not torch.equal(*generators)


def test_two_ranks_go_on_bit_for_bit(
    folder: RunsFolder, whole: int, stopped: Callable[[], int]
) -> None:
    run_id = stopped()
    assert _run(folder, run_id).status == "stopped"
    requeue_run(folder.run_log, run_id)
    _execute(folder, run_id)
    assert _run(folder, run_id).status == "finished"
    assert curves(folder, run_id) == curves(folder, whole)


def test_a_run_goes_on_with_fewer_ranks_and_with_more(
    folder: RunsFolder, whole: int, stopped: Callable[[], int]
) -> None:
    run_id = stopped()
    before = _run(folder, run_id).step
    requeue_run(folder.run_log, run_id)
    send_command(folder.run_log, run_id, "stop")  # at its first moment, with a checkpoint
    _execute(folder, run_id, world=1)
    assert len(_newest(folder, run_id)["ranks"]) == 1
    assert curves(folder, run_id) == curves(folder, whole, until=before)
    requeue_run(folder.run_log, run_id)
    _execute(folder, run_id, world=2)
    assert _run(folder, run_id).status == "finished"
    assert len(_newest(folder, run_id)["ranks"]) == 2
    steps = [step for name, step, _ in curves(folder, run_id) if name == "loss/total"]
    assert steps == list(range(1, _run(folder, run_id).step + 1))


# Deaths


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
        process.wait()


def _start(
    folder: RunsFolder, run_id: int, *before: str, started: list[subprocess.Popen[bytes]]
) -> psutil.Process:
    """The first rank of a run, once it trains."""
    command = [*before, "-m", "trainer", "execute", str(run_id), "--runs", str(folder.root)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    console = (folder.root / "console").open("wb")
    started.append(
        subprocess.Popen(command, env=environment, cwd=ROOT, stdout=console, stderr=console)
    )
    until(lambda: _run(folder, run_id).step > 0, seconds=PATIENCE)
    return psutil.Process(_run(folder, run_id).process_id or 0)


def _rank(number: int, of: int) -> psutil.Process:
    """A rank among the descendants of a process."""
    for child in psutil.Process(of).children(recursive=True):
        if child.environ().get("RANK") == str(number) and "trainer" in child.cmdline():
            return child
    raise AssertionError(f"there is no rank {number}")


def test_a_killed_rank_ends_the_run_as_crashed(
    folder: RunsFolder, started: list[subprocess.Popen[bytes]]
) -> None:
    run_id = queue_small(folder, **TWO | {"epochs": 50})
    first = _start(folder, run_id, sys.executable, started=started)
    second = _rank(1, first.pid)
    second.kill()
    until(lambda: _run(folder, run_id).status == "crashed", seconds=PATIENCE)
    error = _run(folder, run_id).error or ""
    assert error.startswith(f"Rank 1 (process {second.pid} on ")
    assert "was ended by signal SIGKILL" in error
    assert started[0].wait(PATIENCE) == 1
    assert is_gone(second)


def test_torchrun_starts_a_run_and_a_killed_rank_ends_it(
    folder: RunsFolder, started: list[subprocess.Popen[bytes]]
) -> None:
    """torchrun ends the other rank by SIGTERM then, which is no word of a person."""
    run_id = queue_small(folder, **TWO | {"epochs": 50})
    logs = f"--log-dir={folder.root / 'torchrun'}"  # it leaves them where they are
    torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node=2", logs)
    first = _start(folder, run_id, sys.executable, "-m", *torchrun, started=started)
    second = _rank(1, started[0].pid)
    assert first.pid == _rank(0, started[0].pid).pid
    second.kill()
    assert started[0].wait(PATIENCE) != 0
    run = _run(folder, run_id)
    assert run.status == "crashed"
    assert f"Rank 1 (process {second.pid} on " in (run.error or "")
    assert is_gone(first)


def test_the_death_of_the_first_rank_takes_the_others_along(folder: RunsFolder) -> None:
    run_id = queue_small(folder, **TWO | {"epochs": 50})
    first, second = start_ranks(2, execute_run, folder.root, run_id)
    until(lambda: _run(folder, run_id).step > 0, seconds=PATIENCE)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    second.join(PATIENCE)
    assert second.exitcode == 1
    assert _run(folder, run_id).status == "running"  # its supervisor marks it


def test_the_first_rank_works_alone_and_sigterm_to_another_ends_the_run_with_a_checkpoint(
    folder: RunsFolder,
) -> None:
    """A checkpoint and a snapshot on command, for which the others wait."""
    run_id = queue_small(folder, **TWO | {"epochs": 50})
    send_command(folder.run_log, run_id, "checkpoint")
    send_command(folder.run_log, run_id, "snapshot_features")
    first, second = start_ranks(2, execute_run, folder.root, run_id)
    until(lambda: _run(folder, run_id).step > 0, seconds=PATIENCE)
    with RunLogReader(folder.run_log) as reader:
        assert [command.applied_step for command in reader.commands(run_id)] == [0, 0]
        assert [row.step for row in reader.checkpoints(run_id)] == [0]
        assert [row.step for row in reader.features.heads(run_id)] == [0]
    assert second.pid is not None
    os.kill(second.pid, signal.SIGTERM)
    for process in (first, second):
        process.join(PATIENCE)
    assert _run(folder, run_id).status == "interrupted"
    assert _newest(folder, run_id)["progress"]["step"] == _run(folder, run_id).step
