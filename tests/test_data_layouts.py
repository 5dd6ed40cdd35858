"""Where published data sets lie, what is said of missing parts, and what overrules the folder."""

from pathlib import Path

import pytest

from trainer.config import ConfigError, RunConfig, dataset_title
from trainer.data_layouts import COCO_LT_LIST, SetFiles, data_files, published_parts

LVIS = ("lvis_v1_train.json", "lvis_v1_val.json", "train2017/", "val2017/")
COCO = ("annotations/instances_train2017.json", "annotations/instances_val2017.json",
        "train2017/", "val2017/")  # fmt: skip
COCO_LT = (*COCO, COCO_LT_LIST)
LAYOUTS = {"lvis": LVIS, "coco": COCO, "coco_lt": COCO_LT}


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def config(data: str, folder: Path | None, **values: object) -> RunConfig:
    return RunConfig.model_validate({"data": data, "data_folder": folder, **values})


def test_lvis_takes_all_photos_from_the_folder_itself(tmp_path: Path) -> None:
    put(tmp_path, *LVIS)
    files = data_files(config("lvis", tmp_path))
    assert files.train == SetFiles(tmp_path / "lvis_v1_train.json", tmp_path, True)
    assert files.test == SetFiles(tmp_path / "lvis_v1_val.json", tmp_path, True)
    assert (files.holdout, files.coco_lt_list) == (None, None)


def test_lvis_jsons_may_lie_among_the_annotations(tmp_path: Path) -> None:
    put(tmp_path, "annotations/lvis_v1_train.json", *LVIS[1:])
    files = data_files(config("lvis", tmp_path))
    assert files.train.annotations == tmp_path / "annotations" / "lvis_v1_train.json"
    assert files.test is not None
    assert files.test.annotations == tmp_path / "lvis_v1_val.json"


@pytest.mark.parametrize("data", ["coco", "coco_lt"])
def test_coco_takes_the_photos_of_each_set_from_its_own_folder(data: str, tmp_path: Path) -> None:
    put(tmp_path, *LAYOUTS[data])
    files = data_files(config(data, tmp_path))
    jsons = tmp_path / "annotations"
    assert files.train == SetFiles(jsons / "instances_train2017.json", tmp_path / "train2017", True)
    assert files.test == SetFiles(jsons / "instances_val2017.json", tmp_path / "val2017", True)
    assert files.coco_lt_list == (tmp_path / COCO_LT_LIST if data == "coco_lt" else None)


@pytest.mark.parametrize(
    ("data", "missing"), [(data, name) for data, names in LAYOUTS.items() for name in names]
)
def test_each_missing_part_is_told_with_its_place_and_source(
    data: str, missing: str, tmp_path: Path
) -> None:
    put(tmp_path, *(name for name in LAYOUTS[data] if name != missing))
    with pytest.raises(ConfigError) as refusal:
        data_files(config(data, tmp_path))
    sentence = str(refusal.value)
    parts = len(LAYOUTS[data])
    assert f"'{tmp_path}' lacks 1 of the {parts} parts of data={data}: " in sentence
    place = missing if not missing.startswith("lvis_") else f"annotations/{missing}"
    assert f"put it at {tmp_path / place}, it is published by " in sentence
    source = "lvisdataset.org" if missing.startswith("lvis_") else "cocodataset.org"
    assert ("twangnh/SimCal" if missing == COCO_LT_LIST else source) in sentence


def test_all_missing_parts_are_told_in_one_sentence(tmp_path: Path) -> None:
    put(tmp_path, "train2017/")
    with pytest.raises(ConfigError) as refusal:
        data_files(config("lvis", tmp_path))
    sentence = str(refusal.value)
    assert "lacks 3 of the 4 parts of data=lvis" in sentence
    assert all(f"{name} (" in sentence for name in (*LVIS[:2], LVIS[3]))
    assert "train2017/ (" not in sentence
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ConfigError, match="lacks 5 of the 5 parts of data=coco_lt"):
        data_files(config("coco_lt", tmp_path / "nothing"))


