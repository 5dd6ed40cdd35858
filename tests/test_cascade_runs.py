"""Whole runs of a cascade: what the log says of each stage, and going on bit for bit."""

from typing import Any

import numpy as np
import pytest
import torch
from small_runs import curves, queue_small, stop_at

from trainer.execute import execute
from trainer.run_log.commands import send_command
from trainer.run_log.reader import RunLogReader
from trainer.runs_folder import RunsFolder

pytestmark = pytest.mark.slow

RUN: dict[str, Any] = {"detector": "cascade_mask_rcnn", "epochs": 1, "start_epoch": 0}
STAGED = {
    "observed_rois", "virtual_features", "probability", "scale", "super_group", "decision",
    "training_loss", "validation_loss", "prior_norm", "prior_spread", "weight_norm", "score",
    "bias", "effective_samples",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def finished(folder: RunsFolder) -> int:
    run_id = queue_small(folder, **RUN)
    assert execute(folder, run_id) == "finished"
    return run_id


def test_the_log_has_the_fields_of_every_stage(folder: RunsFolder, finished: int) -> None:
    reader = RunLogReader(folder.run_log)
    names = {f"{stage}{field}" for stage in ("", "stage2/", "stage3/") for field in STAGED}
    assert set(reader.class_fields(finished)) == names | {"ap_segm", "ap_bbox"}
    scalars = set(reader.scalar_names(finished))
    for end in ("", "/2", "/3"):
        assert {f"loss/{name}{end}" for name in ("classifier", "virtual", "box", "mask")} <= scalars
    for stage in ("", "stage2/", "stage3/"):
        assert {f"{stage}adaptation/groups", f"{stage}validation/loss"} <= scalars
    for field in ("validation_loss", "prior_norm", "weight_norm"):
        values = [
            reader.class_vectors(finished, f"{stage}{field}").values[-1]
            for stage in ("", "stage2/", "stage3/")
        ]
        assert not np.array_equal(values[0], values[1], equal_nan=True)
        assert not np.array_equal(values[1], values[2], equal_nan=True)
    for stage in ("", "stage2/", "stage3/"):
        drawn = reader.class_vectors(finished, f"{stage}virtual_features").values[-1]
        assert drawn.sum() > 0


def test_a_stopped_cascade_goes_on_bit_for_bit(folder: RunsFolder, finished: int) -> None:
    """Stopped in the middle of its epoch, when every FASA has a prior and has drawn from it."""
    run_id = queue_small(folder, **RUN)
    stop_at(folder, run_id, step=5, phase="training")
    assert execute(folder, run_id) == "finished"
    assert curves(folder, run_id) == curves(folder, finished)
    reader = RunLogReader(folder.run_log)
    for field in ("stage2/probability", "stage3/prior_norm", "stage3/virtual_features"):
        ours, theirs = (reader.class_vectors(number, field).values for number in (run_id, finished))
        assert np.array_equal(ours, theirs, equal_nan=True)


def test_knobs_turn_in_every_stage_and_a_run_from_scratch_says_so(folder: RunsFolder) -> None:
    run_id = queue_small(folder, **RUN, backbone_weights="none")
    send_command(folder.run_log, run_id, "set", {"alpha": 1.5})
    assert execute(folder, run_id) == "finished"
    reader = RunLogReader(folder.run_log)
    warnings = [event.text for event in reader.events(run_id) if event.kind == "warning"]
    assert len(warnings) == 1
    assert "trains from scratch" in warnings[0]
    config = reader.run(run_id).config
    assert (config["trainable_layers"], config["batch_norm"]) == (5, "trained")
    path = next(folder.checkpoints(run_id).glob("*.pt"))
    model = torch.load(path, weights_only=True)["model"]
    states = [value for name, value in model.items() if name.endswith("fasa._extra_state")]
    assert [state["knobs"]["alpha"] for state in states] == [1.5, 1.5, 1.5]
    assert not torch.equal(states[0]["generator"], states[1]["generator"])
