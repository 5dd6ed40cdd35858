"""Annotation files that are refused, each in one sentence, and what is read in spite of damage."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_builders import HEIGHT, WIDTH, document, load, packed, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.annotations import read_annotations
from data.detection import AnnotationError, DetectionDataset

Change = Callable[[dict[str, Any]], object]
EMPTY = "empty mask or box"
CASES: list[tuple[str, Change, str]] = [
    ("no images", lambda d: d.pop("images"), "no list of objects called 'images'"),
    ("images no list", lambda d: d.update(images={}), "no list of objects called 'images'"),
    ("no category", lambda d: d.update(categories=[]), "lists no category"),
    ("no image", lambda d: d.update(images=[], annotations=[]), "lists no image"),
    ("unknown category", lambda d: d["annotations"][1].update(category_id=99), "category 99,"),
    ("unknown image", lambda d: d["annotations"][1].update(image_id=99), "names the image 99,"),
    ("annotation id twice", lambda d: d["annotations"][1].update(id=1), "have the id 1:"),
    ("image id twice", lambda d: d["images"][1].update(id=7), "two image entries"),
    ("category id twice", lambda d: d["categories"][1].update(id=30), "two category entries"),
    ("id no number", lambda d: d["images"][1].update(id="x"), "has the id 'x'"),
    ("id too large", lambda d: d["images"][1].update(id=2**63), "has the id 9223372036854775808:"),
    ("id missing", lambda d: d["annotations"][2].pop("id"), "annotation number 3 .* id None"),
    ("name missing", lambda d: d["categories"][0].pop("name"), "category 30 .* name None"),
    ("letter", lambda d: d["categories"][0].update(frequency="x"), "frequency 'x'"),
    ("height 0", lambda d: d["images"][0].update(height=0), r"image 7 .* \(8, 0\)"),
    ("no file", lambda d: d["images"][0].pop("file_name"), "'coco_url' None: name its file"),
    ("negatives", lambda d: d["images"][0].update(neg_category_ids=[5]), "'neg_category_ids'"),
    ("box right", lambda d: d["annotations"][0].update(bbox=[6, 0, 4.1, 1]), "outside its image"),
    ("box left", lambda d: d["annotations"][0].update(bbox=[-3, 0, 5, 1]), "outside its image"),
    ("box below", lambda d: d["annotations"][0].update(bbox=[0, 5, 1, 3.5]), "outside its image"),
    ("box of 3", lambda d: d["annotations"][0].update(bbox=[0, 0, 1]), "four numbers"),
    ("box of 9,999", lambda d: d["annotations"][0].update(bbox=[0] * 9999), r"\.\.\."),
    ("crowd", lambda d: d["annotations"][0].update(iscrowd="no"), "'iscrowd' 'no'"),
    ("box of nan", lambda d: d["annotations"][0].update(bbox=[0, 0, 1, float("nan")]), "nan"),
    ("box flat", lambda d: d["annotations"][0].update(bbox=[1, 2, 3, 0]), EMPTY),
    ("box backwards", lambda d: d["annotations"][0].update(bbox=[4, 2, -3, 2]), EMPTY),
    ("box in the margin", lambda d: d["annotations"][0].update(bbox=[-2, 0, 1, 3]), EMPTY),
    ("area 0", lambda d: d["annotations"][0].update(area=0.0), EMPTY),
    ("no outline", lambda d: d["annotations"][0].update(segmentation=[]), EMPTY),
    ("two points", lambda d: d["annotations"][0].update(segmentation=[[1, 2, 3, 4]]), EMPTY),
    ("a line", lambda d: d["annotations"][0].update(segmentation=[[1, 2, 3, 2, 4, 2]]), EMPTY),
    ("odd", lambda d: d["annotations"][0].update(segmentation=[[1, 2, 3, 2, 4]]), "no list of pa"),
    ("words", lambda d: d["annotations"][0].update(segmentation=[["a"] * 6]), "an outline"),
    ("far", lambda d: d["annotations"][0].update(segmentation=[[0, 0, 9, 1, 1e9, 9]]), "far out"),
    ("no mask", lambda d: d["annotations"][0].pop("segmentation"), "neither polygons nor"),
    ("code size", lambda d: d["annotations"][1]["segmentation"].update(size=[8, 6]), "neither"),
    ("code sum", lambda d: d["annotations"][1]["segmentation"].update(counts=[8, 2]), "neither"),
    ("code empty", lambda d: d["annotations"][1]["segmentation"].update(counts=[48]), EMPTY),
    ("packed", lambda d: d["annotations"][2]["segmentation"].update(counts="~~~"), "neither"),
    ("packed sum", lambda d: d["annotations"][2]["segmentation"].update(counts="0o3"), "neither"),
]


@pytest.mark.parametrize(("change", "said"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_cannot_be_used_is_refused_in_one_sentence(
    tmp_path: Path, change: Change, said: str
) -> None:
    content = document()
    change(content)
    path = write(tmp_path, content)
    with pytest.raises(AnnotationError, match=said) as refused:
        DetectionDataset(path, tmp_path)
    message = str(refused.value)
    assert "\n" not in message
    assert str(path) in message
    assert ": " in message  # the remedy follows


@pytest.mark.parametrize("change", [c[1] for c in CASES if c[2] == EMPTY])
def test_empty_annotations_can_be_dropped_instead(tmp_path: Path, change: Change) -> None:
    content = document()
    change(content)
    data_set = load(tmp_path, content, drop_empty=True)
    assert sum(c.instance_count for c in data_set.categories) == 2


def test_the_two_empty_annotations_of_cocos_own_train2017(tmp_path: Path) -> None:
    """Annotation 918 of the official file as it is there, in its image of 640 x 480 pixels."""
    content = {
        "images": [{"id": 200365, "file_name": "a.png", "width": 640, "height": 480}],
        "annotations": [
            {
                "segmentation": [[296.65, 388.33, 296.65, 388.33, 297.68, 388.33, 297.68, 388.33]],
                "area": 0.0,
                "iscrowd": 0,
                "image_id": 200365,
                "bbox": [296.65, 388.33, 1.03, 0.0],
                "category_id": 58,
                "id": 918,
            }
        ],
        "categories": [{"id": 58, "name": "hot dog"}],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match=r"annotation 918 of .* read the file with drop_emp"):
        read_annotations(path)
    assert read_annotations(path, drop_empty=True)["annotations"] == []


@pytest.mark.parametrize("text", ["", "{", '{"images": [', "[1, 2", "\x00"])
def test_a_file_cut_short_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(AnnotationError, match=r"is not complete json .* fetch it again"):
        read_annotations(path)


def test_every_prefix_of_a_file_is_refused(tmp_path: Path) -> None:
    whole = json.dumps(document())
    path = tmp_path / "a.json"
    for length in range(0, len(whole), 7):
        path.write_text(whole[:length])
        with pytest.raises(AnnotationError):
            read_annotations(path)


@pytest.mark.parametrize("text", ["[]", "3", '"images"', "null"])
def test_json_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(AnnotationError, match="where an object with 'images'"):
        read_annotations(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"no annotation file .*none.json: check"):
        read_annotations(tmp_path / "none.json")
    with pytest.raises(AnnotationError, match="can't be read"):
        read_annotations(tmp_path)


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Every place inside a json value, as the keys that lead there."""
    found = [path] if path else []
    children = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in children:
        if isinstance(child, dict | list):
            found += places(child, (*path, key))
        else:
            found.append((*path, key))
    return found


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([10**400, 2**31, 1e300, -1, 0, "a.png", "0", "\ud800", "\x00"]),
    lambda child: st.lists(child, max_size=6) | st.dictionaries(st.text(max_size=4), child),
    max_leaves=8,
)


