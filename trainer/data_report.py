"""What `fasa data` tells of a configuration's sets: whether they are whole, and their tail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.annotation_table import AnnotationTable, open_annotations
from data.annotations import AnnotationError
from data.coco_lt import (
    BIN_SIZES,
    ClassCount,
    ListedClass,
    check_counts,
    coco_lt_of,
    counts_in,
    images_in,
    read_coco_lt_list,
)
from data.demo import write_demo
from data.detection import check_same_classes
from data.set_check import SetCheck, check_set
from data.set_statistics import Labels, SetStatistics, frequencies, set_statistics
from trainer.config import RunConfig
from trainer.data_layouts import (
    COCO_LT_LIST,
    Part,
    SetFiles,
    data_files,
    drops_empty,
    expected_files,
    files_there,
    needed_parts,
)


@dataclass(frozen=True)
class CocoLTCheck:
    """COCO-LT's list met with the training json.

    Attributes:
        images: of the listed images those that the json has.
        counts: the classes of the list.
        names: category id -> class.
    """

    images: int
    counts: Sequence[ClassCount]
    names: Mapping[int, str]


@dataclass(frozen=True)
class DataCheck:
    """All that was found.

    Attributes:
        parts: of the data folder; empty without one.
        sets: those whose files are there, by name; without those whose json is refused.
        coco_lt: None for other data, or when the list or the training json is missing.
        problems: a sentence for all that has to be mended; empty when a run can start.
    """

    parts: Sequence[Part]
    sets: Mapping[str, SetCheck]
    coco_lt: CocoLTCheck | None
    problems: Sequence[str]


def check_data(config: RunConfig, *, datasets: Path) -> DataCheck:
    """Look at everything a run of `config` would read; the demo set is composed when it is missing.

    Raises:
        OSError: the demo set cannot be written.
    """
    parts = needed_parts(config)
    problems = [f"{part.name} is missing: {part.remedy}" for part in parts if not part.is_there]
    sets, tables = {}, {}
    named = _demo_sets(config, datasets) if config.data == "demo" else files_there(config)
    for name, files in named.items():
        try:
            tables[name] = _table(config, files)
            sets[name] = check_set(
                tables[name], files.images, drop_empty=drops_empty(config, files)
            )
            problems += [f"{name}: {problem}" for problem in sets[name].problems]
            if "train" in tables:
                check_same_classes(tables[name], tables["train"].category_names)
        except AnnotationError as error:
            problems.append(f"{name}: {error}")
    coco_lt = None
    if config.data == "coco_lt" and "train" in tables and _has_list(config):
        try:
            coco_lt = _check_coco_lt(tables["train"], _listed(config))
            check_counts(
                coco_lt.counts, coco_lt.names, tables["train"].path, is_part=config.coco_lt_part
            )
        except AnnotationError as error:
            problems.append(str(error))
    return DataCheck(parts, sets, coco_lt, problems)


def _has_list(config: RunConfig) -> bool:
    return all(part.is_there for part in needed_parts(config) if part.name == COCO_LT_LIST)


def _listed(config: RunConfig) -> dict[int, ListedClass]:
    path = expected_files(config).coco_lt_list
    assert path is not None  # data_layouts's rule for coco_lt
    return read_coco_lt_list(path)


def _check_coco_lt(table: AnnotationTable, listed: Mapping[int, ListedClass]) -> CocoLTCheck:
    counts = counts_in(table, listed)[1]
    return CocoLTCheck(len(images_in(table, listed)), counts, table.category_names)


@dataclass(frozen=True)
class TailStatistics:
    """The sets of a configuration, counted by group.

    Attributes:
        sets: by name; their groups are `all`, the letters r, c and f of the training set's classes
            and, for COCO-LT, its bins `1` to `4`.
        without_objects: classes of which the training set shows no object.
    """

    sets: Mapping[str, SetStatistics]
    without_objects: Sequence[str]


def tail_statistics(config: RunConfig, *, datasets: Path) -> TailStatistics:
    """Count what a run of `config` would train on, hold out by a json of its own, and test on.

    No image file is looked at. What a share would be held out of is counted with it.

    Raises:
        ConfigError: the data folder lacks a json or the list.
        AnnotationError: a json or the list breaks a rule.
    """
    named = _demo_sets(config, datasets) if config.data == "demo" else _jsons_there(config)
    table = _table(config, named["train"])
    ids = sorted(int(category["id"]) for category in table.categories)
    kept = images = bins = None
    if config.data == "coco_lt":
        listed = _listed(config)
        images, kept = coco_lt_of(table, listed, is_part=config.coco_lt_part)
        bins = np.array([listed[number].instance_bin for number in ids])
    train = Labels.of(
        table, ids, kept=kept, image_ids=images, skip_unannotated=config.skip_unannotated
    )
    groups = _groups(np.array(frequencies(table, train)), bins)
    counted = {"train": train}
    for name in ("holdout", "test"):
        if name in named:
            counted[name] = Labels.of(_table(config, named[name]), ids)
    names = table.category_names
    return TailStatistics(
        sets={
            name: set_statistics(labels, groups, threshold=config.repeat_threshold)
            for name, labels in counted.items()
        },
        without_objects=[names[ids[c]] for c in np.flatnonzero(train.objects_of == 0)],
    )


def _groups(
    letters: NDArray[np.str_], bins: NDArray[np.int64] | None
) -> dict[str, NDArray[np.bool_]]:
    groups = {"all": np.ones(len(letters), dtype=bool)}
    groups |= {letter: letters == letter for letter in "rcf"}
    if bins is not None:
        groups |= {str(number): bins == number for number in range(1, len(BIN_SIZES) + 1)}
    return groups


def _jsons_there(config: RunConfig) -> dict[str, SetFiles]:
    """All sets, but a test set of the data folder only when its json is there."""
    needed = {part.path for part in needed_parts(config) if not part.is_there}
    sets = expected_files(config).sets
    if sets["train"].annotations in needed or not _has_list(config):
        data_files(config)  # says what is missing
    return {name: files for name, files in sets.items() if files.annotations not in needed}


def _demo_sets(config: RunConfig, datasets: Path) -> dict[str, SetFiles]:
    files = write_demo(datasets / f"demo-{config.demo_classes}", num_classes=config.demo_classes)
    jsons = {"train": files.train_json, "holdout": files.holdout_json, "test": files.test_json}
    return {name: SetFiles(path, files.images) for name, path in jsons.items()}


def _table(config: RunConfig, files: SetFiles) -> AnnotationTable:
    return open_annotations(files.annotations, drop_empty=drops_empty(config, files))
