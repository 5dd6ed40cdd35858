"""`fasa data check` and `fasa data stats` on real layouts: what is there, wrong, and counted."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command_lines import Fasa
from published_builders import coco_2017, lvis_v1

from data import set_check

LIST = "class_to_imageid_and_inscount_coco_sampled.pt"


@pytest.fixture
def fasa(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Fasa:
    return Fasa(tmp_path / "runs", capsys)


@pytest.fixture(scope="module")
def lvis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lvis_v1(tmp_path_factory.mktemp("published") / "lvis")


@pytest.fixture
def broken(lvis: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(lvis, tmp_path / "lvis"))


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    folder = coco_2017(tmp_path_factory.mktemp("published") / "coco", shared_data)
    (folder / LIST).symlink_to(shared_data / LIST)
    return folder


@pytest.fixture(autouse=True)
def _few_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_check, "SAMPLE", 40)


def row(text: str, *cells: str) -> bool:
    """Whether a line of a table has these cells first."""
    return any(line.split()[: len(cells)] == list(cells) for line in text.splitlines())


# check


def test_a_whole_set_is_told_part_by_part(fasa: Fasa, lvis: Path) -> None:
    said = fasa.says("data", "check", "--data=lvis", f"--data-folder={lvis}")
    assert said.rstrip().endswith("LVIS v1 is in order")
    document = json.loads((lvis / "lvis_v1_train.json").read_text())
    objects = f"{len(document['annotations']):,}"
    assert row(said, "train", "40", objects, "0", "0", "1,203", "0", "40", "of", "40", objects)
    assert row(said, "test", "20")
    assert str(lvis / "lvis_v1_val.json") in said


def test_all_that_is_missing_is_told_with_its_place(fasa: Fasa, broken: Path) -> None:
    (broken / "lvis_v1_val.json").unlink()
    said = fasa("data", "check", "--data=lvis", f"--data-folder={broken}")
    assert said.code == 1
    problems = [line for line in said.out.splitlines() if line.startswith("problem: ")]
    assert problems == [
        f"problem: lvis_v1_val.json is missing: put it at {broken}/annotations/lvis_v1_val.json, "
        "it is published by lvisdataset.org in lvis_v1_val.json.zip"
    ]
    assert row(said.out, "train", "40")  # what is there is looked at all the same
    said = fasa("data", "check", "--data=coco_lt", f"--data-folder={broken / 'nothing'}")
    assert (said.code, said.out.count("problem: ")) == (1, 5)


def test_a_cache_kept_elsewhere_is_said_in_plain_sentences(
    fasa: Fasa, broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    for cache in broken.glob("*.arrow"):
        cache.unlink()
    broken.chmod(0o555)
    said = fasa("data", "check", "--data=lvis", f"--data-folder={broken}")
    broken.chmod(0o755)
    assert said.code == 0
    lines = said.error.splitlines()
    assert len(lines) == 2  # train and val
    for line in lines:
        assert line.startswith(f"fasa: warning: the cache of {broken}/lvis_v1_")
        assert line.endswith("make room beside the json, so that others find it too")
    assert fasa("data", "check", "--data=lvis", f"--data-folder={broken}").error == ""


def other_class(folder: Path) -> None:
    path = folder / "lvis_v1_val.json"
    document = json.loads(path.read_text())
    document["categories"][0]["name"] = "walrus"
    path.write_text(json.dumps(document))


def test_a_test_set_of_other_classes_is_told(fasa: Fasa, broken: Path) -> None:
    other_class(broken)
    said = fasa("data", "check", "--data=lvis", f"--data-folder={broken}")
    assert said.code == 1
    assert "problem: test: category 1 is 'walrus' in " in said.out


def missing_photos(folder: Path) -> None:
    for photo in sorted((folder / "train2017").iterdir())[:3]:
        photo.unlink()


def wrong_photo(folder: Path) -> None:
    for photo in sorted((folder / "train2017").iterdir()):
        photo.unlink()
        photo.write_bytes(b"no picture")


def cut_json(folder: Path) -> None:
    path = folder / "lvis_v1_train.json"
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (missing_photos, "3 of the 40 images of "),
        (wrong_photo, "can't be read"),
        (cut_json, "is not complete json"),
    ],
)
def test_what_is_wrong_with_a_set_is_told(
    fasa: Fasa, broken: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(broken)
    said = fasa("data", "check", "--data=lvis", f"--data-folder={broken}")
    assert said.code == 1
    assert "problem: train: " in said.out
    assert words in said.out
    assert row(said.out, "test", "20")


def test_own_data_are_checked_too(fasa: Fasa, coco: Path) -> None:
    own = (f"--annotations={coco}/annotations/instances_val2017.json", f"--images={coco}/val2017")
    said = fasa.says("data", "check", "--data=coco", *own)
    assert row(said, "train", "206", "1,765", "21", "0", "80", "0", "40", "of", "40")
    assert said.rstrip().endswith("instances_val2017 is in order")
    wrong = fasa("data", "check", "--data=coco", own[0], f"--images={coco}/train2017")
    assert wrong.code == 1
    assert "206 of the 206 images of" in wrong.out


def test_coco_lt_is_held_to_its_published_counts(fasa: Fasa, coco: Path, tmp_path: Path) -> None:
    words = ("data", "check", "--data=coco_lt", f"--data-folder={coco}")
    part = fasa.says(*words, "--coco-lt-part")
    assert "COCO-LT: 286 of 99,411 images, 2,012 of 666,493 annotations, 0 of 80 classes" in part
    assert part.rstrip().endswith("the part of COCO-LT that is there is in order")
    said = fasa(*words)
    assert said.code == 1
    assert "lacks 232,910 of the 233,676 pairs of class and image of COCO-LT" in said.out
    other = tmp_path / "list.pt"
    other.write_bytes((coco / LIST).read_bytes()[:-1])
    said = fasa(*words, "--coco-lt-part", f"--coco-lt-list={other}")
    assert said.code == 1
    assert f"{other} is not COCO-LT's official list" in said.out


def test_the_demo_set_is_composed_and_checked(fasa: Fasa) -> None:
    said = fasa.says("data", "check", "--demo-classes=4")
    assert said.rstrip().endswith("demo (4 classes) is in order")


def test_a_folder_without_its_kind_of_data_is_refused(fasa: Fasa, lvis: Path) -> None:
    error = fasa.refuses("data", "check", f"--data-folder={lvis}")
    assert "data=demo takes no data folder: give --data lvis, coco or coco_lt" in error


# stats


def test_lvis_is_counted_by_its_letters(fasa: Fasa, lvis: Path) -> None:
    words = ("data", "stats", "--data=lvis", f"--data-folder={lvis}", "--repeat-threshold=0.1")
    found = json.loads(fasa.says(*words, "--json"))
    document = json.loads((lvis / "lvis_v1_train.json").read_text())
    letter_of = {c["id"]: c["frequency"] for c in document["categories"]}
    groups = found["sets"]["train"]["groups"]
    assert {name: group["classes"] for name, group in groups.items()} == {
        "all": 1203, "r": 337, "c": 461, "f": 405
    }  # fmt: skip
    for letter in "rcf":
        mine = [a for a in document["annotations"] if letter_of[a["category_id"]] == letter]
        assert groups[letter]["objects"] == len(mine)
        assert groups[letter]["images"] == len({a["image_id"] for a in mine})
        shown = {a["category_id"] for a in mine}
        assert groups[letter]["empty"] == groups[letter]["classes"] - len(shown)
    # Of a class in one of 40 images, sqrt(0.1 / (1 / 40)) = 2.
    assert groups["all"]["largest_factor"] == 2.0
    assert len(found["without_objects"]) == groups["all"]["empty"]
    assert found["data"] == "LVIS v1"
    text = fasa.says(*words)
    assert row(text, "all", "1,203")
    assert "an epoch with repeat-factor sampling (t = 0.1): " in text
    assert f"train shows no object of {groups['all']['empty']:,} classes: " in text


def test_coco_lt_is_counted_by_its_bins(fasa: Fasa, coco: Path) -> None:
    words = ("data", "stats", "--data=coco_lt", f"--data-folder={coco}", "--coco-lt-part")
    train = json.loads(fasa.says(*words, "--json"))["sets"]["train"]
    assert train["images"] == 286
    bins = [train["groups"][number] for number in "1234"]
    assert [group["classes"] for group in bins] == [4, 24, 32, 20]
    assert sum(g["objects"] + g["crowds"] for g in bins) == 2012
    assert row(fasa.says(*words), "bin", "2", "24")


def test_statistics_need_no_photos(fasa: Fasa, broken: Path) -> None:
    shutil.rmtree(broken / "train2017")
    (broken / "lvis_v1_val.json").unlink()
    said = fasa.says("data", "stats", "--data=lvis", f"--data-folder={broken}")
    assert "train: 40 images" in said
    assert "test: " not in said
    (broken / "lvis_v1_train.json").unlink()
    error = fasa.refuses("data", "stats", "--data=lvis", f"--data-folder={broken}")
    assert "lvis_v1_train.json (annotations of LVIS v1 train): put it at" in error
