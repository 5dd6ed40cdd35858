"""What the ranks tell each other, and FASA on two of them: two real processes, joined by Gloo."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rank_processes import PATIENCE, run_ranks, start_process, start_ranks
from torch import Tensor, nn

from fasa_core.fasa import FASA
from fasa_core.options import OFFICIAL, PAPER, FASAOptions
from trainer.class_statistics import ClassStatistics
from trainer.distributed import ALONE, RankLost, Ranks
from trainer.rank_processes import joined
from trainer.rank_state import adapt_probabilities, join_counts
from trainer.training_step import TrainingStep

CLASSES, DIM, STEPS = 5, 4, 12
COUNTS = [400, 200, 40, 9, 2]


class Rank(Ranks):
    """A number among others, without a process."""

    def __init__(self, rank: int, world: int) -> None:
        self.rank, self.world = rank, world


@given(st.integers(0, 40), st.integers(1, 9))
def test_the_shares_of_all_ranks_are_the_items_in_their_order(items: int, world: int) -> None:
    shares = [Rank(rank, world).share(range(items)) for rank in range(world)]
    assert [item for share in shares for item in share] == list(range(items))
    sizes = [len(share) for share in shares]
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) - min(sizes) <= 1


def test_shares_by_hand() -> None:
    assert [list(Rank(rank, 3).share("abcdefgh")) for rank in range(3)] == [
        ["a", "b", "c"], ["d", "e", "f"], ["g", "h"],
    ]  # fmt: skip
    assert [list(Rank(rank, 3).share("a")) for rank in range(3)] == [["a"], [], []]


def test_one_process_gets_back_what_it_gives() -> None:
    rows = torch.arange(3.0)
    assert ALONE.sum(rows) is rows
    assert ALONE.gather_rows(rows) is rows
    assert ALONE.broadcast("a") == "a"
    assert ALONE.gather_objects("a") == ALONE.collect("a") == ["a"]
    assert ALONE.is_first


class Detector(nn.Module):
    """A classifier of given features, as the engine's parts see a detector: one stage."""

    def __init__(self, fasa: FASA) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.classifier = nn.Linear(DIM, CLASSES + 1)
        self.fasa = fasa
        self.statistics = ClassStatistics(CLASSES)

    @property
    def stages(self) -> list["Detector"]:
        return [self]

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        features = torch.cat(images)
        labels = torch.cat([target["labels"] for target in targets])
        logits = self.classifier(features)
        losses = nn.functional.cross_entropy(logits, labels, reduction="none")
        self.statistics.add(labels, losses.detach(), logits.detach().softmax(1).roll(1, dims=1))
        self.fasa.observe(features, labels)
        self.fasa.sample()
        return {"classifier": losses.mean()}


class NormedDetector(Detector):
    """The same above a batch norm that trains."""

    def __init__(self, fasa: FASA) -> None:
        super().__init__(fasa)
        self.norm = nn.BatchNorm2d(DIM)

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        maps = torch.stack(images).mT[..., None]  # [images, DIM, RoIs, 1]
        return super().forward(list(self.norm(maps)[..., 0].mT), targets)


Batch = tuple[list[Tensor], list[dict[str, Tensor]]]


def batches() -> list[Batch]:
    """Seven images of 3 RoIs a step, which in one step show nothing in the second rank's part.

    The last step has one image, so that a rank has none.
    """
    generator = torch.Generator().manual_seed(5)
    found: list[Batch] = []
    for step in range(STEPS):
        images = 1 if step == STEPS - 1 else 7
        labels = torch.randint(0, CLASSES + 1, (images, 3), generator=generator)
        if step == 2:
            labels[4:] = CLASSES
        centres = torch.arange(CLASSES + 1.0)[labels][..., None]
        features = centres + torch.randn(images, 3, DIM, generator=generator)
        targets = [{"labels": row, "image_id": torch.tensor(step)} for row in labels]
        found.append((list(features), targets))
    return found


def validation(epoch: int, rank: int, world: int) -> tuple[Tensor, Tensor]:
    """A rank's part of the losses of 6 RoIs of each class, which fell since the epoch before."""
    losses = torch.linspace(1, 2, 6 * (CLASSES + 1), dtype=torch.float64).view(6, -1) / (1 + epoch)
    part = Rank(rank, world).share(range(6))
    rows = losses[list(part)]
    return rows.sum(0)[None], torch.full((1, CLASSES + 1), len(rows))


