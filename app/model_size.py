"""How large the model of a configuration is, by arithmetic: the dashboard builds no model.

Shape glossary: C classes, d feature length, f pyramid channels, k mask channels.
A test holds these numbers to the model the trainer builds.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config import RunConfig

FLOAT = 4  # bytes
# Of each backbone below the pyramid: parameters, bytes of buffers, channels of its four levels.
BACKBONES = {
    "efficientnet_lite0": (2_958_848, 158_208, (24, 40, 112, 320)),
    "resnet50": (23_508_032, 212_904, (256, 512, 1024, 2048)),
}
ANCHORS = 3  # a place of the pyramid: one an aspect ratio
BOX_BINS = 7
OPTIMIZER_FLOATS = {"adamw": 2, "sgd": 1}  # kept for each trained parameter
FILE_HEADERS = 170_000  # bytes of a checkpoint that are no numbers


@dataclass(frozen=True)
class ModelSize:
    """Parameters of the parts, and bytes.

    Attributes:
        backbone: parameters below the pyramid.
        heads: parameters of the pyramid and all heads but the classifier.
        classifier: parameters of the class branch, which has an optimizer of its own.
        buffer_bytes: what is kept beside parameters: batch statistics and FASA's prior.
        gradient_bytes: gradients of all that is trained.
        optimizer_bytes: what the optimizers remember.
    """

    backbone: int
    heads: int
    classifier: int
    buffer_bytes: int
    gradient_bytes: int
    optimizer_bytes: int

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.backbone + self.heads + self.classifier

    @property
    def checkpoint_bytes(self) -> int:
        """A checkpoint file: weights, buffers, and the optimizers' memory."""
        weights = FLOAT * self.parameters + self.buffer_bytes
        return weights + self.optimizer_bytes + FILE_HEADERS

    @property
    def training_bytes(self) -> int:
        """In memory while it trains, without images and activations."""
        weights = FLOAT * self.parameters + self.buffer_bytes
        return weights + self.gradient_bytes + self.optimizer_bytes


def model_size(config: RunConfig, classes: int) -> ModelSize:
    """The size of the model that `config` describes for so many classes."""
    backbone, buffers, channels = BACKBONES[config.backbone]
    f, d, k = config.fpn_channels, config.feature_dim, config.mask_channels
    boxes = 1 if config.class_agnostic_box else classes
    masks = 1 if config.class_agnostic_mask else classes
    heads = (
        sum(_convolution(c, f, 1) + _convolution(f, f, 3) for c in channels)  # pyramid
        + _convolution(f, f, 3) + _linear(f, ANCHORS) + _linear(f, 4 * ANCHORS)  # proposals
        + _linear(f * BOX_BINS**2, d) + _linear(d, d) + _linear(d, 4 * boxes)  # boxes
        + sum(_convolution(f if i == 0 else k, k, 3) for i in range(config.mask_layers))
        + 4 * k * k + k + masks * (k + 1)  # masks: upsampling, one row a mask
    )  # fmt: skip
    classifier = _linear(d, classes + 1)
    trained = heads + (backbone if config.trainable_layers else 0)
    kept = trained * OPTIMIZER_FLOATS[config.optimizer]
    kept += classifier * OPTIMIZER_FLOATS[config.classifier_optimizer]
    buffers += 32 * (classes + 1)  # sums of losses and scores
    if config.fasa:
        buffers += 2 * FLOAT * classes * d + 56 * classes + 24  # the prior's mean and spread, p_c
    return ModelSize(
        backbone, heads, classifier, buffers, FLOAT * (trained + classifier), FLOAT * kept
    )


def _convolution(inputs: int, outputs: int, side: int) -> int:
    return outputs * (inputs * side * side + 1)


def _linear(inputs: int, outputs: int) -> int:
    return outputs * (inputs + 1)