@given(st.sampled_from(places(document())), ANY_JSON)
@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_stands_anywhere_it_is_refused_or_can_be_read(
    tmp_path: Path, place: tuple, value: Any
) -> None:
    content = copy.deepcopy(document())
    parent: Any = content
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    path = tmp_path / "annotations.json"
    if not (tmp_path / "a.png").exists():
        write(tmp_path, document())
    path.write_text(json.dumps(content))
    try:
        data_set = DetectionDataset(path, tmp_path)
    except AnnotationError:
        return
    for i in range(len(data_set)):
        _, target = data_set[i]
        n = len(target["labels"])
        assert target["boxes"].shape == (n, 4)
        assert (target["boxes"][:, 2:] > target["boxes"][:, :2]).all()
        assert target["masks"].shape == (n, HEIGHT, WIDTH)
        assert target["masks"].flatten(1).any(dim=1).all()
        assert ((target["labels"] >= 0) & (target["labels"] < data_set.num_classes)).all()


@given(st.text(st.characters(min_codepoint=32, max_codepoint=127), max_size=12))
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_packed_code_never_reaches_pycocotools(tmp_path: Path, counts: str) -> None:
    """pycocotools corrupts its memory on such strings, so this test would abort Python."""
    content = document()
    content["annotations"][2]["segmentation"]["counts"] = counts
    path = tmp_path / "annotations.json"
    if not path.exists():
        write(tmp_path, document())
    path.write_text(json.dumps(content))
    try:
        data_set = DetectionDataset(path, tmp_path)
    except AnnotationError:
        return
    assert data_set[0][1]["masks"][1].any()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_packed_codes_are_read_as_pycocotools_packs_them(seed: int) -> None:
    from data.annotations import _run_lengths

    generator = np.random.default_rng(seed)
    height, width = generator.integers(1, 80, 2)
    mask = generator.random((height, width)) < generator.random()
    runs = _run_lengths(packed(mask)["counts"])
    assert sum(runs) == height * width
    values = np.repeat(np.arange(len(runs)) % 2, runs)
    assert np.array_equal(values.reshape(width, height).T, mask)
