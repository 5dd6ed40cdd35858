"""The checked index against the lvis package's own, on real files."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.annotations import AnnotationError
from data.demo import DemoFiles, write_demo
from data.detection import DetectionDataset
from data.lvis import CheckedLVIS, image_file_name


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoFiles:
    return write_demo(
        tmp_path_factory.mktemp("lvis") / "demo",
        num_classes=12,
        head_instances=20,
        holdout_instances=2,
        test_instances=2,
    )


def test_the_lvis_package_reads_the_demo_set_as_lvis_v1(demo: DemoFiles) -> None:
    from lvis import LVIS

    theirs = LVIS(str(demo.train_json))
    data_set = DetectionDataset(demo.train_json, demo.images)
    assert theirs.get_img_ids() == data_set.image_ids
    assert theirs.get_cat_ids() == [category.id for category in data_set.categories]
    for i, image_id in enumerate(data_set.image_ids):
        annotations = theirs.load_anns(theirs.get_ann_ids(img_ids=[image_id]))
        _, target = data_set[i]
        assert [a["category_id"] - 1 for a in annotations] == target["labels"].tolist()
        masks = np.stack([theirs.ann_to_mask(a) for a in annotations])
        assert np.array_equal(target["masks"].numpy(), masks)


def test_masks_of_real_photos_equal_the_lvis_packages(shared_data: Path) -> None:
    from lvis import LVIS

    folder = shared_data / "coco_mini"
    path = folder / "annotations" / "instances_val2017.json"
    theirs = LVIS(str(path))
    data_set = DetectionDataset(path, folder / "val2017")
    for i in range(25):
        annotations = [a for a in theirs.img_ann_map[data_set.image_ids[i]] if not a.get("iscrowd")]
        _, target = data_set[i]
        assert len(annotations) == len(target["masks"])
        for annotation, mask in zip(annotations, target["masks"].numpy(), strict=True):
            assert np.array_equal(mask, theirs.ann_to_mask(annotation))


def test_an_lvis_image_without_file_name_is_found_by_its_coco_address(
    shared_data: Path, tmp_path: Path
) -> None:
    folder = shared_data / "coco_mini"
    document = json.loads((folder / "annotations" / "instances_val2017.json").read_text())
    for image in document["images"]:
        del image["file_name"]
        image["neg_category_ids"] = []
        image["not_exhaustive_category_ids"] = []
    path = tmp_path / "lvis_like.json"
    path.write_text(json.dumps(document))
    data_set = DetectionDataset(path, folder)  # the folder that holds val2017/
    image, _ = data_set[0]
    assert image.shape == (3, document["images"][0]["height"], document["images"][0]["width"])


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ({"file_name": "a.jpg"}, "a.jpg"),
        ({"file_name": "train/./a//b.jpg"}, "train/a/b.jpg"),
        ({"coco_url": "http://host/train2017/000000000009.jpg"}, "train2017/000000000009.jpg"),
        ({"coco_url": "http://host/a/b/val2017/7.jpg?x=1"}, "val2017/7.jpg"),
        ({"coco_url": "http://[host/val2017/7.jpg#x"}, "val2017/7.jpg"),
        ({"file_name": "a.jpg", "coco_url": "http://host/val2017/7.jpg"}, "a.jpg"),
    ],
)
def test_image_file_name(image: dict, name: str) -> None:
    assert image_file_name(image) == name


def test_the_index_refuses_what_the_check_refuses(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    with pytest.raises(AnnotationError, match="there is no annotation file"):
        CheckedLVIS(path)


def test_importing_it_leaves_the_root_logger_alone() -> None:
    program = (
        "import logging; root = logging.getLogger(); root.setLevel(7); "
        "import data.lvis; print(root.handlers, root.level)"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["[]", "7"]
