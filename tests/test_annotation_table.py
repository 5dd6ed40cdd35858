"""The table of an annotation file against the json itself, parsed plainly."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_builders import annotation, document, load, rectangle, write
from torch.utils.data import DataLoader

from benchmarks.lvis_shaped import write_lvis_shaped
from data.annotation_table import AnnotationTable, open_annotations
from data.detection import AnnotationError, DetectionDataset
from data.lvis import image_file_name


def assert_says(table: AnnotationTable, content: dict[str, Any]) -> None:
    """The table says what the json says, each image's annotations in the json's order."""
    assert table.categories == content["categories"]
    assert table.image_ids.tolist() == [image["id"] for image in content["images"]]
    a = 0
    for i, image in enumerate(content["images"]):
        assert (table.widths[i], table.heights[i]) == (image["width"], image["height"])
        assert table.file_name(i) == image_file_name(image)
        assert table.absent(i) == image.get("neg_category_ids", [])
        assert table.not_exhaustive(i) == image.get("not_exhaustive_category_ids", [])
        expected = [e for e in content["annotations"] if e["image_id"] == image["id"]]
        assert table.of_image(i) == slice(a, a + len(expected))
        for entry in expected:
            assert table.annotation_images[a] == i
            assert table.annotation_ids[a] == entry["id"]
            assert table.annotation_categories[a] == entry["category_id"]
            assert table.boxes[a].tolist() == entry["bbox"]
            assert table.areas[a] == entry["area"]
            assert table.crowds[a] == bool(entry.get("iscrowd", 0))
            assert table.segmentation(a) == entry["segmentation"]
            a += 1
    assert a == len(table.annotation_ids) == len(content["annotations"])


@pytest.mark.parametrize("part", ["train", "val"])
def test_it_says_what_cocos_json_says(shared_data: Path, tmp_path: Path, part: str) -> None:
    """Real annotations: polygons of several parts, crowd regions with run-length codes."""
    path = tmp_path / "coco.json"
    name = f"instances_{part}2017.json"
    path.write_bytes((shared_data / "coco_mini" / "annotations" / name).read_bytes())
    content = json.loads(path.read_text())
    assert any(isinstance(a["segmentation"], dict) and a["iscrowd"] for a in content["annotations"])
    assert_says(open_annotations(path), content)
    assert_says(open_annotations(path), content)  # out of the cache


def test_it_says_what_an_lvis_json_says(tmp_path: Path) -> None:
    path = write_lvis_shaped(tmp_path / "lvis.json", images=25, seed=0)
    content = json.loads(path.read_text())
    assert any(image["not_exhaustive_category_ids"] for image in content["images"])
    assert sum(c["instance_count"] for c in content["categories"]) == len(content["annotations"])
    table = open_annotations(path)
    assert_says(table, content)
    assert_says(pickle.loads(pickle.dumps(table)), content)


def test_annotations_of_an_image_keep_the_jsons_order(tmp_path: Path) -> None:
    content = document()
    content["annotations"].reverse()
    table = open_annotations(write(tmp_path, content))
    assert table.annotation_ids.tolist() == [4, 3, 1, 2]  # image 7's, then image 9's
    assert_says(table, content)


def test_a_missing_area_is_the_masks_own(tmp_path: Path) -> None:
    content = document()
    del content["annotations"][0]["area"], content["annotations"][2]["area"]
    # A part of two points covers nothing, though pycocotools would take it for a box.
    content["annotations"][0]["segmentation"].append([0, 0, 5, 5])
    assert open_annotations(write(tmp_path, content)).areas.tolist() == [6, 20, 8, 6]


def test_a_table_of_no_annotations(tmp_path: Path) -> None:
    content = document() | {"annotations": []}
    table = open_annotations(write(tmp_path, content))
    assert_says(table, content)
    assert table.boxes.shape == (0, 4)


def test_annotations_without_area_are_listed_apart(tmp_path: Path) -> None:
    content = document()
    content["annotations"][1]["area"] = 0
    path = write(tmp_path, content)
    table = open_annotations(path, drop_empty=True)
    assert table.annotation_ids.tolist() == [1, 3, 4]
    assert (table.dropped_ids.tolist(), table.dropped_image_ids.tolist()) == ([2], [9])
    assert table.dropped_categories.tolist() == [30]
    with pytest.raises(AnnotationError, match="read the file with drop_empty"):
        open_annotations(path)  # what was accepted once is no excuse


def test_only_kept_annotations_stay(tmp_path: Path) -> None:
    content = document()
    content["annotations"].append(annotation(5, 7, 30, [0, 0, 2, 1], [[0, 0, 2, 0, 2, 1, 0, 1]]))
    whole = load(tmp_path, content)
    part = load(tmp_path, content, kept=[5, 4, 99], skip_unannotated=True)
    assert part.image_ids == [7]
    assert [(c.image_count, c.instance_count) for c in part.categories] == [(0, 0), (1, 1)]
    assert [(c.image_count, c.instance_count) for c in whole.categories] == [(1, 1), (2, 3)]
    assert np.array_equal(part[0][1]["masks"], [rectangle(0, 0, 2, 1)])
    found = part.annotation(0)
    assert (found.num_objects, found.labels.tolist()) == (1, [1, 0])  # the crowd is kept too
    assert len(load(tmp_path, content, kept=[])) == 3
    nothing = load(tmp_path, content, kept=[], skip_unannotated=True)
    assert (len(nothing), list(nothing.image_categories)) == (0, [])


def test_a_kept_annotation_of_an_unknown_class_is_refused_others_are_not(tmp_path: Path) -> None:
    known = load(tmp_path, document()).categories[1:]  # without fork
    with pytest.raises(AnnotationError, match=r"annotation 3 of .* category 20,"):
        load(tmp_path, document(), categories=known)
    with pytest.raises(AnnotationError, match=r"annotation 4 of .* category 20,"):
        load(tmp_path, document(), categories=known, kept=[1, 4])


def test_a_pickled_data_set_does_not_grow_with_its_images(tmp_path: Path) -> None:
    """A loader process gets it so."""
    sizes = []
    for images in (20, 200):
        folder = tmp_path / str(images)
        folder.mkdir()
        path = write_lvis_shaped(
            folder / "a.json", images=images, seed=0, image_folder=folder, longest_side=32
        )
        data_set = DetectionDataset(path, folder)
        assert len(data_set.image_ids) == len(data_set.image_categories) == images
        bare = copy.copy(data_set)
        bare.categories, bare._label_of = [], {}  # counts of more digits
        sizes.append(len(pickle.dumps(bare)) - len(str(folder)) * 3)
    assert abs(sizes[0] - sizes[1]) < 16
    assert sizes[1] < 2000


def test_a_loader_process_reads_the_same_items(tmp_path: Path) -> None:
    data_set = load(tmp_path, document(), kept=[2, 3]).subset([2, 1, 0])
    here = [data_set[i][1] for i in range(3)]
    loader = DataLoader(
        data_set, batch_size=None, num_workers=1, multiprocessing_context="forkserver"
    )
    for (_, there), expected in zip(loader, here, strict=True):
        assert there.keys() == expected.keys()
        assert all(np.array_equal(there[name], expected[name]) for name in expected)
    assert [target["image_id"] for target in here] == [3, 9, 7]
    assert [len(target["labels"]) for target in here] == [0, 1, 1]


def test_a_cache_that_is_gone_is_named(tmp_path: Path) -> None:
    pickled = pickle.dumps(open_annotations(write(tmp_path, document())))
    next(tmp_path.glob("*.arrow")).unlink()
    with pytest.raises(AnnotationError, match=r"cache .*arrow can't be opened any more .*: start"):
        pickle.loads(pickled)


def test_a_photo_of_a_written_set_can_be_read(tmp_path: Path) -> None:
    path = write_lvis_shaped(
        tmp_path / "a.json", images=8, seed=1, image_folder=tmp_path, longest_side=64
    )
    data_set = DetectionDataset(path, tmp_path)
    assert data_set.num_classes == 1203
    for i in range(len(data_set)):
        image, target = data_set[i]
        assert max(image.shape) == 64
        assert target["masks"].flatten(1).any(dim=1).all()
