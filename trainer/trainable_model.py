"""What the engine and the recorder need of a model: a detector, or a plain classifier in its place.

Shape glossary: S stages, C foreground classes, N boxes of all images, d feature length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from fasa_core.fasa import FASA
from trainer.class_statistics import ClassStatistics


@dataclass(frozen=True)
class PreparedBoxes:
    """Boxes as far on their way to the box head as no training step changes anything.

    Attributes:
        maps: what a frozen backbone gives, else the resized images alone, [B, ...] each.
        boxes: [n, 4] of each image, in pixels of the resized image.
        sizes: (height, width) of each resized image, in pixels.
    """

    maps: list[Tensor]
    boxes: list[Tensor]
    sizes: list[tuple[int, int]]

    @property
    def num_bytes(self) -> int:
        """Memory of the maps."""
        return sum(level.nbytes for level in self.maps)


class Stage(Protocol):
    """A classifier with the FASA that serves it: Mask R-CNN has one, a cascade three."""

    @property
    def fasa(self) -> FASA | None:
        """Feature augmentation, or None for the baseline."""

    @property
    def statistics(self) -> ClassStatistics:
        """Per-class sums that training steps add to."""

    @property
    def classifier(self) -> nn.Module:
        """The only part that virtual features train."""

    @property
    def weight_norms(self) -> Tensor:
        """[C] L2 norm of each class's classifier weights (the paper's Figure 4)."""

    @property
    def classifier_bias(self) -> Tensor:
        """[C] bias of each class in the classifier."""


class TrainableModel(Stage, Protocol):
    """A torch module whose classifiers FASA can serve; as a stage it stands for its first one."""

    training: bool

    @property
    def stages(self) -> Sequence[Stage]:
        """All stages, in the order in which they see an image."""

    @property
    def classifiers(self) -> nn.ModuleList:
        """The classifier of every stage; they share an optimizer."""

    def __call__(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> Any:
        """In training mode, the losses (scalars), each under its own key."""

    def validation_losses(
        self, images: list[Tensor], targets: list[dict[str, Tensor]], *, same_rois: bool
    ) -> tuple[Tensor, Tensor]:
        """Per-class sums of the classification loss (float64) and counts (int64), [S, C + 1] each.

        `same_rois` asks for the same regions of an image at every call.
        """

    def prepare_boxes(self, images: list[Tensor], boxes: list[Tensor]) -> PreparedBoxes:
        """Given boxes [n, 4] of each image, on their way to `box_features`; in eval mode.

        Boxes are xyxy in pixels of the image as it comes in.
        """

    def box_features(self, prepared: PreparedBoxes) -> Tensor:
        """[N, d] the first stage's classifier's input for prepared boxes, in eval mode."""

    def judge(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Of features [N, d] the class predicted, C for background, and the loss for `labels`.

        Both are the first stage's.
        """

    # Of every torch module

    def train(self) -> Any:
        """Training mode."""

    def eval(self) -> Any:
        """Test mode."""

    def modules(self) -> Iterator[nn.Module]:
        """It and all its parts."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """All parameters."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that is kept in a checkpoint."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take over what `state_dict` gave."""
