"""The demo set: what is drawn is what is annotated, its long tail, and how it is written."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_tools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.composition import LARGEST, LEAST_VISIBLE, SMALLEST, compose
from data.demo import DemoFiles, deal, instance_counts, write_demo
from data.detection import DetectionDataset
from data.glyphs import choose_glyphs, draw_glyph
from data.textures import draw_texture

ROOT = Path(__file__).resolve().parents[1]
SMALL = {
    "num_classes": 20,
    "head_instances": 30,
    "holdout_instances": 2,
    "test_instances": 3,
    "image_size": 96,
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoFiles:
    return write_demo(tmp_path_factory.mktemp("demo") / "set", **SMALL)


def hashes(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".arrow"  # what readers keep beside a json
    }


def read(path: Path) -> dict:
    return json.loads(path.read_text())


# The long tail


def test_sixty_classes_fall_from_200_to_2_with_20_rare_22_common_18_frequent() -> None:
    counts = instance_counts(60, 200, 2)
    assert counts == [round(200 * 0.01 ** (i / 59)) for i in range(60)]
    assert counts[0] == 200
    assert counts[-1] == 2
    assert sum(count < 10 for count in counts) == 20
    assert sum(10 <= count < 50 for count in counts) == 22
    assert sum(count >= 50 for count in counts) == 18


def test_one_class_and_a_head_of_1_have_counts_too() -> None:
    assert instance_counts(1, 200, 2) == [200]
    assert instance_counts(3, 1, 1) == [1, 1, 1]


def test_sixty_familiar_classes_in_nine_families_each_with_a_head_and_a_tail() -> None:
    glyphs = choose_glyphs(60)
    assert len({glyph.name for glyph in glyphs}) == 60
    assert len({glyph.character for glyph in glyphs}) == 60
    letters: dict[str, set[str]] = {}
    for glyph, count in zip(glyphs, instance_counts(60, 200, 2), strict=True):
        letter = "r" if count < 10 else "c" if count < 50 else "f"
        letters.setdefault(glyph.family, set()).add(letter)
    assert len(letters) == 9
    assert all(found == {"r", "c", "f"} for found in letters.values())


def test_there_are_1203_classes_with_pictures_of_their_own() -> None:
    glyphs = choose_glyphs(1203)
    assert glyphs[:60] == choose_glyphs(60)
    assert len({glyph.name for glyph in glyphs}) == 1203
    assert len({draw_glyph(glyph.character, 48).tobytes() for glyph in glyphs}) == 1203


@pytest.mark.parametrize("number", [0, 5000])
def test_an_impossible_number_of_classes_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=rf"classes, got {number}: ask"):
        choose_glyphs(number)


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=12).filter(any),
    st.integers(1, 6),
    st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_every_object_is_dealt_once_and_images_are_equally_full(
    counts: list[int], objects_per_image: int, seed: int
) -> None:
    images = deal(counts, objects_per_image, np.random.default_rng(seed))
    dealt = Counter(label for image in images for label in image)
    assert [dealt[label] for label in range(len(counts))] == counts
    sizes = [len(image) for image in images]
    assert max(sizes) <= objects_per_image
    assert max(sizes) - min(sizes) <= 1
    if max(counts) <= len(images):
        assert all(len(set(image)) == len(image) for image in images)


def test_frequent_classes_meet_in_images() -> None:
    images = deal(instance_counts(60, 200, 2), 5, np.random.default_rng(0))
    together = sum({0, 1} <= set(image) for image in images)
    # 200 and 185 of 528 images: independent classes would meet in 70.
    assert 40 < together < 100


# What is drawn


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25)
def test_masks_are_what_is_drawn_over_the_texture(seed: int) -> None:
    side = 96
    characters = [glyph.character for glyph in choose_glyphs(60)[seed % 50 :][:5]]
    scene = compose(characters, side, np.random.default_rng(seed))
    texture = draw_texture(np.random.default_rng(seed), side).astype(int)
    changed = np.abs(np.asarray(scene.image).astype(int) - texture).max(axis=2) > 0
    covered = scene.masks.any(axis=0)
    # Where a mask is set something was drawn; a pixel may keep its colour by chance.
    assert (changed & covered).sum() > 0.97 * covered.sum()
    # Where none is set, at most the soft edge of an object, next to a mask, was drawn.
    near = np.zeros_like(covered)
    for y in (-2, -1, 0, 1, 2):
        for x in (-2, -1, 0, 1, 2):
            near |= np.roll(covered, (y, x), axis=(0, 1))
    assert (changed & ~near).sum() <= 0.01 * side * side


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25)
def test_objects_hide_each_other_by_half_at_most(seed: int) -> None:
    characters = [glyph.character for glyph in choose_glyphs(60)[seed % 53 :][:7]]
    scene = compose(characters, 96, np.random.default_rng(seed))
    assert scene.masks.shape == (7, 96, 96)
    assert scene.masks.sum(axis=0).max() <= 1  # a pixel belongs to one object
    visible = scene.masks.sum(axis=(1, 2))
    assert (visible >= LEAST_VISIBLE * np.array(scene.areas)).all()
    assert visible[-1] == scene.areas[-1]  # nothing lies above the last
    assert (visible > 0).all()


def test_sizes_spread_over_the_promised_range() -> None:
    """A ball is as wide as it is long however it is turned, so its box shows its size."""
    sides = []
    for seed in range(150):
        mask = compose(["⚽"], 160, np.random.default_rng(seed)).masks[0]
        columns = np.flatnonzero(mask.any(axis=0))
        sides.append((np.ptp(columns) + 1) / 160)
    assert min(sides) == pytest.approx(SMALLEST, abs=0.03)
    assert max(sides) == pytest.approx(LARGEST, abs=0.03)
    assert np.mean(sides) == pytest.approx((SMALLEST + LARGEST) / 2, abs=0.03)


def test_too_many_objects_are_refused() -> None:
    with pytest.raises(ValueError, match="30 objects found no place"):
        compose(["⚽"] * 30, 32, np.random.default_rng(0))


def test_textures_differ_and_fill_the_range() -> None:
    generator = np.random.default_rng(0)
    textures = [draw_texture(generator, 40) for _ in range(30)]
    assert all(t.shape == (40, 40, 3) and t.dtype == np.uint8 for t in textures)
    assert len({t.tobytes() for t in textures}) == 30
    assert all(t.std() > 1 for t in textures)


# What is written


def test_the_files_are_lvis_v1(demo: DemoFiles) -> None:
    documents = [read(p) for p in (demo.train_json, demo.holdout_json, demo.test_json)]
    image_ids = [image["id"] for document in documents for image in document["images"]]
    assert len(set(image_ids)) == len(image_ids)
    for document in documents:
        assert document["categories"] == documents[0]["categories"]
        shown: dict[int, set[int]] = {}
        for annotation in document["annotations"]:
            shown.setdefault(annotation["image_id"], set()).add(annotation["category_id"])
        for image in document["images"]:
            assert image["not_exhaustive_category_ids"] == []
            absent = set(range(1, 21)) - shown[image["id"]]
            assert set(image["neg_category_ids"]) == absent
    category = {c["name"]: c for c in documents[0]["categories"]}["soccer ball"]
    assert category["synset"] == "soccer_ball.n.01"
    assert category["supercategory"] == "sport"
    assert [c["id"] for c in documents[0]["categories"]] == list(range(1, 21))
    names = [c["name"] for c in documents[0]["categories"]]
    assert names == sorted(names)


def test_boxes_and_areas_fit_the_visible_masks(demo: DemoFiles) -> None:
    for annotation in read(demo.holdout_json)["annotations"]:
        mask = mask_tools.decode(annotation["segmentation"])
        assert annotation["area"] == mask.sum()
        rows, columns = np.nonzero(mask)
        x, y = columns.min(), rows.min()
        assert annotation["bbox"] == [x, y, columns.max() + 1 - x, rows.max() + 1 - y]


def test_counts_and_letters_are_the_training_sets(demo: DemoFiles) -> None:
    train = DetectionDataset(demo.train_json, demo.images)
    stated = read(demo.train_json)["categories"]
    assert [c.instance_count for c in train.categories] == [c["instance_count"] for c in stated]
    assert [c.image_count for c in train.categories] == [c["image_count"] for c in stated]
    counts = sorted((c.instance_count for c in train.categories), reverse=True)
    assert counts == instance_counts(20, 30, 2)
    for category in train.categories:
        expected = "r" if category.image_count < 10 else "c"
        assert category.frequency == expected


def test_holdout_and_test_are_balanced(demo: DemoFiles) -> None:
    for path, each in ((demo.holdout_json, 2), (demo.test_json, 3)):
        data_set = DetectionDataset(path, demo.images)
        assert {category.instance_count for category in data_set.categories} == {each}


def test_images_have_the_size_asked_for_and_lie_by_split(demo: DemoFiles) -> None:
    for split in ("train", "holdout", "test"):
        names = sorted(os.listdir(demo.images / split))
        document = read(demo.train_json.parent / f"{split}.json")
        assert [f"{split}/{name}" for name in names] == [
            image["file_name"] for image in document["images"]
        ]
        assert Image.open(demo.images / split / names[0]).size == (96, 96)


def test_the_licence_lies_beside_the_images(demo: DemoFiles) -> None:
    text = (demo.images.parent / "LICENSE.txt").read_text()
    assert "CC BY-SA 4.0" in text
    assert "openmoji" in text.lower()
    assert "Attribution-ShareAlike 4.0 International" in text


def test_the_same_arguments_give_the_same_bytes(demo: DemoFiles, tmp_path: Path) -> None:
    write_demo(tmp_path / "again", **SMALL)
    assert hashes(tmp_path / "again") == hashes(demo.images.parent)


def test_another_seed_gives_other_images_with_the_same_counts(
    demo: DemoFiles, tmp_path: Path
) -> None:
    other = write_demo(tmp_path / "other", **SMALL, seed=1)
    ours, theirs = hashes(demo.images.parent), hashes(other.images.parent)
    assert [k for k in ours if k.endswith(".jpg") and ours[k] == theirs.get(k)] == []
    assert read(other.train_json)["categories"] == read(demo.train_json)["categories"]


def test_a_seed_changes_images_of_the_same_class_too(tmp_path: Path) -> None:
    ball = {"num_classes": 1, "head_instances": 2, "objects_per_image": 1, "image_size": 64}
    pictures = [
        path.read_bytes()
        for seed in (0, 1)
        for path in write_demo(tmp_path / str(seed), seed=seed, **ball).images.rglob("*.jpg")
    ]
    assert len(set(pictures)) == len(pictures) == 2 * (2 + 8 + 16)


def test_a_complete_set_is_left_alone(demo: DemoFiles) -> None:
    def times() -> list[int]:
        return [p.stat().st_mtime_ns for p in sorted(demo.images.parent.rglob("*"))]

    before = times()
    assert write_demo(demo.images.parent, **SMALL) == demo
    assert times() == before


def test_a_set_of_other_settings_is_not_overwritten(demo: DemoFiles) -> None:
    before = hashes(demo.images.parent)
    with pytest.raises(ValueError, match=r"other settings .*: choose another folder"):
        write_demo(demo.images.parent, **{**SMALL, "seed": 5})
    assert hashes(demo.images.parent) == before


def test_a_folder_with_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is no demo set: choose another folder"):
        write_demo(tmp_path, **SMALL)
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    tiny = {**SMALL, "num_classes": 3, "head_instances": 3}
    assert write_demo(tmp_path / "set", **tiny).train_json.is_file()
    assert os.listdir(tmp_path) == ["set"]


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"can't be written to .*: choose a folder"):
        write_demo(tmp_path / "file" / "set", **SMALL)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"num_classes": 0}, "num_classes of at least 1, got 0"),
        ({"num_classes": 5000}, "got 5000: ask"),
        ({"image_size": 16}, "image_size of at least 32, got 16"),
        ({"objects_per_image": 9}, "at most 8, got 9"),
        ({"head_instances": 1}, "tail_instances 2 is above head_instances 1"),
        ({"seed": -1}, "seed of at least 0, got -1"),
        ({"test_instances": 0}, "test_instances of at least 1, got 0"),
    ],
)
def test_impossible_settings_are_refused_and_leave_nothing(
    tmp_path: Path, wrong: dict, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        write_demo(tmp_path / "set", **{**SMALL, **wrong})
    assert os.listdir(tmp_path) == []


def test_an_interrupted_writer_leaves_no_half_set_under_the_name(tmp_path: Path) -> None:
    program = f"""
