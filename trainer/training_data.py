"""The data sets of a run, from its `RunConfig`: what it trains, adapts and is tested on."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from data.annotation_table import open_annotations
from data.annotations import AnnotationError
from data.categories import Category
from data.coco_lt import coco_lt_of, read_coco_lt_list
from data.demo import write_demo
from data.detection import DetectionDataset
from data.evaluation_images import EvaluationImages, collate_images
from data.holdout import holdout_indices
from data.repeat_factor import epoch_indices, repeat_factors, uniform_indices
from data.transforms import EpochView, collate
from trainer.config import RunConfig, dataset_title
from trainer.data_layouts import DataFiles, SetFiles, data_files, drops_empty
from trainer.distributed import ALONE, Ranks
from trainer.loader_process import begin_loading

# Loader processes are not forked from the trainer: the run log's thread may hold a lock that a
# forked child would wait for without end. The server they are forked from loads torch once.
_WORKERS = multiprocessing.get_context("forkserver")
_WORKERS.set_forkserver_preload(["data.transforms"])

_DEMO_SEED = 0  # one demo set for every run, so that runs can be compared


@dataclass(frozen=True)
class TrainingData:
    """The three sets of a run and the categories they share.

    Attributes:
        title: what the run log calls the data set.
        categories: [C], counted on the training images only.
        train: what the model learns from.
        holdout: whose losses steer adaptation.
        test: on which AP is reported, or None: then no AP is computed.
        federated: whether `test` follows LVIS's federated protocol.
        instance_bins: [C] 1..4, the bin of AP_1..AP_4 of each class; None for other than COCO-LT.
    """

    title: str
    categories: list[Category]
    train: DetectionDataset
    holdout: DetectionDataset
    test: DetectionDataset | None
    federated: bool
    instance_bins: list[int] | None = None

    @property
    def class_counts(self) -> list[int]:
        """[C] training instances of each class, N_c."""
        return [category.instance_count for category in self.categories]


def build_training_data(config: RunConfig, *, datasets: Path) -> TrainingData:
    """Read (for the demo, write first) the sets that `config` names.

    Args:
        config: the run's configuration.
        datasets: folder where the demo set is kept.

    Raises:
        AnnotationError: when a json or an image folder breaks a rule.
        ConfigError: when a data folder lacks parts.
    """
    if config.data == "demo":
        return _demo(config, datasets)
    files = data_files(config)
    full, bins = _full_training_set(config, files)
    test = _of_same_classes(config, files.test, full)
    train, holdout = _training_and_holdout(config, files.holdout, full, test)
    return TrainingData(
        dataset_title(config), train.categories, train, holdout, test, config.data == "lvis", bins
    )


def _full_training_set(
    config: RunConfig, files: DataFiles
) -> tuple[DetectionDataset, list[int] | None]:
    """With the images that a share is held out of, and COCO-LT's bin of each class."""
    skip = config.skip_unannotated
    if files.coco_lt_list is None:
        return _dataset(config, files.train, skip_unannotated=skip), None
    listed = read_coco_lt_list(files.coco_lt_list)
    table = open_annotations(files.train.annotations, drop_empty=drops_empty(config, files.train))
    image_ids, kept = coco_lt_of(table, listed, is_part=config.coco_lt_part)
    coco = _dataset(config, files.train, kept=kept, skip_unannotated=skip)
    full = coco.subset(np.flatnonzero(np.isin(coco.image_ids, image_ids)).tolist())
    return full, [listed[category.id].instance_bin for category in full.categories]


def _dataset(config: RunConfig, files: SetFiles, **options: Any) -> DetectionDataset:
    drop_empty = drops_empty(config, files)
    return DetectionDataset(files.annotations, files.images, drop_empty=drop_empty, **options)


def _of_same_classes(
    config: RunConfig, files: SetFiles | None, full: DetectionDataset
) -> DetectionDataset | None:
    return None if files is None else _dataset(config, files, categories=full.categories)


def _demo(config: RunConfig, datasets: Path) -> TrainingData:
    files = write_demo(
        datasets / f"demo-{config.demo_classes}", num_classes=config.demo_classes, seed=_DEMO_SEED
    )
    train = DetectionDataset(files.train_json, files.images)
    test = DetectionDataset(files.test_json, files.images, categories=train.categories)
    holdout = DetectionDataset(files.holdout_json, files.images, categories=train.categories)
    adaptation = test if config.adapt_on == "test" else holdout
    title = dataset_title(config)
    return TrainingData(title, train.categories, train, adaptation, test, True)


