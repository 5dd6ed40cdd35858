"""Checkpoint files: all of it or nothing, and never believed when damaged."""

from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.checkpoint import (
    CheckpointError,
    DiskFullError,
    random_state,
    read_checkpoint,
    remove_temporary,
    set_random_state,
    write_checkpoint,
)
from trainer.checkpoint_files import checkpoint_path, checkpoints, step_of


def _state(step: int, numbers: int = 4) -> dict[str, Any]:
    return {"progress": {"step": step}, "model": {"weight": torch.arange(numbers)}}


def _write(folder: Path, step: int) -> Path:
    path = checkpoint_path(folder, step)
    write_checkpoint(path, _state(step))
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path / "new" / "checkpoints", 12)
    size = write_checkpoint(path, _state(12))
    assert (path.name, step_of(path)) == ("step-00000012.pt", 12)
    assert path.stat().st_size == size
    state = read_checkpoint(path)
    assert state["progress"] == {"step": 12}
    assert torch.equal(state["model"]["weight"], torch.arange(4))


def test_files_are_listed_by_step(tmp_path: Path) -> None:
    for step in (300, 1, 20):
        _write(tmp_path, step)
    assert [step_of(path) for path in checkpoints(tmp_path)] == [1, 20, 300]
    assert checkpoints(tmp_path / "missing") == []


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_file_cut_short_says_so(tmp_path: Path, share: float) -> None:
    path = _write(tmp_path, 1)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"cannot be read \(.*\): use an older one"):
        read_checkpoint(path)


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path, 1)
    write_checkpoint(path, _state(1, numbers=10_000))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # in the middle of the tensor
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(path)


class _RunsCode:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("ran"),))


def test_code_in_a_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = checkpoint_path(tmp_path, 1)
    torch.save({"progress": {"step": 1}, "model": _RunsCode()}, path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(path)
    assert not Path("ran").exists()


def test_a_full_disk_leaves_the_last_checkpoint(tiny_disk: Path) -> None:
    _write(tiny_disk, 1)
    with pytest.raises(DiskFullError, match="free space"):
        write_checkpoint(checkpoint_path(tiny_disk, 2), _state(2, numbers=500_000))  # 4 MB
    assert [step_of(path) for path in checkpoints(tiny_disk)] == [1]
    assert not list(tiny_disk.glob("*.tmp"))


def test_a_read_only_folder_is_no_full_disk(read_only_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="make its folder writable") as caught:
        write_checkpoint(checkpoint_path(read_only_folder, 1), _state(1))
    assert not isinstance(caught.value, DiskFullError)


def test_what_a_killed_process_was_writing_is_cleared_away(tmp_path: Path) -> None:
    path = _write(tmp_path, 1)
    (tmp_path / "step-00000002.tmp").write_bytes(b"half a file")
    assert [step_of(file) for file in checkpoints(tmp_path)] == [1]
    remove_temporary(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_random_numbers_go_on_where_they_were() -> None:
    state = random_state()
    first = torch.rand(5)
    set_random_state(state)
    assert torch.equal(torch.rand(5), first)
