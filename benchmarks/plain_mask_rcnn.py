"""torchvision's own Mask R-CNN with our weights and settings, as the other side of claims."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from trainer.config import RunConfig
from trainer.model import FASAMaskRCNN

_NAMES = {  # torchvision's names of what ours are called
    "loss_classifier": "classifier",
    "loss_box_reg": "box",
    "loss_mask": "mask",
    "loss_objectness": "objectness",
    "loss_rpn_box_reg": "rpn_box",
}


def plain_mask_rcnn(config: RunConfig, ours: FASAMaskRCNN) -> nn.Module:
    """torchvision's Mask R-CNN in plain form, a copy of `ours` with class-specific heads.

    Its region proposal network and what pools its RoIs are those of `ours`, copied; backbone, input
    transform and heads are torchvision's own.
    """
    backbone = resnet_fpn_backbone(
        backbone_name=config.backbone,
        weights=None,
        norm_layer=FrozenBatchNorm2d,
        trainable_layers=config.trainable_layers,
    )
    heads = ours.roi_heads
    model = MaskRCNN(
        backbone,
        num_classes=heads.box.num_classes + 1,
        min_size=config.image_min_size,
        max_size=config.image_max_size,
        image_mean=ours.transform.image_mean,
        image_std=ours.transform.image_std,
        box_roi_pool=copy.deepcopy(heads.box.roi_pool),
        mask_roi_pool=copy.deepcopy(heads.mask.roi_pool),
        box_batch_size_per_image=config.rois_per_image,
        box_positive_fraction=config.positive_fraction,
    )
    model.rpn = copy.deepcopy(ours.rpn)
    _copy_weights(ours, model)
    return model.to(next(ours.parameters()).device).train()


def losses_of(model: nn.Module, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict:
    """The losses of `plain_mask_rcnn`'s model under our names, from our targets."""
    theirs = [{**target, "labels": target["labels"] + 1} for target in targets]
    return {_NAMES[name]: value for name, value in model(images, theirs).items()}


@torch.no_grad()
def _copy_weights(ours: FASAMaskRCNN, model: nn.Module) -> None:
    theirs = model.roi_heads
    body = ours.backbone.body.state_dict()
    wanted = model.backbone.body.state_dict()
    model.backbone.body.load_state_dict({name: body[name] for name in wanted})
    model.backbone.fpn.load_state_dict(ours.backbone.pyramid.state_dict())
    box, mask = ours.roi_heads.box, ours.roi_heads.mask
    theirs.box_head.load_state_dict(box.head.state_dict())
    # torchvision's first class is background, ours the last.
    predictor = theirs.box_predictor
    predictor.cls_score.weight.copy_(box.predictor.classify.weight.roll(1, 0))
    predictor.cls_score.bias.copy_(box.predictor.classify.bias.roll(1, 0))
    predictor.bbox_pred.weight[4:] = box.predictor.regress.weight
    predictor.bbox_pred.bias[4:] = box.predictor.regress.bias
    theirs.mask_head.load_state_dict(mask.head.state_dict())
    theirs.mask_predictor.conv5_mask.load_state_dict(mask.predictor.upsample.state_dict())
    theirs.mask_predictor.mask_fcn_logits.weight[1:, :, 0, 0] = mask.predictor.weight
    theirs.mask_predictor.mask_fcn_logits.bias[1:] = mask.predictor.bias
