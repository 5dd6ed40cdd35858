"""The projector: a process of its own that turns feature snapshots into pictures and measures.

It reads the run log and writes pictures into it, nothing else. It runs at the lowest priority and
on one thread, and never loads torch. Killing it harms no one: the picture it was at is marked
failed by the next one, and not tried again, as it may be what killed it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from trainer.background import step_back
from trainer.folder_lock import PROJECTOR, SupervisorError, lock_folder
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import RunLogError
from trainer.runs_folder import RunsFolder, default_runs_folder

if TYPE_CHECKING:
    from trainer.projector_work import Projector

_BAD_INPUT = 2
_INTERRUPTED = 130
_LOOK_SECONDS = 0.2  # between two looks whether to stop


def run_projector(folder: RunsFolder, *, once: bool, parent: int | None = None) -> int:
    """Make pictures until SIGTERM or Ctrl-C, or until there is none left to make.

    Stopped amid a picture it takes that back and ends the process, without returning.

    Args:
        folder: whose run log.
        once: stop when nothing is left, and say what is made.
        parent: a process; without it this one ends too.

    Returns:
        the exit code.

    Raises:
        SupervisorError: another projector has the folder, or it cannot be written.
        RunLogError: ``once`` was asked for, and the run log cannot be used.
        ValueError: the environment asks for a priority that there is not.
    """
    stop = _Stop()
    if once:
        RunLogReader(folder.run_log).close()  # before anything is made in a folder that has none
    with lock_folder(folder.root, PROJECTOR):
        step_back()
        pictures = _Pictures(folder.run_log, once=once)
        pictures.start()
        while pictures.is_alive() and not stop.asked and parent in (None, os.getppid()):
            pictures.join(_LOOK_SECONDS)
        if pictures.is_alive():
            pictures.take_back()
            sys.stdout.flush()
            # Not by leaving the interpreter: that would wait for a library, or pull it from under.
            os._exit(_INTERRUPTED if once else 0)
        if pictures.error is not None:
            raise pictures.error
    return 0


class _Stop:
    """SIGTERM and Ctrl-C from now on: whether one came."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


class _Pictures(threading.Thread):
    """Makes the pictures, in a thread that no signal raises in.

    An exception raised in a callback of numba's compiler is lost there, or ends the process with a
    segmentation fault.

    Args:
        run_log: need not be there yet.
        once: stop when nothing is left.

    Attributes:
        error: that ended it.
    """

    def __init__(self, run_log: Path, *, once: bool) -> None:
        super().__init__(name="pictures", daemon=True)
        self.error: BaseException | None = None
        self._run_log = run_log
        self._once = once
        self._projector: Projector | None = None

    def run(self) -> None:
        """Until an error, or until nothing is left."""
        try:
            # Heavy libraries, at the lowest priority.
            from trainer.projector_work import Projector

            self._projector = Projector(self._run_log)
            if self._once:
                self._projector.work_off()
            else:
                self._projector.run_forever()
        except BaseException as error:  # raised again in the main thread
            self.error = error

    def take_back(self) -> None:
        """Begin no other picture, and leave the one that is being made to another projector."""
        if self._projector is not None:
            self._projector.take_back()


def main() -> int:
    """Run by `fasa up`; a person uses `fasa project`."""
    parser = argparse.ArgumentParser(prog="python -m trainer.projector", description=__doc__)
    parser.add_argument("--runs", type=Path, default=default_runs_folder(), metavar="FOLDER")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this process is gone")
    given = parser.parse_args()
    if given.parent is not None and os.getppid() != given.parent:
        return 0
    try:
        return run_projector(RunsFolder(given.runs), once=False, parent=given.parent)
    except (SupervisorError, RunLogError, ValueError, OSError) as error:
        print(f"projector: {error}", file=sys.stderr)
        return _BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
