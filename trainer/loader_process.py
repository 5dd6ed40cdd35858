"""What a loader process begins with: plain warnings, and an end when the trainer's comes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.process import BaseProcess

from trainer.plain_warnings import show_plainly


def begin_loading(number: int) -> None:
    """Show warnings plainly, and end with the process that reads from this one, however it ends.

    A DataLoader's process looks whether its parent lives. That is the fork server, which lives as
    long as any process it forked: after a trainer was killed both would wait for ever and keep
    their memory.

    Args:
        number: of this loader process, which does not matter.
    """
    show_plainly()
    trainer = multiprocessing.parent_process()
    if trainer is not None:
        threading.Thread(target=_end_after, args=(trainer,), daemon=True).start()


def _end_after(trainer: BaseProcess) -> None:
    trainer.join()
    os._exit(1)
