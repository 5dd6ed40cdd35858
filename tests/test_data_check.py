"""The check of the data before a run starts: what is there, what is missing, what is off limits."""

import json
from pathlib import Path

import pytest
from test_annotation_scan import document

from app.config_checks import DATA_VARIABLE
from app.data_check import Sizes, check_data, demo_sizes
from app.source import RUNS_VARIABLE
from data.demo import write_demo
from trainer.config import RunConfig
from trainer.data_layouts import COCO_LT_IMAGES, COCO_LT_LIST


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that may be read, with 40 images and their annotations."""
    folder = tmp_path / "data"
    (folder / "images" / "train").mkdir(parents=True)
    for number in range(40):
        (folder / "images" / "train" / f"{number:04d}.jpg").touch()
    (folder / "train.json").write_text(json.dumps(document(images=40, objects=100, classes=3)))
    (folder / "test.json").write_text(json.dumps(document(images=8, objects=20, classes=3)))
    monkeypatch.setenv(DATA_VARIABLE, str(folder))
    monkeypatch.setenv(RUNS_VARIABLE, str(tmp_path / "runs"))
    return folder


def own(data: Path, **values: object) -> RunConfig:
    given = {"data": "coco", "annotations": data / "train.json", "images": data / "images"}
    return RunConfig.model_validate(given | values)


def test_the_sizes_of_a_demo_set_are_those_it_has(tmp_path: Path) -> None:
    datasets = tmp_path / "datasets"
    assert check_data(RunConfig(demo_classes=4), datasets=datasets).sets == []
    write_demo(datasets / "demo-4", num_classes=4)
    check = check_data(RunConfig(demo_classes=4), datasets=datasets)
    counted = {found.part: found.scan.images for found in check.sets}
    sizes = demo_sizes(4)
    assert counted == {"train": sizes.train, "holdout": sizes.holdout, "test": sizes.test}
    assert check.sizes == sizes
    assert check.problem == ""
    assert all(found.sampled > 0 and not found.missing for found in check.sets)


@pytest.mark.parametrize(
    ("classes", "images"), [(60, (528, 96, 192)), (300, (1026, 120, 240)), (1203, (4104, 482, 963))]
)
def test_the_sizes_of_demo_sets_that_were_written_once(
    classes: int, images: tuple[int, int, int]
) -> None:
    assert demo_sizes(classes) == Sizes(*images, classes)


def test_a_share_is_held_out_of_the_training_images(data: Path, tmp_path: Path) -> None:
    check = check_data(own(data, holdout_share=0.1), datasets=tmp_path)
    assert check.problem == ""
    assert check.sizes == Sizes(train=36, holdout=4, test=0, classes=3)
    with_test = own(data, test_annotations=data / "test.json", test_images=data / "images",
                    adapt_on="test")  # fmt: skip
    assert check_data(with_test, datasets=tmp_path).sizes == Sizes(40, 8, 8, 3)


def test_missing_images_and_damaged_json_are_said(data: Path, tmp_path: Path) -> None:
    (data / "images" / "train" / "0003.jpg").unlink()
    problem = check_data(own(data), datasets=tmp_path).problem
    assert problem.startswith("train images: 1 of 40 that were looked for cannot be read below ")
    assert "the first is train/0003.jpg" in problem
    (data / "train.json").write_text('{"images": [')
    problem = check_data(own(data), datasets=tmp_path).problem
    assert problem.startswith("train json: it is not complete json")


def test_nothing_outside_the_data_folders_is_looked_at(data: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    (data / "link.json").symlink_to(tmp_path / "secret.json")
    for path in (tmp_path / "secret.json", data / ".." / "secret.json", data / "link.json"):
        check = check_data(own(data, annotations=path), datasets=tmp_path)
        assert check.sets == []
        assert check.note.startswith("The train set lies outside the folders that this dashboard")
        assert check.sizes.train is None


def published(data: Path) -> Path:
    """COCO 2017's layout around the 40 images, with 8 of them as val2017."""
    folder = data / "coco"
    (folder / "annotations").mkdir(parents=True)
    for name in ("train", "val"):
        (folder / f"{name}2017").symlink_to(data / "images")
        (folder / "annotations" / f"instances_{name}2017.json").write_bytes(
            (data / ("train.json" if name == "train" else "test.json")).read_bytes()
        )
    return folder


def test_a_data_folder_is_looked_at_as_published(data: Path, tmp_path: Path) -> None:
    config = RunConfig(data="coco", data_folder=published(data), holdout_share=0.1)
    check = check_data(config, datasets=tmp_path)
    assert (check.problem, check.note) == ("", "")
    assert [found.part for found in check.sets] == ["train", "test"]
    assert check.sizes == Sizes(train=36, holdout=4, test=8, classes=3)


def test_what_a_data_folder_lacks_is_said(data: Path, tmp_path: Path) -> None:
    folder = published(data)
    config = RunConfig(data="coco_lt", data_folder=folder)
    check = check_data(config, datasets=tmp_path)
    assert check.sets == []
    assert check.sizes == Sizes()
    assert check.problem.startswith(f"the data folder '{folder}' lacks 1 of the 5 parts")
    (folder / COCO_LT_LIST).touch()
    check = check_data(config.model_copy(update={"adapt_on": "test"}), datasets=tmp_path)
    assert check.problem == ""
    assert check.note == "The train set is counted before COCO-LT's list takes its part of it."
    assert check.sizes == Sizes(train=COCO_LT_IMAGES, holdout=8, test=8, classes=3)
    part = RunConfig(data="coco_lt", data_folder=folder, coco_lt_part=True)
    assert check_data(part, datasets=tmp_path).sizes.train is None


def test_a_data_folder_elsewhere_is_not_looked_at(data: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, data / ".."):
        check = check_data(RunConfig(data="lvis", data_folder=folder), datasets=tmp_path)
        assert (check.sets, check.problem) == ([], "")
        assert check.note.startswith("The data folder lies outside the folders that this dashboard")
