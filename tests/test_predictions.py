"""The gallery: which test images are chosen, and what is kept of the evaluations' detections."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from probe_builders import (
    CLASSES,
    HEIGHT,
    TRAIN,
    WIDTH,
    box_of,
    color_of,
    training_data,
    write_dataset,
)
from pycocotools import mask as rle_masks

from data.detection import DetectionDataset
from trainer.config import RunConfig
from trainer.detections import Detections
from trainer.predictions import PredictionGallery, choose_images
from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.writer import RunLogWriter
from trainer.training_data import TrainingData

# Training instances: class 0 two, 1 three, 2 two, 3 one, 4 none (probe_builders.TRAIN).
TEST = [[0], [0, 1], [3], [3, 2, 3], [4], [], [0, 1, 2]]
FIRST_ID = 201
MASK = {"size": [HEIGHT, WIDTH], "counts": "0220008"}


@pytest.fixture
def data(tmp_path: Path) -> TrainingData:
    data = training_data(tmp_path / "data", TRAIN, [[0]])
    test = write_dataset(tmp_path / "data" / "test", TEST, first_id=FIRST_ID)
    return with_test(data, test)


def with_test(
    data: TrainingData, test: DetectionDataset | None, federated: bool = False
) -> TrainingData:
    return TrainingData(data.title, data.categories, data.train, data.holdout, test, federated)


def record(number: int, score: float, label: int = 0) -> dict[str, Any]:
    """A detection on test image `number`."""
    return {
        "image_id": FIRST_ID + number, "category_id": 7 * label + 2, "score": score,
        "bbox": [1.004, 2.006, 3.0, 4.0], "segmentation": MASK,
    }  # fmt: skip


class Bench:
    """A run and its gallery."""

    def __init__(self, folder: Path, data: TrainingData, **config: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.path, self.data = folder / "fasa.sqlite", data
        self.config = RunConfig(**config)
        self.run = queue_run(self.path, name="a", config={}, dataset="rectangles")

    def record(self, *evaluations: Sequence[dict[str, Any]]) -> RunLogReader:
        """Evaluations of one process, after 10, 20 ... steps."""
        with RunLogWriter(self.path, self.run) as writer:
            gallery = PredictionGallery(
                config=self.config, data=self.data, writer=writer, run_log=self.path,
                run_id=self.run,
            )  # fmt: skip
            for number, records in enumerate(evaluations):
                gallery.record(Detections.of(records), step=10 * number + 10, epoch=number)
        return RunLogReader(self.path)


# Which images.


def test_rare_classes_come_first_each_on_the_image_that_shows_most(data: TrainingData) -> None:
    assert data.test is not None
    counts = data.class_counts
    assert counts == [2, 3, 2, 1, 0]
    chosen = choose_images(data.test, count=99, class_counts=counts, seed=0)
    # Class 3 is the rarest: image 3 shows class 2 too, image 2 does not. Then 0 and 1 are missing:
    # images 1 and 6 show both. Class 4 is in no training image and comes last.
    assert chosen[0] == 3
    assert chosen[1] in (1, 6)
    assert chosen[2] == 4
    assert sorted(chosen) == [0, 1, 2, 3, 4, 6]  # image 5 shows nothing


def test_a_shorter_choice_is_the_beginning_of_a_longer_one(data: TrainingData) -> None:
    assert data.test is not None
    longest = choose_images(data.test, count=9, class_counts=data.class_counts, seed=0)
    for count in range(len(longest) + 1):
        some = choose_images(data.test, count=count, class_counts=data.class_counts, seed=0)
        assert some == longest[:count]


def test_the_seed_decides_between_equals(tmp_path: Path) -> None:
    data = training_data(tmp_path / "data", [[0]], [[0]], classes=1)
    test = write_dataset(tmp_path / "test", [[0]] * 8, classes=1)
    first = [choose_images(test, count=1, class_counts=[1], seed=seed)[0] for seed in range(20)]
    again = [choose_images(test, count=1, class_counts=[1], seed=seed)[0] for seed in range(20)]
    assert first == again
    assert len(set(first)) > 3
    assert data.class_counts == [1]


# What is stored of them.


def test_images_with_their_truth_and_picture(tmp_path: Path, data: TrainingData) -> None:
    reader = Bench(tmp_path / "runs", data, gallery_images=1).record([])
    (image,) = reader.prediction_images(1)
    assert (image.image_id, image.width, image.height) == (FIRST_ID + 3, WIDTH, HEIGHT)
    assert image.judged is None
    assert [entry["class"] for entry in image.truth] == [3, 2, 3]
    assert [entry["crowd"] for entry in image.truth] == [0, 0, 0]
    for position, entry in enumerate(image.truth):
        x1, y1, x2, y2 = box_of(position, entry["class"])
        assert entry["box"] == [x1, y1, x2, y2]
        mask = rle_masks.decode(entry["mask"])
        assert mask.shape == (HEIGHT, WIDTH)
        assert mask[y1:y2, x1:x2].all()
        assert mask.sum() == (x2 - x1) * (y2 - y1)
    picture = reader.prediction_picture(1, 0)
    assert picture is not None
    shown = np.asarray(Image.open(io.BytesIO(picture)))
    assert shown.shape == (HEIGHT, WIDTH, 3)
    x1, y1, x2, y2 = box_of(1, 2)
    inside = shown[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].mean(axis=(0, 1))
    assert inside == pytest.approx(color_of(2), abs=12)  # JPEG


def test_a_large_picture_is_made_smaller_and_its_truth_is_not(tmp_path: Path) -> None:
    data = training_data(tmp_path / "data", [[0]], [[0]], classes=1)
    test = write_dataset(tmp_path / "test", [[0]], classes=1)
    large = Image.fromarray(test[0][0].permute(1, 2, 0).numpy()).resize((1600, 1200))
    large.save(tmp_path / "test" / "1.png")
    path = tmp_path / "test" / "annotations.json"
    path.write_text(
        path.read_text()
        .replace(f'"width": {WIDTH}', '"width": 1600')
        .replace(f'"height": {HEIGHT}', '"height": 1200')
    )
    data = with_test(data, DetectionDataset(path, tmp_path / "test"))
    reader = Bench(tmp_path / "runs", data).record([])
    (image,) = reader.prediction_images(1)
    assert image.truth[0]["mask"]["size"] == [1200, 1600]
    picture = reader.prediction_picture(1, 0)
    assert picture is not None
    assert Image.open(io.BytesIO(picture)).size == (640, 480)


def test_where_lvis_knows_only_some_classes_the_others_are_not_judged(
    tmp_path: Path, data: TrainingData
) -> None:
    path = tmp_path / "data" / "test" / "annotations.json"
    head = f'"id": {FIRST_ID + 3}, '
    lists = '"neg_category_ids": [30, 2], "not_exhaustive_category_ids": [16], '
    path.write_text(path.read_text().replace(head, head + lists, 1))
    test = DetectionDataset(path, path.parent)
    federated = with_test(data, test, federated=True)
    (image,) = Bench(tmp_path / "a", federated, gallery_images=1).record([]).prediction_images(1)
    assert image.judged == [0, 3, 4]  # negative 4 and 0, shown 3; of the shown 2 not every object
    coco = with_test(data, test)
    (image,) = Bench(tmp_path / "b", coco, gallery_images=1).record([]).prediction_images(1)
    assert image.judged is None


def test_the_best_detections_of_the_chosen_images_are_kept(
    tmp_path: Path, data: TrainingData
) -> None:
    bench = Bench(tmp_path / "runs", data, gallery_images=2)
    many = [record(3, 0.1 + number / 100, label=number % CLASSES) for number in range(40)]
    low = [record(3, 0.0499), record(6, 0.05, label=2), record(1, 0.0501, label=2)]
    reader = bench.record([*low, record(0, 0.9), *many], [record(3, 0.5)])
    first, second = reader.prediction_images(1)
    assert (first.image_id, second.image_id in (FIRST_ID + 1, FIRST_ID + 6)) == (FIRST_ID + 3, True)
    best, other = (row.detections for row in reader.predictions(1, step=10))
    scores = [entry["score"] for entry in best]
    assert scores == [round(0.49 - number / 100, 4) for number in range(30)]
    assert best[0]["class"] == 39 % CLASSES
    assert best[0]["box"] == [1.0, 2.01, 4.0, 6.01]
    assert best[0]["mask"] == MASK
    assert [entry["class"] for entry in other] == [2]
    last = [row.detections for row in reader.predictions(1, step=20)]
    assert [len(detections) for detections in last] == [1, 0]
    assert reader.prediction_moments(1) == [(10, 0), (20, 1)]


@pytest.mark.parametrize("gallery_images", [0, 32])
def test_nothing_is_stored_where_there_is_no_test_set_or_none_is_asked_for(
    tmp_path: Path, data: TrainingData, gallery_images: int
) -> None:
    without = data if gallery_images == 0 else with_test(data, None)
    reader = Bench(tmp_path / "runs", without, gallery_images=gallery_images).record([record(3, 1)])
    assert (reader.prediction_images(1), reader.prediction_moments(1)) == ([], [])


def test_a_resumed_run_and_a_fork_go_on_with_the_same_images(
    tmp_path: Path, data: TrainingData
) -> None:
    bench = Bench(tmp_path / "runs", data, gallery_images=2)
    bench.record([])
    before = bench.record([]).prediction_images(1)
    assert len(before) == 2
    bench.config = RunConfig(gallery_images=4)
    more = bench.record([]).prediction_images(1)
    assert more[:2] == before
    assert [image.index for image in more] == [0, 1, 2, 3]
    bench.config = RunConfig(gallery_images=1)
    reader = bench.record([], [], [], [record(3, 0.5)])
    assert reader.prediction_images(1) == more
    assert [row.image_index for row in reader.predictions(1, step=40)] == [0]


def test_another_test_set_adds_images_though_their_ids_are_the_same(
    tmp_path: Path, data: TrainingData
) -> None:
    bench = Bench(tmp_path / "runs", data, gallery_images=1)
    bench.record([record(3, 0.5)])
    other = write_dataset(tmp_path / "other", [[1], [3]], first_id=FIRST_ID + 2)
    bench.data = with_test(data, other)
    reader = bench.record([], [record(3, 0.75)])
    images = reader.prediction_images(1)
    assert [image.image_id for image in images] == [FIRST_ID + 3] * 2
    assert [len(image.truth) for image in images] == [3, 1]
    assert [row.image_index for row in reader.predictions(1, step=20)] == [1]
