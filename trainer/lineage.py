"""A forked run goes on from a checkpoint of its parent: this brings the file to its folder."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from trainer.checkpoint_files import checkpoint_path, checkpoints
from trainer.run_log.rows import Run
from trainer.run_log.schema import QUEUED
from trainer.runs_folder import RunsFolder


class CheckpointMissing(ValueError):
    """The checkpoint a fork is to go on from is not there; the message is one sentence."""


def checkpoint_file(folder: RunsFolder, run_id: int, step: int) -> Path:
    """Where a run keeps its checkpoint after `step` training steps."""
    return checkpoint_path(folder.checkpoints(run_id), step)


def bring_checkpoint(folder: RunsFolder, run: Run) -> Path | None:
    """Give a forked run its parent's checkpoint, as a link: the file is on the disk once.

    Each of the two may drop its own name for it later. Across file systems it is a copy. A run
    that has a checkpoint of its own has gone on from there and is left alone.

    Returns:
        the checkpoint; None for a run that is no fork, or has one of its own.

    Raises:
        CheckpointMissing: the parent no longer has it.
        OSError: the folder cannot be written.
    """
    if run.parent_step is None or checkpoints(folder.checkpoints(run.id)):
        return None
    missing = (
        f"Run {run.id} was to go on from step {run.parent_step} of run {run.parent_run or '?'}, "
        "whose checkpoint is no longer there: fork from one that is kept."
    )
    if run.parent_run is None:
        raise CheckpointMissing(missing)
    source = checkpoint_file(folder, run.parent_run, run.parent_step)
    target = checkpoint_file(folder, run.id, run.parent_step)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        pass  # another process was as quick
    except FileNotFoundError:
        raise CheckpointMissing(missing) from None
    except OSError:  # another file system, or one without links
        _copy(source, target)
    return target


def bring_checkpoints(folder: RunsFolder, runs: Iterable[Run]) -> dict[int, str]:
    """`bring_checkpoint` for all queued runs among `runs`; returns run id -> why it failed."""
    failed = {}
    for run in runs:
        if run.status != QUEUED:
            continue
        try:
            bring_checkpoint(folder, run)
        except CheckpointMissing as error:
            failed[run.id] = str(error)
        except OSError as error:
            failed[run.id] = (
                f"The checkpoint of step {run.parent_step} of run {run.parent_run} cannot be put "
                f"into the folder of run {run.id} ({error.strerror}): free space on the disk, or "
                "make the folder writable, and resume the run."
            )
    return failed


def _copy(source: Path, target: Path) -> None:
    # No checkpoint's name until it is whole; one of its own for each process that may copy.
    part = target.with_suffix(f".{os.getpid()}.part")
    try:
        shutil.copyfile(source, part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
