"""The estimate before a start: by hand, against the model the trainer builds, against real rows."""

from pathlib import Path
from typing import Any

import pytest
import torch
from browser.synthetic_log import SyntheticRun

from app.data_check import Sizes, demo_sizes
from app.estimate import (
    VECTOR_BYTES,
    VECTORS,
    Estimate,
    estimate,
    feature_bytes,
    kept_checkpoints,
    pixels,
)
from app.estimate_words import duration, estimate_facts, megabytes
from app.experience import Experience, Memory, paces
from app.model_size import model_size
from trainer.config import RunConfig
from trainer.feature_probe import virtual_per_class
from trainer.model import build_model
from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import ScalarRow
from trainer.schedule import build_optimizers

SIZES = Sizes(train=100, holdout=20, test=40, classes=5)


def experience(config: RunConfig | None = None, **values: Any) -> Experience:
    given: dict[str, Any] = {
        "run_id": 3, "config": config or RunConfig(batch_size=10), "steps": 120,
        "epoch_images": 100, "classes": 5, "pace": [0.5] * 12, "between": [4.0] * 11,
        "memory_mb": 1_200.0, "on_gpu": False,
    }  # fmt: skip
    return Experience(**given | values)


def estimated(config: RunConfig, *known: Experience, **options: Any) -> Estimate:
    return estimate(config, SIZES, known, **options)


# Parameters and checkpoints, against the trainer's own


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ({}, 60),
        ({"fasa": False, "optimizer": "sgd"}, 7),
        ({"class_agnostic_box": False, "class_agnostic_mask": False, "mask_layers": 3,
          "mask_channels": 32, "fpn_channels": 48, "feature_dim": 96}, 9),
        ({"trainable_layers": 4, "batch_norm": "fixed"}, 4),
        ({"detector": "cascade_mask_rcnn", "anchor_sizes": (8, 16, 32, 64, 128)}, 6),
        ({"detector": "cascade_mask_rcnn", "class_agnostic_box": False, "fasa": False}, 6),
        *(
            ({"backbone": backbone, "trainable_layers": layers, "batch_norm": norms,
              "fpn_channels": 256, "feature_dim": 1024, "mask_layers": 4, "mask_channels": 256,
              "class_agnostic_mask": False, "fasa": False}, 1203)
            for backbone, layers, norms in (
                ("resnet50", 3, "affine"), ("resnet101", 2, "fixed"),
                ("resnext101_32x8d", 5, "trained"),
            )
        ),
    ],
)  # fmt: skip
def test_the_size_is_that_of_the_model_the_trainer_builds(
    values: dict[str, Any], classes: int
) -> None:
    config = RunConfig(backbone_weights="none", **values)
    # "meta": shapes without numbers; FASA computes with its own as it is built.
    with torch.device("cpu" if config.fasa else "meta"):
        model = build_model(config, class_counts=[5] * classes)
    size = model_size(config, classes)
    assert size.parameters == sum(p.numel() for p in model.parameters())
    trained = [p.numel() for p in model.parameters() if p.requires_grad]
    assert size.gradient_bytes == 4 * sum(trained)
    buffers = sum(b.numel() * b.element_size() for b in model.buffers())
    assert abs(size.buffer_bytes - buffers) < 0.01 * buffers + 1000
    floats = 0
    for optimizer, kind in zip(
        build_optimizers(config, model, model.classifiers),
        (config.classifier_optimizer, config.optimizer), strict=True,
    ):  # fmt: skip
        own = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
        floats += own * {"adamw": 2, "sgd": 1}[kind]
    assert size.optimizer_bytes == 4 * floats


def test_a_checkpoint_is_as_large_as_real_ones_were() -> None:
    """Of the demo run and its baseline, as the run log had them."""
    for fasa, measured in ((True, 26_544_949), (False, 26_410_061)):
        size = model_size(RunConfig(fasa=fasa), 60).checkpoint_bytes
        assert abs(size - measured) < 0.005 * measured


# Steps, time, memory, by hand


def test_time_is_steps_times_pace_and_pauses() -> None:
    found = estimated(RunConfig(batch_size=10, epochs=6), experience())
    assert found.steps == 60
    assert found.seconds is not None
    assert found.seconds.likely == pytest.approx(60 * 0.5 + 6 * 4.0)
    assert found.seconds.low < found.seconds.likely < found.seconds.high
    assert "run 3 took 0.5 s a step and 4 s between epochs" in found.seconds_basis
    assert "scaled" not in found.seconds_basis


def test_multi_scale_training_counts_as_the_mean_of_its_sizes() -> None:
    config = RunConfig(train_min_sizes=(120, 240), image_min_size=300, image_max_size=360)
    assert pixels(config, training=True) == (120 * 160 + 240 * 320) / 2
    assert pixels(config, training=False) == 300 * 360


