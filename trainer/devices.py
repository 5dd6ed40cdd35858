"""Which GPUs this machine has, found without torch, and which of them a process was given."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence

import psutil

CUDA_DEVICES = "CUDA_VISIBLE_DEVICES"
_ANSWER_SECONDS = 10.0  # a driver in trouble lets nvidia-smi hang
_GPU = re.compile(r"GPU \d+: .*\(UUID: (GPU-[\w-]+)\)")
_PART = re.compile(r"\s+MIG .*\(UUID: (MIG-[\w/-]+)\)")


def gpus() -> list[str]:
    """The GPUs that runs may use, as `CUDA_VISIBLE_DEVICES` names them; empty without one.

    What `CUDA_VISIBLE_DEVICES` says if it is set, else what `nvidia-smi` lists: the parts of a
    GPU that is divided (MIG), and GPUs that are not.
    """
    given = os.environ.get(CUDA_DEVICES)
    return _listed_by_the_driver() if given is None else _named(given)


def gpus_of(process: psutil.Process, among: Sequence[str], *, count: int) -> tuple[str, ...]:
    """The GPUs of `among` that a process and its ranks train on, as its environment has them.

    A process that nobody gave a GPU takes the first ones, as torch does.

    Args:
        process: a trainer.
        among: GPUs.
        count: how many it takes of those it sees.

    Returns:
        none when it uses none of them, or its environment cannot be read.
    """
    try:
        given = process.environ().get(CUDA_DEVICES)
    except psutil.Error:
        return ()
    taken = (list(among) if given is None else _named(given))[:count]
    return tuple(gpu for gpu in taken if gpu in among)


def least_used(among: Sequence[str], in_use: Iterable[str], *, count: int = 1) -> tuple[str, ...]:
    """So many of the GPUs with the fewest trainers on them, in their order; all if they are fewer.

    Of equals the first ones.
    """
    uses = Counter(in_use)
    chosen = sorted(among, key=lambda gpu: uses[gpu])[:count]
    return tuple(gpu for gpu in among if gpu in chosen)


def _named(value: str) -> list[str]:
    """The devices of a `CUDA_VISIBLE_DEVICES`; as for CUDA, the first that is none ends them."""
    names: list[str] = []
    for name in map(str.strip, value.split(",")):
        if not name or name == "-1" or name == "NoDevFiles":
            break
        names.append(name)
    return names


def _listed_by_the_driver() -> list[str]:
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=_ANSWER_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode != 0:
        return []
    found: list[str] = []
    whole = False  # whether the last one found is a GPU that is not divided, so far
    for line in done.stdout.splitlines():
        if gpu := _GPU.match(line):
            found.append(gpu[1])
            whole = True
        elif part := _PART.match(line):
            if whole:
                found.pop()
                whole = False
            found.append(part[1])
    return found
