"""Where the pages and the live routes find the run log: one shared reader a file."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import FILE_NAME

RUNS_VARIABLE = "FASA_RUNS"  # names the folder of the runs; the server sets it for its pages


def run_log_path() -> Path:
    """The run log of this server: RUNS/fasa.sqlite, RUNS being ./runs unless the server says."""
    return Path(os.environ.get(RUNS_VARIABLE) or "runs") / FILE_NAME


class Source:
    """Opens the run log when it is first there and again when another file took its place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._reader: RunLogReader | None = None
        self._file: tuple[int, int] | None = None

    def reader(self) -> RunLogReader | None:
        """A reader, or None while there is no run log yet; may be called from any thread.

        Raises:
            RunLogError: there is a file but it cannot be read as a run log.
        """
        with self._lock:
            try:
                state = self.path.stat()
            except OSError:
                return None
            if self._reader is None or self._file != (state.st_dev, state.st_ino):
                self._reader = RunLogReader(self.path)
                self._file = (state.st_dev, state.st_ino)
            return self._reader


_sources: dict[Path, Source] = {}
_sources_lock = threading.Lock()


def source(path: Path | None = None) -> Source:
    """The shared `Source` of a path, by default of this server's run log."""
    key = (path or run_log_path()).absolute()
    with _sources_lock:
        return _sources.setdefault(key, Source(key))
