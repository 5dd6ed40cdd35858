"""Real processes that train together, for tests: forked from one that has loaded torch already.

Each gets the environment that torchrun would give it.
"""

import contextlib
import io
import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

PATIENCE = 120.0

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["trainer.execute", "tests.rank_processes", "rank_processes"])


def start_ranks(world: int, work: Callable[..., None], *arguments: Any) -> list[BaseProcess]:
    """`work(*arguments)` in every rank; a rank whose work raises ends with exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    processes: list[BaseProcess] = []
    for rank in range(world):
        launched = {
            "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world,
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
        }  # fmt: skip
        processes.append(start_process(launched, work, *arguments))
    return processes


def start_process(
    environment: dict[str, Any], work: Callable[..., None], *arguments: Any
) -> BaseProcess:
    """`work(*arguments)` in a process with these variables added to its environment."""
    process = _context.Process(target=_process, args=(environment, work, arguments))
    process.start()
    return process


def run_ranks(world: int, work: Callable[..., None], *arguments: Any) -> None:
    """The same, to its end, which must be a good one in every rank."""
    processes = start_ranks(world, work, *arguments)
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [0] * world


def _process(environment: dict[str, Any], work: Callable[..., None], arguments: Any) -> None:
    os.environ.update({name: str(value) for name, value in environment.items()})
    torch.set_num_threads(1)
    try:
        work(*arguments)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def execute_run(root: Path, run_id: int) -> None:
    """`python -m trainer execute`, in this process."""
    from trainer.__main__ import main

    with contextlib.redirect_stdout(io.StringIO()):
        code = main(["execute", str(run_id), "--runs", str(root)])
    assert code == 0