def trained(
    ranks: Ranks, options: FASAOptions = PAPER, kind: type[Detector] = Detector
) -> dict[str, Any]:
    """The state of FASA and classifier after some steps and two adaptations."""
    gather = ranks.gather_rows if ranks.world > 1 else None
    fasa = FASA(CLASSES, DIM, COUNTS, options, seed=3, rank=ranks.rank, gather=gather)
    fasa.set_epoch(options.start_epoch)
    model: Any = kind(fasa)
    optimizers: list[torch.optim.Optimizer] = [torch.optim.SGD(model.parameters(), lr=0.1)]
    step = TrainingStep(
        model=model,
        optimizers=optimizers,
        gradient_clip=0.0,
        device=torch.device("cpu"),
        ranks=ranks,
    )
    losses = []
    for number, (images, targets) in enumerate(batches()):
        part = list(ranks.share(images)), list(ranks.share(targets))
        losses.append(step(part, step=number, images=len(images))["classifier"])
        if number in (4, 9):
            sums = [ranks.sum(v) for v in validation(number, ranks.rank, ranks.world)]
            reduce = options.validation_reduce
            adapt_probabilities(model, sums[0], sums[1], reduce=reduce, ranks=ranks)
    own = fasa.drawn.clone()
    join_counts(model, ranks)
    return {"losses": losses, "own draws": own} | dict(model.state_dict())


