"""Per-class sums over the RoIs of an epoch: count, loss, and score on their own objects."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ClassStatistics(nn.Module):
    """Means per class of what the box head did since the last `reset`.

    All additions stay on the device of the buffers: no host-device synchronisation in a step.

    Attributes:
        observed: [C + 1] int64, RoIs since the start of the run; the last entry is background.
        count: [C + 1] int64, RoIs since the last `reset`.
        loss_sum: [C + 1] float64, sum of the classification loss.
        score_sum: [C + 1] float64, sum of the score given to the RoI's own class.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.observed: Tensor
        self.count: Tensor
        self.loss_sum: Tensor
        self.score_sum: Tensor
        self.register_buffer("observed", torch.zeros(num_classes + 1, dtype=torch.int64))
        self.register_buffer("count", torch.zeros(num_classes + 1, dtype=torch.int64))
        self.register_buffer("loss_sum", torch.zeros(num_classes + 1, dtype=torch.float64))
        self.register_buffer("score_sum", torch.zeros(num_classes + 1, dtype=torch.float64))

    @torch.no_grad()
    def add(self, labels: Tensor, losses: Tensor, scores: Tensor) -> None:
        """Add N RoIs.

        Args:
            labels: [N] int64, 0..C-1 or C for background.
            losses: [N] classification loss of each RoI.
            scores: [N, 1 + C] scores, background first.
        """
        column = (labels + 1) % (self.num_classes + 1)
        own = scores.gather(1, column[:, None])[:, 0]
        ones = torch.ones_like(labels)
        self.observed.index_add_(0, labels, ones)
        self.count.index_add_(0, labels, ones)
        self.loss_sum.index_add_(0, labels, losses.double())
        self.score_sum.index_add_(0, labels, own.double())

    def reset(self) -> None:
        """Forget all but `observed`: the start of an epoch."""
        for buffer in (self.count, self.loss_sum, self.score_sum):
            buffer.zero_()

    def mean_loss(self) -> Tensor:
        """[C] float64, NaN for a class without RoIs."""
        return self._foreground_mean(self.loss_sum)

    def mean_score(self) -> Tensor:
        """[C] float64 in 0..1, NaN for a class without RoIs."""
        return self._foreground_mean(self.score_sum)

    def _foreground_mean(self, total: Tensor) -> Tensor:
        mean = total / self.count  # 0 / 0 is NaN: no data, which is not a loss of 0
        return mean[: self.num_classes]
