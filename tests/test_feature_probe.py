"""The feature probe: which objects, which features, and that the run does not notice.

The data are rectangles on 48 x 64 pixels, twice that for the model.
"""

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from probe_builders import CLASSES, HOLDOUT, TRAIN, Bench, box_of, color_of, training_data
from torch.nn import functional as F

from data.transforms import collate
from trainer import probe_batches
from trainer.config import load_config
from trainer.feature_probe import fixed_noise, virtual_per_class
from trainer.model import FASAMaskRCNN
from trainer.schedule import build_optimizers
from trainer.training_data import TrainingData


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return training_data(tmp_path_factory.mktemp("rectangles"), TRAIN, HOLDOUT)


# What is stored of the objects


def test_the_bound_lowers_the_share_of_a_class_but_leaves_one(
    data: TrainingData, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, data, probe_objects_per_class=4, probe_objects=2 * CLASSES)
    bench.probe.take(step=0, epoch=0)
    assert max(Counter(row.class_index for row in bench.objects()).values()) == 2
    (tmp_path / "b").mkdir()
    bench = Bench(tmp_path / "b", data, probe_objects_per_class=4, probe_objects=1)
    bench.model.fasa.observe(torch.rand(2, 16), torch.tensor([1, 2]))
    bench.probe.take(step=0, epoch=0)
    assert sorted(row.class_index for row in bench.objects()) == [0, 1, 2, 3, 4]
    (snapshot,) = bench.snapshots()
    assert snapshot.classes.tolist() == [1, 2]
    assert snapshot.virtual_per_class == 4  # fewer show no spread


def test_the_rows_say_what_each_object_is(data: TrainingData, tmp_path: Path) -> None:
    bench = Bench(tmp_path, data, probe_objects_per_class=2)
    bench.probe.take(step=3, epoch=1)
    rows = bench.objects()
    shown = [
        (
            row.object_index,
            row.split,
            row.image_id,
            row.class_index,
            (row.x1, row.y1, row.x2, row.y2),
        )
        for row in rows
    ]
    assert shown == [
        (0, "train", 1, 0, box_of(0, 0)),
        (1, "train", 1, 1, box_of(1, 1)),
        (2, "train", 1, 2, box_of(2, 2)),
        (3, "train", 4, 2, box_of(0, 2)),
        (4, "train", 5, 3, box_of(0, 3)),
        (5, "holdout", 101, 0, box_of(0, 0)),
        (6, "holdout", 101, 4, box_of(1, 4)),
        (7, "holdout", 102, 1, box_of(0, 1)),
    ]
    for row in rows:
        picture = Image.open(io.BytesIO(row.picture))
        assert picture.format == "JPEG"
        assert picture.size == (8 + row.class_index, 12)
        mean = np.asarray(picture, float).mean(axis=(0, 1))
        assert mean == pytest.approx(color_of(row.class_index), abs=12)
    (snapshot,) = bench.snapshots()
    assert (snapshot.step, snapshot.epoch) == (3, 1)
    assert snapshot.objects.tolist() == list(range(8))
    assert snapshot.real.shape == (8, 16)
    assert snapshot.real.dtype == np.float16


def test_a_process_that_takes_the_run_up_writes_the_same_rows(
    data: TrainingData, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, data)
    bench.probe.take(step=1, epoch=0)
    before = bench.objects()
    bench.new_probe().take(step=2, epoch=0)
    assert bench.objects() == before
    first, second = bench.snapshots()
    np.testing.assert_array_equal(first.real, second.real)  # the model has not learned anything


