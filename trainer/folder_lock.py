"""One supervisor and one projector a runs folder: locks that go with the process."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import BinaryIO

SUPERVISOR, PROJECTOR = "supervisor", "projector"
# Somebody who only asks holds the lock for a moment too.
_PATIENCE_SECONDS = 0.5
_RETRY_SECONDS = 0.02


class SupervisorError(ValueError):
    """Nobody can look after a folder now; the message is one sentence with the remedy."""


def lock_folder(folder: Path, owner: str = SUPERVISOR) -> BinaryIO:
    """Take the folder; it is free again when the file is closed or the process is gone.

    Args:
        folder: made when missing.
        owner: what takes it; there can be one of each.

    Raises:
        SupervisorError: it is taken, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / f"{owner}.lock").open("a+b")
    except OSError as error:
        raise SupervisorError(
            f"The runs folder {folder} cannot be written ({error.strerror}): make it writable, or "
            "choose another one with --runs."
        ) from error
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not _locked(file, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            process = _owner(file) or "of unknown id"
            file.close()
            raise SupervisorError(
                f"The runs folder {folder} already has a {owner} (process {process}): stop that "
                "one first, or choose another folder with --runs."
            )
        time.sleep(_RETRY_SECONDS)
    file.truncate(0)
    file.write(str(os.getpid()).encode("ascii"))
    file.flush()
    return file


def has_supervisor(folder: Path) -> bool:
    """Whether a supervisor looks after the folder now."""
    try:
        with (folder / f"{SUPERVISOR}.lock").open("rb") as file:
            return not _locked(file, fcntl.LOCK_SH)
    except OSError:
        return False


def _locked(file: BinaryIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(file: BinaryIO) -> str:
    file.seek(0)
    return file.read(20).decode("ascii", "replace")
