"""Mask R-CNN with FASA, and its builder from a `RunConfig`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from fasa_core.fasa import FASA
from trainer.backbone_weights import load_weights
from trainer.backbones import BODIES, PyramidBackbone, build_backbone, build_body
from trainer.class_statistics import ClassStatistics
from trainer.config import RunConfig
from trainer.distributed import ALONE, Ranks
from trainer.heads import build_roi_heads, build_rpn
from trainer.input_transform import InputTransform
from trainer.roi_heads import FASARoIHeads
from trainer.trainable_model import PreparedBoxes, Stage


class FASAMaskRCNN(GeneralizedRCNN):
    """Mask R-CNN whose RoI heads carry FASA and a pass for validation losses.

    As a stage it stands for the first one of its RoI heads.

    In training, `model(images, targets)` gives the losses, each under its own key; otherwise the
    detections of each image: boxes [n, 4], scores [n], labels [n] in 0..C-1, masks [n, 1, S, S],
    the probabilities of a grid in each box, which `mask_pasting.mask_run_lengths` draws.
    """

    backbone: PyramidBackbone
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


def build_model(
    config: RunConfig, *, class_counts: Sequence[int], ranks: Ranks = ALONE
) -> FASAMaskRCNN:
    """Mask R-CNN as `config` describes it.

    Args:
        config: the run's configuration.
        class_counts: [C] training instances of each class, N_c of Eq. 4.
        ranks: that train together.

    Raises:
        ConfigError: when the backbone's weights cannot be had.
    """
    body, about = build_body(config), BODIES[config.backbone]
    load_weights(body, config)
    size = config.image_min_size, config.image_max_size
    return FASAMaskRCNN(
        build_backbone(config, body),
        build_rpn(config),
        build_roi_heads(config, class_counts=class_counts, ranks=ranks),
        InputTransform(*size, list(about.mean), list(about.deviation)),
    )
