"""The projector as a process of its own, seen from the supervisor's side."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress

from trainer.run_log.projections import abandon_running
from trainer.run_log.schema import RunLogError
from trainer.runs_folder import RunsFolder

_MODULE = "trainer.projector"
_STOP_SECONDS = 3.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds before it is started again
_STEADY_SECONDS = 300.0  # who lived so long starts with the first pause again


class ProjectorProcess:
    """A running projector, started again whenever it ends. It ends with this process.

    It leads a session of its own: so Ctrl-C is for its supervisor alone, which then ends it, and
    on Linux its low priority counts against the trainers too.

    Args:
        folder: runs whose feature snapshots it projects.
    """

    def __init__(self, folder: RunsFolder) -> None:
        self._run_log = folder.run_log
        self._command = [sys.executable, "-m", _MODULE, f"--runs={folder.root.absolute()}"]
        self._command.append(f"--parent={os.getpid()}")
        self._ending = threading.Event()
        self._starting = threading.Lock()
        self._process = self._start()
        threading.Thread(target=self._keep_alive, name="projector", daemon=True).start()

    def end(self) -> None:
        """Ask it to end, and do not wait."""
        self._ending.set()
        with self._starting:
            self._process.terminate()

    def wait(self) -> None:
        """Until it has ended; one that does not listen is killed."""
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            # It died of this and not of its picture. Else the next one marks it failed.
            with suppress(RunLogError):
                abandon_running(self._run_log)

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdin=subprocess.DEVNULL, start_new_session=True)

    def _keep_alive(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            started = time.monotonic()
            code = self._process.wait()
            if time.monotonic() - started > _STEADY_SECONDS:
                pause = _FIRST_PAUSE
            if self._ending.is_set():
                return
            if pause == _FIRST_PAUSE:
                print(
                    f"the projector ended (exit code {code}) and is started again; the trainers "
                    "go on, and a picture it was at is lost",
                    flush=True,
                )
            if self._ending.wait(pause):
                return
            pause = min(2 * pause, _LONGEST_PAUSE)
            with self._starting:
                if self._ending.is_set():
                    return
                self._process = self._start()
