"""What a trainer tells the run log, checked, copied, and put into SQL with its values.

Shapes: C classes; of features, see `FeatureValues`.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from trainer.run_log.encoding import encode_classes, encode_features
from trainer.run_log.history import INSERTION, SNAPSHOT_BYTES, Statement
from trainer.run_log.rows import Command, FeatureProbeRow, FeatureValues
from trainer.run_log.text import storable, to_json

# About what a queued row costs in memory beside its text and blobs (tuple, numbers, list slot).
ROW_BYTES = 300

_CATEGORY = (
    "INSERT INTO categories (run_id, class_index, category_id, name, frequency, image_count,"
    " instance_count) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run_id, class_index) DO UPDATE SET"
    " category_id = excluded.category_id, name = excluded.name, frequency = excluded.frequency,"
    " image_count = excluded.image_count, instance_count = excluded.instance_count"
)
_APPLIED = (
    "UPDATE commands SET answered = ?, applied_step = ?, applied_epoch = ?, applied_phase = ?,"
    " refusal = NULL WHERE id = ?"
)
_REFUSED = (
    "UPDATE commands SET answered = ?, applied_step = NULL, applied_epoch = NULL,"
    " applied_phase = NULL, refusal = ? WHERE id = ?"
)
_NO_PROBES = "DELETE FROM feature_probes WHERE run_id = ?"
_PROBE = (
    "INSERT INTO feature_probes (run_id, object_index, class_index, split, image_id, x1, y1, x2,"
    " y2, picture) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# The first snapshot shows where a run began; of the others the newest stay, as many as there is
# room for beside the first, and the very newest in any case.
_THIN_SNAPSHOTS = (
    "DELETE FROM feature_snapshots WHERE id IN (SELECT id FROM ("
    f" SELECT id, sum({SNAPSHOT_BYTES}) OVER (ORDER BY id DESC) + (SELECT {SNAPSHOT_BYTES}"
    "  FROM feature_snapshots WHERE run_id = ? ORDER BY id LIMIT 1) AS kept,"
    "  row_number() OVER (ORDER BY id DESC) AS age, row_number() OVER (ORDER BY id) AS place"
    " FROM feature_snapshots WHERE run_id = ?) WHERE age > 1 AND place > 1 AND kept > ?)"
    " AND run_id = ?"
)
_IMAGE = (
    "INSERT INTO prediction_images (run_id, image_index, image_id, width, height, truth, judged,"
    " picture) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run_id, image_index) DO UPDATE SET"
    " image_id = excluded.image_id, width = excluded.width, height = excluded.height,"
    " truth = excluded.truth, judged = excluded.judged, picture = excluded.picture"
)


class Change(NamedTuple):
    """SQL that is committed together, in order, and about what its values cost in memory."""

    statements: Sequence[tuple[str, Sequence[tuple[Any, ...]]]]
    size: int


def change(*statements: Statement, size: int = ROW_BYTES) -> Change:
    """A change of statements with one row of values each."""
    return Change([(sql, [values]) for sql, values in statements], size)


def categories(run_id: int, described: Sequence[Mapping[str, Any]]) -> Change:
    """The classes of a run; one named before is named anew.

    Raises:
        ValueError: the indices are not 0..C-1.
    """
    rows = [
        (
            run_id,
            int(category["index"]),
            int(category["id"]),
            storable(str(category["name"])),
            str(category["frequency"]),
            int(category["image_count"]),
            int(category["instance_count"]),
        )
        for category in described
    ]
    _require_numbered([row[1] for row in rows], "categories")
    return Change([(_CATEGORY, rows)], len(rows) * ROW_BYTES)


def scalars(run_id: int, values: Mapping[str, float], *, step: int, epoch: int) -> Change:
    """One value of each named curve."""
    now = time.time()
    rows = [
        (run_id, name, int(step), int(epoch), now, float(value)) for name, value in values.items()
    ]
    return Change([(INSERTION["scalars"], rows)], len(rows) * ROW_BYTES)


def class_vectors(
    run_id: int, values: Mapping[str, NDArray[Any]], *, num_classes: int, step: int, epoch: int
) -> Change:
    """A snapshot of each named field [C]; errors as in `encode_classes`."""
    now = time.time()
    rows: list[tuple[Any, ...]] = []
    size = 0
    for field, vector in values.items():
        dtype, data = encode_classes(field, vector, num_classes)
        rows.append((run_id, field, int(step), int(epoch), now, dtype, data))
        size += len(data) + ROW_BYTES
    return Change([(INSERTION["class_vectors"], rows)], size)


def adaptation(run_id: int, report: Mapping[str, Any], *, step: int, epoch: int) -> Change:
    """A summary row and one row per super-group."""
    place = (run_id, int(step), int(epoch), time.time())
    summary = (
        *place,
        _real(report.get("eps")),
        _real(report.get("eps_quantile")),
        int(report["num_groups"]),
        _real(report.get("noise_share")),
        _whole(report.get("largest_group")),
    )
    rows = [(*place, *_group_values(group)) for group in report["groups"]]
    size = sum(len(value) for row in rows for value in row if isinstance(value, str))
    return Change(
        [(INSERTION["adaptation_summaries"], [summary]), (INSERTION["adaptations"], rows)],
        size + (len(rows) + 1) * ROW_BYTES,
    )


def event(
    run_id: int, kind: str, text: str, payload: Mapping[str, Any], *, step: int, epoch: int
) -> Change:
    """One event; ValueError when the payload is no json."""
    details = to_json(payload)
    place = (run_id, int(step), int(epoch), time.time())
    row = (*place, storable(kind), storable(text), details)
    return change((INSERTION["events"], row), size=ROW_BYTES + len(text) + len(details))


def apply_command(
    run_id: int, command: Command, text: str, *, step: int, epoch: int, phase: str
) -> Change:
    """A command's answer and its event."""
    answer = (time.time(), int(step), int(epoch), phase, command.id)
    payload = {**command.payload, "command": command.id}
    note = event(run_id, command.kind, text, payload, step=step, epoch=epoch)
    return Change([(_APPLIED, [answer]), *note.statements], ROW_BYTES + note.size)


