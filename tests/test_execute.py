"""Whole runs on a small demo set: reproducible, resumable, steerable, and honest when they fail."""

import numpy as np
import pytest
from small_runs import curves, queue_small, stop_at

from trainer.control import RunControl, StopRequested
from trainer.execute import execute
from trainer.run_log.commands import send_command
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import FeatureValues
from trainer.runs_folder import RunsFolder

pytestmark = pytest.mark.slow


def test_everything_is_streamed(folder: RunsFolder, finished: int) -> None:
    reader = RunLogReader(folder.run_log)
    run = reader.run(finished)
    assert (run.status, run.step, run.error) == ("finished", run.total_steps, None)
    assert len(reader.categories(finished)) == 6
    assert set(reader.class_fields(finished)) == {
        "observed_rois", "virtual_features", "probability", "scale", "super_group", "decision",
        "training_loss", "validation_loss", "prior_norm", "prior_spread", "weight_norm", "score",
        "bias", "ap_segm", "ap_bbox", "effective_samples",
    }  # fmt: skip
    names = set(reader.scalar_names(finished))
    assert {f"loss/{n}" for n in ("total", "classifier", "virtual", "box", "mask")} <= names
    assert {"segm/AP", "segm/AP_r", "bbox/AP", "adaptation/eps", "knob/alpha"} <= names
    snapshots = reader.features.heads(finished)
    assert [(row.epoch, row.step) for row in snapshots] == [
        (epoch, (epoch + 1) * run.step // 3) for epoch in range(3)
    ]
    assert {"features/seconds", "features/share", "features/preparation_seconds"} <= names
    images = reader.prediction_images(finished)
    assert 0 < len(images) <= 32
    assert [epoch for _, epoch in reader.prediction_moments(finished)] == [0, 1, 2]
    last = reader.predictions(finished, step=run.step)
    assert [row.image_index for row in last] == [image.index for image in images]
    assert any(row.detections for row in last)
    steps = [row.step for row in reader.scalars(finished, ["loss/total"])]
    assert steps == list(range(1, run.step + 1))
    losses = [row.value for row in reader.scalars(finished, ["loss/total"])]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_the_log_explains_every_probability(folder: RunsFolder, finished: int) -> None:
    reader = RunLogReader(folder.run_log)
    first, second = (
        {row.super_group: row for row in reader.adaptations(finished) if row.epoch == epoch}
        for epoch in (0, 1)
    )
    assert {row.reason for row in first.values()} <= {"baseline", "no validation data"}
    vectors = reader.class_vectors(finished, "probability")
    by_step = dict(zip(vectors.steps.tolist(), vectors.values, strict=True))
    per_epoch = reader.run(finished).step // 3
    before, after = by_step[per_epoch], by_step[2 * per_epoch]
    for row in second.values():
        for member in row.members:
            expected = min(1.0, float(before[member]) * row.factor)
            assert float(after[member]) == pytest.approx(expected, rel=1e-6)
    members = sorted(member for row in second.values() for member in row.members)
    assert members == list(range(6))


def test_virtual_features_start_in_the_second_epoch(folder: RunsFolder, finished: int) -> None:
    reader = RunLogReader(folder.run_log)
    virtual = {row.step: row.value for row in reader.scalars(finished, ["loss/virtual"])}
    per_epoch = reader.run(finished).step // 3
    assert all(virtual[step] == 0 for step in range(1, per_epoch + 1))
    assert any(virtual[step] > 0 for step in range(per_epoch + 1, 3 * per_epoch + 1))
    drawn = reader.class_vectors(finished, "virtual_features")
    assert drawn.values[0].sum() == 0
    assert drawn.values[-1].sum() > 0


def test_the_same_seed_gives_the_same_losses_to_the_bit(folder: RunsFolder, finished: int) -> None:
    again = queue_small(folder)
    execute(folder, again)
    assert curves(folder, again) == curves(folder, finished)
    other = queue_small(folder, seed=1, epochs=1)
    execute(folder, other)
    assert curves(folder, other)[5:15] != curves(folder, finished)[5:15]


@pytest.mark.parametrize(
    ("step", "phase"), [(13, "training"), (9, "validation"), (9, "evaluation")]
)
def test_a_stopped_run_goes_on_bit_for_bit(
    folder: RunsFolder, finished: int, step: int, phase: str
) -> None:
    """Stopped in the middle of an epoch or of a pass after it, then executed again."""
    run_id = queue_small(folder, workers=1 if phase == "training" else 0)
    stop_at(folder, run_id, step=step, phase=phase)
    reader = RunLogReader(folder.run_log)
    assert reader.run(run_id).step < reader.run(finished).step
    assert execute(folder, run_id) == "finished"
    assert curves(folder, run_id) == curves(folder, finished)


def test_a_run_ended_in_a_feature_snapshot_takes_it_again_and_nothing_twice(
    folder: RunsFolder, finished: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended between two batches of the snapshot, with its evaluation already in the log."""
    run_id = queue_small(folder)
    calls: list[None] = []

    def raise_once(control: RunControl) -> None:
        calls.append(None)
        if len(calls) == 2:
            raise StopRequested("interrupted", "ended by SIGTERM")

    monkeypatch.setattr(RunControl, "raise_if_ending", raise_once)
    assert execute(folder, run_id) == "interrupted"
    reader = RunLogReader(folder.run_log)
    assert reader.features.heads(run_id) == []
    assert execute(folder, run_id) == "finished"
    assert curves(folder, run_id) == curves(folder, finished)
    theirs, mine = (reader.features.snapshots(number) for number in (finished, run_id))
    assert [row.step for row in mine] == [row.step for row in theirs]
    for one, other in zip(mine, theirs, strict=True):
        for name in FeatureValues.__dataclass_fields__:
            assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_knobs_are_turned_between_two_steps(folder: RunsFolder) -> None:
    run_id = queue_small(folder, epochs=1)
    send_command(folder.run_log, run_id, "set", {"alpha": 1.5, "virtual_loss_weight": 0.3})
    bad = send_command(folder.run_log, run_id, "set", {"beta": 7})
    execute(folder, run_id)
    reader = RunLogReader(folder.run_log)
    good_row, bad_row = reader.commands(run_id)
    assert good_row.refusal is None
    assert good_row.applied_step is not None
    assert bad_row.id == bad
    assert "beta is 7" in str(bad_row.refusal)
    knobs = [row.value for row in reader.scalars(run_id, ["knob/alpha"])]
    assert knobs == [1.1, 1.5]
    assert [event.kind for event in reader.events(run_id)][:1] == ["set"]


def test_a_baseline_has_no_virtual_loss_but_the_same_measurements(folder: RunsFolder) -> None:
    run_id = queue_small(folder, epochs=1, fasa=False)
    execute(folder, run_id)
    reader = RunLogReader(folder.run_log)
    assert "loss/virtual" not in reader.scalar_names(run_id)
    assert {"weight_norm", "score", "validation_loss", "ap_segm"} <= set(
        reader.class_fields(run_id)
    )


def test_a_diverging_run_fails_with_step_images_and_losses(folder: RunsFolder) -> None:
    run_id = queue_small(
        folder, epochs=1, learning_rate=1e30, optimizer="sgd", gradient_clip=0.0, warmup_steps=0
    )
    with pytest.raises(RuntimeError, match=r"not finite at step \d+ on images \["):
        execute(folder, run_id)
    run = RunLogReader(folder.run_log).run(run_id)
    assert run.status == "failed"
    assert "not finite at step" in str(run.error)


def test_a_run_whose_data_is_gone_fails_with_a_sentence(folder: RunsFolder) -> None:
    run_id = queue_small(folder, data="coco", annotations="gone.json", images="gone")
    with pytest.raises(ValueError, match=r"gone\.json"):
        execute(folder, run_id)
    run = RunLogReader(folder.run_log).run(run_id)
    assert run.status == "failed"
    assert run.error is not None
    assert "Traceback" not in run.error
    assert run.step == 0


def test_a_set_that_is_less_than_one_batch_is_told_of_once(folder: RunsFolder) -> None:
    run_id = queue_small(folder, batch_size=1000, epochs=2)
    stop_at(folder, run_id, step=1, phase="training")
    assert execute(folder, run_id) == "finished"
    reader = RunLogReader(folder.run_log)
    assert reader.run(run_id).total_steps == 2
    (warning,) = [event.text for event in reader.events(run_id) if event.kind == "warning"]
    assert warning.startswith("batch_size is 1000, and an epoch has ")
    assert "Lower batch_size" in warning