def test_a_picture_of_noise_fits_too(tmp_path: Path) -> None:
    data = training_data(tmp_path / "data", [[0]], [[1]], classes=2)
    size = 400
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    for part, number in ((data.train, 1), (data.holdout, 101)):
        content = part.annotations_path.read_text()
        content = content.replace('"width": 64, "height": 48', f'"width": {size}, "height": {size}')
        content = content.replace('"bbox": [3, 2, 8, 12]', '"bbox": [0, 0, 400, 390]')
        part.annotations_path.write_text(content)
        Image.fromarray(noise).save(part.images_path / f"{number}.png")
    train, held = (type(p)(p.annotations_path, p.images_path) for p in (data.train, data.holdout))
    large = TrainingData("noise", train.categories, train, held, None, False)
    bench = Bench(tmp_path, large)
    bench.probe.take(step=0, epoch=0)
    row = bench.objects()[0]
    assert (row.x2, row.y2) == (400, 390)
    assert len(row.picture) <= 2048
    assert max(Image.open(io.BytesIO(row.picture)).size) <= 64


# The features


def features_by_hand(model: FASAMaskRCNN, data: TrainingData) -> np.ndarray:
    """The box head on the rectangles of `test_the_rows_say_what_each_object_is`, in their order."""
    model.eval()
    found = []
    for dataset, item, numbers in (
        (data.train, 0, [0, 1, 2]),
        (data.train, 3, [0]),
        (data.train, 4, [0]),
        (data.holdout, 0, [0, 1]),
        (data.holdout, 1, [0]),
    ):
        pixels, target = dataset[item]
        # ImageNet's normalisation as this backbone has it, then twice the size, boxes too.
        image = (pixels.float() / 255 - 127 / 255) / (128 / 255)
        large = F.interpolate(image[None], size=(96, 128), mode="bilinear", align_corners=False)
        heads = model.roi_heads
        with torch.no_grad():
            pooled = heads.box.roi_pool(
                model.backbone(large), [2.0 * target["boxes"][numbers]], [(96, 128)]
            )
            found.append(heads.box.head(pooled))
    return torch.cat(found).half().numpy()


def test_the_features_are_those_of_the_box_head(data: TrainingData, tmp_path: Path) -> None:
    bench = Bench(tmp_path, data, probe_objects_per_class=2)
    bench.model.train()
    bench.probe.take(step=0, epoch=0)
    expected = features_by_hand(bench.model, data)
    assert expected.std(axis=0).max() > 0.01  # the objects can be told from one another
    np.testing.assert_allclose(bench.snapshots()[0].real, expected, rtol=2e-3, atol=1e-4)
    with torch.no_grad():
        for parameter in bench.model.roi_heads.box.head.parameters():
            parameter.add_(0.01)
    bench.probe.take(step=1, epoch=0)
    moved = features_by_hand(bench.model, data)
    assert np.abs(moved - expected).max() > 0.01
    np.testing.assert_allclose(bench.snapshots()[1].real, moved, rtol=2e-3, atol=1e-4)


def test_virtual_features_keep_their_noise_while_the_prior_moves(
    data: TrainingData, tmp_path: Path
) -> None:
    """x = mu + sigma * eps: eps solved from the first snapshot foretells the second."""
    bench = Bench(tmp_path, data, probe_virtual_per_class=3, spread="variance")
    fasa = bench.model.fasa
    generator = torch.Generator().manual_seed(5)
    rows = torch.rand(12, 16, generator=generator)
    labels = torch.tensor([1, 1, 1, 1, 1, 1, 3, 3, 3, 3, 3, 3])
    found = []
    for step in range(2):
        fasa.observe(rows * (1 + 2 * step), labels)
        bench.probe.take(step=step, epoch=0)
        mean, sigma = fasa.mean[[1, 3]].numpy(), fasa.spread[[1, 3]].sqrt().numpy()
        snapshot = bench.snapshots()[step]
        assert snapshot.classes.tolist() == [1, 3]  # 0, 2 and 4 have no prior
        assert snapshot.virtual_classes.tolist() == [1, 1, 1, 3, 3, 3]
        np.testing.assert_allclose(snapshot.mean, mean, rtol=1e-3)
        np.testing.assert_allclose(snapshot.deviation, sigma, rtol=1e-3)
        x = snapshot.virtual.astype(np.float32)
        found.append((mean.repeat(3, axis=0), sigma.repeat(3, axis=0), x))
    (mean, sigma, x), (mean_after, sigma_after, x_after) = found
    eps = (x - mean) / sigma
    assert abs(eps.mean()) < 0.4
    assert 0.7 < eps.std() < 1.3
    apart = np.linalg.norm(eps[:, None] - eps[None], axis=2) + 10 * np.eye(6)
    assert apart.min() > 1  # other noise for every class and k
    assert np.abs(x_after - x).max() > 0.1
    np.testing.assert_allclose(x_after, mean_after + sigma_after * eps, rtol=2e-3, atol=4e-3)
    # Six rows first, then six more at m = 0.1: 1 / (0.9^2 / 6 + 0.1^2 / 6) = 6 / 0.82.
    sizes = [row.prior_size.tolist() for row in bench.snapshots()]
    assert sizes == [pytest.approx([6, 6]), pytest.approx([6 / 0.82] * 2)]


