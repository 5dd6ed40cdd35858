"""Checkpoints: everything a run needs to go on bit for bit, in one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import torch

_PATTERN = "step-*.pt"


class Module(Protocol):
    """What a torch module has."""

    def state_dict(self) -> dict[str, Any]:
        """Everything to keep."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take it over."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be written or read, or does not belong to this run."""


def save_checkpoint(
    folder: Path,
    *,
    model: Module,
    optimizers: list[torch.optim.Optimizer],
    progress: dict[str, Any],
    keep: int,
) -> Path:
    """Write `folder/step-<step>.pt` under a temporary name, then rename; drop the oldest.

    Args:
        folder: the run's checkpoint folder; made when missing.
        model: with FASA's buffers and generators in its state dict.
        optimizers: their state dicts are stored in this order.
        progress: plain values: at least "step", and where in its epoch the run is.
        keep: newest checkpoints kept.

    Raises:
        CheckpointError: one sentence, when the disk is full or cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{progress['step']:08d}.pt"
    temporary = path.with_suffix(".tmp")
    state = {
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "progress": progress,
        "random": random_state(),
    }
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # torch wraps the system's error in its own
        raise CheckpointError(
            f"checkpoint {path} cannot be written ({str(error).splitlines()[0]}): free space on "
            "the disk and resume the run from the one before"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)  # on a full disk half a file would help nobody
    for old in checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def checkpoints(folder: Path) -> list[Path]:
    """Kept checkpoints, oldest first."""
    return sorted(folder.glob(_PATTERN))


def load_checkpoint(
    path: Path, *, model: Module, optimizers: list[torch.optim.Optimizer]
) -> dict[str, Any]:
    """Restore model, optimizers and random numbers; returns the stored progress.

    Raises:
        CheckpointError: one sentence, when the file is damaged or of another model.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(
            f"checkpoint {path} cannot be read ({type(error).__name__}): use an older one"
        ) from None
    try:
        model.load_state_dict(state["model"])
        for optimizer, values in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(values)
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {path} does not fit this run's model: {str(error).splitlines()[0]}"
        ) from None
    set_random_state(state["random"])
    progress: dict[str, Any] = state["progress"]
    return progress


def random_state() -> dict[str, Any]:
    """torch's generators; torchvision's samplers of anchors and RoIs draw from them."""
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put torch's generators back where `random_state` found them."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
