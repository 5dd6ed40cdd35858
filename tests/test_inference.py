"""Predictions on a test set: the same from one process and from the parts of several."""

from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from torchvision.models.detection.roi_heads import paste_masks_in_image

from benchmarks.survival import SMALL
from data.transforms import as_input
from trainer.config import RunConfig, load_config
from trainer.detections import DetectionCollector, Detections
from trainer.distributed import Ranks
from trainer.evaluation import EvaluationResult
from trainer.inference import evaluate_model, predict
from trainer.model import FASAMaskRCNN, build_model
from trainer.training_data import TrainingData, build_training_data

T = TypeVar("T")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return load_config({**SMALL, "batch_size": 3})


@pytest.fixture(scope="module")
def data(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return build_training_data(config, datasets=tmp_path_factory.mktemp("datasets"))


@pytest.fixture(scope="module")
def model(config: RunConfig, data: TrainingData) -> FASAMaskRCNN:
    torch.manual_seed(0)
    return build_model(config, class_counts=data.class_counts)


@pytest.fixture(scope="module")
def alone(model: FASAMaskRCNN, data: TrainingData, config: RunConfig) -> EvaluationResult:
    result = evaluate_model(model, data, config, device=CPU)
    assert result is not None
    return result


class Part(Ranks):
    """One of three processes that take turns: what it collects waits for the first one."""

    world = 3

    def __init__(self, rank: int, waiting: list[Detections]) -> None:
        self.rank = rank
        self._waiting = waiting

    def collect(self, value: T) -> list[T]:
        assert isinstance(value, Detections)
        self._waiting.insert(0, value)
        return list(self._waiting) if self.is_first else []  # type: ignore[arg-type]


def test_the_detections_are_those_of_the_model(
    model: FASAMaskRCNN, data: TrainingData, config: RunConfig, alone: EvaluationResult
) -> None:
    assert data.test is not None
    expected = DetectionCollector([category.id for category in data.categories])
    for item in range(len(data.test)):
        image, target = data.test[item]
        with torch.no_grad():
            (found,) = model.eval()([as_input(image)])
        size = image.shape[-2:]
        masks = paste_masks_in_image(found["masks"], found["boxes"], size)[:, 0] > 0.5
        parts = {name: found[name] for name in ("boxes", "scores", "labels")}
        expected.add(int(target["image_id"]), masks=masks, **parts)
    assert len(alone.records) == len(expected.records) > 0
    np.testing.assert_array_equal(alone.records.image_ids, expected.records.image_ids)
    np.testing.assert_allclose(alone.records.scores, expected.records.scores, rtol=1e-4)


def test_parts_of_every_batch_give_what_one_process_gives(
    model: FASAMaskRCNN, data: TrainingData, config: RunConfig, alone: EvaluationResult
) -> None:
    waiting: list[Detections] = []
    batches: list[int] = []
    results = [
        evaluate_model(
            model, data, config, device=CPU, ranks=Part(rank, waiting), batch_done=batches.append
        )
        for rank in (2, 1, 0)
    ]
    # 20 images in batches of 3: the last two are too few for three processes.
    assert batches == [7] * 21
    assert results[:2] == [None, None]
    assert results[2] is not None
    np.testing.assert_array_equal(results[2].records.image_ids, alone.records.image_ids)
    np.testing.assert_array_equal(results[2].records.category_ids, alone.records.category_ids)
    np.testing.assert_allclose(results[2].records.scores, alone.records.scores, rtol=1e-4)
    assert results[2].metrics == pytest.approx(alone.metrics, abs=0.1)


def test_loader_processes_and_short_numbers_find_nearly_the_same(
    model: FASAMaskRCNN, data: TrainingData, config: RunConfig, alone: EvaluationResult
) -> None:
    assert data.test is not None
    collector = DetectionCollector([category.id for category in data.categories])
    short = config.model_copy(update={"precision": "bfloat16", "workers": 1})
    predict(model, data.test, short, collector, device=CPU)
    images = np.unique(alone.records.image_ids)
    best = [alone.records.scores[alone.records.image_ids == image].max() for image in images]
    found = collector.records
    nearly = [found.scores[found.image_ids == image].max() for image in images]
    assert nearly != best
    # Few proposals of an untrained model are chosen: in an image it may be others.
    assert np.median(np.abs(np.array(nearly) / best - 1)) < 0.02


def test_without_a_test_set_nothing_is_found(
    model: FASAMaskRCNN, data: TrainingData, config: RunConfig, tmp_path: Path
) -> None:
    none = TrainingData("none", data.categories, data.train, data.holdout, None, True)
    assert evaluate_model(model, none, config, device=CPU) is None