def refuse_command(command: Command, reason: str) -> Change:
    """A command's answer."""
    return change((_REFUSED, (time.time(), storable(reason), command.id)))


def feature_probes(run_id: int, rows: Sequence[Mapping[str, Any]]) -> Change:
    """The probe objects, in place of earlier ones.

    Raises:
        ValueError: the indices are not 0..N-1, or there is no such split.
    """
    probes = [FeatureProbeRow(**row) for row in rows]
    _require_numbered([probe.object_index for probe in probes], "objects")
    for probe in probes:
        if probe.split not in ("train", "holdout"):
            raise ValueError(f"An object is of the split train or holdout, not {probe.split!r}.")
    values = [(run_id, *probe) for probe in probes]
    size = sum(len(probe.picture) + ROW_BYTES for probe in probes)
    return Change([(_NO_PROBES, [(run_id,)]), (_PROBE, values)], size)


def feature_snapshot(
    run_id: int, values: FeatureValues, *, step: int, epoch: int, most_bytes: int | None
) -> Change:
    """Features of one moment, in place of the oldest where there are too many.

    Raises:
        ValueError: as in `encode_features`.
    """
    columns = encode_features(values)
    row = (run_id, int(step), int(epoch), time.time(), *columns)
    size = ROW_BYTES + sum(len(column) for column in columns if isinstance(column, bytes))
    statements: list[Statement] = [(INSERTION["feature_snapshots"], row)]
    if most_bytes is not None:
        statements.append((_THIN_SNAPSHOTS, (run_id, run_id, int(most_bytes), run_id)))
    return change(*statements, size=size)


def prediction_images(run_id: int, described: Sequence[Mapping[str, Any]]) -> list[Change]:
    """Test images whose predictions are kept, each a change: together they may be many megabytes.

    Raises:
        ValueError: truth or judged is no json.
    """
    parts = []
    for image in described:
        judged = image["judged"]
        row = (
            run_id,
            int(image["index"]),
            int(image["image_id"]),
            int(image["width"]),
            int(image["height"]),
            to_json(image["truth"]),
            None if judged is None else to_json(judged),
            bytes(image["picture"]),
        )
        size = sum(len(cell) for cell in row if isinstance(cell, str | bytes))
        parts.append(change((_IMAGE, row), size=ROW_BYTES + size))
    return parts


def predictions(
    run_id: int, found: Sequence[Mapping[str, Any]], *, step: int, epoch: int
) -> Change:
    """What one evaluation found on the images that are kept; ValueError when it is no json."""
    place = (run_id, int(step), int(epoch), time.time())
    rows = [(*place, int(row["image_index"]), to_json(row["detections"])) for row in found]
    size = sum(ROW_BYTES + len(row[-1]) for row in rows)
    return Change([(INSERTION["predictions"], rows)], size)


def _require_numbered(indices: Sequence[int], what: str) -> None:
    if sorted(indices) != list(range(len(indices))):
        raise ValueError(
            f"The indices of {len(indices)} {what} must be 0..{len(indices) - 1}, each once: "
            "number them in order."
        )


def _group_values(group: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        int(group["group"]),
        to_json(group["members"]),
        to_json(group["noise_members"]),
        to_json(group["with_data"]),
        to_json(group["clamped"]),
        _real(group.get("loss_before")),
        _real(group.get("loss_after")),
        float(group["factor"]),
        str(group.get("reason") or ""),
    )


def _real(value: Any) -> float | None:
    return None if value is None else float(value)


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
