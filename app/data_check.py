"""Are the files of a run's data there and readable, and how much is in them: before it starts.

Only paths inside `data_folders` are looked at, whoever chose them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.annotation_scan import AnnotationScan, missing_images, scan_annotations
from app.config_checks import data_folders
from trainer.config import ConfigError, RunConfig
from trainer.data_layouts import COCO_LT_IMAGES, DataFiles, data_files

QUICK = 2.0  # seconds for each file when a page is drawn
WHOLE = 120.0  # seconds for each file when somebody asks for all of it

DEMO_OBJECTS_AN_IMAGE = 5
DEMO_SETS = ("train", "holdout", "test")


@dataclass(frozen=True)
class SetCheck:
    """One set of a run: its annotation file, and a sample of its images.

    Attributes:
        part: train, holdout or test.
        annotations: the json.
        scan: what the json holds.
        sampled: image files that were looked for.
        missing: those that were not found.
        problem: why the set cannot be used, in one sentence, or "".
    """

    part: str
    annotations: Path
    scan: AnnotationScan
    sampled: int
    missing: Sequence[str]
    problem: str


@dataclass(frozen=True)
class Sizes:
    """How much a run has to do; None for what is not known.

    Attributes:
        train: training images of an epoch, without those held out.
        holdout: images of the validation-loss pass.
        test: images of an evaluation; 0 without a test set.
        classes: C.
    """

    train: int | None = None
    holdout: int | None = None
    test: int | None = None
    classes: int | None = None


@dataclass(frozen=True)
class DataCheck:
    """What was found of a run's data.

    Attributes:
        sets: those that were looked at.
        sizes: how much a run has to do with them.
        note: a sentence on what was not looked at, or what the counts are of; "" for nothing.
        lacking: what a data folder lacks, in one sentence, or "".
    """

    sets: Sequence[SetCheck]
    sizes: Sizes
    note: str = ""
    lacking: str = ""

    @property
    def problem(self) -> str:
        """Why the data cannot be used, or ""."""
        return self.lacking or next((found.problem for found in self.sets if found.problem), "")

    @property
    def is_partial(self) -> bool:
        """Whether time was up before a file's end."""
        return any(found.scan.share < 1 and not found.problem for found in self.sets)


def check_data(config: RunConfig, *, datasets: Path, seconds: float = QUICK) -> DataCheck:
    """Look at the data a run would train on.

    Args:
        config: of the run.
        datasets: where the demo sets are composed.
        seconds: most time spent on one file.
    """
    if config.data == "demo":
        return _check_demo(config, datasets, seconds)
    if config.data_folder is not None and not _may_read(config.data_folder):
        return DataCheck([], Sizes(), _not_looked_at("data folder lies"))
    try:
        files = data_files(config)
    except ConfigError as error:
        return DataCheck([], Sizes(), lacking=str(error))
    sets, passed_over = [], []
    for part, named in files.sets.items():
        if _may_read(named.annotations) and _may_read(named.images):
            sets.append(_check_set(part, named.annotations, named.images, seconds))
        else:
            passed_over.append(part)
    notes = []
    if passed_over:
        notes.append(_not_looked_at(f"{' and '.join(passed_over)} set lies"))
    if config.data == "coco_lt":
        notes.append("The train set is counted before COCO-LT's list takes its part of it.")
    return DataCheck(sets, _sizes(config, files, sets), " ".join(notes))


def _not_looked_at(what_lies: str) -> str:
    return (
        f"The {what_lies} outside the folders that this dashboard may read, so it was not looked "
        "at: the trainer checks it when it starts."
    )


def _check_demo(config: RunConfig, datasets: Path, seconds: float) -> DataCheck:
    root = datasets / f"demo-{config.demo_classes}"
    sizes = demo_sizes(config.demo_classes)
    if not (root / "demo.json").exists():
        note = "The demo set is composed when the first run that needs it starts; nothing to check."
        return DataCheck([], sizes, note)
    sets = [
        _check_set(part, root / "annotations" / f"{part}.json", root / "images", seconds)
        for part in DEMO_SETS
    ]
    return DataCheck(sets, sizes)


def _check_set(part: str, annotations: Path, images: Path, seconds: float) -> SetCheck:
    scan = scan_annotations(annotations, seconds=seconds)
    if scan.problem:
        return SetCheck(part, annotations, scan, 0, (), f"{part} json: {scan.problem}")
    missing = missing_images(images, scan.names)
    problem = ""
    if missing:
        problem = (
            f"{part} images: {len(missing)} of {len(scan.names)} that were looked for cannot be "
            f"read below {images}, the first is {missing[0][:80]}: give the folder that holds them"
        )
    return SetCheck(part, annotations, scan, len(scan.names), missing, problem)


def _may_read(path: Path) -> bool:
    try:
        resolved = path.resolve()
    except (OSError, ValueError, RuntimeError):
        return False
    return any(resolved.is_relative_to(folder.resolve()) for folder in data_folders())


def _sizes(config: RunConfig, files: DataFiles, sets: Sequence[SetCheck]) -> Sizes:
    """Of files that were read to their end; a share held out is about that share of the images."""
    whole = {found.part: found.scan for found in sets if found.scan.share == 1}
    images = {part: scan.images for part, scan in whole.items()}
    train, holdout, test = images.get("train"), images.get("holdout"), images.get("test")
    if train is not None and config.data == "coco_lt":
        train = None if config.coco_lt_part else COCO_LT_IMAGES
    if files.test is None:
        test = 0
    if config.adapt_on == "test":
        holdout = test
    elif files.holdout is None and train is not None:
        holdout = math.ceil(config.holdout_share * train)
        train -= holdout
    classes = whole["train"].classes if "train" in whole else None
    return Sizes(train, holdout, test, classes)


def demo_sizes(classes: int) -> Sizes:
    """The images of a demo set of that many classes (a test holds this to `data.demo`)."""
    head, holdout, test = (
        max(least, min(usual, usual * 60 // classes))
        for usual, least in ((200, 60), (8, 2), (16, 4))
    )
    objects = sum(
        max(1, round(head * (2 / head) ** (i / max(1, classes - 1)))) for i in range(classes)
    )
    train, holdout, test = (
        math.ceil(count / DEMO_OBJECTS_AN_IMAGE)
        for count in (objects, holdout * classes, test * classes)
    )
    return Sizes(train, holdout, test, classes)
