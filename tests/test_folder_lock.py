"""One supervisor a folder, told apart from those that only ask; real processes hold the lock."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from trainer.folder_lock import SupervisorError, has_supervisor, lock_folder

HOLDER = """
import sys, pathlib
from trainer.folder_lock import lock_folder
file = lock_folder(pathlib.Path(sys.argv[1]))
print("locked", flush=True)
input()
"""


def test_it_goes_with_the_process_that_holds_it(tmp_path: Path) -> None:
    assert not has_supervisor(tmp_path)
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        assert has_supervisor(tmp_path)
        with pytest.raises(SupervisorError, match=rf"a supervisor \(process {holder.pid}\)"):
            lock_folder(tmp_path)
        holder.kill()
        holder.wait()
    assert not has_supervisor(tmp_path)
    lock_folder(tmp_path).close()


def test_asking_never_keeps_a_supervisor_out(tmp_path: Path) -> None:
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            has_supervisor(tmp_path)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(200):
            lock_folder(tmp_path).close()
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_a_folder_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert not has_supervisor(tmp_path / "none")
    assert not (tmp_path / "none").exists()
