"""Checkpoints: atomic, bounded in number, and exact."""

from pathlib import Path

import pytest
import torch
from torch import nn

from trainer.checkpoint import CheckpointError, checkpoints, load_checkpoint, save_checkpoint


def _training(seed: int) -> tuple[nn.Module, list[torch.optim.Optimizer]]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    return model, [torch.optim.AdamW(model.parameters(), lr=0.1)]


def _step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.randn(8, 4)).square().mean().backward()
    optimizer.step()


def _save(folder: Path, model: nn.Module, optimizers: list, step: int, keep: int = 9) -> Path:
    return save_checkpoint(
        folder, model=model, optimizers=optimizers, progress={"step": step}, keep=keep
    )


def test_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    model, optimizers = _training(0)
    _step(model, optimizers[0])
    path = _save(tmp_path, model, optimizers, 1)
    for _ in range(3):
        _step(model, optimizers[0])

    other, other_optimizers = _training(7)
    assert load_checkpoint(path, model=other, optimizers=other_optimizers) == {"step": 1}
    for _ in range(3):
        _step(other, other_optimizers[0])
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    model, optimizers = _training(0)
    for step in (1, 20, 300):
        _save(tmp_path, model, optimizers, step, keep=2)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000020.pt", "step-00000300.pt"]
    assert not list(tmp_path.glob("*.tmp"))


def test_a_damaged_file_says_so(tmp_path: Path) -> None:
    model, optimizers = _training(0)
    path = _save(tmp_path, model, optimizers, 1)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(path, model=model, optimizers=optimizers)


def test_another_model_is_refused(tmp_path: Path) -> None:
    model, optimizers = _training(0)
    path = _save(tmp_path, model, optimizers, 1)
    with pytest.raises(CheckpointError, match="does not fit"):
        load_checkpoint(path, model=nn.Linear(2, 2), optimizers=optimizers)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, tiny_disk: Path) -> None:
    model, optimizers = _training(0)
    _save(tiny_disk, model, optimizers, 1)
    big = nn.Linear(1000, 1000)  # 4 MB, more than the disk holds
    with pytest.raises(CheckpointError, match="free space"):
        _save(tiny_disk, big, [], 2)
    assert [path.name for path in checkpoints(tiny_disk)] == ["step-00000001.pt"]
    assert not list(tiny_disk.glob("*.tmp"))
