"""COCO-LT's official list: its published counts, what is refused, and how it meets COCO's json."""

import json
import os
import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.annotations import AnnotationError
from data.coco_lt import (
    BIN_SIZES,
    COCO_IDS,
    ClassCount,
    ListedClass,
    check_counts,
    choose_annotations,
    instance_bin,
    read_coco_lt_list,
)

LIST = "class_to_imageid_and_inscount_coco_sampled.pt"
FILE = Path("instances.json")


@pytest.fixture(scope="module")
def listed(shared_data: Path) -> dict[int, ListedClass]:
    return read_coco_lt_list(shared_data / LIST)


def arrays(document: dict[str, Any]) -> dict[str, np.ndarray]:
    return {
        "image_ids": np.array([image["id"] for image in document["images"]]),
        "annotation_ids": np.array([a["id"] for a in document["annotations"]]),
        "annotation_images": np.array([a["image_id"] for a in document["annotations"]]),
        "annotation_categories": np.array([a["category_id"] for a in document["annotations"]]),
    }


@pytest.fixture
def mini(shared_data: Path) -> dict[str, Any]:
    path = shared_data / "coco_mini" / "annotations" / "instances_train2017.json"
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def names_of(document: dict[str, Any]) -> dict[int, str]:
    return {category["id"]: category["name"] for category in document["categories"]}


# Bins


@pytest.mark.parametrize(
    ("count", "number"),
    [(1, 1), (19, 1), (20, 2), (399, 2), (400, 3), (7999, 3), (8000, 4), (262_465, 4)],
)
def test_a_count_belongs_to_its_bin(count: int, number: int) -> None:
    assert instance_bin(count) == number


def test_a_class_without_instances_has_no_bin() -> None:
    with pytest.raises(ValueError, match="at least 1 instance, got 0"):
        instance_bin(0)


# The official list


def test_the_list_has_the_published_counts(
    listed: dict[int, ListedClass], mini: dict[str, Any]
) -> None:
    names = names_of(mini)
    count = {names[number]: entry.instance_count for number, entry in listed.items()}
    assert sum(count.values()) == 666_493
    assert (count["person"], count["fire hydrant"], min(count.values())) == (262_465, 11, 11)
    assert len({i for entry in listed.values() for i in entry.image_ids.tolist()}) == 99_411
    bins = Counter(entry.instance_bin for entry in listed.values())
    assert tuple(bins[number] for number in (1, 2, 3, 4)) == BIN_SIZES == (4, 24, 32, 20)


def test_its_class_numbers_are_those_of_coco(
    listed: dict[int, ListedClass], mini: dict[str, Any]
) -> None:
    """Every photo of coco_mini that the list names for a class shows that class, crowds included.

    By another mapping, as the list's number taken for COCO's id, 466 of 766 photos would not.
    """
    assert tuple(sorted(names_of(mini))) == COCO_IDS == tuple(listed)
    counts = choose_annotations(listed, **arrays(mini))[1]
    assert sum(count.present for count in counts) == 766
    assert sum(count.unannotated for count in counts) == 0
    photos = {image["id"] for image in mini["images"]}
    union = {i for entry in listed.values() for i in entry.image_ids.tolist()}
    assert len(photos & union) == 286


# Files that are not the list


class Hostile:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, call: Callable[..., Any], *arguments: object) -> None:
        self._reduced = call, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self._reduced


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("inside", [False, True])
def test_a_hostile_pickle_runs_nothing(tmp_path: Path, protocol: int, inside: bool) -> None:
    made = tmp_path / "made"
    attack: Any = Hostile(os.mkdir, str(made))
    path = tmp_path / LIST
    path.write_bytes(pickle.dumps({1: {"img_id": [attack]}} if inside else attack, protocol))
    with pytest.raises(AnnotationError, match=r"is not COCO-LT's official list.*asks for .*mkdir"):
        read_coco_lt_list(path)
    assert not made.exists()
    pickle.loads(path.read_bytes())
    assert made.exists()  # the attack is real


def official(listed: dict[int, ListedClass]) -> dict[int, dict[str, Any]]:
    return {
        number: {
            "category_id": number,
            "img_id": entry.image_ids.tolist(),
            "isntance_count": entry.instance_count,
        }
        for number, entry in enumerate(listed.values(), start=1)
    }


