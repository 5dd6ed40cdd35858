"""What benchmarks printed, kept beside them with the hardware named."""

from __future__ import annotations

import io
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import torch

FOLDER = Path(__file__).with_name("results")


def hardware(device: torch.device) -> str:
    """What `device` is: so many cores, or a GPU by its name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{os.cpu_count()} {platform.machine().replace('_', '-')} cores"


def keep(name: str, text: str, *, device: torch.device) -> Path:
    """Write `text` to a file for this benchmark and this hardware, over what it held before.

    Args:
        name: of the benchmark, and of its variant where it has some.
        text: what it printed.
        device: it ran on.
    """
    machine = hardware(device)
    path = FOLDER / f"{name}.{re.sub('[^a-z0-9]+', '-', machine.lower()).strip('-')}.txt"
    FOLDER.mkdir(exist_ok=True)
    module = Path(sys.argv[0]).stem
    command = " ".join(["python -m", f"benchmarks.{module}", *sys.argv[1:]])
    path.write_text(f"$ {command}\n{machine}, torch {torch.__version__}\n\n{text.strip()}\n")
    return path


@contextmanager
def keeping(name: str, *, device: torch.device) -> Iterator[None]:
    """Keep what is printed within, as `keep` does, if nothing goes wrong."""
    printed = _Printed()
    with redirect_stdout(printed):
        yield
    keep(name, printed.getvalue(), device=device)


class _Printed(io.StringIO):
    """Remembers what is printed."""

    def write(self, text: str) -> int:
        sys.__stdout__.write(text)
        return super().write(text)
