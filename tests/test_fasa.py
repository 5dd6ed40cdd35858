import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fasa_core.fasa import FASA
from fasa_core.options import OFFICIAL, PAPER, FASAOptions
from fasa_core.virtual_features import IGNORE

C, D = 6, 4
COUNTS = [1, 1, 2, 5, 50, 0]


def softmax_loss(logits: Tensor, labels: Tensor, *, virtual: bool) -> Tensor:
    rows = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
    return rows.sum() / (labels >= 0).sum().clamp(min=1)


def trained(options: FASAOptions = PAPER, *, seed: int = 0, rank: int = 0) -> FASA:
    """FASA in its second epoch, with a prior of every class but the last."""
    fasa = FASA(C, D, COUNTS, options, seed=seed, rank=rank)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        features = torch.rand(40, D, generator=generator)
        fasa.observe(features, torch.randint(0, C - 1, (40,), generator=generator))
    fasa.set_epoch(1)
    return fasa


def always(fasa: FASA) -> FASA:
    """Every class is drawn in every step, the one without a prior too."""
    fasa.probability.fill_(1.0)
    return fasa


def test_virtual_features_start_with_their_epoch() -> None:
    fasa = always(trained(FASAOptions(start_epoch=2)))
    assert len(fasa.sample()[1]) == 0
    fasa.set_epoch(2)
    x, y = fasa.sample()
    assert (x.shape, y.tolist()) == ((C, D), [0, 1, 2, 3, 4, IGNORE])


def test_drawn_counts_what_has_a_prior() -> None:
    fasa = always(trained())
    for _ in range(3):
        fasa.sample()
    assert fasa.drawn.tolist() == [3, 3, 3, 3, 3, 0]


def test_seed_and_rank_decide_the_draws() -> None:
    def draws(**which: int) -> list[Tensor]:
        fasa = trained(**which)
        return [value for _ in range(20) for value in fasa.sample()]

    def equal(one: list[Tensor], other: list[Tensor]) -> bool:
        return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))

    reference = draws(seed=1, rank=0)
    assert equal(reference, draws(seed=1, rank=0))
    assert not equal(reference, draws(seed=2, rank=0))
    assert not equal(reference, draws(seed=1, rank=1))
    assert not equal(draws(seed=1, rank=2), draws(seed=2, rank=1))


def test_own_random_numbers_leave_torchs_alone() -> None:
    before = torch.get_rng_state()
    trained().sample()
    assert torch.equal(torch.get_rng_state(), before)
    always(trained(FASAOptions(generator="global"))).sample()
    assert not torch.equal(torch.get_rng_state(), before)


def test_the_separate_loss_is_a_weighted_mean() -> None:
    fasa, twin = always(trained()), always(trained())
    classify = nn.Linear(D, C + 1)
    loss = fasa.virtual_loss(classify, softmax_loss)
    x, y = twin.sample()
    assert loss.item() == pytest.approx(0.1 * F.cross_entropy(classify(x[:-1]), y[:-1]).item())
    loss.backward()
    assert classify.weight.grad is not None
    assert classify.weight.grad.abs().sum() > 0


def test_concat_makes_the_sum_the_joint_mean() -> None:
    options = FASAOptions(combine="concat")
    fasa, twin = always(trained(options)), always(trained(options))
    classify = nn.Linear(D, C + 1)
    real, labels = torch.rand(9, D), torch.randint(0, C + 1, (9,))
    real_loss = F.cross_entropy(classify(real), labels)
    total = real_loss + fasa.virtual_loss(classify, softmax_loss, real_loss=real_loss, real_count=9)
    x, y = twin.sample()
    joint = F.cross_entropy(
        classify(torch.cat([real, x])), torch.cat([labels, y]), ignore_index=IGNORE
    )
    assert total.item() == pytest.approx(joint.item(), rel=1e-6)
    gradient = torch.autograd.grad(total, classify.weight)[0]
    torch.testing.assert_close(gradient, torch.autograd.grad(joint, classify.weight)[0])
    with pytest.raises(ValueError, match=r"real_loss or real_count is None: pass both"):
        fasa.virtual_loss(classify, softmax_loss)


