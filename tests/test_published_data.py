"""The sets of a run out of published layouts: LVIS v1's form, COCO 2017, COCO-LT."""

import json
from pathlib import Path

import pytest
from published_builders import coco_2017, lvis_v1

from data.coco_lt import ListedClass, read_coco_lt_list
from trainer.config import ConfigError, RunConfig
from trainer.data_layouts import COCO_LT_LIST
from trainer.training_data import TrainingData, build_training_data


@pytest.fixture(scope="module")
def lvis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lvis_v1(tmp_path_factory.mktemp("published") / "lvis")


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    return coco_2017(tmp_path_factory.mktemp("published") / "coco", shared_data)


@pytest.fixture(scope="module")
def listed(coco: Path, shared_data: Path) -> dict[int, ListedClass]:
    (coco / COCO_LT_LIST).symlink_to(shared_data / COCO_LT_LIST)
    return read_coco_lt_list(coco / COCO_LT_LIST)


def built(data: str, folder: Path, **values: object) -> TrainingData:
    config = RunConfig.model_validate({"data": data, "data_folder": folder, **values})
    return build_training_data(config, datasets=folder / "datasets")


def test_lvis_is_built_from_its_folder(lvis: Path) -> None:
    data = built("lvis", lvis, holdout_share=0.2)
    assert (data.title, data.federated, len(data.categories)) == ("LVIS v1", True, 1203)
    assert data.test is not None
    assert len(data.test) == 20
    assert len(data.train) + len(data.holdout) == 40
    assert 0 < len(data.holdout) < 40
    assert data.instance_bins is None
    document = json.loads((lvis / "lvis_v1_train.json").read_text())
    letters = {c["id"]: c["frequency"] for c in document["categories"]}
    assert all(c.frequency == letters[c.id] for c in data.categories)
    for i in (0, 1):  # a photo of train2017 and one of val2017
        image, target = data.test[i]
        assert image.shape[0] == 3
        assert len(target["masks"]) == len(target["labels"])


def test_the_test_set_steers_adaptation_where_it_is_asked_to(lvis: Path) -> None:
    data = built("lvis", lvis, adapt_on="test")
    assert data.holdout is data.test
    assert len(data.train) == 40


def test_images_without_objects_can_be_skipped(lvis: Path, tmp_path: Path) -> None:
    document = json.loads((lvis / "lvis_v1_train.json").read_text())
    empty = document["images"][0]["id"]
    document["annotations"] = [a for a in document["annotations"] if a["image_id"] != empty]
    path = tmp_path / "some.json"
    path.write_text(json.dumps(document))
    own = {"annotations": path, "images": lvis, "adapt_on": "test"}
    assert len(built("lvis", lvis, **own).train) == 40
    assert len(built("lvis", lvis, **own, skip_unannotated=True).train) == 39


def test_coco_is_built_from_its_folder(coco: Path) -> None:
    data = built("coco", coco)
    assert (data.title, data.federated, len(data.categories)) == ("COCO 2017", False, 80)
    assert data.test is not None
    assert (len(data.train) + len(data.holdout), len(data.test)) == (343, 206)


def test_named_files_overrule_those_of_the_folder(coco: Path) -> None:
    val = {"annotations": coco / "annotations" / "instances_val2017.json",
           "images": coco / "val2017"}  # fmt: skip
    data = built("coco", coco, **val, adapt_on="test")
    assert (data.title, len(data.train)) == ("instances_val2017", 206)
    both = {f"holdout_{name}": path for name, path in val.items()}
    data = built("coco", coco, **both)
    assert (len(data.train), len(data.holdout)) == (343, 206)


def test_a_published_annotation_without_area_is_left_out(coco: Path, tmp_path: Path) -> None:
    """COCO 2017 holds two; nobody is asked for --drop-empty, as nobody can mend its json."""
    path = coco / "annotations" / "instances_train2017.json"
    document = json.loads(path.read_text())
    document["annotations"][0].update(area=0.0, bbox=[10.0, 10.0, 1.03, 0.0])
    folder = tmp_path / "coco"
    (folder / "annotations").mkdir(parents=True)
    for name in ("train2017", "val2017"):
        (folder / name).symlink_to(coco / name)
    (folder / "annotations" / path.name).write_text(json.dumps(document))
    val = path.with_name("instances_val2017.json")
    (folder / "annotations" / val.name).symlink_to(val)
    objects = sum(built("coco", coco, adapt_on="test").class_counts)
    assert sum(built("coco", folder, adapt_on="test").class_counts) == objects - 1
    own = {"annotations": folder / "annotations" / path.name, "images": folder / "train2017"}
    with pytest.raises(ValueError, match="empty mask or box"):
        built("coco", folder, **own)


def test_a_folder_that_holds_another_set_is_refused_in_one_sentence(coco: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds data=coco, but not lvis_v1_train\.json and"):
        built("lvis", coco)


def test_coco_lt_is_cut_out_of_coco(coco: Path, listed: dict[int, ListedClass]) -> None:
    data = built("coco_lt", coco, coco_lt_part=True, adapt_on="test")
    assert (data.title, data.federated, len(data.categories)) == ("COCO-LT", False, 80)
    images = {number for entry in listed.values() for number in entry.image_ids.tolist()}
    assert len(data.train) == 286
    assert set(data.train.image_ids) <= images
    for i in range(len(data.train)):
        for c in data.train.image_categories[i]:
            assert data.train.image_ids[i] in listed[data.categories[c].id].image_ids
    assert data.instance_bins == [listed[c.id].instance_bin for c in data.categories]
    assert data.test is not None
    assert len(data.test) == 206  # val2017 stays as it is
    # Letters by the images that show a class after the cut: photo 113588 alone shows a mouse.
    mouse = next(c for c in data.categories if c.id == 74)
    assert (mouse.image_count, mouse.instance_count, mouse.frequency) == (1, 1, "r")
    person = data.categories[0]
    assert person.frequency == "f"
    assert person.image_count > 100


def test_a_share_is_held_out_of_coco_lt(coco: Path, listed: dict[int, ListedClass]) -> None:
    data = built("coco_lt", coco, coco_lt_part=True, holdout_share=0.2)
    assert len(data.train) + len(data.holdout) == 286
    assert len(data.holdout) > 20
    # Bins are those of the whole COCO-LT, whatever a run leaves out.
    assert data.instance_bins == [listed[c.id].instance_bin for c in data.categories]


@pytest.mark.usefixtures("listed")
def test_a_part_of_coco_lt_is_refused_unless_it_is_allowed(coco: Path) -> None:
    with pytest.raises(ValueError, match="allow a part of COCO-LT with --coco-lt-part"):
        built("coco_lt", coco)
