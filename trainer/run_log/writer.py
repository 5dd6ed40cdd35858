"""The trainer's only door to the run log.

A call checks and copies its values into memory and returns; a `Committer` thread does the rest.
Shapes: C classes; of features, see `FeatureValues`.
"""

import atexit
import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from trainer.run_log import changes
from trainer.run_log.changes import ROW_BYTES, change
from trainer.run_log.commands import status_statements
from trainer.run_log.committer import Committer
from trainer.run_log.history import (
    Statement,
    copy,
    copy_of_subjects,
    current_position,
    parts,
    removal,
    truncation,
)
from trainer.run_log.rows import Command, FeatureValues
from trainer.run_log.schema import RunLogError
from trainer.run_log.text import to_json
from trainer.run_log.transaction import reading, state_of

QUEUE_LIMIT = 256 * 2**20
CLOSE_SECONDS = 30.0

_PROGRESS = (
    "UPDATE runs SET step = ?, total_steps = ?, epoch = ?, total_epochs = ?, phase = ? WHERE id = ?"
)
_CONFIG = "UPDATE runs SET config = ? WHERE id = ?"
_ATTEMPT = "INSERT INTO attempts (run_id, started, from_step) VALUES (?, ?, ?)"
_KEPT = (
    "INSERT OR REPLACE INTO checkpoints (run_id, step, epoch, batch, wall_time, bytes)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)
_REMOVED = "DELETE FROM checkpoints WHERE run_id = ? AND step = ?"
_REWIND = "UPDATE runs SET rewinds = rewinds + 1 WHERE id = ?"


class RunLogWriter:
    """Writes one run's rows without making the training thread wait.

    Args:
        path: the run log; the run must be in it already (`commands.queue_run`).
        run_id: the run.
        commit_interval: seconds between two commits; a killed process loses about that much.
        queue_limit: bytes of rows that may wait in memory while the file is locked or the disk
            full; beyond it calls wait (and `problem` says so), rather than rows being dropped.

    Raises:
        RunLogError: the run log cannot be opened, or has no such run.
    """

    def __init__(
        self,
        path: Path | str,
        run_id: int,
        *,
        commit_interval: float = 0.25,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        self._path = Path(path)
        self._run_id = run_id
        self._num_classes = _num_classes(self._path, run_id)
        self._committer = Committer(
            self._path, run_id, commit_interval=commit_interval, queue_limit=queue_limit
        )
        self._process = os.getpid()
        atexit.register(self._close_at_exit)

    @property
    def problem(self) -> str | None:
        """Why commits fail right now (disk full, file locked), or None; one sentence."""
        return self._committer.problem

    @property
    def queued_bytes(self) -> int:
        """About how many bytes of rows wait in memory."""
        return self._committer.queued_bytes

    def register_categories(self, categories: Sequence[Mapping[str, Any]]) -> None:
        """Name the classes: keys index, id, name, frequency, image_count, instance_count."""
        self._committer.put(changes.categories(self._run_id, categories))
        self._num_classes = len(categories)

    def scalars(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """Append one value to each named curve (NaN and infinity included)."""
        self._committer.put(changes.scalars(self._run_id, values, step=step, epoch=epoch))

    def class_vectors(self, values: Mapping[str, NDArray[Any]], *, step: int, epoch: int) -> None:
        """Append a snapshot of each named field: [C] float32 or int32 (float64, int64 converted).

        Raises:
            ValueError: another shape, another kind of number, or an integer beyond int32.
        """
        num_classes = self._num_classes
        self._committer.put(
            changes.class_vectors(
                self._run_id, values, num_classes=num_classes, step=step, epoch=epoch
            )
        )

    def adaptation(self, report: Mapping[str, Any], *, step: int, epoch: int) -> None:
        """Store an adaptation report: a summary row and one row per super-group.

        ``report`` is ``AdaptationReport.to_dict()``: eps, eps_quantile, num_groups, noise_share,
        largest_group, and groups with group, members, noise_members, with_data, clamped,
        loss_before, loss_after, factor, reason.
        """
        self._committer.put(changes.adaptation(self._run_id, report, step=step, epoch=epoch))

    def event(
        self,
        kind: str,
        text: str,
        *,
        step: int,
        epoch: int,
        payload: Mapping[str, Any] | None = None,
    ) -> None:
        """Note something that every chart can mark; ``payload`` is kept as json."""
        self._committer.put(
            changes.event(self._run_id, kind, text, payload or {}, step=step, epoch=epoch)
        )

    def status(self, status: str, *, error: str | None = None) -> None:
        """Set the run's status; a final one ends the attempt and refuses unanswered commands."""
        self._committer.put(change(*status_statements(self._run_id, status, error)))

    def config(self, values: Mapping[str, Any]) -> None:
        """Set the run's configuration: what it really trains with, where that is not as asked."""
        self._committer.put(change((_CONFIG, (to_json(values), self._run_id))))

    def progress(
        self, *, step: int, total_steps: int, epoch: int, total_epochs: int, phase: str
    ) -> None:
        """Say how far the run is; ``phase`` is a word or two for people ("training")."""
        row = (int(step), int(total_steps), int(epoch), int(total_epochs), phase, self._run_id)
        self._committer.put(change((_PROGRESS, row)))

    def begin_attempt(self, *, from_step: int) -> None:
        """Say that this process takes the run up; its final status ends the attempt."""
        row = (self._run_id, time.time(), int(from_step))
        self._committer.put(change((_ATTEMPT, row)))

    def apply_command(
        self, command: Command, text: str, *, step: int, epoch: int, phase: str
    ) -> None:
        """Say that a command took hold, by its answer and by an event, both or neither.

        Args:
            command: from `take_commands`.
            text: what was done, for people.
            step: the step from which it holds.
            epoch: the epoch at work.
            phase: what the run was doing; with step and epoch the moment to repeat it at.
        """
        self._committer.put(
            changes.apply_command(self._run_id, command, text, step=step, epoch=epoch, phase=phase)
        )

    def refuse_command(self, command: Command, reason: str) -> None:
        """Say why a command was refused."""
        self._committer.put(changes.refuse_command(command, reason))

    def take_commands(self) -> list[Command]:
        """Commands that came since the last call, each once (looked up four times a second).

        Costs the training thread no SQL: the writer's own thread looks.
        """
        return self._committer.take_commands()

    def checkpoint_kept(self, *, step: int, epoch: int, batch: int, size: int) -> None:
        """Say that a checkpoint lies on the disk: its ``size`` in bytes, and its place."""
        row = (self._run_id, int(step), int(epoch), int(batch), time.time(), int(size))
        self._committer.put(change((_KEPT, row)))

    def checkpoint_removed(self, *, step: int) -> None:
        """Say that a checkpoint is gone from the disk."""
        self._committer.put(change((_REMOVED, (self._run_id, int(step)))))

    def feature_probes(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Name the objects whose features are followed, in place of earlier ones.

        Keys as in `FeatureProbeRow`: object_index, class_index, split ("train" or "holdout"),
        image_id, x1, y1, x2, y2 in pixels of the image, and picture, a JPEG.

        Raises:
            ValueError: the indices are not 0..N-1, or there is no such split.
        """
        self._committer.put(changes.feature_probes(self._run_id, rows))

    def feature_snapshot(
        self, values: FeatureValues, *, step: int, epoch: int, most_bytes: int | None = None
    ) -> None:
        """Append the features of one moment.

        Args:
            values: stored as float16, int32 and float32.
            step: training steps done.
            epoch: the epoch at work.
            most_bytes: where the run's snapshots together take more, the oldest but the very first
                are deleted; the new one always stays.

        Raises:
            ValueError: shapes or numbers that do not fit.
        """
        self._committer.put(
            changes.feature_snapshot(
                self._run_id, values, step=step, epoch=epoch, most_bytes=most_bytes
            )
        )

    def prediction_images(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Name the test images whose predictions are kept; one named before is named anew.

        Keys as in `PredictionImage`, with truth a list of json objects, and picture, a JPEG.

        Raises:
            ValueError: truth or judged is no json.
        """
        for part in changes.prediction_images(self._run_id, rows):
            self._committer.put(part)

    def predictions(self, rows: Sequence[Mapping[str, Any]], *, step: int, epoch: int) -> None:
        """Append what one evaluation found on the images that are kept.

        Args:
            rows: one an image: image_index, and detections, a list of json objects as in
                `PredictionRow`, the best score first; empty where nothing was found.
            step: training steps done.
            epoch: the epoch at work.

        Raises:
            ValueError: the detections are no json.
        """
        self._committer.put(changes.predictions(self._run_id, rows, step=step, epoch=epoch))

    def position(self) -> dict[str, int]:
        """How far the log is, for a checkpoint: rows of this run written later have larger ids.

        Commits and syncs first, however long that takes (see `problem`), so that a checkpoint is
        never newer than the log.

        Raises:
            RunLogError: the run log can never take what is queued (run deleted, file damaged).
        """
        self._flush_patiently()
        with reading(self._path) as connection:
            return current_position(connection)

    def truncate_after(self, position: Mapping[str, int], *, step: int) -> None:
        """Forget what was written after a checkpoint, in one transaction.

        Commands, their answers and the attempts stay. ``runs.rewinds`` grows by one, so that
        readers know that rows they have seen are gone.

        Args:
            position: of the checkpoint (`position`); a table missing in it is emptied of the run.
            step: of the checkpoint.
        """
        self._committer.put(change(*truncation(self._run_id, position, int(step))))

    def copy_history(self, parent_run: int, position: Mapping[str, int]) -> None:
        """Begin with what the parent had written up to a checkpoint's position; waits for it.

        The rows keep their order, steps and times and get ids of their own. What this run had
        already is deleted first, so that a copy that was cut short can be made again.

        Raises:
            RunLogError: there is no such run, or the run log can never take the rows.
        """
        self._flush_patiently()
        with reading(self._path) as connection:
            state_of(connection, parent_run, self._path)
            is_repeated = False
            for part in parts(connection, self._run_id, current_position(connection)):
                self._put_and_wait(removal(part.table, part.ids), size=part.size)
                is_repeated = True
            if is_repeated:
                self._put_and_wait((_REWIND, (self._run_id,)))
            for part in parts(connection, parent_run, position):
                self._put_and_wait(copy(part, self._run_id), size=part.size)
            self._put_and_wait(*copy_of_subjects(parent_run, self._run_id))

    def flush(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Commit now and have the disk confirm it; False when that took longer (see `problem`).

        Call it before a checkpoint is given its final name: then a resumed run finds every row
        up to its checkpoint, even after a power cut.
        """
        return self._committer.flush(timeout)

    def wait_while_disk_full(self, give_up: Callable[[], bool] | None = None) -> float:
        """Hold the training while rows cannot be stored; returns the seconds that took.

        ``give_up`` is asked five times a second; True ends the wait (somebody pressed Ctrl-C).
        """
        return self._committer.wait_while_disk_full(give_up)

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Commit the rest and let go of the file.

        Raises:
            RunLogError: something could not be committed in time; the message says what.
        """
        atexit.unregister(self._close_at_exit)
        self._committer.close(timeout)

    def __enter__(self) -> "RunLogWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A second error must not hide the first one.
        with contextlib.suppress(RunLogError) if error is not None else contextlib.nullcontext():
            self.close()

    def _close_at_exit(self) -> None:
        if os.getpid() != self._process:
            return
        try:
            self.close()
        except RunLogError as error:
            print(error, file=sys.stderr)

    def _put_and_wait(self, *statements: Statement, size: int = ROW_BYTES) -> None:
        self._committer.put(change(*statements, size=size))
        self._flush_patiently()

    def _flush_patiently(self) -> None:
        while not self.flush():
            pass


def _num_classes(path: Path, run_id: int) -> int:
    """How many categories the run has already (0: none yet). Refuses an unknown run."""
    with reading(path) as connection:
        state_of(connection, run_id, path)
        count: int = connection.execute(
            "SELECT count(*) FROM categories WHERE run_id = ?", (run_id,)
        ).fetchone()[0]
        return count
