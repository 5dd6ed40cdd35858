"""What the stages of Cascade Mask R-CNN have of their own (METHODS section 8).

Mask R-CNN is the first one alone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StageSettings:
    """What a stage has of its own.

    Attributes:
        iou: with an object, from which on a RoI is positive; with less it is background.
        box_deviations: what box offsets (x, y, w, h) are divided by: their usual size.
        loss_weight: of all its losses, those of virtual features and masks included.
    """

    iou: float
    box_deviations: tuple[float, float, float, float]
    loss_weight: float

    @property
    def box_weights(self) -> tuple[float, float, float, float]:
        """The same as torchvision counts it: what box offsets are multiplied by."""
        x, y, w, h = self.box_deviations
        return 1 / x, 1 / y, 1 / w, 1 / h


CASCADE = (
    StageSettings(0.5, (0.1, 0.1, 0.2, 0.2), 1.0),
    StageSettings(0.6, (0.05, 0.05, 0.1, 0.1), 0.5),
    StageSettings(0.7, (0.033, 0.033, 0.067, 0.067), 0.25),
)
