"""How large the model of a configuration is, by arithmetic: the dashboard builds no model.

Shape glossary: C classes, d feature length, f pyramid channels, k mask channels.
A test holds these numbers to the model the trainer builds.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config import RunConfig

FLOAT = 4  # bytes
STAGES = {"mask_rcnn": 1, "cascade_mask_rcnn": 3}


@dataclass(frozen=True)
class Backbone:
    """What is below the pyramid.

    Attributes:
        layers: parameters of its five layers, lowest first, and how many are of batch norms.
        buffer_bytes: the batch norms' statistics.
        channels: of its four maps.
    """

    layers: tuple[tuple[int, int], ...]
    buffer_bytes: int
    channels: tuple[int, int, int, int]

    @property
    def parameters(self) -> int:
        """All of them."""
        return sum(parameters for parameters, _ in self.layers)

    def trained(self, config: RunConfig) -> int:
        """How many parameters train, as `config` has it."""
        layers = self.layers[5 - config.trainable_layers :]
        kept = config.batch_norm == "fixed"
        return sum(parameters - kept * norms for parameters, norms in layers)


_STEM = (9_536, 128)  # of a ResNet
_RESNET = (256, 512, 1024, 2048)
BACKBONES = {
    "efficientnet_lite0": Backbone(
        ((1_824, 160), (13_968, 1_056), (39_712, 1_696), (645_264, 13_248), (2_258_080, 23_296)),
        158_208, (24, 40, 112, 320),
    ),
    "resnet50": Backbone(
        (_STEM, (215_808, 2_816), (1_219_584, 7_168), (7_098_368, 20_480), (14_964_736, 22_528)),
        212_904, _RESNET,
    ),
    "resnet101": Backbone(
        (_STEM, (215_808, 2_816), (1_219_584, 7_168), (26_090_496, 72_704), (14_964_736, 22_528)),
        422_208, _RESNET,
    ),
    "resnext101_32x8d": Backbone(
        (_STEM, (420_864, 5_120), (2_405_376, 13_312), (55_160_832, 143_360), (28_745_728, 40_960)),
        812_352, _RESNET,
    ),
}  # fmt: skip
ANCHORS = 3  # a place of the pyramid: one an aspect ratio
BOX_BINS = 7
OPTIMIZER_FLOATS = {"adamw": 2, "sgd": 1}  # kept for each trained parameter
FILE_HEADERS = 170_000  # bytes of a checkpoint that are no numbers


@dataclass(frozen=True)
class ModelSize:
    """Parameters of the parts, and bytes.

    Attributes:
        backbone: parameters below the pyramid.
        heads: parameters of the pyramid and all heads but the classifiers.
        classifier: parameters of every stage's class branch, which have an optimizer of their own.
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
    backbone, stages = BACKBONES[config.backbone], STAGES[config.detector]
    f, d, k = config.fpn_channels, config.feature_dim, config.mask_channels
    boxes = 1 if config.class_agnostic_box else classes
    masks = 1 if config.class_agnostic_mask else classes
    below = (
        sum(_convolution(c, f, 1) + _convolution(f, f, 3) for c in backbone.channels)  # pyramid
        + _convolution(f, f, 3) + _linear(f, ANCHORS) + _linear(f, 4 * ANCHORS)  # proposals
    )  # fmt: skip
    stage = (
        _linear(f * BOX_BINS**2, d) + _linear(d, d) + _linear(d, 4 * boxes)  # boxes
        + sum(_convolution(f if i == 0 else k, k, 3) for i in range(config.mask_layers))
        + 4 * k * k + k + masks * (k + 1)  # masks: upsampling, one row a mask
    )  # fmt: skip
    heads, classifier = below + stages * stage, stages * _linear(d, classes + 1)
    trained = heads + backbone.trained(config)
    kept = trained * OPTIMIZER_FLOATS[config.optimizer]
    kept += classifier * OPTIMIZER_FLOATS[config.classifier_optimizer]
    buffers = 32 * (classes + 1)  # sums of losses and scores
    if config.fasa:
        buffers += 2 * FLOAT * classes * d + 56 * classes + 24  # the prior's mean and spread, p_c
    return ModelSize(
        backbone=backbone.parameters,
        heads=heads,
        classifier=classifier,
        buffer_bytes=backbone.buffer_bytes + stages * buffers,
        gradient_bytes=FLOAT * (trained + classifier),
        optimizer_bytes=FLOAT * kept,
    )


def _convolution(inputs: int, outputs: int, side: int) -> int:
    return outputs * (inputs * side * side + 1)


def _linear(inputs: int, outputs: int) -> int:
    return outputs * (inputs + 1)