def _training_and_holdout(
    config: RunConfig,
    files: SetFiles | None,
    full: DetectionDataset,
    test: DetectionDataset | None,
) -> tuple[DetectionDataset, DetectionDataset]:
    if config.adapt_on == "test" and test is not None:
        return full, test
    holdout = _of_same_classes(config, files, full)
    if holdout is not None:
        return full, holdout
    held = set(
        holdout_indices(
            full.image_categories, full.num_classes, share=config.holdout_share, seed=config.seed
        )
    )
    rest = [index for index in range(len(full)) if index not in held]
    return full.subset(rest), full.subset(sorted(held))


def train_indices(config: RunConfig, train: DetectionDataset, *, epoch: int) -> list[int]:
    """The order of images in an epoch: the same for the same seed and epoch."""
    if config.train_sampler == "uniform":
        return uniform_indices(len(train), epoch=epoch, seed=config.seed)
    factors = repeat_factors(train.image_categories, train.num_classes, config.repeat_threshold)
    return epoch_indices(factors, epoch=epoch, seed=config.seed, rounding=config.repeat_rounding)


def train_loader(
    config: RunConfig,
    train: DetectionDataset,
    *,
    epoch: int,
    skip_batches: int = 0,
    ranks: Ranks = ALONE,
) -> DataLoader:
    """The batches of an epoch from number `skip_batches` on: (images, targets) of this rank."""
    view = _as_trained(config, train, train_indices(config, train, epoch=epoch), epoch=epoch)
    return _loader(config, view, ranks, skip_batches=skip_batches)


def adaptation_loader(
    config: RunConfig, holdout: DetectionDataset, *, epoch: int, ranks: Ranks = ALONE
) -> DataLoader:
    """The batches of the validation-loss pass: the same images in every epoch.

    They are flipped, and of changing size, only where `validation_pipeline` is that of training.
    """
    indices: Sequence[int] = range(len(holdout))
    if config.validation_sampler == "repeat_factor":
        factors = repeat_factors(
            holdout.image_categories, holdout.num_classes, config.repeat_threshold
        )
        indices = epoch_indices(factors, epoch=0, seed=config.seed, rounding="ceil")
    if config.validation_pipeline == "train":
        return _loader(config, _as_trained(config, holdout, indices, epoch=epoch), ranks)
    view = EpochView(holdout, seed=0, epoch=0, order=indices, flip_probability=0.0)
    return _loader(config, view, ranks)


def _as_trained(
    config: RunConfig, dataset: DetectionDataset, order: Sequence[int], *, epoch: int
) -> EpochView:
    """The images of `order` as training sees them: a rank or a resumed run takes a part of it."""
    return EpochView(
        dataset,
        seed=config.seed,
        epoch=epoch,
        order=order,
        flip_probability=config.flip_probability,
        min_sizes=config.train_min_sizes,
        max_size=config.image_max_size,
    )


def evaluation_loader(
    config: RunConfig, test: DetectionDataset, *, ranks: Ranks = ALONE
) -> DataLoader:
    """The test images in the order of their json, uint8 and as large as they are: (images, ids)."""
    return _loader(config, EvaluationImages(test), ranks, collate_fn=collate_images)


class _Loader(DataLoader):
    """A loader whose processes fail in the one sentence that this process would have failed in."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """The batches; raises AnnotationError as the data set does, or for a lost process."""
        return _without_tracebacks(super().__iter__())


def _without_tracebacks(batches: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from batches
    except AnnotationError as error:  # torch puts where a loader process raised it before it
        sentence = str(error).rstrip().rpartition(f"{AnnotationError.__name__}: ")[2]
        raise AnnotationError(sentence) from None
    except (RuntimeError, ConnectionError, EOFError) as error:
        if isinstance(error, RuntimeError) and not str(error).startswith("DataLoader worker"):
            raise
        raise AnnotationError(
            f"a loader process was lost ({' '.join(str(error).split())}): give it more memory, in "
            "a container shared memory too, or start fewer with --workers"
        ) from None


def _loader(
    config: RunConfig,
    view: EpochView | EvaluationImages,
    ranks: Ranks,
    *,
    skip_batches: int = 0,
    collate_fn: Callable[[list[Any]], Any] = collate,
) -> DataLoader:
    """This rank's part of every batch, which is empty where there are fewer images than ranks.

    So all ranks have as many batches, and the parts of one in the order of the ranks are the batch
    of a single process.
    """
    size = config.batch_size
    starts = range(skip_batches * size, len(view), size)
    return _Loader(
        view,
        batch_sampler=[
            list(ranks.share(range(len(view))[start : start + size])) for start in starts
        ],
        collate_fn=collate_fn,
        num_workers=config.workers,
        multiprocessing_context=_WORKERS if config.workers else None,
        worker_init_fn=begin_loading,
        # Then copies to the GPU run beside its work.
        pin_memory=config.device != "cpu" and torch.cuda.is_available(),
        # A loader draws a seed for its workers; from torch's own generator, a resumed epoch,
        # which makes one loader more, would go on with other numbers.
        generator=torch.Generator(),
    )
