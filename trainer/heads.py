"""Builders of a detector's heads from a `RunConfig`: proposals, RoI heads of one stage or three.

Shape glossary: C foreground classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import initLevelMapper

from fasa_core.fasa import FASA
from fasa_core.options import FASAOptions
from trainer.backbones import LEVELS, STRIDES
from trainer.box_stage import BoxPredictor, BoxStage
from trainer.cascade_stages import CASCADE, StageSettings
from trainer.classification_losses import SoftmaxCrossEntropy
from trainer.config import RunConfig
from trainer.detection_selection import DetectionLimits
from trainer.distributed import ALONE, Ranks
from trainer.mask_branch import MaskBranch, MaskPredictor
from trainer.roi_heads import FASARoIHeads, RoIStage
from trainer.roi_sampling import RoISampler

_ASPECT_RATIOS = (0.5, 1.0, 2.0)
_BOX_BINS = 7
_MASK_BINS = 14


class _Anchors(AnchorGenerator):
    """torchvision's, in float32 whatever the maps are in: bfloat16 rounds large places to 8 px."""

    def set_cell_anchors(self, dtype: torch.dtype, device: torch.device) -> None:
        """The anchors of one place, which all others are moved from."""
        super().set_cell_anchors(torch.float32, device)


class _ProposalHead(RPNHead):
    """torchvision's; with mixed precision too, boxes are computed in float32 from what it gives."""

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Maps of each level -> float32 objectness logits and box offsets of each."""
        logits, offsets = super().forward(features)
        return [level.float() for level in logits], [level.float() for level in offsets]


def build_rpn(config: RunConfig) -> RegionProposalNetwork:
    """torchvision's region proposal network on as many levels as there are anchor sizes."""
    sizes = tuple((size,) for size in config.anchor_sizes)
    anchors = _Anchors(sizes, (_ASPECT_RATIOS,) * len(sizes))
    return RegionProposalNetwork(
        anchors,
        _ProposalHead(config.fpn_channels, len(_ASPECT_RATIOS)),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=config.rpn_batch,
        positive_fraction=0.5,
        pre_nms_top_n={
            "training": config.rpn_candidates_train,
            "testing": config.rpn_candidates_test,
        },
        post_nms_top_n={"training": config.proposals_train, "testing": config.proposals_test},
        nms_thresh=0.7,
    )


def build_roi_heads(
    config: RunConfig, *, class_counts: Sequence[int], ranks: Ranks = ALONE
) -> FASARoIHeads:
    """The RoI heads of the detector that `config` names.

    Args:
        config: the run's configuration.
        class_counts: [C] training instances of each class.
        ranks: that train together.
    """
    settings = CASCADE if config.detector == "cascade_mask_rcnn" else CASCADE[:1]
    stages = [
        _build_stage(config, own, number, class_counts, ranks)
        for number, own in enumerate(settings)
    ]
    limits = DetectionLimits(
        config.score_threshold, config.nms_threshold, config.detections_per_image
    )
    return FASARoIHeads(stages=stages, limits=limits)


def build_fasa(
    config: RunConfig, *, class_counts: Sequence[int], stage: int = 0, ranks: Ranks = ALONE
) -> FASA | None:
    """FASA with the options of `config`, or None when it is switched off.

    Args:
        config: the run's configuration.
        class_counts: [C] training instances of each class, N_c of Eq. 4.
        stage: which one it serves, from 0: each draws numbers of its own.
        ranks: that train together.
    """
    if not config.fasa:
        return None
    options = FASAOptions(**{f.name: getattr(config, f.name) for f in fields(FASAOptions)})
    seed = config.seed
    if stage:
        seed = int(np.random.SeedSequence((seed, stage)).generate_state(1, np.uint64)[0])
    return FASA(
        len(class_counts),
        config.feature_dim,
        class_counts,
        options,
        seed=seed,
        rank=ranks.rank,
        gather=ranks.gather_rows if ranks.world > 1 else None,
    )


def _build_stage(
    config: RunConfig,
    settings: StageSettings,
    number: int,
    class_counts: Sequence[int],
    ranks: Ranks,
) -> RoIStage:
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
        fasa=build_fasa(config, class_counts=class_counts, stage=number, ranks=ranks),
        smooth_l1_beta=0.0 if config.box_loss == "l1" else config.smooth_l1_beta,
        roi_pool=_roi_pool(config, _BOX_BINS),
        head=TwoMLPHead(config.fpn_channels * _BOX_BINS**2, config.feature_dim),
        predictor=box_predictor,
        box_weights=settings.box_weights,
        sampler=RoISampler(
            num_classes=num_classes,
            foreground_iou=settings.iou,
            background_iou=settings.iou,
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
    return RoIStage(box=box, mask=mask, loss_weight=settings.loss_weight)


def _roi_pool(config: RunConfig, bins: int) -> MultiScaleRoIAlign:
    pool = MultiScaleRoIAlign(
        LEVELS, bins, config.roi_sampling_ratio, canonical_scale=config.canonical_scale
    )
    # Left to itself it takes the strides from the sizes of the first batch it sees, for good, and
    # is wrong after wide images: then a resumed run would not equal an uninterrupted one.
    pool.scales = [1 / stride for stride in STRIDES]
    lowest, highest = (stride.bit_length() - 1 for stride in (STRIDES[0], STRIDES[-1]))
    pool.map_levels = initLevelMapper(lowest, highest, canonical_scale=config.canonical_scale)
    return pool
