"""Which files a run's data lie in: as published in one folder, or named one by one.

LVIS v1 uses the photos of COCO 2017: `lvis_v1_train.json` names photos of `train2017/`,
`lvis_v1_val.json` photos of `train2017/` and `val2017/`, each by its address in COCO. COCO-LT is
COCO 2017 with the annotations that its official list keeps. Nothing here reads a file, and it
imports no torch, so that the dashboard can use it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainer.config import ConfigError, RunConfig

COCO_LT_IMAGES = 99_411  # of its training set
COCO_LT_LIST = "class_to_imageid_and_inscount_coco_sampled.pt"
TRAIN, TEST, LIST = "train", "test", "list"
_JSON_FOLDERS = ("annotations", ".")  # below the data folder, where a json is looked for


@dataclass(frozen=True)
class SetFiles:
    """One set.

    Attributes:
        annotations: its json.
        images: the folder below which its image files lie.
        is_published: whether it is a data folder's own: then nobody can mend the json, and its
            annotations without area are left out.
    """

    annotations: Path
    images: Path
    is_published: bool = False


@dataclass(frozen=True)
class DataFiles:
    """The files of a run.

    Attributes:
        train: what it learns from.
        holdout: whose losses steer adaptation; None: a share of `train`, or `test`.
        test: on which AP is reported; None for no AP.
        coco_lt_list: COCO-LT's official list; None for other data.
    """

    train: SetFiles
    holdout: SetFiles | None
    test: SetFiles | None
    coco_lt_list: Path | None

    @property
    def sets(self) -> dict[str, SetFiles]:
        """Those there are, by name."""
        named = {"train": self.train, "holdout": self.holdout, "test": self.test}
        return {name: files for name, files in named.items() if files is not None}


@dataclass(frozen=True)
class Part:
    """One file or folder of a published set.

    Attributes:
        name: of the file, or of the folder with a slash at its end.
        text: what it holds.
        source: where it is published.
        archive: the file it is published packed in, or "".
        folder: of the data set.
        needed_by: which of TRAIN, TEST and LIST cannot be had without it.
    """

    name: str
    text: str
    source: str
    archive: str
    folder: Path
    needed_by: tuple[str, ...]

    @property
    def places(self) -> list[Path]:
        """Where it may lie, the usual place first."""
        if self.name.endswith(".json"):
            return [self.folder / below / self.name for below in _JSON_FOLDERS]
        return [self.folder / self.name]

    @property
    def path(self) -> Path:
        """Where it lies, or else belongs."""
        return next(filter(self._is_at, self.places), self.places[0])

    @property
    def is_there(self) -> bool:
        """Whether it lies in one of its places."""
        return self._is_at(self.path)

    def _is_at(self, path: Path) -> bool:
        try:
            return path.is_dir() if self.name.endswith("/") else path.is_file()
        except (OSError, ValueError):  # a folder that may not be entered, a NUL in its name
            return False

    @property
    def remedy(self) -> str:
        """What to do about it when it is missing, beginning with a verb."""
        if self.archive:
            for below in _JSON_FOLDERS:
                archive = self.folder / below / self.archive
                if archive.is_file():
                    return f"unpack {archive}, so that it lies at {self.places[0]}"
        packed = f" in {self.archive}" if self.archive else ""
        return f"put it at {self.places[0]}, it is published by {self.source}{packed}"


def published_parts(data: str, folder: Path) -> list[Part]:
    """All that `folder` has to hold for `data` lvis, coco or coco_lt."""
    train_json, test_json = _jsons(data)
    is_lvis = data == "lvis"
    source = "lvisdataset.org" if is_lvis else "cocodataset.org"
    title = "LVIS v1" if is_lvis else "COCO 2017"
    packed = {name: f"{name}.zip" if is_lvis else "annotations_trainval2017.zip"
              for name in (train_json, test_json)}  # fmt: skip
    parts = [
        Part(train_json, f"annotations of {title} train", source, packed[train_json], folder,
             (TRAIN,)),
        Part(test_json, f"annotations of {title} val", source, packed[test_json], folder, (TEST,)),
        Part("train2017/", "118,287 photos of COCO 2017", "cocodataset.org", "train2017.zip",
             folder, (TRAIN, TEST) if is_lvis else (TRAIN,)),
        Part("val2017/", "5,000 photos of COCO 2017", "cocodataset.org", "val2017.zip", folder,
             (TEST,)),
    ]  # fmt: skip
    if data == "coco_lt":
        parts.append(
            Part(COCO_LT_LIST, "official list of COCO-LT", "the GitHub repository twangnh/SimCal",
                 "", folder, (LIST,))
        )  # fmt: skip
    return parts


def _jsons(data: str) -> tuple[str, str]:
    if data == "lvis":
        return "lvis_v1_train.json", "lvis_v1_val.json"
    return "instances_train2017.json", "instances_val2017.json"


def needed_parts(config: RunConfig) -> list[Part]:
    """What the data folder of a run has to hold: nothing for a set that is named by itself."""
    if config.data_folder is None or config.data == "demo":
        return []
    named = {TRAIN: _named(config, ""), TEST: _named(config, "test_"), LIST: config.coco_lt_list}
    return [
        part
        for part in published_parts(config.data, config.data_folder)
        if any(named[kind] is None for kind in part.needed_by)
    ]


def data_files(config: RunConfig) -> DataFiles:
    """The files of a run on other data than the demo's.

    What is named by itself (`annotations` and `images`, `test_annotations` ..., `coco_lt_list`)
    is taken instead of the data folder's. Nothing says that it is there, but for the latter.

    Raises:
        ConfigError: one sentence with all that the data folder lacks, and where to put it; or that
            it is no folder, or holds another data set.
    """
    parts = needed_parts(config)
    missing = [part for part in parts if not part.is_there]
    if missing:
        _check_folder(config, missing)
        each = "; ".join(f"{part.name} ({part.text}): {part.remedy}" for part in missing)
        raise ConfigError(
            f"the data folder '{config.data_folder}' lacks {len(missing)} of the {len(parts)} "
            f"parts of data={config.data}: {each}"
        )
    return expected_files(config)


def _check_folder(config: RunConfig, missing: list[Part]) -> None:
    """Refuse a folder in which nothing can be put, or that is whole as another data set."""
    folder = config.data_folder
    assert folder is not None
    if not folder.is_dir():
        raise ConfigError(
            f"data_folder is '{folder}', which is no folder: give the one that holds "
            f"{', '.join(part.name for part in missing)}"
        )
    other = "coco" if config.data == "lvis" else "lvis"
    no_json = {part.name for part in missing}.issuperset(_jsons(config.data))
    if no_json and all(part.is_there for part in published_parts(other, folder)):
        raise ConfigError(
            f"the data folder '{folder}' holds data={other}, but not "
            f"{' and '.join(part.name for part in missing)}: give another folder, or --data {other}"
        )


def files_there(config: RunConfig) -> dict[str, SetFiles]:
    """The sets of a run by name, without those whose part of the data folder is missing."""
    missing = {
        kind for part in needed_parts(config) if not part.is_there for kind in part.needed_by
    }
    return {
        name: files for name, files in expected_files(config).sets.items() if name not in missing
    }


def drops_empty(config: RunConfig, files: SetFiles) -> bool:
    """Whether annotations without area are left out of a set."""
    return config.drop_empty or files.is_published


def expected_files(config: RunConfig) -> DataFiles:
    """Where the files of a run lie, or belong."""
    parts = {part.name: part for part in needed_parts(config)}
    train_json, test_json = _jsons(config.data)
    train, test = _named(config, ""), _named(config, "test_")
    if config.data_folder is not None:
        train = train or _published(config, parts[train_json].path, "train2017")
        test = test or _published(config, parts[test_json].path, "val2017")
    assert train is not None  # RunConfig's rule, as that of the list below
    listed = None
    if config.data == "coco_lt":
        listed = config.coco_lt_list or parts[COCO_LT_LIST].path
    return DataFiles(train, _named(config, "holdout_"), test, listed)


def _published(config: RunConfig, annotations: Path, photos: str) -> SetFiles:
    assert config.data_folder is not None
    images = config.data_folder if config.data == "lvis" else config.data_folder / photos
    return SetFiles(annotations, images, is_published=True)


def _named(config: RunConfig, prefix: str) -> SetFiles | None:
    annotations = getattr(config, f"{prefix}annotations")
    images = getattr(config, f"{prefix}images")
    return None if annotations is None or images is None else SetFiles(annotations, images)