import sys, threading, os, time
from pathlib import Path
from data.demo import write_demo
def die_when_half_written():
    while not list(Path({str(tmp_path)!r}).glob(".set-*/set/images/train/*.jpg")):
        time.sleep(0.001)
    os._exit(9)
threading.Thread(target=die_when_half_written, daemon=True).start()
write_demo(Path({str(tmp_path)!r}) / "set", num_classes=60)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=120)
    assert done.returncode == 9
    assert not (tmp_path / "set").exists()
    write_demo(tmp_path / "set", **{**SMALL, "num_classes": 3, "head_instances": 3})


def test_large_sets_have_fewer_objects_of_each_class(tmp_path: Path) -> None:
    """Hold-out and test have 8 and 16 of each of 60 classes, but 2 and 4 of each of 200."""
    written = write_demo(tmp_path / "set", num_classes=200, head_instances=3, image_size=48)
    for path, each in ((written.holdout_json, 2), (written.test_json, 4)):
        data_set = DetectionDataset(path, written.images)
        assert {category.instance_count for category in data_set.categories} == {each}


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "data.demo", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_the_command_writes_a_set(tmp_path: Path) -> None:
    folder = str(tmp_path / "set")
    done = command(folder, "--classes", "4", "--size", "64", "--head", "4")
    assert done.returncode == 0
    assert Path(done.stdout.strip()).is_file()
    again = command(folder, "--classes", "4", "--size", "64", "--head", "4")
    assert again.stdout == done.stdout


def test_the_command_ends_with_one_sentence_and_code_2(tmp_path: Path) -> None:
    done = command(str(tmp_path / "set"), "--classes", "0")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "got 0" in done.stderr
    assert "Traceback" not in done.stderr