@pytest.mark.parametrize("combine", ["separate", "concat"])
@pytest.mark.parametrize("case", ["nothing drawn", "nothing with a prior"])
def test_no_virtual_feature_costs_nothing_but_uses_every_parameter(combine: Any, case: str) -> None:
    fasa = FASA(C, D, COUNTS, FASAOptions(combine=combine))
    if case == "nothing with a prior":
        fasa.set_epoch(1)
        always(fasa)
    classify = nn.Linear(D, C + 1)
    real = classify(torch.rand(5, D)).square().mean() if case == "nothing drawn" else None
    real = torch.zeros(()) if real is None else real.detach()
    loss = fasa.virtual_loss(classify, softmax_loss, real_loss=real, real_count=5)
    assert loss.item() == 0
    loss.backward()
    for parameter in classify.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


def test_only_the_classifier_learns_from_virtual_features() -> None:
    fasa = always(trained())
    features = torch.rand(8, D, requires_grad=True)
    fasa.observe(features, torch.randint(0, C, (8,)))
    fasa.virtual_loss(nn.Linear(D, C + 1), softmax_loss).backward()
    assert features.grad is None


class RefuseSynchronisation(TorchDispatchMode):
    """Refuses, on values that come from the device, whatever would make a host wait for a GPU.

    Here the device is the CPU too, so its values are told by descent: the module's buffers,
    the given tensors, and all that is computed from them. What the host draws is free.
    """

    WAITING = (
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "_unique2",
        "unique_dim",
        "unique_consecutive",
        "bincount",
        "equal",
        "repeat_interleave",
    )

    def __init__(self, *device_values: Tensor) -> None:
        super().__init__()
        self.kept = list(device_values)
        self.device = {id(value) for value in device_values}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(id(value) in self.device for value in inputs):
            name = func.overloadpacket.__name__
            assert name not in self.WAITING, f"aten::{name} waits for the device"
            if name in ("index", "index_put_"):
                assert all(i is None or i.dtype != torch.bool for i in args[1]), "a mask as index"
        result = func(*args, **(kwargs or {}))
        if any(id(value) in self.device for value in inputs):
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor):
                    self.kept.append(leaf)  # keeps its id from being given to another
                    self.device.add(id(leaf))
        return result


@pytest.mark.parametrize(
    "options",
    [
        PAPER,
        FASAOptions(spread="variance", generator="global"),
        FASAOptions(spread="ew", combine="concat", clamp_negative=True),
        FASAOptions(single="keep", unbiased=False),
    ],
    ids=["paper", "official", "ew, concat", "keep"],
)
def test_a_step_never_waits_for_the_device(options: FASAOptions) -> None:
    fasa = always(trained(options))
    fasa.sample()  # the host's copy of the probabilities is made once an epoch
    classify = nn.Linear(D, C + 1)
    features, labels = torch.rand(16, D), torch.randint(0, C + 1, (16,))
    real = F.cross_entropy(classify(features), labels)
    values = [*fasa.buffers(), *classify.parameters(), features, labels, real]
    with RefuseSynchronisation(*values) as watch:
        fasa.observe(features, labels)
        x, y = fasa.sample()
        loss = fasa.virtual_loss(classify, softmax_loss, real_loss=real, real_count=16)
    assert len(y) == C
    assert id(x) in watch.device
    assert id(loss) in watch.device


def test_the_watch_for_waiting_does_find_it() -> None:
    value = torch.ones(3)
    for wait in (
        lambda: value.sum().item(),
        lambda: value[value > 0],
        lambda: (value * 2).nonzero(),
        lambda: int(value[0]),
        lambda: value.unique(),
    ):
        with pytest.raises(AssertionError), RefuseSynchronisation(value):
            wait()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU on this machine")
