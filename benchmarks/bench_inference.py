"""Claim: detections, masks and run lengths of an image cost a fraction of torchvision's way.

LVIS at full size: 1,203 classes with a box and a mask each, 1,000 proposals, score threshold 1e-4,
300 detections, an image of 800 x 1,333 pixels. Both sides start from the same features of proposals
and RoIs (seeded noise that looks alike for boxes that are near each other), run the same predictors
with the same weights, and end with run lengths: torchvision's box and mask predictor,
`postprocess_detections`, `paste_masks_in_image` and pycocotools on one side, ours on the other, one
after the other in one process. Left out on both sides is what is the same: backbone, RoIAlign and
the heads' layers before the predictors. Two kinds of classifiers: one that is sure of itself, as
after training, and one that is not: then all 1.2 million candidates pass the threshold.

Seconds are the process's own on one processor, medians, so that others on the machine do not
count; peaks are what a side adds to resident memory. Both have to find the same. `--save` keeps the
result in benchmarks/results.
"""

from __future__ import annotations

import gc
import math
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from pycocotools import mask as rle_masks
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.models.detection.roi_heads import (
    RoIHeads,
    paste_masks_in_image,
)

from benchmarks.kept_results import keep
from benchmarks.peak_memory import peak_growth
from trainer.box_stage import BoxPredictor, BoxStage
from trainer.classification_losses import SoftmaxCrossEntropy
from trainer.detection_selection import DetectionLimits
from trainer.mask_branch import MaskBranch, MaskPredictor
from trainer.mask_pasting import mask_run_lengths
from trainer.roi_heads import FASARoIHeads, RoIStage
from trainer.roi_sampling import RoISampler

CLASSES, PROPOSALS, DETECTIONS = 1203, 1000, 300
SIZE = (800, 1333)  # px
DIM, CHANNELS = 1024, 256
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
REPEATS = 3
SHARPNESS = {"trained": 8.0, "untrained": 0.05}  # of the classifier's logits
TARGET_TIME, TARGET_MEMORY = 5.0, 0.3

Found = tuple[Tensor, list[dict[str, Any]]]  # scores and run lengths


def proposals() -> Tensor:
    """[1000, 4] boxes in clusters of many sizes, as around objects."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.rand(25, 2, generator=generator) * torch.tensor([SIZE[1], SIZE[0]])
    sides = 30 + 400 * torch.rand(25, 1, generator=generator) ** 3
    of = torch.randint(0, 25, (PROPOSALS,), generator=generator)
    centre = centres[of] + 0.1 * sides[of] * torch.randn(PROPOSALS, 2, generator=generator)
    half = 0.5 * sides[of] * (0.8 + 0.4 * torch.rand(PROPOSALS, 2, generator=generator))
    boxes = torch.cat([centre - half, centre + half], dim=1)
    limit = torch.tensor([SIZE[1], SIZE[0]] * 2, dtype=torch.float32)
    return boxes.clamp(min=0).minimum(limit)


class Pooled(nn.Module):
    """In the place of RoIAlign and a head: features of RoIs that follow from their boxes alone."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self._mix = torch.randn(4, math.prod(shape), generator=torch.Generator().manual_seed(1))
        self._shape = shape

    def forward(self, maps: Any, boxes: list[Tensor], sizes: Any) -> Tensor:
        """Boxes [n, 4] of each image -> [N, *shape]."""
        mixed = (torch.cat(boxes) / 300) @ self._mix
        return mixed.sin_().relu_().reshape(-1, *self._shape)


def build(sharpness: float) -> tuple[RoIHeads, FASARoIHeads]:
    """torchvision's heads and ours with the same weights."""
    torch.manual_seed(0)
    theirs = RoIHeads(
        Pooled(DIM), nn.Identity(), FastRCNNPredictor(DIM, CLASSES + 1),
        0.5, 0.5, 512, 0.25, BOX_WEIGHTS, 1e-4, 0.5, DETECTIONS,
        mask_roi_pool=Pooled(CHANNELS, 14, 14), mask_head=nn.Identity(),
        mask_predictor=MaskRCNNPredictor(CHANNELS, CHANNELS, CLASSES + 1),
    )  # fmt: skip
    nn.init.normal_(theirs.box_predictor.cls_score.weight, std=sharpness * (2 / DIM) ** 0.5)
    nn.init.normal_(theirs.box_predictor.bbox_pred.weight, std=0.3 * (2 / DIM) ** 0.5)
    nn.init.normal_(theirs.mask_predictor.mask_fcn_logits.weight, std=0.5)
    return theirs.eval(), copied(theirs).eval()