@pytest.mark.parametrize("name", ["nothing", "file"])
def test_what_is_no_folder_is_not_to_be_filled(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as refusal:
        data_files(config("lvis", tmp_path / name))
    assert str(refusal.value) == (
        f"data_folder is '{tmp_path / name}', which is no folder: give the one that holds "
        "lvis_v1_train.json, lvis_v1_val.json, train2017/, val2017/"
    )


@pytest.mark.parametrize(("data", "other"), [("lvis", "coco"), ("coco", "lvis")])
def test_a_folder_with_another_data_set_is_told(data: str, other: str, tmp_path: Path) -> None:
    put(tmp_path, *LAYOUTS[other])
    with pytest.raises(ConfigError) as refusal:
        data_files(config(data, tmp_path))
    assert f"holds data={other}, but not " in str(refusal.value)
    assert str(refusal.value).endswith(f"give another folder, or --data {other}")
    put(tmp_path, LAYOUTS[data][0])
    with pytest.raises(ConfigError, match="lacks 1 of the 4 parts"):
        data_files(config(data, tmp_path))


def test_an_archive_that_lies_there_is_to_be_unpacked(tmp_path: Path) -> None:
    put(tmp_path, *LVIS[:3], "val2017.zip")
    with pytest.raises(ConfigError, match=r"val2017/ \(.*\): unpack .*val2017\.zip, so that it"):
        data_files(config("lvis", tmp_path))
    put(tmp_path, "annotations/annotations_trainval2017.zip")
    parts = {part.name: part for part in published_parts("coco", tmp_path)}
    assert parts["instances_train2017.json"].remedy.startswith("unpack ")


@pytest.mark.parametrize(("data", "json"), [("coco", COCO[0]), ("lvis", LVIS[0])])
def test_a_folder_in_the_place_of_a_file_is_no_file(data: str, json: str, tmp_path: Path) -> None:
    put(tmp_path, *(name for name in LAYOUTS[data] if name not in (json, "val2017/")))
    put(tmp_path, f"{json}/", "val2017")
    with pytest.raises(ConfigError, match="lacks 2 of the 4 parts"):
        data_files(config(data, tmp_path))


def test_what_is_named_by_itself_overrules_the_folder_and_is_not_missed_there(
    tmp_path: Path,
) -> None:
    own = {"annotations": tmp_path / "own.json", "images": tmp_path / "own"}
    put(tmp_path, *COCO[1:2], "val2017/")
    files = data_files(config("coco", tmp_path, **own))
    assert files.train == SetFiles(tmp_path / "own.json", tmp_path / "own")
    assert files.test is not None
    assert files.test.images == tmp_path / "val2017"
    test = {f"test_{name}": path for name, path in own.items()}
    holdout = {f"holdout_{name}": path for name, path in own.items()}
    files = data_files(config("coco", tmp_path / "nothing", **own, **test, **holdout))
    assert files.train == files.test == files.holdout
    with pytest.raises(ConfigError, match=r"val\.json, train2017/, val2017/$"):  # all photos
        data_files(config("lvis", tmp_path / "nothing", **own))


def test_coco_lt_needs_its_list(tmp_path: Path) -> None:
    own = {"annotations": tmp_path / "own.json", "images": tmp_path / "own"}
    with pytest.raises(ValueError, match="give --coco-lt-list FILE"):
        config("coco_lt", None, **own)
    named = config("coco_lt", None, **own, coco_lt_list=tmp_path / "list.pt")
    files = data_files(named)
    assert files.coco_lt_list == tmp_path / "list.pt"
    assert files.test is None
    put(tmp_path, *COCO)
    files = data_files(config("coco_lt", tmp_path, coco_lt_list=tmp_path / "list.pt"))
    assert files.coco_lt_list == tmp_path / "list.pt"
    with pytest.raises(ConfigError, match=f"lacks 1 of the 5 parts of .*{COCO_LT_LIST}"):
        data_files(config("coco_lt", tmp_path))


def test_a_published_set_is_called_by_its_name(tmp_path: Path) -> None:
    titles = {data: dataset_title(config(data, tmp_path)) for data in LAYOUTS}
    assert titles == {"lvis": "LVIS v1", "coco": "COCO 2017", "coco_lt": "COCO-LT"}
    own = {"annotations": tmp_path / "own.json", "images": tmp_path}
    assert dataset_title(config("lvis", tmp_path, **own)) == "own"
    assert dataset_title(config("coco_lt", tmp_path, **own)) == "COCO-LT"
    assert dataset_title(RunConfig()) == "demo (60 classes)"
