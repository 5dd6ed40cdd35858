"""The images of an epoch over several ranks and loader workers: together those of one process."""

import time
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import psutil
import pytest
from rank_processes import PATIENCE, start_process
from supervised_runs import is_gone, until

from data.demo import write_demo
from data.detection import DetectionDataset
from data.repeat_factor import repeat_factors
from trainer.config import RunConfig, load_config
from trainer.distributed import ALONE, Ranks
from trainer.training_data import adaptation_loader, evaluation_loader, train_loader


class Rank(Ranks):
    """A number among others, without a process."""

    def __init__(self, rank: int, world: int) -> None:
        self.rank, self.world = rank, world


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DetectionDataset:
    files = write_demo(tmp_path_factory.mktemp("demo"), num_classes=6, seed=0)
    return DetectionDataset(files.train_json, files.images).subset(range(18))


def _config(**values: Any) -> RunConfig:
    return load_config(
        {"batch_size": 5, "train_sampler": "repeat_factor", "repeat_threshold": 0.4, **values}
    )


def _train(
    config: RunConfig, data: DetectionDataset, ranks: Ranks, epoch: int = 1
) -> list[list[int]]:
    loader = train_loader(config, data, epoch=epoch, ranks=ranks)
    return [[int(target["image_id"]) for target in batch[1]] for batch in loader]


def _joined(parts: list[list[list[int]]]) -> list[list[int]]:
    """The batches of all ranks, side by side."""
    return [list(chain(*batch)) for batch in zip(*parts, strict=True)]


@pytest.mark.parametrize("rounding", ["ceil", "stochastic"])
@pytest.mark.parametrize("world", [2, 3])
def test_the_batches_of_all_ranks_are_those_of_one_process(
    data: DetectionDataset, rounding: str, world: int
) -> None:
    config = _config(repeat_rounding=rounding)
    parts = [_train(config, data, Rank(rank, world)) for rank in range(world)]
    assert _joined(parts) == _train(config, data, ALONE)


def test_workers_change_nothing(data: DetectionDataset) -> None:
    with_worker = _train(_config(workers=1), data, Rank(1, 2))
    assert with_worker == _train(_config(), data, Rank(1, 2))


def load_and_wait(data: DetectionDataset, note: Path) -> None:
    """A trainer between two batches, which leaves the numbers of its processes."""
    batches = iter(train_loader(_config(workers=1), data, epoch=0))
    next(batches)
    numbers = [child.pid for child in psutil.Process().children(recursive=True)]
    note.with_suffix(".part").write_text(" ".join(map(str, numbers)))
    note.with_suffix(".part").rename(note)
    time.sleep(PATIENCE)


def test_loader_processes_end_with_a_trainer_that_is_killed(
    data: DetectionDataset, tmp_path: Path
) -> None:
    """The fork server they come from, which each of them keeps alive, too."""
    trainer = start_process({}, load_and_wait, data, tmp_path / "processes")
    until((tmp_path / "processes").exists, seconds=PATIENCE)
    numbers = map(int, (tmp_path / "processes").read_text().split())
    processes = [psutil.Process(number) for number in numbers]
    assert len(processes) >= 2
    trainer.kill()
    until(lambda: all(map(is_gone, processes)), seconds=PATIENCE)


def test_the_repeats_are_those_of_the_formula(data: DetectionDataset) -> None:
    """Rounded up, every image is seen ceil(r_I) times over all ranks, in every epoch."""
    factors = repeat_factors(data.image_categories, data.num_classes, 0.4)
    wanted = {data.image_ids[i]: -int(-factor // 1) for i, factor in enumerate(factors)}
    assert max(wanted.values()) > 1
    for epoch in range(2):
        seen = Counter(
            image
            for rank in range(2)
            for batch in _train(_config(), data, Rank(rank, 2), epoch)
            for image in batch
        )
        assert seen == wanted


def test_a_rank_without_an_image_has_an_empty_batch(data: DetectionDataset) -> None:
    """Batches of 4 over 3 ranks by hand: 2, 1, 1; of 13 images the last batch has one."""
    few = data.subset(range(13))
    config = _config(batch_size=4, train_sampler="uniform")
    sizes = [[len(batch) for batch in _train(config, few, Rank(rank, 3))] for rank in range(3)]
    assert sizes == [[2, 2, 2, 1], [1, 1, 1, 0], [1, 1, 1, 0]]


def test_the_passes_are_shared_alike(data: DetectionDataset) -> None:
    config = _config()
    few = data.subset(range(11))
    for rank in range(2):
        ranks = Rank(rank, 2)
        assert len(evaluation_loader(config, few, ranks=ranks)) == 3
        assert len(adaptation_loader(config, few, epoch=0, ranks=ranks)) == len(
            adaptation_loader(config, few, epoch=0)
        )
    tested = [
        [list(batch[1]) for batch in evaluation_loader(config, few, ranks=Rank(rank, 2))]
        for rank in range(2)
    ]
    assert list(chain(*_joined(tested))) == list(few.image_ids)


def test_a_resumed_rank_goes_on_at_its_batch(data: DetectionDataset) -> None:
    config = _config()
    loader = train_loader(config, data, epoch=1, skip_batches=2, ranks=Rank(1, 2))
    rest = [[int(target["image_id"]) for target in batch[1]] for batch in loader]
    assert rest == _train(config, data, Rank(1, 2))[2:]
