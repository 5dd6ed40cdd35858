"""The data set on a hand-made json whose every mask is known, and on real COCO photos."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from annotation_builders import HEIGHT, WIDTH, document, load, packed, rectangle, write
from PIL import Image

from data.detection import AnnotationError, DetectionDataset


def test_items_by_hand(tmp_path: Path) -> None:
    data_set = load(tmp_path, document())
    assert len(data_set) == 3
    assert data_set.image_ids == [7, 9, 3]
    assert [c.name for c in data_set.categories] == ["fork", "cup"]  # in the order of their ids
    image, target = data_set[0]
    assert image.dtype == torch.uint8
    assert image.shape == (3, HEIGHT, WIDTH)
    assert image[:, 0, 0].tolist() == [1, 2, 3]
    assert target["image_id"] == 7
    assert target["labels"].tolist() == [1, 0]
    assert target["labels"].dtype == torch.int64
    assert target["boxes"].tolist() == [[1, 2, 4, 4], [4, 0, 8, 5]]
    assert target["boxes"].dtype == torch.float32
    assert target["masks"].dtype == torch.uint8
    assert np.array_equal(target["masks"][0], rectangle(1, 2, 3, 2))
    assert np.array_equal(target["masks"][1], rectangle(4, 0, 4, 5))
    assert np.array_equal(data_set[1][1]["masks"][0], rectangle(1, 2, 3, 2))


def test_objects_are_read_without_their_image(tmp_path: Path) -> None:
    data_set = load(tmp_path, document())
    (tmp_path / "a.png").unlink()
    boxes, labels = data_set.objects(0)
    assert boxes.tolist() == [[1, 2, 4, 4], [4, 0, 8, 5]]
    assert labels.tolist() == [1, 0]
    assert data_set.objects(2)[0].shape == (0, 4)


def test_an_annotation_has_crowds_last_and_lvis_lists(tmp_path: Path) -> None:
    content = document()
    content["images"][0] |= {"neg_category_ids": [20], "not_exhaustive_category_ids": [30, 20]}
    data_set = load(tmp_path, content)
    (tmp_path / "a.png").unlink()
    found = data_set.annotation(0)
    assert (found.image_id, found.width, found.height, found.num_objects) == (7, WIDTH, HEIGHT, 2)
    assert found.boxes.tolist() == [[1, 2, 4, 4], [4, 0, 8, 5], [0, 0, 8, 1]]
    assert found.labels.tolist() == [1, 0, 0]
    crowd = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    crowd[0, 0] = 1
    for mask, expected in zip(
        found.masks, [rectangle(1, 2, 3, 2), rectangle(4, 0, 4, 5), crowd], strict=True
    ):
        assert mask == packed(expected)
    assert (found.absent, found.not_exhaustive) == ([0], [1, 0])
    empty = data_set.annotation(2)
    assert (empty.boxes.shape, empty.masks, empty.absent) == ((0, 4), [], [])


def test_a_negative_class_the_training_set_lacks_is_left_out(tmp_path: Path) -> None:
    content = document()
    content["categories"].append({"id": 40, "name": "new"})
    content["images"][0]["neg_category_ids"] = [40, 20]
    known = load(tmp_path, document()).categories
    assert load(tmp_path, content, categories=known).annotation(0).absent == [0]


def test_an_image_without_objects_has_empty_tensors(tmp_path: Path) -> None:
    _, target = load(tmp_path, document())[2]
    assert target["boxes"].shape == (0, 4)
    assert target["labels"].shape == (0,)
    assert target["masks"].shape == (0, HEIGHT, WIDTH)


def test_counts_leave_crowds_out(tmp_path: Path) -> None:
    data_set = load(tmp_path, document())
    fork, cup = data_set.categories
    assert (fork.image_count, fork.instance_count, fork.frequency) == (1, 1, "r")
    assert (cup.image_count, cup.instance_count) == (2, 2)
    assert list(data_set.image_categories) == [[0, 1], [1], []]
    assert data_set.num_classes == 2


def test_the_jsons_own_letter_wins(tmp_path: Path) -> None:
    content = document()
    content["categories"][0]["frequency"] = "f"
    assert [c.frequency for c in load(tmp_path, content).categories] == ["r", "f"]


def test_images_without_objects_can_be_skipped(tmp_path: Path) -> None:
    data_set = load(tmp_path, document(), skip_unannotated=True)
    assert data_set.image_ids == [7, 9]
    assert data_set[1][1]["image_id"] == 9


def test_a_subset_counts_its_own_objects_and_leaves_the_whole_alone(tmp_path: Path) -> None:
    whole = load(tmp_path, document())
    part = whole.subset([2, 1])
    assert part.image_ids == [3, 9]
    assert part[1][1]["image_id"] == 9
    assert [c.instance_count for c in part.categories] == [0, 1]
    assert [c.image_count for c in part.categories] == [0, 1]
    assert [c.instance_count for c in whole.categories] == [1, 2]
    assert list(part.image_categories) == [[], [1]]


def test_another_file_is_mapped_onto_the_training_classes_by_id(tmp_path: Path) -> None:
    train = load(tmp_path, document())
    content = document()
    content["categories"] = [{"id": 30, "name": "cup"}]
    content["annotations"] = content["annotations"][:2]
    other = DetectionDataset(write(tmp_path, content), tmp_path, categories=train.categories)
    assert other.categories == train.categories
    assert other[0][1]["labels"].tolist() == [1]


def test_a_class_of_another_name_is_refused(tmp_path: Path) -> None:
    train = load(tmp_path, document())
    content = document()
    content["categories"][0]["name"] = "glass"
    with pytest.raises(AnnotationError, match=r"category 30 is 'glass' in .* but 'cup' in the tr"):
        DetectionDataset(write(tmp_path, content), tmp_path, categories=train.categories)


def test_a_class_the_training_set_lacks_is_refused(tmp_path: Path) -> None:
    train = load(tmp_path, document())
    content = document()
    content["categories"].append({"id": 40, "name": "knife"})
    content["annotations"][1]["category_id"] = 40
    with pytest.raises(AnnotationError, match=r"annotation 2 of .* names the category 40, which"):
        DetectionDataset(write(tmp_path, content), tmp_path, categories=train.categories)


def test_negative_index_and_pickling(tmp_path: Path) -> None:
    data_set = load(tmp_path, document())
    again = pickle.loads(pickle.dumps(data_set))
    assert again[-1][1]["image_id"] == 3
    with pytest.raises(IndexError, match="item 3 of 3"):
        again[3]


def test_grey_and_palette_images_become_rgb(tmp_path: Path) -> None:
    path = write(tmp_path, document())
    Image.fromarray(np.full((HEIGHT, WIDTH), 77, dtype=np.uint8)).save(tmp_path / "a.png")
    Image.open(tmp_path / "c.png").convert("P").save(tmp_path / "c.png")
    data_set = DetectionDataset(path, tmp_path)
    assert data_set[0][0][:, 3, 3].tolist() == [77, 77, 77]
    assert data_set[2][0].shape == (3, HEIGHT, WIDTH)


def test_a_box_up_to_two_pixels_past_the_edge_is_cut_off(tmp_path: Path) -> None:
    content = document()
    content["annotations"][0]["bbox"] = [-1.5, -2, WIDTH + 3, HEIGHT + 4]
    assert load(tmp_path, content)[0][1]["boxes"][0].tolist() == [0, 0, WIDTH, HEIGHT]


def test_an_outline_below_a_pixel_keeps_the_pixel_it_lies_in(tmp_path: Path) -> None:
    content = document()
    content["annotations"][0]["bbox"] = [5.1, 3.1, 0.2, 0.2]
    content["annotations"][0]["segmentation"] = [[5.1, 3.1, 5.3, 3.1, 5.2, 3.3]]
    mask = load(tmp_path, content)[0][1]["masks"][0]
    assert torch.nonzero(mask).tolist() == [[3, 5]]


def test_an_outline_of_two_points_is_ignored_beside_a_real_one(tmp_path: Path) -> None:
    content = document()
    # pycocotools alone would take four numbers for a box and fill it.
    content["annotations"][0]["segmentation"].insert(0, [0, 0, 8, 6])
    mask = load(tmp_path, content)[0][1]["masks"][0]
    assert np.array_equal(mask, rectangle(1, 2, 3, 2))


def test_a_missing_image_is_named_at_load(tmp_path: Path) -> None:
    path = write(tmp_path, document())
    (tmp_path / "more" / "b.png").unlink()
    with pytest.raises(AnnotationError, match=r"1 of the 3 images of .* is more/b.png: give"):
        DetectionDataset(path, tmp_path)


def test_an_empty_or_missing_image_folder_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {**document(), "images": document()["images"][:1], "annotations": []})
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotationError, match="1 of the 1 images"):
        DetectionDataset(path, tmp_path / "empty")
    with pytest.raises(AnnotationError, match=r"can't be listed .* folder that holds a.png"):
        DetectionDataset(path, tmp_path / "none")


def test_an_image_of_another_size_is_refused_at_load(tmp_path: Path) -> None:
    path = write(tmp_path, document())
    Image.new("RGB", (WIDTH + 1, HEIGHT)).save(tmp_path / "c.png")
    with pytest.raises(AnnotationError, match=r"c.png has 9 x 6 pixels .* say 8 x 6: give"):
        DetectionDataset(path, tmp_path)


def test_an_image_that_breaks_later_is_named_when_read(tmp_path: Path) -> None:
    data_set = load(tmp_path, document())
    whole = (tmp_path / "a.png").read_bytes()
    for broken in (b"", b"no image", whole[: len(whole) // 2]):
        (tmp_path / "a.png").write_bytes(broken)
        with pytest.raises(AnnotationError, match=r"a.png can't be read .* replace the file"):
            data_set[0]
    (tmp_path / "a.png").unlink()
    with pytest.raises(AnnotationError, match=r"a.png can't be read"):
        data_set[0]


def test_real_coco_photos(shared_data: Path) -> None:
    folder = shared_data / "coco_mini"
    train = DetectionDataset(
        folder / "annotations" / "instances_train2017.json", folder / "train2017"
    )
    assert train.num_classes == 80
    assert len(train) == 343
    counts = {category.name: category.instance_count for category in train.categories}
    assert counts["person"] == 671
    assert counts["hair drier"] == 2
    assert sum(counts.values()) == 2974 - 29  # 29 of them are crowds
    assert [category.id for category in train.categories][:12] == [*range(1, 12), 13]
    val = DetectionDataset(
        folder / "annotations" / "instances_val2017.json",
        folder / "val2017",
        categories=train.categories,
    )
    assert val.categories == train.categories
    off = []
    for i in range(0, len(val), 10):
        image, target = val[i]
        assert image.shape[1:] == target["masks"].shape[1:]
        for box, mask in zip(target["boxes"], target["masks"], strict=True):
            rows, columns = torch.nonzero(mask, as_tuple=True)
            drawn = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            off += (box - drawn).abs().tolist()
    # Boxes span the outline, whose thin spikes cover no pixel: a few edges differ by more.
    assert np.quantile(off, 0.95) <= 1
