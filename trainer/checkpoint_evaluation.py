"""A checkpoint, or a file of detections, evaluated on a test set without touching the run."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.annotation_table import open_annotations
from data.categories import Category
from data.coco_lt import read_coco_lt_list
from data.detection import DetectionDataset
from trainer.backbone_weights import NO_WEIGHTS
from trainer.checkpoint import CheckpointError
from trainer.config import ConfigError, RunConfig
from trainer.data_layouts import COCO_LT_LIST, data_files
from trainer.detections import DetectionCollector, Detections
from trainer.distributed import ALONE
from trainer.evaluation import EvaluationResult, evaluate_detections
from trainer.inference import MOST_DETECTIONS, predict
from trainer.model import FASAMaskRCNN, build_model
from trainer.rank_device import use_device
from trainer.results_file import read_results
from trainer.training_data import build_training_data
from trainer.uncapped_collector import UncappedCollector

_UNREAD = Path()  # in the place of training files, which an evaluation does not need


@dataclass(frozen=True)
class Evaluated:
    """What was evaluated, and what it reaches.

    Attributes:
        result: the figures, and the detections they come from.
        classes: id, name and frequency letter ("" without one) of each entry of `per_class`.
        sources: what was evaluated on what, for programs.
        about: the same in sentences.
    """

    result: EvaluationResult
    classes: Sequence[tuple[int, str, str]]
    sources: dict[str, Any]
    about: list[str]


def evaluate_checkpoint(
    path: Path,
    state: dict[str, Any],
    config: RunConfig,
    categories: Sequence[Category],
    *,
    datasets: Path,
    fixed: bool,
    batch_done: Callable[[int], None] = lambda total: None,
) -> Evaluated:
    """What the model in a checkpoint detects on the test set of `config`.

    Args:
        path: the checkpoint.
        state: what is in it.
        config: of its run; test set, device, precision and limits may be others.
        categories: [C] the run's classes.
        datasets: folder where the demo set is kept.
        fixed: without a cap per image, for AP_fixed and AP_pool.
        batch_done: called after each batch with the number of batches there are.

    Raises:
        CheckpointError: it is of another model; one sentence, as all of these.
        AnnotationError: the test set breaks a rule.
        ConfigError: there is no test set, or it does not fit on the GPU.
    """
    model = _detector(config, state, path, num_classes=len(categories))
    test = _test_set(config, categories, datasets=datasets)
    federated = config.data in ("demo", "lvis")
    device = use_device(config, ALONE)
    ids = [category.id for category in categories]
    collector: DetectionCollector | UncappedCollector = DetectionCollector(ids)
    best = min(config.detections_per_image, MOST_DETECTIONS[federated])
    if fixed:
        collector = UncappedCollector(ids, best_of_image=best, device=device)
        model.roi_heads.limits = collector.limits(config.nms_threshold)
    started = time.monotonic()
    try:
        predict(model.to(device), test, config, collector, device=device, batch_done=batch_done)
    except torch.OutOfMemoryError:
        raise ConfigError(
            f"a batch of {config.batch_size} images does not fit on the GPU: "
            "give a lower --batch-size"
        ) from None
    took = time.monotonic() - started
    result = evaluate_detections(
        test.table,
        ids,
        collector.records,
        federated=federated,
        # Without --fixed the detector has kept to both: all its detections count.
        max_detections=best if fixed else MOST_DETECTIONS[federated],
        score_threshold=float(np.float32(config.score_threshold)) if fixed else -np.inf,
        frequencies=[category.frequency for category in categories],
        bins=_instance_bins(config, ids),
    )
    sources = {"checkpoint": str(path), "annotations": str(test.annotations_path)}
    about = [f"{path} on {test.annotations_path}", _took(result.records, len(test), took)]
    classes = [(category.id, category.name, category.frequency) for category in categories]
    return Evaluated(result, classes, sources | {"images": len(test)}, about)


def _detector(
    config: RunConfig, state: dict[str, Any], path: Path, *, num_classes: int
) -> FASAMaskRCNN:
    """The model of a checkpoint, without its FASA: that decides nothing about detections."""
    plain = config.model_copy(update={"fasa": False, "backbone_weights": NO_WEIGHTS})
    model = build_model(plain, class_counts=[1] * num_classes)
    weights = {name: v for name, v in state["model"].items() if "fasa" not in name.split(".")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"checkpoint {path} does not fit the model of its run "
            f"({str(error).splitlines()[1].strip()}): evaluate one of this version"
        ) from None
    return model


def _test_set(
    config: RunConfig, categories: Sequence[Category], *, datasets: Path
) -> DetectionDataset:
    """The test set that `config` names; its training set need not be there.

    Raises:
        ConfigError: it names none, or parts of it are missing.
        AnnotationError: it breaks a rule, or has other classes.
    """
    if config.data == "demo":
        test = build_training_data(config, datasets=datasets).test
        assert test is not None
        return test
    unread = dict.fromkeys(("annotations", "images", "coco_lt_list"), _UNREAD)
    files = data_files(config.model_copy(update=unread)).test
    if files is None:
        raise ConfigError("the run has no test set: name one with --annotations and --images")
    return DetectionDataset(
        files.annotations,
        files.images,
        categories=categories,
        drop_empty=config.drop_empty or files.is_published,
    )


def _instance_bins(config: RunConfig, category_ids: Sequence[int]) -> list[int] | None:
    """[C] 1..4 by COCO-LT's official list, where the run has it; then there are AP_1 to AP_4."""
    if config.data != "coco_lt":
        return None
    path = config.coco_lt_list or (config.data_folder or _UNREAD) / COCO_LT_LIST
    if not path.is_file():
        return None
    listed = read_coco_lt_list(path)
    return [listed[category_id].instance_bin for category_id in category_ids]


def evaluate_results(path: Path, annotations: Path, *, data: str | None) -> Evaluated:
    """The detections in a file of the published results format, against an annotation file.

    Args:
        path: json list of `image_id`, `category_id`, `score`, and `bbox`, `segmentation` or both.
        annotations: LVIS or COCO json.
        data: "lvis", "coco" or "coco_lt"; None: lvis where images say which classes they lack.

    Raises:
        AnnotationError: the annotation file cannot be used; one sentence, as for the others.
        ValueError: the results are of another format, or of other images.
        OSError: they cannot be opened.
    """
    truth = open_annotations(annotations, drop_empty=True)  # a published json cannot be mended
    is_lvis = any(len(truth.absent(i)) for i in range(len(truth.image_ids)))
    federated = is_lvis if data is None else data == "lvis"
    rows = sorted(truth.categories, key=lambda row: int(row["id"]))
    classes = [(row["id"], str(row["name"]), str(row.get("frequency", ""))) for row in rows]
    result = evaluate_detections(
        truth,
        [number for number, _, _ in classes],
        read_results(path, truth),
        federated=federated,
        max_detections=MOST_DETECTIONS[federated],
    )
    sources = {
        "results": str(path),
        "annotations": str(annotations),
        "images": len(truth.image_ids),
    }
    about = [f"{path} ({len(result.records):,} detections) on {annotations}"]
    return Evaluated(result, classes, sources, about)


def _took(records: Detections, images: int, seconds: float) -> str:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return (
        f"{len(records):,} detections kept of {images:,} images, {seconds:.0f} s of inference, "
        f"at most {memory:.1f} GB of memory"
    )