def test_time_is_scaled_by_batch_and_pixels_and_said_to_be_less_sure() -> None:
    config = RunConfig(batch_size=20, epochs=12, image_min_size=320, image_max_size=320)
    found = estimated(config, experience())
    near = estimated(RunConfig(batch_size=10), experience())
    for training in (True, False):
        own, default = pixels(config, training=training), pixels(RunConfig(), training=training)
        assert own == 4 * default == 320 * 320
    assert found.steps == 12 * 5
    assert found.seconds is not None
    assert near.seconds is not None
    assert found.seconds.likely == pytest.approx(60 * 0.5 * 8 + 12 * 4.0 * 4)
    assert "scaled by 8 for batch x pixels" in found.seconds_basis
    spread = found.seconds.high / found.seconds.likely
    assert spread > near.seconds.high / near.seconds.likely


def test_a_fork_has_only_the_epochs_that_are_left() -> None:
    found = estimated(RunConfig(batch_size=10, epochs=6), experience(), done_epochs=4)
    assert found.steps == 20
    assert found.seconds is not None
    assert found.seconds.likely == pytest.approx(20 * 0.5 + 2 * 4.0)


def test_what_differs_is_named_and_widens_the_range() -> None:
    config = RunConfig(batch_size=10, rois_per_image=64, fpn_channels=256)
    found = estimated(config, experience())
    assert "It differs in rois_per_image, fpn_channels, which is not" in found.seconds_basis
    same = estimated(RunConfig(batch_size=10), experience())
    assert found.seconds is not None
    assert same.seconds is not None
    assert found.seconds.high > same.seconds.high


def test_runs_that_disagree_widen_the_range() -> None:
    other = experience(run_id=4, pace=[2.0] * 12)
    found = estimated(RunConfig(batch_size=10), experience(), other)
    assert found.seconds is not None
    assert found.seconds.high == pytest.approx(120 * 2.0 + 12 * 4.0)
    assert found.seconds_basis.startswith("From runs 3 and 4: run 3 took")


def test_memory_is_program_model_and_what_grows_with_the_batch() -> None:
    config = RunConfig(batch_size=20)
    size = model_size(config, 5).training_bytes / 1e6
    found = estimated(config, experience(memory_mb=1_200.0 + size))
    assert found.memory_mb is not None
    assert found.memory_mb.likely == pytest.approx(950 + size + 2 * 250)
    on_gpu = estimated(config, experience(memory_mb=250.0 + size, on_gpu=True))
    assert on_gpu.memory_mb is not None
    assert on_gpu.memory_mb.likely == pytest.approx(size + 2 * 250)
    assert "on its GPU" in on_gpu.memory_basis


def test_without_earlier_runs_the_rest_is_said() -> None:
    found = estimated(RunConfig(batch_size=10))
    assert (found.steps, found.seconds, found.memory_mb) == (120, None, None)
    assert found.seconds_basis.startswith("No run in this log used this backbone on this device")
    assert "no run of this log tells yet" in found.memory_basis
    facts = {fact.label: fact.value for fact in estimate_facts(found, 12)}
    assert facts["steps"] == "120 in 12 epochs"
    assert facts["time"] == facts["memory"] == "not known yet"
    assert facts["checkpoints"] == megabytes(5 * model_size(RunConfig(), 5).checkpoint_bytes / 1e6)


def test_without_counts_there_are_no_steps_but_of_a_run_on_the_same_data() -> None:
    unknown = estimate(RunConfig(), Sizes(), [])
    assert (unknown.steps, unknown.model, unknown.log_bytes) == (None, None, None)
    found = estimate(RunConfig(batch_size=10), Sizes(), [experience()])
    assert found.steps == 120
    assert found.steps_basis == "The images of an epoch are those of run 3."


def test_checkpoints_that_are_kept() -> None:
    assert kept_checkpoints(RunConfig(epochs=12)) == 5  # 4, 8 and the newest 10, 11, 12
    assert kept_checkpoints(RunConfig(epochs=12, keep_every=0)) == 3
    assert kept_checkpoints(RunConfig(epochs=2)) == 2
    assert kept_checkpoints(RunConfig(epochs=12, checkpoint_every=5)) == 3  # 5, 10, 12
    assert kept_checkpoints(RunConfig(epochs=12), done_epochs=9) == 3


@pytest.mark.parametrize(
    ("classes", "values", "objects", "virtual"),
    [
        (60, {}, 8, 8),
        (1203, {}, 4, 4),  # 5000 / 1203
        (10_000, {}, 1, 4),
        (10, {"probe_objects_per_class": 3, "probe_virtual_per_class": 2}, 3, 2),
        (10, {"fasa": False}, 8, 0),
    ],
)
def test_snapshots_of_features_by_hand(
    classes: int, values: dict[str, Any], objects: int, virtual: int
) -> None:
    config = RunConfig(feature_dim=100, feature_megabytes=50, **values)
    priors = 2 if virtual else 0
    each = classes * ((objects + virtual + priors) * 100 * 2 + (objects + virtual) * 36)
    pictures = 1000 * classes * objects
    assert feature_bytes(config, classes, 3) == 3 * each + pictures
    assert feature_bytes(config, classes, 10_000) == 50e6 + pictures
    if virtual:  # the trainer's own rule
        assert virtual_per_class(config, classes) == virtual


