"""What is kept for AP_fixed: the best of every class, and of every image those AP counts."""

from typing import Any

import numpy as np
import torch

from trainer.detections import DetectionCollector
from trainer.uncapped_collector import UncappedCollector

IDS = [3, 5, 9]


def detections(count: int, seed: int) -> dict[str, Any]:
    """Of one image, best first."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "boxes": 10 * torch.rand(count, 4, generator=generator),
        # Few different scores: many are equal.
        "scores": torch.randint(1, 40, (count,), generator=generator).sort(descending=True)[0] / 40,
        "labels": torch.randint(0, 3, (count,), generator=generator) ** 2 // 2,
        "masks": [{"size": [4, 4], "counts": f"{n % 9}"} for n in range(count)],
    }


def test_it_keeps_what_counts_as_if_nothing_had_been_dropped_early() -> None:
    everything = DetectionCollector(IDS)
    collector = UncappedCollector(IDS, best_of_image=2, best_of_class=10)
    counted_in_image = []
    for image in range(12):
        found = detections(15, image)
        everything.add(image, **found)
        counted_in_image += [n < 2 for n in range(15)]
        floors = collector.floors[found["labels"]]
        stays = (found["scores"] > floors) | (torch.arange(15) < 2)  # as the detector does
        collector.add(
            image,
            masks=[mask for mask, stay in zip(found["masks"], stays, strict=True) if stay],
            **{name: found[name][stays] for name in ("boxes", "scores", "labels")},
        )
        assert len(collector.records) <= 10 * 3 + 2 * (image + 1)
    records = everything.records
    kept = np.array(counted_in_image)
    for category_id in IDS:
        own = np.flatnonzero(records.category_ids == category_id)
        kept[own[np.argsort(-records.scores[own], kind="stable")[:10]]] = True
    assert list(collector.records) == records.records(np.flatnonzero(kept))
    assert (collector.floors > 0).any()


def test_floors_rise_to_the_last_that_is_kept() -> None:
    collector = UncappedCollector(IDS, best_of_image=0, best_of_class=2)
    for image, scores in enumerate(([0.9, 0.5], [0.7], [0.6])):
        count = len(scores)
        collector.add(
            image,
            boxes=torch.zeros(count, 4),
            scores=torch.tensor(scores),
            labels=torch.zeros(count, dtype=torch.int64),
            masks=[{"size": [4, 4], "counts": "0"}] * count,
        )
    assert sorted(collector.records.scores.tolist()) == [np.float32(0.7), np.float32(0.9)]
    torch.testing.assert_close(collector.floors, torch.tensor([0.7, 0, 0]))


def test_nothing_found_is_nothing_kept() -> None:
    collector = UncappedCollector(IDS, best_of_image=2)
    assert list(collector.records) == []
    limits = collector.limits(0.5)
    assert limits.above_floors == 2
    assert limits.floors is collector.floors
