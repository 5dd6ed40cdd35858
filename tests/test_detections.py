"""Detections as columns: what is put in comes back, in the published results format."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_builders import HERE, THERE, found, image, truth, written
from lvis import LVISResults
from pycocotools import mask as rle_masks

from trainer.detections import DetectionCollector, Detections

# A sequence of records

RECORDS = [found(4, 2, HERE, 0.25), found(1, 9, THERE, 0.5), found(4, 1, [1.5, 2, 3.25, 4], 1.0)]


def test_records_come_back_as_they_were() -> None:
    detections = Detections.of(RECORDS)
    assert len(detections) == 3
    assert list(detections) == RECORDS
    assert [detections[0], detections[-1]] == [RECORDS[0], RECORDS[2]]
    assert detections[1:] == RECORDS[1:]
    assert Detections.of(detections) is detections
    with pytest.raises(IndexError):
        detections[3]


def test_run_lengths_may_be_bytes() -> None:
    coded = [
        record | {"segmentation": record["segmentation"] | {"counts": bytes_of(record)}}
        for record in RECORDS
    ]
    assert list(Detections.of(coded)) == RECORDS


def bytes_of(record: dict) -> bytes:
    return record["segmentation"]["counts"].encode()


def test_what_some_records_lack_is_left_out() -> None:
    boxes = [{name: value for name, value in RECORDS[0].items() if name != "segmentation"}]
    detections = Detections.of([*boxes, RECORDS[1]])
    assert detections.masks is None
    assert list(detections) == [
        {name: record[name] for name in ("image_id", "category_id", "bbox", "score")}
        for record in RECORDS[:2]
    ]


def test_parts_are_joined_in_their_order() -> None:
    parts = [Detections.of(RECORDS[:1]), Detections.of([]), Detections.of(RECORDS[1:])]
    assert list(Detections.joined(parts)) == RECORDS
    assert list(Detections.joined([])) == []


def test_the_records_of_some_images() -> None:
    detections = Detections.of(RECORDS)
    assert detections.of_images([4, 77]) == [RECORDS[0], RECORDS[2]]
    assert detections.of_images({1: 0}) == [RECORDS[1]]
    assert detections.of_images([]) == []


@pytest.mark.parametrize(
    "shape",
    [[[0.0, 0, 5, 0, 5, 5]], {"size": [9, 9], "counts": [3, 78]}, {"counts": "abc"}, None],
    ids=["polygons", "uncompressed", "no size", "nothing"],
)
def test_other_masks_than_compressed_ones_are_refused(shape: object) -> None:
    with pytest.raises(ValueError, match="must be compressed run lengths"):
        Detections.of([RECORDS[0] | {"segmentation": shape}])


def test_a_box_of_three_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="got 3 numbers in 1 boxes"):
        Detections.of([RECORDS[0] | {"bbox": [1, 2, 3]}])


# Collecting


def detections(count: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    corners = 20 * torch.rand(count, 2, generator=generator)
    return {
        "boxes": torch.cat([corners, corners + 10], dim=1),
        "scores": torch.rand(count, generator=generator),
        "labels": torch.randint(0, 3, (count,), generator=generator),
        "masks": torch.rand(count, 30, 40, generator=generator) > 0.5,
    }


def test_collected_masks_and_boxes_come_back() -> None:
    collector = DetectionCollector([5, 7, 1000])
    given_ = detections(4)
    collector.add(12, **given_)
    assert [record["image_id"] for record in collector.records] == [12] * 4
    names = [[5, 7, 1000][label] for label in given_["labels"].tolist()]
    assert [record["category_id"] for record in collector.records] == names
    for row, record in enumerate(collector.records):
        x0, y0, x1, y1 = given_["boxes"][row].tolist()
        assert record["bbox"] == pytest.approx([x0, y0, x1 - x0, y1 - y0])
        assert record["score"] == given_["scores"][row].item()
        decoded = rle_masks.decode(record["segmentation"]).astype(bool)
        np.testing.assert_array_equal(decoded, given_["masks"][row].numpy())


def test_collected_records_are_the_published_results_format(tmp_path: Path) -> None:
    content = truth([image(1), image(2)], [(1, 1, HERE)], "rcf")
    path = written(tmp_path, content)
    collector = DetectionCollector([1, 2, 3])
    collector.add(1, **detections(3))
    collector.add(2, **detections(2))
    results = tmp_path / "results.json"
    results.write_text(json.dumps(list(collector.records)))
    assert json.loads(results.read_text()) == list(collector.records)
    assert len(LVISResults(str(path), str(results)).anns) == 5


def test_collecting_in_parts_equals_collecting_at_once() -> None:
    at_once, in_parts = DetectionCollector([1, 2, 3]), DetectionCollector([1, 2, 3])
    given_ = detections(5)
    at_once.add(1, **given_)
    for part in (slice(0, 2), slice(2, 5)):
        in_parts.add(1, **{name: value[part] for name, value in given_.items()})
    assert list(at_once.records) == list(in_parts.records)


def test_an_image_without_detections_adds_nothing() -> None:
    collector = DetectionCollector([1])
    collector.add(1, **detections(0))
    assert list(collector.records) == []


def test_labels_outside_the_classes_are_refused() -> None:
    collector = DetectionCollector([1, 2])
    given_ = detections(2) | {"labels": torch.tensor([0, 2])}
    with pytest.raises(ValueError, match="got 2: leave the background out"):
        collector.add(1, **given_)
    assert list(collector.records) == []


def test_collected_run_lengths_equal_collected_pixels() -> None:
    pixels, coded = DetectionCollector([1, 2, 3]), DetectionCollector([1, 2, 3])
    given_ = detections(4)
    masks = [rle_masks.encode(np.asfortranarray(mask.byte().numpy())) for mask in given_["masks"]]
    pixels.add(1, **given_)
    coded.add(1, **{**given_, "masks": masks})
    assert list(pixels.records) == list(coded.records)


def test_lengths_that_differ_are_refused() -> None:
    given_ = detections(3) | {"scores": torch.rand(2)}
    with pytest.raises(ValueError, match="got 3, 2, 3 and 3"):
        DetectionCollector([1, 2, 3]).add(1, **given_)
