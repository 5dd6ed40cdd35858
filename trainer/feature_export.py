"""A feature snapshot for other tools: the TensorBoard embedding projector, and NumPy.

The values are the run log's own, to the bit. The dashboard uses this too: it needs no torch.

Shapes: N probe objects, P classes with a prior, K virtual features of each, M = P * K, d feature
length, C classes, Q points of both kinds.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.feature_sprite import write_sprite
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import (
    METHODS,
    CategoryRow,
    FeatureObject,
    FeatureSnapshot,
    FeatureValues,
    Run,
)

GROUPS = ("all", "rare", "common", "frequent")
COLUMNS = (
    "class", "frequency", "kind", "split", "object", "k", "image id", "prediction", "loss",
    "epoch", "step",
)  # fmt: skip

_BACKGROUND = "background"
_FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}
_CONFIG = """embeddings {{
  tensor_name: "features of run {run}, epoch {epoch}, step {step}"
  tensor_shape: {points}
  tensor_shape: {feature_dim}
  tensor_path: "vectors.tsv"
  metadata_path: "metadata.tsv"
  sprite {{
    image_path: "sprite.png"
    single_image_dim: {side}
    single_image_dim: {side}
  }}
}}
"""
_READ_ME = """Features of run {run} after {step} training steps (epoch {epoch}), for TensorBoard:

    tensorboard --logdir THIS_FOLDER

and open its Projector.

vectors.tsv             {points} points of {feature_dim} numbers each: what the classifier sees
metadata.tsv            a line a point, in the same order
sprite.png              a picture of each; a ring in its class's colour for a virtual feature
projector_config.pbtxt  tells TensorBoard of the three

Columns of metadata.tsv: class (name), frequency (rare, common or frequent), kind (real or
virtual), split (train, or holdout: the model does not learn from it; real ones only), object
(number of a real one), k (number of a virtual one within its class), image id (in the annotation
file), prediction (class of the highest logit), loss (classification loss for its own class), epoch
(from 1), step (training steps done).
{left_out}"""
_LEFT_OUT = """
Left out, as the projector draws finite numbers only: {count} points with others.
"""


class FeatureExportError(ValueError):
    """A snapshot cannot be exported; the message is one sentence with the remedy."""


class _Parts(NamedTuple):
    """A snapshot and what it refers to; ``objects`` are those of the snapshot, in its order."""

    snapshot: FeatureSnapshot
    objects: list[FeatureObject]
    categories: list[CategoryRow]


def write_tensorboard(
    reader: RunLogReader, run: Run, snapshot: FeatureSnapshot, folder: Path
) -> None:
    """Make ``folder`` with what `tensorboard --logdir FOLDER` shows in its embedding projector.

    vectors.tsv has a point a line: the N objects, then the M virtual features. metadata.tsv has
    `COLUMNS`, empty where one does not apply; a tab, line break or other control character in a
    name becomes a blank. Points that are no finite numbers are left out, and README.txt says so.

    Args:
        reader: of the run log.
        run: whose the snapshot is.
        snapshot: from ``reader.features``.
        folder: the new folder; the one above it exists.

    Raises:
        FeatureExportError: no point is left, or the run log does not hold what the snapshot
            refers to.
        OSError: the folder cannot be made or written.
    """
    parts = _parts(reader, run, snapshot)
    features = np.concatenate([snapshot.real, snapshot.virtual])
    drawable = np.isfinite(features).all(axis=1)
    if not drawable.any():
        raise FeatureExportError(
            f"Snapshot {snapshot.id} of run {run.id} holds no point of finite numbers: choose "
            "another one."
        )
    folder.mkdir()
    _write_lines(folder / "vectors.tsv", _vectors(features[drawable]))
    lines = [line for line, kept in zip(_metadata(parts), drawable, strict=True) if kept]
    _write_lines(folder / "metadata.tsv", ["\t".join(COLUMNS), *lines])
    pictures = reader.features.pictures(run.id)
    real, virtual = np.split(drawable, [len(snapshot.objects)])
    side = write_sprite(
        folder / "sprite.png",
        [pictures[at] for at in snapshot.objects[real]],
        snapshot.virtual_classes[virtual].tolist(),
    )
    facts = {
        "run": run.id, "epoch": snapshot.epoch + 1, "step": snapshot.step, "side": side,
        "points": drawable.sum(), "feature_dim": features.shape[1],
    }  # fmt: skip
    (folder / "projector_config.pbtxt").write_text(_CONFIG.format(**facts), encoding="utf-8")
    left_out = "" if drawable.all() else _LEFT_OUT.format(count=(~drawable).sum())
    text = _READ_ME.format(**facts, left_out=left_out)
    (folder / "README.txt").write_text(text, encoding="utf-8")


def write_numpy(reader: RunLogReader, run: Run, snapshot: FeatureSnapshot, path: Path) -> None:
    """Write one .npz file, for `numpy.load(path, allow_pickle=False)`.

    Keys, and [shape]: run, run_name, run_uid, snapshot, step, epoch (from 0, as in the run log),
    wall_time; class_name, class_frequency (r, c, f), class_instances, class_images [C];
    every array of `FeatureValues` under its own name; object_class, object_split,
    object_image_id [N] and object_box [N, 4] (x1, y1, x2, y2 in pixels of the image);
    virtual_class and virtual_k [M]; for each method whose picture is ready
    projection_real_METHOD [N, 2], projection_virtual_METHOD [M, 2] and
    projection_ellipses_METHOD [P, 5]; for each measure measure_NAME [C] (NaN: not to be judged)
    and measure_NAME_groups [4], for `GROUPS` in this order.

    Raises:
        FeatureExportError: the run log does not hold what the snapshot refers to.
        OSError: the file cannot be written.
    """
    parts = _parts(reader, run, snapshot)
    arrays = {
        **_facts(run, parts),
        **{field.name: getattr(snapshot, field.name) for field in fields(FeatureValues)},
        **_subjects(parts),
        **_coordinates(reader, snapshot),
        **_measures(reader, run, snapshot),
    }
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _parts(reader: RunLogReader, run: Run, snapshot: FeatureSnapshot) -> _Parts:
    """What the snapshot refers to; refuses one that refers to what is not there."""
    objects, categories = reader.features.objects(run.id), reader.categories(run.id)
    for what, indices, number in (
        ("an object", snapshot.objects, len(objects)),
        ("a class", snapshot.classes, len(categories)),
        ("a predicted class", snapshot.real_predicted, len(categories) + 1),
        ("a predicted class", snapshot.virtual_predicted, len(categories) + 1),
    ):
        if len(indices) and not 0 <= indices.min() <= indices.max() < number:
            raise FeatureExportError(
                f"Snapshot {snapshot.id} of run {run.id} speaks of {what} that the run log does "
                "not name: choose another snapshot, or let the run train on."
            )
    return _Parts(snapshot, [objects[at] for at in snapshot.objects], categories)


# TensorBoard


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


@cache
def _half_texts() -> list[str]:
    """The text of each of the 65,536 float16 values by its bits; as a float32 it is that value."""
    values = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    return [str(value) for value in values]


def _vectors(features: NDArray[np.float16]) -> Iterator[str]:
    texts = _half_texts()
    for bits in np.ascontiguousarray(features).view(np.uint16):
        yield "\t".join([texts[at] for at in bits.tolist()])


def _metadata(parts: _Parts) -> Iterator[str]:
    snapshot = parts.snapshot
    names = [*(_one_line(category.name) for category in parts.categories), _BACKGROUND]
    frequencies = [_FREQUENCIES[category.frequency] for category in parts.categories]
    moment = (str(snapshot.epoch + 1), str(snapshot.step))
    judged = zip(parts.objects, snapshot.real_predicted, snapshot.real_loss, strict=True)
    for thing, predicted, loss in judged:
        label = thing.class_index
        cells = (
            names[label], frequencies[label], "real", thing.split, str(thing.object_index), "",
            str(thing.image_id), names[predicted], _number(loss), *moment,
        )  # fmt: skip
        yield "\t".join(cells)
    numbers = np.tile(np.arange(snapshot.virtual_per_class), len(snapshot.classes))
    virtual = (snapshot.virtual_classes, numbers, snapshot.virtual_predicted, snapshot.virtual_loss)
    for label, k, predicted, loss in zip(*virtual, strict=True):
        cells = (
            names[label], frequencies[label], "virtual", "", "", str(k), "", names[predicted],
            _number(loss), *moment,
        )  # fmt: skip
        yield "\t".join(cells)


def _number(value: np.float32) -> str:
    return str(value) if np.isfinite(value) else ""


def _one_line(name: str) -> str:
    """A name without what ends a cell or a line for any reader: a blank stands for it."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in name)