def two_ranks(folder: Path) -> None:
    """In each rank: train with one prior and with the official options, and try the sums."""
    with joined(1, ()) as party:
        ranks = party.ranks
        rows = torch.full((2 * ranks.rank, 2), float(ranks.rank))  # none of rank 0
        result = {
            "rows": ranks.gather_rows(rows),
            "no rows": ranks.gather_rows(rows[:0]),
            "objects": ranks.gather_objects(ranks.rank),
            "collected": ranks.collect(ranks.rank),
            "broadcast": ranks.broadcast("first" if ranks.is_first else "other"),
            "shared": trained(ranks),
            "official": trained(ranks, OFFICIAL),
            "normed": trained(ranks, kind=NormedDetector),
        }
        torch.save(result, folder / f"{ranks.rank}.pt")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(2, two_ranks, folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


def test_rows_are_joined_in_the_order_of_the_ranks(results: list[dict[str, Any]]) -> None:
    for result in results:
        assert result["rows"].tolist() == [[1.0, 1.0], [1.0, 1.0]]
        assert result["no rows"].shape == (0, 2)
        assert result["objects"] == [0, 1]
        assert result["broadcast"] == "first"
    assert [result["collected"] for result in results] == [[0, 1], []]


def test_two_ranks_hold_the_state_of_one_process_with_the_joined_batch(
    results: list[dict[str, Any]],
) -> None:
    """To the bit, but for sums of gradients and losses, which differ by rounding."""
    alone = trained(ALONE)
    exact = {name for name in alone if name.startswith(("fasa.prior.", "fasa.sampling."))}
    exact.remove("fasa.sampling.previous_loss")
    assert len(exact) == 10
    for result in (results[0]["shared"], results[1]["shared"]):
        for name in exact:
            assert torch.equal(result[name], alone[name]), name
        for name in ("fasa.sampling.previous_loss", "classifier.weight", "classifier.bias"):
            torch.testing.assert_close(result[name], alone[name], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(result["losses"], alone["losses"], rtol=1e-5, atol=1e-6)
    moved = results[0]["shared"]["fasa.sampling.probability"]
    assert not torch.equal(moved, results[0]["shared"]["fasa.sampling.base_probability"])


def test_the_draws_of_the_first_rank_are_those_of_one_process(
    results: list[dict[str, Any]],
) -> None:
    """p moves alike and the generator is the same; the other ranks' draws come on top."""
    alone = trained(ALONE)
    first, other = (result["shared"] for result in results)
    assert alone["own draws"].sum() > 0
    assert torch.equal(first["own draws"], alone["own draws"])
    generators = [s["fasa._extra_state"]["generator"] for s in (first, alone, other)]
    assert torch.equal(generators[0], generators[1])
    assert not torch.equal(generators[0], generators[2])
    assert torch.equal(first["fasa.drawn"], first["own draws"] + other["own draws"])


def test_batch_norms_that_train_have_one_state_on_all_ranks(results: list[dict[str, Any]]) -> None:
    """The running mean is that of the joined batch; the last image moves it too."""
    first, other = (result["normed"] for result in results)
    for name in first:
        if name.startswith(("norm.running", "norm.weight", "fasa.prior", "classifier")):
            assert torch.equal(first[name], other[name]), name
    alone = trained(ALONE, kind=NormedDetector)
    torch.testing.assert_close(first["norm.running_mean"], alone["norm.running_mean"])


def test_counts_are_joined_on_the_first_rank(results: list[dict[str, Any]]) -> None:
    alone = trained(ALONE)
    first, other = (result["shared"] for result in results)
    for name in ("statistics.observed", "statistics.count"):
        assert torch.equal(first[name], alone[name])
        assert not other[name].any()
    torch.testing.assert_close(first["statistics.loss_sum"], alone["statistics.loss_sum"])


def test_every_rank_draws_virtual_features_of_its_own() -> None:
    draws = []
    for rank in range(2):
        fasa = FASA(500, 2, [1] * 500, FASAOptions(initial_scale=200.0), rank=rank)
        fasa.set_epoch(1)
        draws.append(fasa.sampling.draw(fasa._generator).tolist())
    assert draws[0] != draws[1]


def test_official_ranks_have_priors_of_their_own_and_the_mean_of_the_losses(
    results: list[dict[str, Any]],
) -> None:
    """Rows 30 and 31 of METHODS section 3: each saw its own images alone."""
    first, other = (result["official"] for result in results)
    assert not torch.equal(first["fasa.prior.mean"], other["fasa.prior.mean"])
    seen = [result["fasa.prior.n_seen"] for result in (first, other)]
    assert torch.equal(seen[0] + seen[1], trained(ALONE)["fasa.prior.n_seen"])
    total, _ = validation(9, 0, 1)
    for result in (first, other):
        torch.testing.assert_close(result["fasa.sampling.previous_loss"], total[0] / 2)
        assert result["fasa.sampling.previous_count"].tolist() == [3.0] * (CLASSES + 1)


def fail_in_one(folder: Path, failing: int) -> None:
    """One rank fails by itself while the others wait for it; the first one writes the verdict."""
    with joined(1, ()) as party:
        if party.ranks.rank == failing:
            raise MemoryError("no memory left")
        try:
            party.ranks.sum(torch.zeros(3))
        except RankLost as error:
            (folder / f"{party.ranks.rank}").write_text("\n".join(party.verdict(error)))
            raise


def test_what_a_failing_rank_says_is_the_reason_and_nobody_hangs(tmp_path: Path) -> None:
    processes = start_ranks(3, fail_in_one, tmp_path, 1)
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [1, 1, 1]
    status, words = (tmp_path / "0").read_text().splitlines()
    assert status == "failed"
    assert words == "Rank 1 failed: MemoryError: no memory left."


def lose_a_child(folder: Path) -> None:
    """A first rank that starts another one, which ends before the two have met."""
    command = [sys.executable, "-c", "raise SystemExit('no such module')"]
    with joined(2, command, note=lambda d: _write(folder / "note", f"{d.status}: {d}")):
        _write(folder / "met", "")


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def test_a_rank_that_dies_before_all_have_met_ends_the_run(tmp_path: Path) -> None:
    """Nothing waits for it until the ranks' meeting times out, after half an hour."""
    process = start_process({}, lose_a_child, tmp_path)
    process.join(PATIENCE)
    assert process.exitcode == 1
    note = (tmp_path / "note").read_text()
    assert note == "crashed: Rank 1 ended with exit code 1: no such module."
    assert not (tmp_path / "met").exists()


def test_a_first_rank_that_fails_lets_nobody_wait(tmp_path: Path) -> None:
    processes = start_ranks(2, fail_in_one, tmp_path, 0)
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [1, 1]