def test_a_step_on_a_gpu_never_waits() -> None:
    fasa = always(trained()).cuda()
    fasa.sample()
    classify = nn.Linear(D, C + 1).cuda()
    features, labels = torch.rand(16, D).cuda(), torch.randint(0, C + 1, (16,)).cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        fasa.observe(features, labels)
        fasa.virtual_loss(classify, softmax_loss).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def run_on(fasa: FASA, steps: int) -> list[Tensor]:
    """Everything that comes out of a few epochs of steps."""
    generator = torch.Generator().manual_seed(9)
    seen = []
    for epoch in range(1, steps + 1):
        fasa.set_epoch(epoch)
        for _ in range(5):
            fasa.observe(torch.rand(12, D, generator=generator), torch.arange(12) % (C + 1))
            seen += fasa.sample()
        report = fasa.adapt(torch.rand(C, generator=generator), torch.arange(C))
        seen.append(torch.from_numpy(report.probability_after))
        seen.append(torch.from_numpy(report.group_of_class))
    return seen + [value.clone() for value in fasa.buffers()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_loaded_checkpoint_goes_on_bit_for_bit(dtype: torch.dtype) -> None:
    options = FASAOptions(initial_scale=3, eps_quantile=0.9)
    original = FASA(C, D, COUNTS, options, seed=4).to(dtype)
    run_on(original, 2)
    original.set_knobs(alpha=1.5, m=0.3, virtual_loss_weight=0.7)
    file = io.BytesIO()
    torch.save(original.state_dict(), file)
    file.seek(0)
    restored = FASA(C, D, COUNTS, options, seed=99).to(dtype)
    restored.sample()
    restored.load_state_dict(torch.load(file, weights_only=True))
    assert (restored.epoch, restored.alpha, restored.beta, restored.m) == (2, 1.5, 0.9, 0.3)
    assert restored.virtual_loss_weight == 0.7
    for expected, actual in zip(run_on(original, 3), run_on(restored, 3), strict=True):
        assert torch.equal(expected, actual)


def test_a_copy_goes_on_by_itself() -> None:
    original = trained()
    twin = copy.deepcopy(original)
    for expected, actual in zip(run_on(original, 2), run_on(twin, 2), strict=True):
        assert torch.equal(expected, actual)


def test_a_checkpoint_made_without_fasa_may_be_loaded() -> None:
    model = nn.ModuleDict({"fc": nn.Linear(D, C), "fasa": FASA(C, D, COUNTS)})
    missing, unexpected = model.load_state_dict(
        {f"fc.{name}": value for name, value in model["fc"].state_dict().items()}, strict=False
    )
    assert not unexpected
    assert all(name.startswith("fasa.") for name in missing)


def test_knobs_hold_from_the_next_step() -> None:
    fasa = FASA(1, 1, [1])
    fasa.observe(torch.tensor([[0.0]]), torch.tensor([0]))
    fasa.set_knobs(m=0.5)
    fasa.observe(torch.tensor([[8.0]]), torch.tensor([0]))
    assert fasa.mean.item() == 4
    fasa.set_epoch(1)
    fasa.set_knobs(virtual_loss_weight=2)
    loss = fasa.virtual_loss(lambda x: x, lambda z, y, *, virtual: z.sum() * 0 + 3.0)
    assert loss.item() == 6
    fasa.adapt(torch.tensor([2.0]), torch.tensor([1]))
    fasa.set_knobs(beta=0.25)
    fasa.adapt(torch.tensor([4.0]), torch.tensor([1]))
    assert fasa.probability.item() == 0.25
    fasa.set_knobs(alpha=2)
    fasa.adapt(torch.tensor([1.0]), torch.tensor([1]))
    assert fasa.probability.item() == 0.5
    assert fasa.scale.item() == 0.5


def test_a_refused_knob_changes_none() -> None:
    fasa = FASA(1, 1, [1])
    with pytest.raises(ValueError, match=r"beta must lie in \(0, 1\], not 1.2: choose it there"):
        fasa.set_knobs(alpha=1.5, beta=1.2)
    assert (fasa.alpha, fasa.beta) == (1.1, 0.9)


def test_scale_is_the_probability_relative_to_eq_4() -> None:
    fasa = FASA(3, D, [1, 4, 0], FASAOptions(initial_scale=5))
    # Eq. 4: .8, .2 and 0; five times that is held at 1.
    assert fasa.scale.tolist() == pytest.approx([1.25, 5, 0])


def test_frozen_statistics_in_autocast() -> None:
    fasa = always(trained())
    classify = nn.Linear(D, C + 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fasa.observe(torch.rand(5, D).bfloat16(), torch.arange(5))
        x, _ = fasa.sample()
        loss = fasa.virtual_loss(classify, softmax_loss)
    assert x.dtype == torch.float32
    assert loss.isfinite()


def test_the_official_preset_follows_the_official_code() -> None:
    """Four epochs against the official arithmetic, written out one class at a time."""
    counts = [1, 2, 3, 4, 6, 8, 10, 16, 20, 32, 50, 90]
    generator = torch.Generator().manual_seed(5)
    fasa = FASA(12, 3, counts, OFFICIAL)
    total = sum(1 / count for count in counts)
    p = [1 / count / total for count in counts]
    centre = torch.diag(torch.tensor([6.0, 7.0, 8.0])).repeat_interleave(4, dim=0)
    previous: list[float] | None = None
    moved = 0
    for epoch in range(4):
        fasa.set_epoch(epoch)
        noise = 0.5 * torch.randn(11, 3, generator=generator)
        fasa.observe(centre[:11] + noise, torch.arange(11))  # class 11 stays unseen, with mean 0
        loss_sum = torch.rand(12, generator=generator).double()
        count = torch.randint(1, 9, (13,), generator=generator)
        report = fasa.adapt(loss_sum, count)
        losses = [float(value) / int(count.sum()) for value in loss_sum]
        for group in report.groups if previous is not None else []:
            delta = sum(losses[c] - previous[c] for c in group.members)
            factor = 0.9 if delta > 0 else 1.1
            moved += len(group.members)
            for c in group.members:
                p[c] = min(1.0, p[c] * factor)
        previous = losses
        assert fasa.probability.tolist() == pytest.approx(p, rel=1e-5)
    assert moved >= 12


@pytest.mark.parametrize(
    ("counts", "rule"),
    [([1, 2], r"class_counts must be \[3\], one a class, not \[2\]"), ([1, -2, 3], "class_counts")],
)
def test_wrong_counts_are_named(counts: list[int], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        FASA(3, D, counts)


def test_the_official_preset_refuses_a_class_without_instances() -> None:
    with pytest.raises(ValueError, match="class 5 has 0 training instances"):
        FASA(C, D, COUNTS, OFFICIAL)


def test_virtual_features_lift_the_rare_classes_of_a_plain_classifier() -> None:
    """Plug and play: nothing of detection is needed, and what is promised happens."""
    generator = torch.Generator().manual_seed(0)
    centre = torch.eye(8, 16) * 2

    def features(labels: Tensor) -> Tensor:
        return centre[labels] + 0.7 * torch.randn(len(labels), 16, generator=generator)

    counts = [400, 400, 400, 400, 4, 4, 4, 4]
    train_labels = torch.repeat_interleave(torch.arange(8), torch.tensor(counts))
    train = features(train_labels)
    test_labels = torch.arange(4, 8).repeat(100)
    test = features(test_labels)

    def rare_accuracy(weight: float) -> float:
        torch.manual_seed(0)
        shuffle = torch.Generator().manual_seed(1)
        classify = nn.Linear(16, 8)
        optimizer = torch.optim.SGD(classify.parameters(), lr=0.05)
        fasa = FASA(8, 16, counts, FASAOptions(virtual_loss_weight=weight, spread="ew"))
        for epoch in range(4):
            fasa.set_epoch(epoch)
            for rows in torch.randperm(len(train), generator=shuffle).split(32):
                fasa.observe(train[rows], train_labels[rows])
                real = F.cross_entropy(classify(train[rows]), train_labels[rows])
                loss = real + fasa.virtual_loss(classify, softmax_loss)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return (classify(test).argmax(dim=1) == test_labels).double().mean().item()

    assert rare_accuracy(weight=0.5) > rare_accuracy(weight=0.0) + 0.2
