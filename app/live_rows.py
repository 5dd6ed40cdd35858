"""Answers `want`s of the live route from the run log: what is read, and what is made of it.

Of what did not change, nothing is sent: the newest vector of a class field is compared with the
one at the cursor.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from app.live_frames import (
    BAND_NAMES,
    FREQUENCIES,
    Float32,
    Frame,
    Want,
    group_means,
    group_quantiles,
    last_change,
    last_of_each_epoch,
    matching_names,
    pick_classes,
)
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import ClassVectors

MOST_VALUES = 4000  # of one curve in an answer; a longer one is thinned, highs and lows stay


class Answers:
    """The frames of one request; what several `want`s need is read once.

    Args:
        reader: of the run log.
        run_id: the run asked for.
        group: [C] index into `FREQUENCIES`, -1 for none; empty while the classes have no names.
    """

    def __init__(self, reader: RunLogReader, run_id: int, group: NDArray[np.int8]) -> None:
        self._reader, self._run_id, self._group = reader, run_id, group
        self._read: dict[tuple[str, int], ClassVectors] = {}

    def frame(self, want: Want, after: int) -> Frame:
        """The rows of one `want` past a cursor."""
        if want.kind == "scalars":
            return self._scalars(want, after)
        if want.kind in ("latest", "change"):
            return self._newest(want, after)
        if want.kind == "epochs":
            return self._epochs(want, after)
        rows = self._vectors(want.field, after)
        if not len(rows.ids):
            return Frame(after)
        values, names = np.asarray(rows.values, np.float32), ()
        if want.kind == "groups":
            return _frame(rows, group_means(values, self._group), FREQUENCIES)
        if want.kind == "bands":
            return _frame(rows, group_quantiles(values, self._group), BAND_NAMES)
        return _frame(rows, pick_classes(values, want.classes), names)

    def _vectors(self, field: str, after: int) -> ClassVectors:
        key = (field, after)
        if key not in self._read:
            self._read[key] = self._reader.class_vectors(self._run_id, field, after=after)
        return self._read[key]

    def _scalars(self, want: Want, after: int) -> Frame:
        names = matching_names(want.names, self._reader.scalar_names(self._run_id))
        rows = (
            self._reader.scalars(self._run_id, names, after=after, most=MOST_VALUES)
            if names
            else []
        )
        position: Mapping[str, int] = {name: index for index, name in enumerate(names)}
        return Frame(
            cursor=max((row.id for row in rows), default=after),
            wall=np.array([row.wall_time for row in rows], np.float64),
            step=np.array([row.step for row in rows], np.int32),
            epoch=np.array([row.epoch for row in rows], np.int32),
            series=np.array([position[row.name] for row in rows], np.int32),
            values=np.array([row.value for row in rows], np.float32).reshape(-1, 1),
            names=tuple(names),
        )

    def _newest(self, want: Want, after: int) -> Frame:
        """One row with all classes; none when it is what the caller has."""
        newest = self._reader.latest_class_vector(self._run_id, want.field)
        if newest is None or newest.id <= after:
            return Frame(after)
        values = np.asarray(newest.values, np.float32)
        if _same(values, self._at(want.field, after)):
            return Frame(newest.id, values=np.empty((0, len(values)), np.float32))
        if want.kind == "change":
            other = self._reader.latest_class_vector(self._run_id, want.field, unlike=newest.id)
            known = [values] if other is None else [np.asarray(other.values, np.float32), values]
            values = last_change(np.stack(known))
        return Frame(
            cursor=newest.id,
            wall=np.array([newest.wall_time], np.float64),
            step=np.array([newest.step], np.int32),
            epoch=np.array([newest.epoch], np.int32),
            series=np.zeros(1, np.int32),
            values=values[None, :],
        )

    def _epochs(self, want: Want, after: int) -> Frame:
        """The last snapshot of each epoch; the epoch at the cursor comes again if it changed."""
        rows = self._vectors(want.field, after)
        if not len(rows.ids):
            return Frame(after)
        kept = last_of_each_epoch(rows.epochs)
        known = self._vectors(want.field, after - 1) if after else rows
        if (
            after
            and known.ids[0] == after
            and known.epochs[0] == rows.epochs[kept[0]]
            and _same(known.values[0], rows.values[kept[0]])
        ):
            kept = kept[1:]
        chosen = ClassVectors._make(column[kept] for column in rows)
        return _frame(chosen, np.asarray(chosen.values, np.float32), cursor=int(rows.ids[-1]))

    def _at(self, field: str, cursor: int) -> Float32 | None:
        """The snapshot with this very id, as long as it is there."""
        if not cursor:
            return None
        rows = self._vectors(field, cursor - 1)
        return np.asarray(rows.values[0], np.float32) if rows.ids[0] == cursor else None


def _same(values: NDArray[np.generic], others: NDArray[np.generic] | None) -> bool:
    return others is not None and values.tobytes() == others.tobytes()  # NaN equals NaN here


def _frame(
    rows: ClassVectors, values: Float32, names: tuple[str, ...] = (), *, cursor: int | None = None
) -> Frame:
    return Frame(
        cursor=int(rows.ids[-1]) if cursor is None else cursor,
        wall=np.asarray(rows.wall_times, np.float64),
        step=np.asarray(rows.steps, np.int32),
        epoch=np.asarray(rows.epochs, np.int32),
        series=np.zeros(len(rows.ids), np.int32),
        values=values,
        names=names,
    )
