"""A run log with a bit of everything, for the tests of its reader and its document."""

from pathlib import Path

import numpy as np
from snapshot_builders import feature_values

from trainer.run_log.commands import pending_commands, queue_run, send_command, set_tags
from trainer.run_log.projections import store_measures, store_projection
from trainer.run_log.reader import RunLogReader
from trainer.run_log.writer import RunLogWriter

NUM_CLASSES = 5
STEPS = 4


def fill(path: Path) -> Path:
    """Two runs of two epochs with a bit of everything."""
    for name in ("demo", "demo-baseline"):
        run_id = queue_run(path, name=name, config={"fasa": {"alpha": 1.1}}, dataset="demo")
        with RunLogWriter(path, run_id) as writer:
            writer.register_categories(
                [
                    {
                        "index": index,
                        "id": 100 + index,
                        "name": f"class {index}",
                        "frequency": "rcf"[index % 3],
                        "image_count": index,
                        "instance_count": 2 * index,
                    }
                    for index in range(NUM_CLASSES)
                ]
            )
            for step in range(1, STEPS + 1):
                epoch = (step - 1) // 2
                scalars = {"loss/total": 1 / step, "loss/box": 0.5, "knob/alpha": 1.1}
                writer.scalars(scalars, step=step, epoch=epoch)
                probability = np.arange(NUM_CLASSES, dtype=np.float32) + 10 * step
                decision = np.full(NUM_CLASSES, step, dtype=np.int32)
                vectors = {"probability": probability, "decision": decision}
                writer.class_vectors(vectors, step=step, epoch=epoch)
            group = {"group": 0, "members": [0, 1, 2], "noise_members": [2], "with_data": [0]}
            losses = {"loss_before": 2.0, "loss_after": 1.0, "factor": 1.1, "reason": "fell"}
            report = {"eps": 0.5, "eps_quantile": 0.5, "num_groups": 1, "noise_share": 0.2}
            groups = [{**group, **losses, "clamped": []}]
            full = {**report, "largest_group": 3, "groups": groups}
            writer.adaptation(full, step=STEPS, epoch=1)
            writer.scalars({"segm/AP": 12.5, "segm/AP_r": 3.5}, step=STEPS, epoch=1)
            send_command(path, run_id, "set", {"alpha": 1.3})
            (command,) = pending_commands(path, run_id)
            writer.apply_command(command, "alpha = 1.3", step=3, epoch=1, phase="training")
            writer.scalars({"knob/alpha": 1.3}, step=3, epoch=1)
            send_command(path, run_id, "stop")
            writer.checkpoint_kept(step=2, epoch=1, batch=0, size=1000)
            box = {"x1": 0.0, "y1": 1.0, "x2": 2.0, "y2": 3.0, "picture": b"jpeg"}
            probe = {"object_index": 0, "class_index": 1, "split": "train", "image_id": 7}
            writer.feature_probes([{**probe, **box}])
            features = feature_values(
                objects=(0,),
                real=np.arange(3, dtype=np.float16)[None],
                real_predicted=np.array([2]),
            )
            writer.feature_snapshot(features, step=2, epoch=0)
            assert writer.flush()
            _project(path, run_id)
            mask = {"size": [4, 5], "counts": "0220008"}
            found = {"class": 2, "box": [0.0, 0.0, 3.0, 2.0], "mask": mask}
            image = {"index": 0, "image_id": 7, "width": 5, "height": 4, "judged": None}
            truth = [found | {"crowd": 0}]
            writer.prediction_images([image | {"truth": truth, "picture": b"jpeg"}])
            detections = [found | {"score": 0.75}]
            writer.predictions([{"image_index": 0, "detections": detections}], step=2, epoch=0)
            writer.progress(step=STEPS, total_steps=9, epoch=1, total_epochs=2, phase="training")
            for from_step, status in ((0, "crashed"), (2, "running")):
                writer.begin_attempt(from_step=from_step)
                writer.status(status, error="killed" if status == "crashed" else None)
        send_command(path, run_id, "pause")
        set_tags(path, run_id, ["ablation"])
    return path


def _project(path: Path, run_id: int) -> None:
    """What the projector makes of the run's only snapshot."""
    with RunLogReader(path) as reader:
        (head,) = reader.features.heads(run_id)
    store_projection(
        path, run_id, head.id, "pca", seconds=0.5, parameters={"seed": 0},
        real=np.zeros((head.num_objects, 2), np.float32),
        virtual=np.ones((head.num_virtual, 2), np.float32),
        ellipses=np.full((head.num_classes, 5), np.nan, np.float32),
    )  # fmt: skip
    shares = np.array([np.nan, 0.5, np.nan, 0.25, np.nan], np.float32)
    groups = {"all": 0.375, "rare": 0.25, "common": 0.5, "frequent": None}
    store_measures(path, run_id, head.id, {"negative_share": (shares, groups)})
