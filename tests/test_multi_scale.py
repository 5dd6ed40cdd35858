"""Multi-scale training: geometry by hand, and draws that nothing but seed, epoch and image move."""

import json

import numpy as np
import pytest
import torch
from annotation_builders import annotation
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from data.detection import DetectionDataset
from data.transforms import EpochView, flip_horizontally, resize, resized_shape
from trainer.config import RunConfig, load_config
from trainer.input_transform import InputTransform
from trainer.training_data import adaptation_loader, train_loader

SHAPES = ((40, 60), (50, 30))  # (height, width), in turn
SIZES = (16, 20, 24, 32)
IMAGES = 48


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> DetectionDataset:
    """Noise with one square an image, at 10, 12 of side 8; every 16th image has a rare class."""
    folder = tmp_path_factory.mktemp("multi_scale")
    noise = np.random.default_rng(0)
    images, annotations = [], []
    for n in range(IMAGES):
        height, width = SHAPES[n % 2]
        pixels = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{n}.png")
        images.append({"id": n, "file_name": f"{n}.png", "width": width, "height": height})
        outline = [[10, 12, 18, 12, 18, 20, 10, 20]]
        annotations.append(annotation(n, n, 1 + (n % 16 == 0), [10, 12, 8, 8], outline))
    categories = [{"id": 1, "name": "cup"}, {"id": 2, "name": "fork"}]
    path = folder / "train.json"
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return DetectionDataset(path, folder)


def view(data_set: DetectionDataset, **others: object) -> EpochView:
    given = {"seed": 3, "epoch": 1, "min_sizes": SIZES, "max_size": 40, **others}
    return EpochView(data_set, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shape", "shorter", "longest", "expected"),
    [
        ((480, 640), 800, 1333, (800, 1067)),  # 640 x 5/3 = 1066.7
        ((640, 480), 640, 1333, (853, 640)),  # 640 x 4/3 = 853.3
        ((427, 640), 800, 1333, (800, 1199)),  # 640 x 800/427 = 1199.06
        ((300, 640), 800, 1333, (625, 1333)),  # the longer side is the bound: 300 x 1333/640
        ((480, 640), 800, None, (800, 1067)),
        ((480, 640), 480, 640, (480, 640)),
        ((1, 4000), 800, 1333, (1, 1333)),  # never without pixels
    ],
)
def test_shapes_by_hand(
    shape: tuple[int, int], shorter: int, longest: int | None, expected: tuple[int, int]
) -> None:
    assert resized_shape(shape, shorter, longest) == expected


def test_twice_as_large_by_hand() -> None:
    image = torch.tensor([[[0, 200]]] * 3, dtype=torch.uint8)
    target = {
        "boxes": torch.tensor([[0.5, 0.0, 2.0, 1.0]]),
        "labels": torch.tensor([5]),
        "masks": torch.tensor([[[0, 1]]], dtype=torch.uint8),
        "image_id": 9,
    }
    larger, resized = resize(image, target, 2, 4)
    # Bilinear between pixel centres: 0, 1/4, 3/4 and all of the way.
    assert larger[0].tolist() == [[0, 50, 150, 200]] * 2
    assert resized["masks"].tolist() == [[[0, 0, 1, 1]] * 2]
    assert resized["boxes"].tolist() == [[1.0, 0.0, 4.0, 2.0]]
    assert (resized["labels"].tolist(), resized["image_id"]) == ([5], 9)
    assert target["masks"].shape == (1, 1, 2)
    for part, kind in ((larger, torch.uint8), (resized["masks"], torch.uint8)):
        assert type(part) is Tensor  # handed over by workers without a copy
        assert part.dtype == kind
    assert type(resized["boxes"]) is Tensor
    assert resized["boxes"].dtype == torch.float32


