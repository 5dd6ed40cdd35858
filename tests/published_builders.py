"""Small sets laid out as published: coco_mini as COCO 2017, and files in LVIS v1's form."""

import json
import shutil
from pathlib import Path

from benchmarks.lvis_shaped import write_lvis_shaped


def coco_2017(folder: Path, shared_data: Path) -> Path:
    """coco_mini, 343 train and 206 val photos, in the layout of COCO 2017; photos by links."""
    source = shared_data / "coco_mini"
    folder.mkdir()
    # Copied, as what is read of a json is kept beside it.
    shutil.copytree(source / "annotations", folder / "annotations", copy_function=shutil.copyfile)
    (folder / "annotations").chmod(0o755)
    for name in ("train2017", "val2017"):
        (folder / name).symlink_to(source / name)
    return folder


def lvis_v1(folder: Path, *, images: int = 40, longest_side: int = 64) -> Path:
    """Train and val in LVIS v1's form with its 1,203 classes.

    Every second photo of val lies in val2017, the others in train2017, as in LVIS.
    """
    folder.mkdir()
    write_lvis_shaped(
        folder / "lvis_v1_train.json", images=images, seed=1, image_folder=folder,
        longest_side=longest_side,
    )  # fmt: skip
    drawn = folder / "drawn"
    val = write_lvis_shaped(
        folder / "lvis_v1_val.json", images=images // 2, seed=2, image_folder=drawn,
        longest_side=longest_side,
    )  # fmt: skip
    (folder / "val2017").mkdir()
    document = json.loads(val.read_text())
    for number, image in enumerate(document["images"]):
        subset = "val2017" if number % 2 else "train2017"
        name = f"{900_000_000 + image['id']:012d}.jpg"  # no photo of the train set
        source = drawn / "train2017" / image["coco_url"].rpartition("/")[2]
        source.rename(folder / subset / name)
        image["coco_url"] = f"http://images.cocodataset.org/{subset}/{name}"
    val.write_text(json.dumps(document))
    return folder