def test_the_list_written_again_is_accepted(listed: dict[int, ListedClass], tmp_path: Path) -> None:
    path = tmp_path / LIST
    path.write_bytes(pickle.dumps(official(listed)))
    assert {n: entry.instance_count for n, entry in read_coco_lt_list(path).items()} == {
        n: entry.instance_count for n, entry in listed.items()
    }


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda d: d[1].update(isntance_count=262_464), "666492 instances where 666493"),
        (lambda d: (d[1].update(isntance_count=262_464), d[2].update(isntance_count=3531)),
         "262464 instances of its largest class where 262465"),
        (lambda d: (d[11].update(isntance_count=12), d[2].update(isntance_count=3529)),
         "12 instances of its smallest class where 11"),
        (lambda d: (d[80].update(isntance_count=20), d[2].update(isntance_count=3525)),
         "(3, 25, 32, 20) classes in its four bins where (4, 24, 32, 20)"),
        (lambda d: d[11]["img_id"].__setitem__(0, 2**31 - 1), "99412 images where 99411"),
        (lambda d: d[11]["img_id"].append(d[11]["img_id"][0]), "class 11 names an image twice"),
        (lambda d: d[11].update(isntance_count=10), "class 11 has 10 instances in 11 images"),
        (lambda d: d[11]["img_id"].append("7"), "class 11 lacks"),
        (lambda d: d[11]["img_id"].append(2**70), "class 11 lacks"),
        (lambda d: d[5].update(isntance_count=True), "class 5 lacks"),
        (lambda d: d[5].update(category_id=6), "class 5 lacks"),
        (lambda d: d[5].pop("isntance_count"), "class 5 lacks"),
        (lambda d: d.pop(80), "from 1 to 80"),
        (lambda d: d.update({"x": 1}), "from 1 to 80"),
    ],
)  # fmt: skip
def test_another_list_is_refused(
    listed: dict[int, ListedClass], tmp_path: Path, edit: Callable[[Any], None], words: str
) -> None:
    document = official(listed)
    edit(document)
    path = tmp_path / LIST
    path.write_bytes(pickle.dumps(document))
    with pytest.raises(AnnotationError) as refusal:
        read_coco_lt_list(path)
    assert words in str(refusal.value)
    assert str(refusal.value).count(": fetch") == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no pickle of plain lists"),
        (b"\x80\x03}q\x00(K\x01", "no pickle of plain lists"),
        (b"PK\x03\x04rest", "no pickle of plain lists"),
        (pickle.dumps([1, 2]), "holds a list"),
        (b"\x80\x02K\x01Q.", "no pickle of plain lists"),  # a persistent id
    ],
)
def test_a_file_that_is_no_list_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / LIST
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=words):
        read_coco_lt_list(path)


def test_a_missing_list_and_one_without_end_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="can't be read"):
        read_coco_lt_list(tmp_path / LIST)
    with (tmp_path / LIST).open("wb") as file:
        file.truncate(17 << 20)
    with pytest.raises(AnnotationError, match="larger than"):
        read_coco_lt_list(tmp_path / LIST)


# List and json together


def small() -> dict[str, np.ndarray]:
    """Images 1 and 2; class 7 three times in image 1 and once in 2, class 8 once in 1."""
    return {
        "image_ids": np.array([2, 1]),
        "annotation_ids": np.array([50, 51, 52, 53, 54]),
        "annotation_images": np.array([1, 2, 1, 1, 1]),
        "annotation_categories": np.array([7, 7, 7, 7, 8]),
    }


def entry(images: list[int], count: int) -> ListedClass:
    return ListedClass(np.array(images), count)


@pytest.mark.parametrize(
    ("images", "published", "found", "kept", "is_right"),
    [
        ([1, 2], 4, 4, 4, True),
        ([1, 2], 3, 4, 3, True),  # one of image 1 goes
        ([1, 2], 2, 4, 2, True),  # one stays in each image
        ([1], 3, 3, 3, True),  # that of image 2 goes
        ([1, 2], 5, 4, 4, False),
        ([1, 9], 4, 3, 2, True),  # image 9 is not in the json: half of the 2 further ones stay
        ([1, 9], 2, 3, 1, True),
        ([8, 9], 2, 0, 0, True),
    ],
)
def test_a_class_keeps_its_count_in_its_listed_images(
    images: list[int], published: int, found: int, kept: int, is_right: bool
) -> None:
    ids, (count,) = choose_annotations({7: entry(images, published)}, **small())
    assert (count.found, count.kept, len(ids)) == (found, kept, kept)
    assert count.is_right is is_right
    of_image = dict(zip([50, 51, 52, 53], [1, 2, 1, 1], strict=True))
    assert {of_image[int(number)] for number in ids} == set(images) & {1, 2}


def test_a_listed_image_has_to_show_its_class() -> None:
    _, (count,) = choose_annotations({8: entry([1, 2], 2)}, **small())
    assert (count.found, count.unannotated, count.is_right) == (1, 1, False)


