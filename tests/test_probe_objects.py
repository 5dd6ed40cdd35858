"""The choice of probe objects: every class, both splits, few images, always the same."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from probe_builders import HOLDOUT, TRAIN, training_data

from data.detection import DetectionDataset
from trainer.probe_objects import ProbeImage, choose_objects
from trainer.training_data import TrainingData


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return training_data(tmp_path_factory.mktemp("rectangles"), TRAIN, HOLDOUT)


def labels_of(data: TrainingData, chosen: list[ProbeImage], split: str) -> Counter[int]:
    dataset = data.train if split == "train" else data.holdout
    return Counter(
        dataset.objects(image.item)[1].tolist()[number]
        for image in chosen
        if image.split == split
        for number in image.objects
    )


def test_the_choice_by_hand(data: TrainingData) -> None:
    """Two a class, one of them held out, from as few images as it takes."""
    assert choose_objects(data, per_class=2, seed=0) == [
        ProbeImage("train", 0, [0, 1, 2]),  # the second 0, the second 1, the first 2
        ProbeImage("train", 3, [0]),  # nothing held out shows a 2, so training gives both
        ProbeImage("train", 4, [0]),  # the only 3
        ProbeImage("holdout", 0, [0, 1]),  # the only 4
        ProbeImage("holdout", 1, [0]),
    ]
    one = choose_objects(data, per_class=1, seed=0)
    assert [image.split for image in one] == ["train", "train", "holdout"]
    assert one[-1] == ProbeImage("holdout", 0, [1])  # the only 4; the 0 comes from training


@pytest.mark.parametrize("per_class", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_class_gets_as_many_as_there_are(tmp_path: Path, per_class: int, seed: int) -> None:
    draw = random.Random(seed)

    def images(count: int) -> list[list[int]]:
        """Class 0 is in every second place, class 11 hardly anywhere."""
        return [
            [int(12 * draw.random() ** 2) for _ in range(draw.randint(0, 6))] for _ in range(count)
        ]

    data = training_data(tmp_path, images(25), images(12), classes=12)
    chosen = choose_objects(data, per_class=per_class, seed=seed)
    assert chosen == choose_objects(data, per_class=per_class, seed=seed)
    train, held = labels_of(data, chosen, "train"), labels_of(data, chosen, "holdout")
    everything = {
        split: Counter(label for i in range(len(part)) for label in part.objects(i)[1].tolist())
        for split, part in (("train", data.train), ("holdout", data.holdout))
    }
    for label in range(12):
        in_train, in_holdout = everything["train"][label], everything["holdout"][label]
        assert train[label] + held[label] == min(per_class, in_train + in_holdout)
        assert held[label] >= min(per_class // 2, in_holdout)
        assert train[label] >= min(per_class - per_class // 2, in_train)
    assert len({(image.split, image.item) for image in chosen}) == len(chosen)
    assert all(image.objects == sorted(set(image.objects)) for image in chosen)


def test_the_seed_decides_between_equal_images(tmp_path: Path) -> None:
    data = training_data(tmp_path, [[0]] * 12, [[1]], classes=2)
    found = {choose_objects(data, per_class=1, seed=seed)[0].item for seed in range(8)}
    assert len(found) > 2


def test_the_order_of_classes_in_the_json_changes_nothing(
    data: TrainingData, tmp_path: Path
) -> None:
    content = json.loads(data.train.annotations_path.read_text())
    content["categories"].reverse()
    turned = tmp_path / "turned.json"
    turned.write_text(json.dumps(content))
    again = DetectionDataset(turned, data.train.images_path)
    assert choose_objects(
        TrainingData("turned", again.categories, again, data.holdout, None, False),
        per_class=3, seed=4,
    ) == choose_objects(data, per_class=3, seed=4)  # fmt: skip
