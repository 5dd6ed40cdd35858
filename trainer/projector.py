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
from pathlib import Path
from types import FrameType

from trainer.background import step_back
from trainer.folder_lock import PROJECTOR, SupervisorError, lock_folder
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import RunLogError
from trainer.runs_folder import RunsFolder, default_runs_folder

_BAD_INPUT = 2
_INTERRUPTED = 130


def run_projector(folder: RunsFolder, *, once: bool, parent: int | None = None) -> int:
    """Make pictures until SIGTERM or Ctrl-C, or until there is none left to make.

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
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    if once:
        RunLogReader(folder.run_log).close()  # before anything is made in a folder that has none
    with lock_folder(folder.root, PROJECTOR):
        try:
            step_back()
            # Heavy libraries, at the lowest priority.
            from trainer.projector_work import Projector

            projector = Projector(folder.run_log)
            if once:
                projector.work_off()
            else:
                projector.run_forever(parent)
        except KeyboardInterrupt:
            return _INTERRUPTED if once else 0
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    # A second one would cut short what the first one ends.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


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