def test_what_shrinks_to_nothing_keeps_a_pixel() -> None:
    masks = torch.zeros((2, 9, 9), dtype=torch.uint8)
    masks[0, 4, 7] = 1  # nearest neighbour takes rows and columns 0, 3 and 6
    masks[1, 3:, 6:] = 1
    boxes = torch.tensor([[7.0, 4.0, 8.0, 5.0], [6.0, 3.0, 9.0, 9.0]])
    target = {"boxes": boxes, "masks": masks, "image_id": 1}
    _, resized = resize(torch.zeros((3, 9, 9), dtype=torch.uint8), target, 3, 3)
    assert resized["masks"][0].nonzero().tolist() == [[1, 2]]  # the centre, 2.5 and 1.5
    assert resized["masks"][1].nonzero().tolist() == [[1, 2], [2, 2]]


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    new=st.tuples(st.integers(2, 60), st.integers(1, 60)),
    n=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=80, deadline=None)
def test_boxes_stay_around_masks(
    shape: tuple[int, int], new: tuple[int, int], n: int, seed: int
) -> None:
    (height, width), generator = shape, np.random.default_rng(seed)
    corners = np.sort(generator.integers(0, (height, width), (n, 2, 2)), axis=1)
    masks = torch.zeros((n, height, width), dtype=torch.uint8)
    for mask, ((top, left), (bottom, right)) in zip(masks, corners, strict=True):
        mask[top : bottom + 1, left : right + 1] = 1
    boxes = torch.tensor(
        [[left, top, right + 1, bottom + 1] for (top, left), (bottom, right) in corners.tolist()],
        dtype=torch.float32,
    ).reshape(-1, 4)
    image = torch.zeros((3, height, width), dtype=torch.uint8)
    resized_image, target = resize(image, {"boxes": boxes, "masks": masks, "image_id": 1}, *new)
    assert resized_image.shape == (3, *new)
    assert target["masks"].shape == (n, *new)
    scale = torch.tensor([new[1] / width, new[0] / height] * 2)
    assert torch.allclose(target["boxes"], boxes * scale, rtol=1e-5)
    for (x1, y1, x2, y2), mask in zip(target["boxes"].tolist(), target["masks"], strict=True):
        rows, columns = torch.nonzero(mask, as_tuple=True)
        assert len(rows)  # at least a pixel
        # A pixel of the resized mask reaches at most one out of the box.
        assert x1 - 1 < columns.min()
        assert y1 - 1 < rows.min()
        assert columns.max() + 1 < x2 + 1.001
        assert rows.max() + 1 < y2 + 1.001


def test_an_item_is_its_draw_flipped_and_resized(data_set: DetectionDataset) -> None:
    seen = view(data_set)
    for i in range(IMAGES):
        flip, size = np.random.default_rng([3, 1, i]).random(2)
        image, target = data_set[i]
        if flip < 0.5:  # as it was before images were resized
            image, target = flip_horizontally(image, target)
        shape = resized_shape(image.shape[-2:], SIZES[int(size * 4)], 40)
        image, target = resize(image, target, *shape)
        assert torch.equal(seen[i][0], image)
        assert torch.equal(seen[i][1]["boxes"], target["boxes"])
        assert torch.equal(seen[i][1]["masks"], target["masks"])
        assert seen[i][1]["is_resized"] is True
    assert "is_resized" not in view(data_set, min_sizes=())[0][1]


def test_every_size_is_drawn_and_the_longer_side_is_bounded(data_set: DetectionDataset) -> None:
    shapes = [
        tuple(view(data_set, epoch=epoch)[i][0].shape[-2:])
        for epoch in range(8)
        for i in range(0, IMAGES, 2)
    ]
    # 40 x 60: at 32 the longer side would be 48.
    expected = {(16, 24), (20, 30), (24, 36), (27, 40)}
    assert set(shapes) == expected
    for shape in expected:  # 192 draws: 48 of each, give or take four standard deviations
        assert abs(shapes.count(shape) - 48) < 24


