"""Per-class means over RoIs, by hand."""

import torch

from trainer.class_statistics import ClassStatistics


def test_means_by_hand() -> None:
    statistics = ClassStatistics(num_classes=3)
    scores = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.1, 0.6, 0.2, 0.1], [0.3, 0.4, 0.2, 0.1]])
    statistics.add(torch.tensor([3, 0, 0]), torch.tensor([0.5, 1.0, 2.0]), scores)
    assert statistics.count.tolist() == [2, 0, 0, 1]
    torch.testing.assert_close(
        statistics.mean_loss(), torch.tensor([1.5, torch.nan, torch.nan]).double(), equal_nan=True
    )
    # The own scores of class 0 are in column 1: background comes first.
    torch.testing.assert_close(
        statistics.mean_score(), torch.tensor([0.5, torch.nan, torch.nan]).double(), equal_nan=True
    )


def test_reset_keeps_what_was_observed() -> None:
    statistics = ClassStatistics(num_classes=1)
    statistics.add(torch.tensor([0]), torch.tensor([1.0]), torch.tensor([[0.5, 0.5]]))
    statistics.reset()
    assert statistics.count.tolist() == [0, 0]
    assert statistics.observed.tolist() == [1, 0]


def test_no_rois() -> None:
    statistics = ClassStatistics(num_classes=2)
    statistics.add(torch.zeros(0, dtype=torch.int64), torch.zeros(0), torch.zeros(0, 3))
    assert statistics.mean_loss().isnan().all()
