"""Where everything a person's runs leave behind lies: one folder, no other place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunsFolder:
    """The runs folder and what is where in it."""

    root: Path

    @property
    def run_log(self) -> Path:
        """The SQLite file all processes share."""
        return self.root / "fasa.sqlite"

    @property
    def datasets(self) -> Path:
        """Data sets made here, such as the demo."""
        return self.root / "datasets"

    def run(self, run_id: int) -> Path:
        """What belongs to one run alone."""
        return self.root / f"run-{run_id}"

    def checkpoints(self, run_id: int) -> Path:
        """Its checkpoints."""
        return self.run(run_id) / "checkpoints"


def default_runs_folder() -> Path:
    """`FASA_RUNS`, or `runs` in the current folder."""
    return Path(os.environ.get("FASA_RUNS", "runs"))
