"""Run logs with something in every table, and what is in one: for tests of export and import."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from snapshot_builders import feature_values

from trainer.run_log.commands import (
    claim_run,
    queue_run,
    send_command,
    set_note,
    set_process,
    set_status,
    set_tags,
)
from trainer.run_log.schema import open_for_reading
from trainer.run_log.writer import RunLogWriter
from trainer.runs_folder import RunsFolder
from trainer.transfer.copying import HISTORY

CLASSES = 5
NAMES = ("tiger", "=2+3", "caf\u00e9, \u867e", 'a "quoted"\nline', "-1")
MASK = {"size": [4, 5], "counts": "0220008"}  # 2 rows x 3 columns at the upper left
PICTURE = b"\xff\xd8\xff\xe0 as long as it begins like one"


def folder(place: Path) -> RunsFolder:
    place.mkdir(exist_ok=True)
    return RunsFolder(place)


def add_run(
    runs: RunsFolder, *, name: str = "demo", parent: int | None = None, steps: int = 12,
    status: str = "finished", seed: int = 0, classes: int = CLASSES,
) -> int:  # fmt: skip
    """A run with rows in every table, and not-a-numbers among its values."""
    generator = np.random.default_rng(seed)
    run_id = queue_run(
        runs.run_log, name=name, config={"seed": seed, "epochs": 2}, dataset="demo",
        parent_run=parent, parent_epoch=None if parent is None else 0,
        parent_step=None if parent is None else 6,
    )  # fmt: skip
    set_note(runs.run_log, run_id, f"=note of {name}\nsecond line")
    set_tags(runs.run_log, run_id, ["@night", "caf\u00e9"])
    if status == "queued":
        return run_id
    assert claim_run(runs.run_log, run_id, process_id=7, process_identity="boot:7")
    set_process(runs.run_log, run_id, process_id=7, process_identity="boot:7")
    send_command(runs.run_log, run_id, "set", {"alpha": 1.3})
    with RunLogWriter(runs.run_log, run_id, commit_interval=0.01) as writer:
        writer.begin_attempt(from_step=0)
        _write_history(writer, generator, steps, classes)
        _write_features(writer, seed)
        _write_predictions(writer, classes)
        for step in (6, 12):
            writer.checkpoint_kept(step=step, epoch=0, batch=step, size=1000)
    set_status(runs.run_log, run_id, status, error="why" if status == "failed" else None)
    return run_id


def _write_history(
    writer: RunLogWriter, generator: np.random.Generator, steps: int, classes: int
) -> None:
    writer.register_categories(
        [
            {"index": i, "id": 3 * i, "name": NAMES[i % len(NAMES)], "frequency": "rcf"[i % 3],
             "image_count": i, "instance_count": 2 * i} for i in range(classes)
        ]
    )  # fmt: skip
    for step in range(1, steps + 1):
        here = {"step": step, "epoch": step // 6}
        loss = [float("nan"), float("inf"), float(generator.normal())][min(step - 1, 2)]
        writer.scalars({"loss/total": loss, "learning_rate": 0.1}, **here)
        if step % 3 == 0:
            scores = generator.random(classes, dtype=np.float32)
            scores[0] = np.nan
            rois = generator.integers(0, 2**31 - 1, classes).astype(np.int32)
            writer.class_vectors({"score": scores, "observed_rois": rois}, **here)
    group = {"group": 0, "members": [1, 2], "noise_members": [], "with_data": [2], "clamped": [1],
             "loss_before": None, "loss_after": 0.5, "factor": 1.1, "reason": "fell"}  # fmt: skip
    report = {"eps": 0.4, "eps_quantile": None, "num_groups": 1, "noise_share": 0.0,
              "largest_group": 2, "groups": [group, group | {"group": 1}]}  # fmt: skip
    writer.adaptation(report, step=6, epoch=0)
    writer.event("set", "alpha is 1.3 now", step=4, epoch=0, payload={"alpha": 1.3})
    writer.progress(step=steps, total_steps=2 * steps, epoch=1, total_epochs=2, phase="training")


def _write_features(writer: RunLogWriter, seed: int) -> None:
    box = {"x1": 1.5, "y1": 2.0, "x2": 30.0, "y2": 40.0}
    writer.feature_probes(
        [
            {"object_index": i, "class_index": i + 1, "split": "train", "image_id": 40,
             "picture": PICTURE} | box for i in range(2)
        ]
    )  # fmt: skip
    writer.feature_snapshot(feature_values(seed=seed), step=6, epoch=0)
    writer.feature_snapshot(feature_values(classes=(), seed=seed), step=12, epoch=1)


def _write_predictions(writer: RunLogWriter, classes: int) -> None:
    found = {"class": classes - 1, "box": [0.0, 0.0, 3.0, 2.5], "mask": MASK}
    image = {"image_id": 40, "width": 5, "height": 4, "picture": PICTURE}
    writer.prediction_images(
        [
            image | {"index": 0, "truth": [found | {"crowd": 1}, found | {"crowd": 0}],
                     "judged": [0, classes - 1]},
            image | {"index": 1, "truth": [], "judged": None},
        ]
    )  # fmt: skip
    for step in (6, 12):
        rows = [{"image_index": 0, "detections": [found | {"score": step / 20}]},
                {"image_index": 1, "detections": []}]  # fmt: skip
        writer.predictions(rows, step=step, epoch=step // 6 - 1)


def contents(path: Path, *, deleted: bool = False) -> dict[str, list[Any]]:
    """All rows of a log by table; runs are told by their uid, ids and processes are left out."""
    with closing(open_for_reading(path)) as connection:
        connection.row_factory = sqlite3.Row
        uids = dict(connection.execute("SELECT id, uid FROM runs").fetchall())
        found: dict[str, list[Any]] = {}
        for table in ("runs", *HISTORY, "checkpoints"):
            rows = [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")]
            found[table] = []
            for row in rows:
                if table == "runs":
                    if row["deleted"] is not None and not deleted:
                        continue
                    row["parent_run"] = uids.get(row["parent_run"])
                    for column in ("process_id", "process_identity", "heartbeat", "copied"):
                        del row[column]
                else:
                    row["run_id"] = uids[row["run_id"]]
                row.pop("id", None)
                found[table].append(row)
        for rows in found.values():
            rows.sort(key=lambda row: str(row.get("uid") or row["run_id"]))  # stable: order stays
    return found


def uid_of(path: Path, run_id: int) -> str:
    with closing(open_for_reading(path)) as connection:
        return str(connection.execute("SELECT uid FROM runs WHERE id = ?", (run_id,)).fetchone()[0])


@contextmanager
def tampered(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection without any rule of ours, for making a file what it should not be."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        yield connection
