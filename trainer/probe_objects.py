"""Which objects a run's feature snapshots follow: chosen once, the same whenever it is asked."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from data.detection import DetectionDataset
from trainer.training_data import TrainingData

Split = Literal["train", "holdout"]


@dataclass(frozen=True)
class ProbeImage:
    """An image of one data set and those of its objects that are followed.

    Attributes:
        split: "train", or "holdout" for images the model does not learn from.
        item: the image's index in its data set.
        objects: their indices among the image's own objects, rising.
    """

    split: Split
    item: int
    objects: list[int]


def choose_objects(data: TrainingData, *, per_class: int, seed: int) -> list[ProbeImage]:
    """Pick up to `per_class` objects of every class that has any, on few images.

    Half of a class's objects, rounded down, are held out; where one of the two sets has too few,
    the other makes up for it. The next image is always the one that shows most of the classes
    still needed, ties in an order drawn from `seed`.

    Args:
        data: its training and hold-out images.
        per_class: most objects of a class.
        seed: the same seed and data give the same objects.
    """
    chosen: dict[Split, dict[int, list[int]]] = {"train": {}, "holdout": {}}
    missing = [per_class] * len(data.categories)
    passes: tuple[tuple[Split, int], ...] = (
        ("holdout", per_class // 2),
        ("train", per_class),
        ("holdout", per_class),
    )
    for split, quota in passes:
        dataset = data.train if split == "train" else data.holdout
        need = [min(quota, rest) for rest in missing]
        for item, number, label in _needed_objects(dataset, need, chosen[split], seed):
            chosen[split].setdefault(item, []).append(number)
            missing[label] -= 1
    return [
        ProbeImage(split, item, sorted(objects))
        for split, images in chosen.items()
        for item, objects in sorted(images.items())
    ]


def _needed_objects(
    dataset: DetectionDataset,
    need: list[int],
    taken: Mapping[int, Sequence[int]],
    seed: int,
) -> Iterator[tuple[int, int, int]]:
    """(item, object, label) of up to `need[label]` objects that are not `taken` yet.

    An image's gain, the number of its classes still needed, never grows: the best image is found
    when the first of the heap still has the gain it was put in with.
    """
    order = np.random.default_rng(seed).permutation(len(dataset)).tolist()
    classes_of = dataset.image_categories
    heap = [(-len(classes_of[item]), order[item], item) for item in range(len(dataset))]
    heapq.heapify(heap)
    while heap:
        promised, place, item = heapq.heappop(heap)
        gain = sum(need[label] > 0 for label in classes_of[item])
        if not gain:
            continue
        if gain < -promised:
            heapq.heappush(heap, (-gain, place, item))
            continue
        labels = dataset.objects(item)[1].tolist()
        for number, label in enumerate(labels):
            if need[label] and number not in taken.get(item, ()):
                need[label] -= 1
                yield item, number, label
