"""Which checkpoints of a run are kept, and which one it goes on from.

No checkpoint is ever newer than the run log: what the log has is committed and synced first, and
the checkpoint notes how far that is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.checkpoint import (
    CheckpointError,
    DiskFullError,
    read_checkpoint,
    remove_temporary,
    write_checkpoint,
)
from trainer.checkpoint_files import checkpoint_path, checkpoints, step_of
from trainer.config import RunConfig
from trainer.console import Console
from trainer.run_log.rows import CheckpointRow, Run
from trainer.run_log.writer import RunLogWriter

_FLUSH_SECONDS = 1.0  # between two looks at commands and signals while the run log is locked
_RETRY_SECONDS = 2.0  # between two tries while the disk is full

Wait = Callable[[str], None]


class CheckpointKeeper:
    """Keeps the newest checkpoints of one run, and one every few epochs.

    Args:
        folder: for the files.
        run: whose they are.
        config: says how many are kept.
        writer: of the run; the run log lists what is kept.
        console: for what a person should know.
    """

    def __init__(
        self,
        folder: Path,
        *,
        run: Run,
        config: RunConfig,
        writer: RunLogWriter,
        console: Console,
    ) -> None:
        self._folder = folder
        self._run = run
        self._newest = config.keep_checkpoints
        self._every = config.keep_every
        self._writer = writer
        self._console = console
        self._ends_of_epochs: dict[int, int] = {}  # step -> epochs done, where none is at work
        remove_temporary(folder)

    def newest(self) -> dict[str, Any] | None:
        """The newest whole checkpoint, or None without any; damaged ones are said and passed over.

        Raises:
            CheckpointError: there are files but none can be used.
        """
        files = checkpoints(self._folder)
        for file in reversed(files):
            try:
                state = read_checkpoint(file)
            except CheckpointError as error:
                self._console.say(str(error))
                continue
            self._refuse_foreign(state, file)
            return state
        if files:
            raise CheckpointError(
                f"none of the {len(files)} checkpoints in {self._folder} can be read: restart the "
                "run, or put back a copy of one"
            )
        return None

    def is_origin(self, state: dict[str, Any]) -> bool:
        """Whether a checkpoint is the parent's, from which this run was forked."""
        return bool(state["uid"] != self._run.uid)

    def take_over(self, state: dict[str, Any], listed: Sequence[CheckpointRow]) -> None:
        """Go on from `state`, and make files and run log agree on what is kept.

        Files of later steps are damaged and cleared away; a process killed between a file and its
        row may have left one without the other.

        Args:
            state: from `newest`.
            listed: what the run log says is kept.
        """
        progress = state["progress"]
        for file in checkpoints(self._folder):
            if step_of(file) > progress["step"]:
                file.unlink()
        kept = {step_of(file) for file in checkpoints(self._folder)}
        for row in listed:
            if row.step not in kept:
                self._writer.checkpoint_removed(step=row.step)
            elif row.batch == 0:
                self._ends_of_epochs[row.step] = row.epoch
        if progress["step"] not in {row.step for row in listed}:
            size = checkpoint_path(self._folder, progress["step"]).stat().st_size
            self._list(progress, size)

    def save(self, content: Callable[[], dict[str, Any]], *, wait: Wait) -> None:
        """Write a checkpoint and drop those that are kept no longer.

        Args:
            content: gives what to keep, with "progress": step, epoch, batch. Asked only when the
                run log is stored, so that the two agree whatever happened in a wait.
            wait: called about once a second with the reason while the disk is full or the run log
                locked; it ends the wait by raising.

        Raises:
            CheckpointError: the folder cannot be written at all.
        """
        while not self._writer.flush(_FLUSH_SECONDS):
            wait(self._writer.problem or "the run log takes long to store the last rows")
        log = self._writer.position()
        state = {**content(), "uid": self._run.uid, "log": log}
        progress = state["progress"]
        path = checkpoint_path(self._folder, progress["step"])
        size = self._write(path, state, wait)
        self._list(progress, size)
        self._drop_old()

    def _list(self, progress: Mapping[str, int], size: int) -> None:
        if progress["batch"] == 0:
            self._ends_of_epochs[progress["step"]] = progress["epoch"]
        self._writer.checkpoint_kept(
            step=progress["step"], epoch=progress["epoch"], batch=progress["batch"], size=size
        )

    def _write(self, path: Path, state: dict[str, Any], wait: Wait) -> int:
        while True:
            try:
                return write_checkpoint(path, state)
            except DiskFullError as error:
                wait(str(error))
                time.sleep(_RETRY_SECONDS)

    def _drop_old(self) -> None:
        for file in checkpoints(self._folder)[: -self._newest]:
            epochs = self._ends_of_epochs.get(step_of(file), 0)
            if not (self._every and epochs and epochs % self._every == 0):
                file.unlink()
                self._writer.checkpoint_removed(step=step_of(file))

    def _refuse_foreign(self, state: dict[str, Any], file: Path) -> None:
        is_forks_first = state["progress"]["step"] == self._run.parent_step
        if state["uid"] != self._run.uid and not is_forks_first:
            raise CheckpointError(
                f"checkpoint {file} belongs to another run that had the same number, of a run log "
                f"that is gone: move the folder {self._folder.parent} away"
            )
