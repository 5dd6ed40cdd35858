"""A detector's predictions on a test set, and the AP they reach."""

from __future__ import annotations

from collections.abc import Callable

import torch

from trainer.config import RunConfig
from trainer.detections import DetectionCollector
from trainer.evaluation import EvaluationResult, evaluate_detections
from trainer.model import FASAMaskRCNN
from trainer.training_data import TrainingData, evaluation_loader

_MASK_THRESHOLD = 0.5
_MOST_DETECTIONS = {True: 300, False: 100}  # counted an image: LVIS's (federated) and COCO's rule


@torch.no_grad()
def evaluate_model(
    model: FASAMaskRCNN,
    data: TrainingData,
    config: RunConfig,
    *,
    device: torch.device,
    batch_done: Callable[[int], None] = lambda total: None,
    between: Callable[[], None] = lambda: None,
) -> EvaluationResult | None:
    """AP of boxes and masks on `data.test`, or None without a test set.

    Args:
        model: on `device`; left in eval mode.
        data: with the test set.
        config: batch size and loader processes are taken from it.
        device: where the model is.
        batch_done: called after each batch with the number of batches there are.
        between: called about every second while AP is computed from the detections.
    """
    if data.test is None:
        return None
    model.eval()
    category_ids = [category.id for category in data.categories]
    collector = DetectionCollector(category_ids)
    loader = evaluation_loader(config, data.test)
    for images, targets in loader:
        found = model([image.to(device) for image in images])
        for target, result in zip(targets, found, strict=True):
            collector.add(
                int(target["image_id"]),
                boxes=result["boxes"].cpu(),
                scores=result["scores"].cpu(),
                labels=result["labels"].cpu(),
                masks=(result["masks"][:, 0] > _MASK_THRESHOLD).cpu(),
            )
        batch_done(len(loader))
    return evaluate_detections(
        data.test.annotations_path,
        category_ids,
        collector.records,
        federated=data.federated,
        max_detections=_MOST_DETECTIONS[data.federated],
        frequencies=[category.frequency for category in data.categories],
        between=between,
    )
