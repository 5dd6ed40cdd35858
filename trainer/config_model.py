"""The knobs of `RunConfig` that describe the detector."""

from __future__ import annotations

from typing import Literal

from trainer.config_data import RunAndData
from trainer.config_fields import Count, Positive, knob


class Model(RunAndData):
    """The group "Model"."""

    # Model
    detector: Literal["mask_rcnn", "cascade_mask_rcnn"] = knob(
        "mask_rcnn", "Model", "one box head, or Cascade Mask R-CNN's three, each with FASA"
    )
    backbone: Literal["efficientnet_lite0", "resnet50", "resnet101", "resnext101_32x8d"] = knob(
        "efficientnet_lite0", "Model", "network below the feature pyramid"
    )
    backbone_weights: str = knob(
        "imagenet", "Model", "imagenet: the published ones, fetched once, or from scratch with a "
        "warning where they cannot be had; none: from scratch; or the path of a state dict with "
        "torchvision's or timm's names"
    )  # fmt: skip
    trainable_layers: int = knob(
        0, "Model", "of the backbone's five, counted from the top, how many train; 0 keeps all of "
        "it as it is, 3 keeps a ResNet's stem and first stage, 5 trains it whole",
        unit="layers", ge=0, le=5,
    )  # fmt: skip
    batch_norm: Literal["fixed", "affine", "trained"] = knob(
        "affine", "Model", "of the backbone's trainable layers: fixed; affine: scale and shift "
        "train, over the statistics of the weights given; trained: statistics too, as always from "
        "scratch"
    )  # fmt: skip
    image_min_size: Count = knob(160, "Model", "shorter side of the input", unit="px")
    image_max_size: Count = knob(160, "Model", "bound on the longer side", unit="px")
    fpn_channels: Count = knob(64, "Model", "channels of the feature pyramid")
    feature_dim: Count = knob(256, "Model", "d: length of the RoI feature before the classifier")
    mask_layers: Count = knob(2, "Model", "convolutions of the mask head")
    mask_channels: Count = knob(64, "Model", "channels of the mask head")
    class_agnostic_box: bool = knob(True, "Model", "one box regressor for all classes")
    class_agnostic_mask: bool = knob(True, "Model", "one mask for all classes")
    anchor_sizes: tuple[Count, ...] = knob(
        (16, 32, 56, 90), "Model", "anchor size of each pyramid level: four, or five for one more "
        "that proposals alone come from", unit="px", min_length=4, max_length=5,
    )  # fmt: skip
    canonical_scale: Count = knob(
        80, "Model", "object size that is pooled from pyramid level 4", unit="px"
    )
    roi_sampling_ratio: int = knob(
        1, "Model", "RoIAlign samples a bin and side; 0: as many as the bin has pixels", ge=0, le=4
    )
    rois_per_image: Count = knob(16, "Model", "RoIs sampled an image in training")
    positive_fraction: float = knob(0.25, "Model", "share of positive RoIs", gt=0, le=1)
    rpn_batch: Count = knob(32, "Model", "anchors sampled an image for the RPN losses")
    rpn_candidates_train: Count = knob(
        1000, "Model", "best anchors of a level that enter NMS, in training"
    )
    rpn_candidates_test: Count = knob(
        1000, "Model", "best anchors of a level that enter NMS, in tests"
    )
    proposals_train: Count = knob(32, "Model", "proposals an image after NMS, in training")
    proposals_test: Count = knob(48, "Model", "proposals an image after NMS, in tests")
    box_loss: Literal["l1", "smooth_l1"] = knob("l1", "Model", "box regression loss")
    smooth_l1_beta: Positive = knob(
        1 / 9, "Model", "with box_loss=smooth_l1: offset at which it turns from square to linear"
    )
    classification_loss: Literal["softmax"] = knob("softmax", "Model", "classification loss L_cls")
    score_threshold: float = knob(1e-3, "Model", "detections below are dropped", ge=0, lt=1)
    nms_threshold: float = knob(0.5, "Model", "IoU of non-maximum suppression", gt=0, le=1)
    detections_per_image: Count = knob(100, "Model", "most detections kept an image")