def test_noise_number_k_is_the_same_whatever_their_number() -> None:
    few, many = fixed_noise(3, 7, (2, 5)), fixed_noise(3, 7, (6, 5))
    assert np.array_equal(few, many[:2])
    assert not np.array_equal(few, fixed_noise(4, 7, (2, 5)))


@pytest.mark.parametrize(
    ("bound", "wanted", "number"), [(5000, 8, 8), (24, 8, 6), (10, 8, 4), (10, 2, 2), (9999, 3, 3)]
)
def test_how_many_virtual_features_a_class_has(bound: int, wanted: int, number: int) -> None:
    config = load_config({"probe_objects": bound, "probe_virtual_per_class": wanted})
    assert virtual_per_class(config, num_classes=4) == number


def test_virtual_features_are_clamped_where_the_run_clamps_them(
    data: TrainingData, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, data, clamp_negative=True)
    bench.model.fasa.observe(torch.rand(4, 16) - 0.5, torch.tensor([1, 1, 1, 1]))
    bench.probe.take(step=0, epoch=0)
    (snapshot,) = bench.snapshots()
    assert snapshot.virtual.min() == 0 < snapshot.virtual.max()


def test_the_classifier_judges_every_feature(data: TrainingData, tmp_path: Path) -> None:
    """Weights that look at the first two coordinates: class 1, class 3, or background."""
    bench = Bench(tmp_path, data, probe_objects_per_class=2)
    fasa, classify = bench.model.fasa, bench.model.classifier
    prior = torch.zeros(8, 16)
    prior[:4, 0] = prior[4:, 1] = 9.0
    labels = torch.tensor([1] * 4 + [3] * 4)
    fasa.observe(prior, labels)  # no spread: every virtual feature is the mean
    with torch.no_grad():
        classify.weight.zero_()
        classify.bias.zero_()
        classify.weight[1, 0] = classify.weight[CLASSES, 1] = 1.0
    bench.probe.take(step=0, epoch=0)
    (snapshot,) = bench.snapshots()
    assert snapshot.virtual_predicted.tolist() == [1] * 8 + [CLASSES] * 8
    right, wrong = np.log(np.exp(9) + CLASSES) - 9, np.log(np.exp(9) + CLASSES)
    np.testing.assert_allclose(snapshot.virtual_loss, [right] * 8 + [wrong] * 8, rtol=1e-3)
    with torch.no_grad():
        classify.weight.normal_(std=5, generator=torch.Generator().manual_seed(1))
    bench.probe.take(step=1, epoch=0)
    snapshot = bench.snapshots()[1]
    logits = snapshot.real.astype(float) @ classify.weight.detach().numpy().T
    own = np.array([row.class_index for row in bench.objects()])
    loss = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(8), own]
    assert snapshot.real_predicted.tolist() == logits.argmax(axis=1).tolist()
    np.testing.assert_allclose(snapshot.real_loss, loss, rtol=5e-3, atol=1e-4)


def test_without_a_prior_or_without_fasa_only_real_features(
    data: TrainingData, tmp_path: Path
) -> None:
    for name, fasa in (("new", True), ("baseline", False)):
        (tmp_path / name).mkdir()
        bench = Bench(tmp_path / name, data, fasa=fasa)
        bench.probe.take(step=0, epoch=0)
        (snapshot,) = bench.snapshots()
        assert len(snapshot.real) == len(snapshot.real_loss) == len(bench.objects()) > 0
        assert len(snapshot.classes) == len(snapshot.virtual) == snapshot.virtual_per_class == 0


