"""The names of checkpoint files; what is in them is `trainer.checkpoint`'s. Loads no torch."""

from __future__ import annotations

from pathlib import Path


def checkpoint_path(folder: Path, step: int) -> Path:
    """The file of the checkpoint after `step` training steps."""
    return folder / f"step-{step:08d}.pt"


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoint files in a folder, oldest first."""
    return sorted(folder.glob("step-*.pt"))


def step_of(path: Path) -> int:
    """The training steps behind a checkpoint, from its file's name."""
    return int(path.stem.removeprefix("step-"))