def copied(theirs: RoIHeads) -> FASARoIHeads:
    """Our heads with torchvision's weights; there background comes first, here last."""
    their_box: Any = theirs.box_predictor
    their_mask: Any = theirs.mask_predictor
    loss = SoftmaxCrossEntropy()
    classify: Any = loss.make_predictor(DIM, CLASSES)
    box = BoxPredictor(classify, DIM, CLASSES)
    mask = MaskPredictor(CHANNELS, CHANNELS, CLASSES)
    with torch.no_grad():
        classify.weight.copy_(their_box.cls_score.weight.roll(-1, 0))
        classify.bias.copy_(their_box.cls_score.bias.roll(-1, 0))
        box.regress.weight.copy_(their_box.bbox_pred.weight[4:])
        box.regress.bias.copy_(their_box.bbox_pred.bias[4:])
        mask.upsample.load_state_dict(their_mask.conv5_mask.state_dict())
        mask.weight.copy_(their_mask.mask_fcn_logits.weight[1:, :, 0, 0])
        mask.bias.copy_(their_mask.mask_fcn_logits.bias[1:])
    stage = BoxStage(
        num_classes=CLASSES,
        cls_loss=loss,
        fasa=None,
        smooth_l1_beta=0.0,
        roi_pool=theirs.box_roi_pool,
        head=nn.Identity(),
        predictor=box,
        box_weights=BOX_WEIGHTS,
        sampler=RoISampler(
            num_classes=CLASSES,
            foreground_iou=0.5,
            background_iou=0.5,
            rois_per_image=512,
            positive_fraction=0.25,
        ),
    )
    branch = MaskBranch(roi_pool=theirs.mask_roi_pool, head=nn.Identity(), predictor=mask)
    limits = DetectionLimits(1e-4, 0.5, DETECTIONS)
    return FASARoIHeads(stages=[RoIStage(box=stage, mask=branch)], limits=limits)


@torch.no_grad()
def torchvisions(heads: RoIHeads, boxes: Tensor) -> Found:
    """Its own way from box features to masks of the whole image, then pycocotools."""
    (found,), _ = heads({}, [boxes], [SIZE])
    masks = paste_masks_in_image(found["masks"], found["boxes"], SIZE)[:, 0] > 0.5
    columns = masks.to(torch.uint8).transpose(1, 2).contiguous().numpy()
    codes = rle_masks.encode(columns.transpose(2, 1, 0))
    return found["scores"], [{**code, "counts": code["counts"].decode()} for code in codes]


@torch.no_grad()
def ours(heads: FASARoIHeads, boxes: Tensor) -> Found:
    (found,), _ = heads({}, [boxes], [SIZE])
    return found["scores"], mask_run_lengths(found["masks"][:, 0], found["boxes"], SIZE)


def measured(work: Callable[[], Found]) -> tuple[float, float, Found]:
    """Seconds, megabytes at the peak, and what was found."""
    found = work()
    seconds = []
    for _ in range(REPEATS):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    gc.collect()
    return statistics.median(seconds), peak_growth(work), found


def share_of_same_pixels(first: Found, second: Found) -> float:
    """Of the masks' pixels; 0 where the detections are not the same."""
    if len(first[0]) != len(second[0]) or not torch.allclose(first[0], second[0], rtol=1e-4):
        return 0.0
    overlaps = [
        float(rle_masks.iou([a], [b], [0])[0, 0]) if rle_masks.area(a) + rle_masks.area(b) else 1.0
        for a, b in zip(first[1], second[1], strict=True)
    ]
    return statistics.fmean(overlaps)


def bench(name: str, sharpness: float) -> tuple[bool, str]:
    """Whether all targets are met, and what was measured."""
    theirs, mine = build(sharpness)
    boxes = proposals()
    their_seconds, their_peak, expected = measured(lambda: torchvisions(theirs, boxes))
    seconds, peak, found = measured(lambda: ours(mine, boxes))
    same = share_of_same_pixels(expected, found)
    with torch.no_grad():
        scores = mine.box.cls_loss.scores(mine.box.classifier(mine.box.roi_pool({}, [boxes], [])))
    candidates = int((scores[:, 1:] > 1e-4).sum())
    text = (
        f"{name}: {candidates:,} candidates, {len(found[0])} detections, "
        f"masks agree to {same:.4%}\n"
        f"  torchvision {their_seconds:.2f} s and {their_peak:,.0f} MB, ours {seconds:.2f} s and "
        f"{peak:,.0f} MB: {their_seconds / seconds:.1f} times faster (target {TARGET_TIME:.0f}), "
        f"{peak / their_peak:.3f} of the memory (target {TARGET_MEMORY})"
    )
    print(text)
    is_fast = their_seconds / seconds >= TARGET_TIME
    return is_fast and peak / their_peak <= TARGET_MEMORY and same > 0.9999, text


def main() -> int:
    torch.set_num_threads(1)
    found = [bench(name, sharpness) for name, sharpness in SHARPNESS.items()]
    if "--save" in sys.argv:
        keep("bench_inference", "\n".join(text for _, text in found), device=torch.device("cpu"))
    return 0 if all(passed for passed, _ in found) else 1


if __name__ == "__main__":
    sys.exit(main())
