"""Classification losses of the box head, behind one small interface.

Shape glossary: N RoIs, C foreground classes, d feature length, K = `out_dim(C)` logits a RoI.
Labels are 0..C-1 for foreground, C for background, `IGNORE` (-1) for rows that do not count.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasa_core.virtual_features import IGNORE


class ClassificationLoss(Protocol):
    """What the detector, FASA and the evaluation need of a classification loss."""

    def out_dim(self, num_classes: int) -> int:
        """K, the number of logits for C = `num_classes`."""

    def make_predictor(self, feature_dim: int, num_classes: int) -> nn.Module:
        """The layer that maps features [N, d] to logits [N, K], initialised."""

    def __call__(self, logits: Tensor, labels: Tensor, *, virtual: bool = False) -> Tensor:
        """The scalar training loss of logits [N, K] and labels [N].

        `virtual=True` marks virtual features: the mean over rows that count, leaving every
        running state of the loss as it is.
        """

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each row [N], deterministic and without any change of state."""

    def scores(self, logits: Tensor) -> Tensor:
        """Scores [N, 1 + C] in 0..1, background first."""


class SoftmaxCrossEntropy(nn.Module):
    """Softmax cross-entropy over C classes and background, the last logit.

    The mean is taken over all sampled RoIs, background included (METHODS: CE of mmdetection).
    """

    def out_dim(self, num_classes: int) -> int:
        """C + 1: one logit a class, then background."""
        return num_classes + 1

    def make_predictor(self, feature_dim: int, num_classes: int) -> nn.Linear:
        """A linear layer with weights from N(0, 0.01) and zero bias, as in Fast R-CNN."""
        predictor = nn.Linear(feature_dim, self.out_dim(num_classes))
        nn.init.normal_(predictor.weight, std=0.01)
        nn.init.zeros_(predictor.bias)
        return predictor

    def forward(self, logits: Tensor, labels: Tensor, *, virtual: bool = False) -> Tensor:
        """The mean over rows whose label is not `IGNORE`; 0 when there is none.

        Real and virtual rows are treated alike: this loss keeps no state.
        """
        rows = self.per_sample(logits, labels)
        return rows.sum() / (labels != IGNORE).sum().clamp(min=1)

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        """-log softmax(z)_y for each row [N]; 0 where the label is `IGNORE`."""
        return F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="none")

    def scores(self, logits: Tensor) -> Tensor:
        """Softmax, with the background column moved to the front."""
        return torch.softmax(logits.float(), dim=-1).roll(1, dims=-1)
