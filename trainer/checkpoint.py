"""Checkpoint files: everything a run needs to go on bit for bit, in one file.

A file is written under a temporary name, synced to the disk and renamed, so that whatever is cut
short never has a checkpoint's name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import zipfile
from pathlib import Path
from typing import Any, Protocol

import torch

_TEMPORARY = ".tmp"


class Module(Protocol):
    """What a torch module has."""

    def state_dict(self) -> dict[str, Any]:
        """Everything to keep."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take it over."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be written or read, or does not belong to this run."""


class DiskFullError(CheckpointError):
    """There is no room for a checkpoint."""


def write_checkpoint(path: Path, state: dict[str, Any]) -> int:
    """Write `state` to `path`, all of it or nothing; returns its size in bytes.

    Raises:
        DiskFullError: one sentence, when there is no room.
        CheckpointError: one sentence, when the folder cannot be written.
    """
    temporary = path.with_suffix(_TEMPORARY)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        temporary.replace(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch wraps the system's error in its own
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        reason = str(cause).splitlines()[0]
        if getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"checkpoint {path} cannot be written ({reason}): free space on the disk"
            ) from None
        raise CheckpointError(
            f"checkpoint {path} cannot be written ({reason}): make its folder writable, and "
            "resume the run from the checkpoint before"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()  # half a file would help nobody
    return size


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What `write_checkpoint` stored, on the CPU. No code in the file is run.

    Raises:
        CheckpointError: one sentence, when the file is damaged or cut short.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch writes check sums but does not read them
            assert archive.testzip() is None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        int(state["progress"]["step"])
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(
            f"checkpoint {path} cannot be read ({type(error).__name__}): use an older one"
        ) from None
    return state


def remove_temporary(folder: Path) -> None:
    """Clear away what a killed process was writing."""
    for file in folder.glob(f"*{_TEMPORARY}"):
        file.unlink(missing_ok=True)


def random_state() -> dict[str, Any]:
    """torch's generators; torchvision's samplers of anchors and RoIs draw from them.

    Of the GPUs only this process's own counts, so that a run can go on where there are fewer. A run
    on the processor does not wake one up.
    """
    is_used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return {
        "cpu": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state()] if is_used else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put torch's generators back where `random_state` found them."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.set_rng_state(state["cuda"][0])


def _sync_folder(folder: Path) -> None:
    """Make the new name outlast a power cut, as the content does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
