"""A detector's predictions on a test set, and the AP they reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from data.detection import DetectionDataset
from data.transforms import as_input
from trainer.config import RunConfig
from trainer.detections import DetectionCollector, Detections
from trainer.distributed import ALONE, Ranks
from trainer.evaluation import EvaluationResult, evaluate_detections
from trainer.mask_pasting import mask_run_lengths
from trainer.mixed_precision import forward_pass
from trainer.model import FASAMaskRCNN
from trainer.training_data import TrainingData, evaluation_loader
from trainer.uncapped_collector import UncappedCollector

MOST_DETECTIONS = {True: 300, False: 100}
"""Counted an image: LVIS's (federated) and COCO's rule."""

BatchDone = Callable[[int], None]


@torch.no_grad()
def predict(
    model: FASAMaskRCNN,
    test: DetectionDataset,
    config: RunConfig,
    collector: DetectionCollector | UncappedCollector,
    *,
    device: torch.device,
    ranks: Ranks = ALONE,
    batch_done: BatchDone = lambda total: None,
) -> None:
    """Give `collector` what `model` detects on the images of `test`, in their order.

    Args:
        model: on `device`; left in eval mode.
        test: the images; their objects are not read.
        config: batch size, loader processes and precision are taken from it.
        collector: gets boxes in pixels of the original images, all on the processor.
        device: where the model is.
        ranks: the processes that share every batch; each collects its own part.
        batch_done: called after each batch with the number of batches there are.
    """
    model.eval()
    loader = evaluation_loader(config, test, ranks=ranks)
    for images, image_ids in loader:
        found = []
        if images:  # the last batch may have fewer images than there are ranks
            with forward_pass(config.precision, device):
                found = model([as_input(image.to(device)) for image in images])
        for image, image_id, result in zip(images, image_ids, found, strict=True):
            boxes = result["boxes"].cpu()
            collector.add(
                image_id,
                boxes=boxes,
                scores=result["scores"].cpu(),
                labels=result["labels"].cpu(),
                masks=mask_run_lengths(result["masks"][:, 0], boxes, image.shape[-2:]),
            )
        batch_done(len(loader))


def evaluate_model(
    model: FASAMaskRCNN,
    data: TrainingData,
    config: RunConfig,
    *,
    device: torch.device,
    ranks: Ranks = ALONE,
    batch_done: BatchDone = lambda total: None,
    between: Callable[[], None] = lambda: None,
) -> EvaluationResult | None:
    """AP of boxes and masks on `data.test`, or None without a test set.

    Args:
        model: on `device`; left in eval mode.
        data: with the test set.
        config: see `predict`.
        device: where the model is.
        ranks: the processes that share every batch; with several, only the first gets a result,
            the same as one process would have.
        batch_done: called after each batch with the number of batches there are.
        between: called about every second while AP is computed from the detections.
    """
    test = data.test
    if test is None:
        return None
    category_ids = [category.id for category in data.categories]
    collector = DetectionCollector(category_ids)
    predict(model, test, config, collector, device=device, ranks=ranks, batch_done=batch_done)
    parts = ranks.collect(collector.records)
    if not ranks.is_first:
        return None
    return evaluate_detections(
        test.table,
        category_ids,
        _in_order(parts, test.image_ids),
        federated=data.federated,
        max_detections=MOST_DETECTIONS[data.federated],
        frequencies=[category.frequency for category in data.categories],
        bins=data.instance_bins,
        between=between,
    )


def _in_order(parts: Sequence[Detections], image_ids: Sequence[int]) -> Detections:
    """The detections of all ranks, sorted as their images are: of equal scores the first counts."""
    if len(parts) == 1:
        return parts[0]
    joined = Detections.joined(parts)
    place = {image_id: place for place, image_id in enumerate(image_ids)}
    places = [place[image_id] for image_id in joined.image_ids.tolist()]
    return joined.taken(np.argsort(places, kind="stable"))