@pytest.mark.parametrize(
    ("freeze_backbone", "room"), [(True, 0), (True, 400_000), (True, 2**30), (False, 2**30)]
)
def test_what_is_kept_of_the_images_changes_no_feature(
    data: TrainingData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    freeze_backbone: bool,
    room: float,
) -> None:
    """Nothing, the first batches, or all of it; the second snapshot is like a new process's."""
    monkeypatch.setattr(probe_batches, "MOST_KEPT_BYTES", room)
    bench = Bench(tmp_path, data, trainable_layers=0 if freeze_backbone else 5)
    bench.probe.take(step=0, epoch=0)
    with torch.no_grad():
        for parameter in bench.model.parameters():
            if parameter.requires_grad:
                parameter.mul_(1.1)
    bench.probe.take(step=1, epoch=0)
    bench.new_probe().take(step=1, epoch=0)
    first, second, fresh = bench.snapshots()
    assert np.array_equal(second.real, fresh.real)
    assert np.array_equal(second.real_loss, fresh.real_loss)
    assert not np.array_equal(first.real, second.real)


# That the run does not notice


def train(bench: Bench, *, probed: bool) -> tuple[list[float], list[torch.Tensor]]:
    """Losses of four steps, and everything a checkpoint holds after them."""
    optimizers = build_optimizers(bench.config, bench.model, bench.model.classifiers)
    losses = []
    bench.model.train()
    for step, items in enumerate(([0, 1], [2, 3], [4, 0], [1, 2])):
        if probed:
            bench.probe.take(step=step, epoch=0)
        result = bench.model(*collate([bench.data.train[item] for item in items]))
        total = torch.stack(list(result.values())).sum()
        for optimizer in optimizers:
            optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
        losses += [float(value.detach()) for value in result.values()]
    state = bench.model.state_dict()
    extra = state.pop("roi_heads.box.fasa._extra_state")
    return losses, [*state.values(), extra["generator"], torch.get_rng_state()]


def test_a_probed_run_equals_one_without_to_the_bit(data: TrainingData, tmp_path: Path) -> None:
    results = []
    for name, probed in (("plain", False), ("probed", True)):
        (tmp_path / name).mkdir()
        bench = Bench(tmp_path / name, data)
        results.append(train(bench, probed=probed))
        assert int(bench.model.fasa.drawn.sum()) > 0
        assert len(bench.snapshots()) == (4 if probed else 0)
    (losses, state), (probed_losses, probed_state) = results
    assert probed_losses == losses
    assert len(state) > 100
    assert all(map(torch.equal, state, probed_state))


@pytest.mark.parametrize("training", [True, False])
def test_the_model_gets_its_mode_back(data: TrainingData, tmp_path: Path, training: bool) -> None:
    bench = Bench(tmp_path, data)
    bench.model.train(training)
    before = {name: module.training for name, module in bench.model.named_modules()}
    assert before["roi_heads"] is training
    assert before["backbone.body"] is False
    bench.probe.take(step=0, epoch=0)
    assert {name: module.training for name, module in bench.model.named_modules()} == before
    assert all(parameter.grad is None for parameter in bench.model.parameters())


def test_a_snapshot_that_is_broken_off_leaves_nothing_behind(
    data: TrainingData, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, data, probe_objects_per_class=2)
    bench.model.train()
    batches = []

    def stop() -> None:
        batches.append(None)
        if len(batches) == 5:  # five images, two a batch: prepared, and two of three looked at
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.probe.take(step=0, epoch=0, between=stop)
    assert bench.model.training
    assert bench.objects() == []
    assert bench.scalars() == []
    bench.probe.take(step=1, epoch=0)
    assert len(bench.objects()) == 8
    assert [row.step for row in bench.snapshots()] == [1]
