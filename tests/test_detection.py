"""The data set on a hand-made json whose every mask is known, and on real COCO photos."""

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_tools
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from data.annotations import read_annotations
from data.detection import AnnotationError, DetectionDataset

HEIGHT, WIDTH = 6, 8


def packed(mask: np.ndarray) -> dict[str, Any]:
    code = mask_tools.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": code["counts"].decode()}


def rectangle(x: int, y: int, width: int, height: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[y : y + height, x : x + width] = 1
    return mask


def annotation(number: int, image: int, category: int, box: list[float], mask: Any) -> dict:
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": box,
        "area": box[2] * box[3],
        "segmentation": mask,
        "iscrowd": 0,
    }


def document() -> dict[str, Any]:
    """Image 7 shows a cup (polygon), a fork (packed code) and a crowd; 9 a cup (plain code)."""
    # The plain code of a 3 x 2 rectangle at (1, 2) in columns of 6: 8 off, 2 on, 4 off, ...
    plain = {"size": [HEIGHT, WIDTH], "counts": [8, 2, 4, 2, 4, 2, 26]}
    crowd = annotation(4, 7, 20, [0, 0, 8, 1], {"size": [HEIGHT, WIDTH], "counts": [0, 1, 47]})
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
            {"id": 9, "file_name": "more/b.png", "width": WIDTH, "height": HEIGHT},
            {"id": 3, "file_name": "c.png", "width": WIDTH, "height": HEIGHT},
        ],
        "annotations": [
            annotation(1, 7, 30, [1, 2, 3, 2], [[1, 2, 4, 2, 4, 4, 1, 4]]),
            annotation(2, 9, 30, [1, 2, 3, 2], plain),
            annotation(3, 7, 20, [4, 0, 4, 5], packed(rectangle(4, 0, 4, 5))),
            {**crowd, "iscrowd": 1},
        ],
        "categories": [{"id": 30, "name": "cup"}, {"id": 20, "name": "fork"}],
    }


def write(folder: Path, content: dict[str, Any]) -> Path:
    (folder / "more").mkdir(exist_ok=True)
    for number, name in enumerate(["a.png", "more/b.png", "c.png"]):
        pixels = np.full((HEIGHT, WIDTH, 3), 10 * number, dtype=np.uint8)
        pixels[0, 0] = (1, 2, 3)
        Image.fromarray(pixels).save(folder / name)
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return path


def load(folder: Path, content: dict[str, Any], **options: Any) -> DetectionDataset:
    return DetectionDataset(write(folder, content), folder, **options)


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
    assert data_set.image_categories == [[0, 1], [1], []]
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
    assert part.image_categories == [[], [1]]


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