# NumPy


def _facts(run: Run, parts: _Parts) -> dict[str, NDArray[Any]]:
    snapshot, categories = parts.snapshot, parts.categories
    return {
        "run": np.array(run.id),
        "run_name": np.array(run.name),
        "run_uid": np.array(run.uid),
        "snapshot": np.array(snapshot.id),
        "step": np.array(snapshot.step),
        "epoch": np.array(snapshot.epoch),
        "wall_time": np.array(snapshot.wall_time),
        "class_name": np.array([row.name for row in categories], dtype=str),
        "class_frequency": np.array([row.frequency for row in categories], dtype=str),
        "class_instances": np.array([row.instance_count for row in categories], dtype=np.int64),
        "class_images": np.array([row.image_count for row in categories], dtype=np.int64),
    }


def _subjects(parts: _Parts) -> dict[str, NDArray[Any]]:
    snapshot, objects = parts.snapshot, parts.objects
    boxes = [(row.x1, row.y1, row.x2, row.y2) for row in objects]
    numbers = np.arange(snapshot.virtual_per_class, dtype=np.int32)
    return {
        "object_class": np.array([row.class_index for row in objects], dtype=np.int32),
        "object_split": np.array([row.split for row in objects], dtype=str),
        "object_image_id": np.array([row.image_id for row in objects], dtype=np.int64),
        "object_box": np.array(boxes, dtype=np.float64).reshape(-1, 4),
        "virtual_class": snapshot.virtual_classes,
        "virtual_k": np.tile(numbers, len(snapshot.classes)),
    }


def _coordinates(reader: RunLogReader, snapshot: FeatureSnapshot) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for method in METHODS:
        projection = reader.features.projection(snapshot.id, method)
        if projection is not None:
            for name in ("real", "virtual", "ellipses"):
                found[f"projection_{name}_{method}"] = getattr(projection, name)
    return found


def _measures(reader: RunLogReader, run: Run, snapshot: FeatureSnapshot) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for row in reader.features.measures(run.id):
        if row.snapshot_id == snapshot.id:
            found[f"measure_{row.name}"] = row.per_class
            values = [row.groups.get(group) for group in GROUPS]
            found[f"measure_{row.name}_groups"] = np.array(values, dtype=np.float64)
    return found