def test_the_choice_depends_on_the_annotations_only_not_on_their_order() -> None:
    content = small()
    expected, _ = choose_annotations({7: entry([1, 2], 3)}, **content)
    for turn in (1, 2, 3):
        turned = {key: np.roll(value, turn) for key, value in content.items() if key != "image_ids"}
        turned["image_ids"] = content["image_ids"]
        ids, _ = choose_annotations({7: entry([1, 2], 3)}, **turned)
        assert ids.tolist() == expected.tolist()


def test_no_kind_of_annotation_is_preferred() -> None:
    """Of 3,000 images with two annotations each, the one with the lower id stays in about half."""
    images = np.arange(3000)
    content = {
        "image_ids": images,
        "annotation_ids": np.arange(6000),
        "annotation_images": np.repeat(images, 2),
        "annotation_categories": np.full(6000, 7),
    }
    ids, _ = choose_annotations({7: entry(images.tolist(), 3000)}, **content)
    assert 1400 < (ids % 2 == 0).sum() < 1600  # 6 standard deviations are 164


def test_a_mouse_is_left_out_of_a_listed_photo_that_shows_two(
    listed: dict[int, ListedClass], mini: dict[str, Any]
) -> None:
    """The list counts 52 mice in 52 photos; photo 113588, one of them, shows two."""
    ids, counts = choose_annotations(listed, **arrays(mini))
    mouse = next(count for count in counts if count.category_id == 74)
    assert (mouse.found, mouse.kept, mouse.images, mouse.present) == (2, 1, 52, 1)
    assert len({1104717, 1628956} & set(ids.tolist())) == 1
    persons = next(count for count in counts if count.category_id == 1)
    assert persons.kept < persons.found  # 343 photos are a part: every class keeps its share


def whole(listed: dict[int, ListedClass]) -> list[ClassCount]:
    """Counts of a json that agrees with the list."""
    return [
        ClassCount(n, e.instance_count, e.instance_count, e.instance_count, len(e.image_ids),
                   len(e.image_ids), 0)
        for n, e in listed.items()
    ]  # fmt: skip


def test_counts_that_agree_are_accepted_and_others_told(
    listed: dict[int, ListedClass], mini: dict[str, Any]
) -> None:
    counts, names = whole(listed), names_of(mini)
    check_counts(counts, names, FILE)
    dogs = COCO_IDS.index(18)
    wrong = [*counts[:dogs], replace(counts[dogs], found=166, kept=166), *counts[dogs + 1 :]]
    for is_part in (False, True):  # a part does not weaken the check of what is there
        with pytest.raises(AnnotationError) as refusal:
            check_counts(wrong, names, FILE, is_part=is_part)
        words = (
            "has 166 annotations of 'dog' (18) in its 166 images, where COCO-LT's list counts 167"
        )
        assert words in str(refusal.value)
    wrong[dogs] = replace(counts[dogs], unannotated=2)
    with pytest.raises(AnnotationError, match=r"no annotation of 'dog' \(18\) in 2 of the 166"):
        check_counts(wrong, names, FILE, is_part=True)


def test_a_part_of_the_images_has_to_be_allowed(
    listed: dict[int, ListedClass], mini: dict[str, Any]
) -> None:
    counts, names = choose_annotations(listed, **arrays(mini))[1], names_of(mini)
    check_counts(counts, names, FILE, is_part=True)
    with pytest.raises(AnnotationError, match="lacks 232,910 of the 233,676 pairs"):
        check_counts(counts, names, FILE)


def test_the_whole_of_coco_lt_has_its_published_counts(listed: dict[int, ListedClass]) -> None:
    """All listed images, with the annotations the list counts, as many others, and other images."""
    rng = np.random.default_rng(0)
    images, categories = [], []
    for number, entry in listed.items():
        further = 2 * (entry.instance_count - len(entry.image_ids))
        own = [entry.image_ids, rng.choice(entry.image_ids, further), 10**6 + np.arange(50)]
        images.append(np.concatenate(own))
        categories.append(np.full(len(images[-1]), number))
    annotation_images = np.concatenate(images)
    turn = rng.permutation(len(annotation_images))
    ids, counts = choose_annotations(
        listed,
        image_ids=np.unique(annotation_images),
        annotation_ids=3 * np.arange(len(turn)),
        annotation_images=annotation_images[turn],
        annotation_categories=np.concatenate(categories)[turn],
    )
    assert all(count.is_right and count.is_whole for count in counts)
    assert len(ids) == 666_493
    assert len(np.unique(annotation_images[turn][ids // 3])) == 99_411


def test_other_classes_are_refused(listed: dict[int, ListedClass], mini: dict[str, Any]) -> None:
    names = {number + 1: name for number, name in names_of(mini).items()}
    with pytest.raises(AnnotationError, match="80 classes numbered otherwise than COCO 2017's"):
        check_counts(whole(listed), names, FILE)
