from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.demo import write_demo
from data.detection import DetectionDataset
from data.transforms import EpochView, collate, flip_horizontally


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> DetectionDataset:
    written = write_demo(
        tmp_path_factory.mktemp("transforms") / "demo",
        num_classes=12,
        head_instances=40,
        holdout_instances=2,
        test_instances=2,
        image_size=96,
    )
    return DetectionDataset(written.train_json, written.images)


def test_flip_by_hand() -> None:
    image = torch.arange(3 * 2 * 4, dtype=torch.uint8).reshape(3, 2, 4)
    mask = torch.tensor([[[1, 1, 0, 0], [1, 0, 0, 0]]], dtype=torch.uint8)
    target = {
        "boxes": torch.tensor([[0.0, 0.0, 1.5, 2.0]]),
        "labels": torch.tensor([5]),
        "masks": mask,
        "image_id": 9,
    }
    flipped_image, flipped = flip_horizontally(image, target)
    assert flipped_image[0].tolist() == [[3, 2, 1, 0], [7, 6, 5, 4]]
    assert flipped["boxes"].tolist() == [[2.5, 0.0, 4.0, 2.0]]
    assert flipped["masks"].tolist() == [[[0, 0, 1, 1], [0, 0, 0, 1]]]
    assert flipped["labels"].tolist() == [5]
    assert flipped["image_id"] == 9
    # The original is left as it was.
    assert target["boxes"].tolist() == [[0.0, 0.0, 1.5, 2.0]]


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 4), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_flipping_twice_gives_the_original(height: int, width: int, n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    image = torch.from_numpy(generator.integers(0, 256, (3, height, width), dtype=np.uint8))
    corners = generator.integers(0, (width + 1, height + 1), (n, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    target = {
        "boxes": torch.from_numpy(boxes.astype(np.float32)),
        "labels": torch.arange(n),
        "masks": torch.from_numpy(generator.integers(0, 2, (n, height, width), dtype=np.uint8)),
        "image_id": 1,
    }
    again_image, again = flip_horizontally(*flip_horizontally(image, target))
    assert torch.equal(again_image, image)
    assert torch.equal(again["boxes"], target["boxes"])
    assert torch.equal(again["masks"], target["masks"])


def test_after_a_flip_boxes_still_fit_their_masks(data_set: DetectionDataset) -> None:
    view = EpochView(data_set, seed=0, epoch=0, flip_probability=1.0)
    for i in range(10):
        image, target = view[i]
        original, _ = data_set[i]
        assert torch.equal(image, original.flip(-1))
        for box, mask in zip(target["boxes"], target["masks"], strict=True):
            rows, columns = torch.nonzero(mask, as_tuple=True)
            fitted = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert box.tolist() == [float(edge) for edge in fitted]


def test_probability_0_changes_nothing(data_set: DetectionDataset) -> None:
    view = EpochView(data_set, seed=0, epoch=0, flip_probability=0.0)
    assert len(view) == len(data_set)
    for i in range(5):
        assert torch.equal(view[i][0], data_set[i][0])


def flips(data_set: DetectionDataset, *, seed: int, epoch: int) -> list[bool]:
    view = EpochView(data_set, seed=seed, epoch=epoch)
    # Reading backwards: the order of reading must not matter.
    return [not torch.equal(view[i][0], data_set[i][0]) for i in reversed(range(len(data_set)))][
        ::-1
    ]


def test_flips_depend_on_seed_and_epoch_and_image_only(data_set: DetectionDataset) -> None:
    first = flips(data_set, seed=0, epoch=0)
    assert first == flips(data_set, seed=0, epoch=0)
    assert first != flips(data_set, seed=0, epoch=1)
    assert first != flips(data_set, seed=1, epoch=0)
    # Half of them, give or take four standard deviations.
    assert abs(sum(first) - len(first) / 2) < 2 * len(first) ** 0.5


def test_loader_workers_give_the_same_batches(data_set: DetectionDataset) -> None:
    view = EpochView(data_set, seed=4, epoch=2)

    def batches(workers: int) -> list:
        loader = torch.utils.data.DataLoader(
            view,
            batch_size=4,
            num_workers=workers,
            collate_fn=collate,
            multiprocessing_context="forkserver" if workers else None,
        )
        return [(torch.stack(images), targets) for images, targets in loader if len(images) == 4]

    for (images, targets), (other_images, other_targets) in zip(
        batches(0), batches(2), strict=True
    ):
        assert torch.equal(images, other_images)
        for target, other in zip(targets, other_targets, strict=True):
            assert target["image_id"] == other["image_id"]
            assert torch.equal(target["boxes"], other["boxes"])
            assert torch.equal(target["masks"], other["masks"])


def test_collate_scales_to_0_and_1(data_set: DetectionDataset) -> None:
    small = torch.tensor([[[0, 51, 255]]] * 3, dtype=torch.uint8)
    images, targets = collate([(small, {"image_id": 1}), data_set[0]])
    assert images[0].dtype == torch.float32
    assert images[0][0, 0].tolist() == pytest.approx([0.0, 0.2, 1.0])
    assert images[1].shape == (3, 96, 96)
    assert [target["image_id"] for target in targets] == [1, data_set.image_ids[0]]


@pytest.mark.parametrize("probability", [-0.1, 1.1])
def test_an_impossible_probability_is_refused(
    data_set: DetectionDataset, probability: float
) -> None:
    with pytest.raises(ValueError, match=f"got {probability}"):
        EpochView(data_set, seed=0, epoch=0, flip_probability=probability)


def test_real_photos_pass_through(shared_data: Path) -> None:
    folder = shared_data / "coco_mini"
    photos = DetectionDataset(
        folder / "annotations" / "instances_train2017.json", folder / "train2017"
    )
    view = EpochView(photos, seed=0, epoch=0, flip_probability=1.0)
    image, target = view[0]
    assert image.shape[-2:] == target["masks"].shape[-2:]
    assert (target["boxes"][:, 0] < target["boxes"][:, 2]).all()
    assert (target["boxes"][:, 2] <= image.shape[-1]).all()