def test_an_image_seen_again_in_an_epoch_is_drawn_anew(data_set: DetectionDataset) -> None:
    again = view(data_set, order=[4] * 64 + [7] + [4] * 2)
    shapes = {again[i][0].shape[-1] for i in range(64)}
    assert len(shapes) == len(SIZES)
    assert torch.equal(again[0][0], view(data_set)[4][0])
    assert torch.equal(again[64][0], view(data_set)[7][0])
    # A rank or a resumed run that reads a part of the order sees the same.
    assert torch.equal(again[66][0], view(data_set, order=[4] * 66)[65][0])


def test_the_model_leaves_resized_images_alone_and_draws_nothing() -> None:
    transform = InputTransform(20, 40, [0.0] * 3, [1.0] * 3)
    image = torch.rand(3, 16, 24)
    masks, boxes = torch.ones((1, 16, 24), dtype=torch.uint8), torch.tensor([[0.0, 0, 24, 16]])
    for is_training in (True, False):
        transform.train(is_training)
        before = torch.get_rng_state()
        target = {"boxes": boxes, "masks": masks, "is_resized": True}
        batch, targets = transform([image], [target])
        assert torch.equal(torch.get_rng_state(), before)
        assert batch.image_sizes == [(16, 24)]
        assert torch.equal(batch.tensors[0, :, :16, :24], image)
        assert targets is not None
        assert targets[0]["masks"] is masks
        batch, targets = transform([image], [{"boxes": boxes, "masks": masks}])
        assert batch.image_sizes == [(20, 30)]
        assert targets is not None
        assert targets[0]["boxes"].tolist() == [[0, 0, 30, 20]]
    assert transform([image])[0].image_sizes == [(20, 30)]  # a test has no targets


def small(**values: object) -> RunConfig:
    return load_config({
        "data": "coco", "annotations": "a.json", "images": "b", "batch_size": 4, "seed": 3,
        "image_min_size": 20, "image_max_size": 40, "train_min_sizes": SIZES,
        "train_sampler": "repeat_factor", "repeat_threshold": 0.5, **values,
    })  # fmt: skip


def sizes_of(loader: torch.utils.data.DataLoader) -> list[tuple[int, list[int]]]:
    return [
        (target["image_id"], list(image.shape[-2:]))
        for images, targets in loader
        for image, target in zip(images, targets, strict=True)
    ]


def test_neither_workers_nor_resuming_change_a_size(data_set: DetectionDataset) -> None:
    config = small()
    seen = sizes_of(train_loader(config, data_set, epoch=1))
    assert len(seen) > IMAGES  # the rare class's images come again
    assert len({tuple(shape) for _, shape in seen}) == 7
    assert sizes_of(train_loader(small(workers=2), data_set, epoch=1)) == seen
    assert sizes_of(train_loader(config, data_set, epoch=1, skip_batches=2)) == seen[8:]
    assert sizes_of(train_loader(config, data_set, epoch=2)) != seen


def test_adaptation_sees_the_sizes_of_training_only_where_asked(
    data_set: DetectionDataset,
) -> None:
    as_test = sizes_of(adaptation_loader(small(), data_set, epoch=1))
    assert {tuple(shape) for _, shape in as_test} == set(SHAPES)  # the model resizes them
    config = small(validation_pipeline="train")
    as_trained = sizes_of(adaptation_loader(config, data_set, epoch=1))
    assert [image for image, _ in as_trained] == [image for image, _ in as_test]
    assert {max(shape) for _, shape in as_trained} <= set(range(16, 41))
    assert as_trained != sizes_of(adaptation_loader(config, data_set, epoch=2))


def test_without_sizes_training_images_keep_theirs(data_set: DetectionDataset) -> None:
    seen = sizes_of(train_loader(small(train_min_sizes=()), data_set, epoch=1))
    assert {tuple(shape) for _, shape in seen} == set(SHAPES)