# What rows teach


def pace_row(step: int, epoch: int, wall: float) -> ScalarRow:
    return ScalarRow(step, "step_seconds", step, epoch, wall, 0.1)


def test_pace_and_pauses_come_from_times_and_stay_when_rows_are_left_out() -> None:
    rows = []
    for epoch in range(3):
        rows += [pace_row(20 * epoch + n, epoch, 100 * epoch + 2.0 * n) for n in range(1, 21)]
    pace, between = paces(rows)
    assert pace == [2.0] * 3
    assert between == pytest.approx([60.0, 60.0])  # 100, less 20 steps
    kept = [row for row in rows if row.step % 20 in (1, 7, 0)]
    assert paces(kept)[0] == [2.0] * 3
    assert paces(kept)[1] == pytest.approx([60.0, 60.0])
    assert paces(rows[:1]) == ([], [])


def test_the_most_alike_runs_are_asked_first(tmp_path: Path) -> None:
    for name, options in (("near", {}), ("baseline", {"fasa": False}), ("young", {})):
        run = SyntheticRun(tmp_path, name=name, classes=4, epochs=2, steps_per_epoch=20, **options)
        with run.start():
            run.advance(5 if name == "young" else 30)
    queue_run(run.path, name="foreign", config={"nothing": 1}, dataset="x")
    with RunLogReader(run.path) as reader:
        memory = Memory()
        best = memory.best(reader, RunConfig(demo_classes=4))
        assert [found.run_id for found in best] == [1, 2]
        assert best[0].classes == 4
        assert best[0].epoch_images == 160
        again = memory.best(reader, RunConfig(demo_classes=4))
        assert all(a is b for a, b in zip(best, again, strict=True))  # not read twice
        assert memory.best(reader, RunConfig(device="cuda")) == []


# Rows of a real run, the demo: 12 epochs of 66 steps, on 2 cores that others used too. First and
# last step of each epoch, in seconds since its first step; it ended after 512 s.

DEMO = [
    (0.0, 14.5), (39.2, 52.2), (71.0, 85.0), (102.6, 115.2), (132.4, 144.3), (166.0, 184.3),
    (213.2, 226.1), (255.7, 274.3), (296.5, 314.0), (349.7, 389.9), (425.8, 447.9), (467.6, 492.0),
]  # fmt: skip
DEMO_SECONDS, DEMO_MEMORY = 512, 1_357


def test_a_real_run_lies_within_what_its_first_half_lets_expect() -> None:
    rows = [
        row
        for epoch, (first, last) in enumerate(DEMO[:6])
        for row in (pace_row(66 * epoch + 1, epoch, first), pace_row(66 * epoch + 66, epoch, last))
    ]
    rows += [ScalarRow(1, "memory_mb", step, 0, 0.0, 1_289.0) for step in range(20)]
    pace, between = paces(rows)
    config = RunConfig(distance="ratio_of_sums")
    known = experience(config, epoch_images=528, classes=60, pace=pace, between=between,
                       memory_mb=1_289.0)  # fmt: skip
    found = estimate(config, demo_sizes(60), [known])
    assert found.steps == 792
    assert found.seconds is not None
    assert found.memory_mb is not None
    assert found.seconds.low < DEMO_SECONDS < found.seconds.high
    assert found.seconds.high / found.seconds.low < 2.5  # no range that is always right
    assert found.memory_mb.low < DEMO_MEMORY < found.memory_mb.high


# Words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (89, "89 s"), (100, "2 min"), (5399, "1 h 30 min"), (7200, "2 h"),
     (40 * 3600, "1 d 16 h"), (48 * 3600, "2 d")],
)  # fmt: skip
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_sizes_in_words() -> None:
    assert [megabytes(size) for size in (0.04, 3.21, 26.5, 1_357)] == [
        "0.0 MB", "3.2 MB", "26 MB", "1.4 GB",
    ]  # fmt: skip


def test_every_stage_of_a_cascade_has_its_own_class_vectors() -> None:
    """180 steps: 18 snapshots, and one after each of 18 epochs; AP is of the whole detector."""
    small: dict[str, Any] = {"batch_size": 10, "epochs": 18, "evaluate_every": 6}
    one = estimated(RunConfig(**small)).log_bytes
    three = estimated(RunConfig(detector="cascade_mask_rcnn", **small)).log_bytes
    assert one is not None
    assert three is not None
    vectors = (180 / 10 + 18) * VECTORS + 18 * 2  # fields of a snapshot; of a validation pass
    assert three - one == pytest.approx(2 * vectors * (4 * 5 + VECTOR_BYTES))
