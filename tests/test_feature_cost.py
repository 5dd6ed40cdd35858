"""What feature snapshots cost: measured, bounded, and in the run log. A clock moved by hand."""

from pathlib import Path

import pytest
import torch
from probe_builders import HOLDOUT, TRAIN, Bench, training_data

from trainer.feature_probe import PREPARATION, SECONDS, SHARE, SKIPPED


class Clock:
    """Stands still but for `pass_`."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float = 1.0) -> None:
        self.now += seconds


class Epochs:
    """Ends epochs of 10 s each whose snapshots take 4 s: a second for each of four batches."""

    def __init__(self, folder: Path, feature_share: float) -> None:
        data = training_data(folder / "data", TRAIN, HOLDOUT)
        self.bench = Bench(folder, data, feature_share=feature_share)
        self.clock = Clock()
        self.probe = self.bench.new_probe(self.clock)

    def end(self, epoch: int, *, seconds: float = 10.0, is_last: bool = False) -> None:
        self.clock.pass_(seconds)
        self.probe.end_epoch(step=epoch, epoch=epoch, is_last=is_last, between=self.clock.pass_)

    def taken(self) -> list[int]:
        return [row.epoch for row in self.bench.snapshots()]

    def curve(self, name: str) -> list[tuple[int, float | None]]:
        return [(row.epoch, row.value) for row in self.bench.scalars() if row.name == name]


def test_the_share_decides_which_epochs_have_one(tmp_path: Path) -> None:
    epochs = Epochs(tmp_path, feature_share=0.1)
    for epoch in range(10):
        epochs.end(epoch, is_last=epoch == 9)
    # k snapshots after n epochs are 4 k of 10 n + 4 k seconds, at most a tenth where n >= 3.6 k:
    # a second one after 8 epochs, a third after 11. The first is always taken, and so is the last.
    assert epochs.taken() == [0, 7, 9]
    assert epochs.curve(SECONDS) == [(0, 4), (7, 4), (9, 4)]
    assert epochs.curve(SHARE) == [(0, 4 / 14), (7, 8 / 88), (9, 12 / 112)]
    assert epochs.curve(SKIPPED) == [*((n, n) for n in range(1, 7)), (8, 7)]
    assert epochs.curve(PREPARATION) == [(0, 4)]  # once, and on nobody's account


@pytest.mark.parametrize(("share", "taken"), [(1.0, [0, 1, 2, 3]), (0.0, [0, 3])])
def test_no_bound_and_nothing_but_first_and_last(
    tmp_path: Path, share: float, taken: list[int]
) -> None:
    epochs = Epochs(tmp_path, feature_share=share)
    for epoch in range(4):
        epochs.end(epoch, seconds=0.5, is_last=epoch == 3)
    assert epochs.taken() == taken


def test_a_snapshot_on_demand_is_taken_and_counts(tmp_path: Path) -> None:
    epochs = Epochs(tmp_path, feature_share=0.2)
    epochs.probe.take(step=0, epoch=0, between=epochs.clock.pass_)
    epochs.end(0)
    epochs.end(1)
    epochs.probe.take(step=2, epoch=2, between=epochs.clock.pass_)
    assert epochs.taken() == [0, 2]
    assert epochs.curve(SHARE)[-1] == (2, 8 / 28)


def test_an_attempt_begins_anew(tmp_path: Path) -> None:
    epochs = Epochs(tmp_path, feature_share=0.2)
    epochs.end(0)
    epochs.probe = epochs.bench.new_probe(epochs.clock)
    epochs.end(1)
    epochs.end(2)
    assert epochs.taken() == [0, 1]
    assert epochs.curve(PREPARATION) == [(0, 4), (1, 4)]


def test_the_megabytes_of_a_run_are_bounded(tmp_path: Path) -> None:
    """A snapshot is 320 virtual features of 1,024 numbers, 0.66 MB, and little else: 0.7 MB."""
    data = training_data(tmp_path / "data", TRAIN, HOLDOUT)
    bench = Bench(tmp_path, data, feature_dim=1024, probe_virtual_per_class=64, feature_megabytes=3)
    bench.model.fasa.observe(torch.rand(5, 1024), torch.arange(5))
    for epoch in range(6):
        bench.probe.take(step=epoch, epoch=epoch)
    assert [row.epoch for row in bench.snapshots()] == [0, 3, 4, 5]
