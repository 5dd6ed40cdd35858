"""What the projector does: looks for snapshots without pictures, makes these and stores them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from trainer.manifold import measure
from trainer.projection import Picture, load_umap, project
from trainer.projection_points import ProjectionError, Start, start_from
from trainer.projection_queue import AT_ONCE, Job, next_job
from trainer.run_log.projections import (
    abandon_running,
    begin_projection,
    fail_projection,
    fail_running,
    store_measures,
    store_projection,
)
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import FeatureSnapshot
from trainer.run_log.schema import RunLogError, identity

_POLL_SECONDS = 1.0
_RETRY_SECONDS = 2.0
_LEFT_RUNNING = (
    "The projector ended while it made this picture, killed or out of memory, and does not try it "
    "again: the next snapshot gets its picture as usual."
)


class Projector:
    """Makes the pictures of one run log. Only one may do so at a time.

    Args:
        path: the run log; need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: RunLogReader | None = None
        self._file: tuple[int, int] | None = None  # the run log that was looked through last
        self._seen = -1  # its data version when there was nothing to do
        self._complaint = ""
        self._beginning = threading.Lock()

    def run_forever(self) -> None:
        """Until an exception that is no `RunLogError`."""
        while True:
            try:
                worked = self.work()
                self._complaint = ""
            except RunLogError as error:
                self._complain(error)
                worked = False
            if not worked:
                time.sleep(_POLL_SECONDS)

    def work_off(self) -> None:
        """Until nothing is left to do; says what was made.

        Raises:
            RunLogError: the run log cannot be used.
        """
        made = 0
        while self.work():
            made += 1
        print(f"{made} pictures tried, none left to make", flush=True)

    def work(self) -> bool:
        """Make the picture that is due; False when there is none.

        Raises:
            RunLogError: the run log cannot be used now.
        """
        if self._reader is None:
            self._reader = RunLogReader(self._path)
        version = self._reader.data_version()
        if version == self._seen:
            return False
        file = identity(self._path)
        if file != self._file:
            # What it shows as being made was left by a projector that is no more.
            fail_running(self._path, _LEFT_RUNNING)
            self._file = file
        job = next_job(self._reader.features.states())
        if job is None:
            self._seen = version
            return False
        self._do(job)
        return True

    def take_back(self) -> None:
        """From another thread: no picture is begun from now on, and that being made is not shown.

        Another projector makes it. The one that works on here is to be ended with its process.
        """
        self._beginning.acquire()  # and never released
        if self._file is not None and identity(self._path) == self._file:
            with suppress(RunLogError):
                abandon_running(self._path)

    def _do(self, job: Job) -> None:
        where = (self._path, job.run_id, job.snapshot_id, job.method)
        try:
            with self._beginning:
                begun = begin_projection(*where)
            if begun:
                self._make(job)
        except RunLogError:
            self._insist(lambda: abandon_running(self._path))
            raise

    def _make(self, job: Job) -> None:
        where = (self._path, job.run_id, job.snapshot_id, job.method)
        picture, error = None, ""
        try:
            if job.method != AT_ONCE:
                load_umap()  # not counted
            started = time.perf_counter()
            picture = self._picture(job)
        except RunLogError:
            raise
        except ProjectionError as problem:
            error = str(problem)
        except MemoryError:
            error = "There is not enough memory for this picture: stop something else meanwhile."
        except Exception as problem:  # whatever the libraries do, the next picture is made
            error = f"The picture could not be made: {type(problem).__name__}, {_line(problem)}"
        if picture is None:
            if error:
                self._insist(lambda: fail_projection(*where, error))
            return
        seconds = time.perf_counter() - started
        self._insist(
            lambda: store_projection(
                *where,
                seconds=seconds,
                parameters=picture.parameters,
                real=picture.real,
                virtual=picture.virtual,
                ellipses=picture.ellipses,
            )
        )

    def _picture(self, job: Job) -> Picture | None:
        """None when the snapshot was deleted meanwhile."""
        assert self._reader is not None
        features = self._reader.features
        snapshot = features.snapshot(job.snapshot_id)
        if snapshot is None:
            return None
        objects = features.objects(job.run_id)
        class_of = np.array([row.class_index for row in objects], np.int32)
        if job.method == AT_ONCE:
            held_out = np.array([row.split == "holdout" for row in objects], np.bool_)
            self._measure(job, snapshot, class_of, held_out)
        return project(snapshot, job.method, class_of=class_of, start=self._start(job))

    def _start(self, job: Job) -> Start | None:
        assert self._reader is not None
        if job.start is None:
            return None
        labels = self._reader.features.labels(job.start)
        picture = self._reader.features.projection(job.start, job.method)
        return None if labels is None or picture is None else start_from(labels, picture)

    def _measure(
        self,
        job: Job,
        snapshot: FeatureSnapshot,
        class_of: np.ndarray,
        held_out: np.ndarray,
    ) -> None:
        assert self._reader is not None
        categories = self._reader.categories(job.run_id)
        try:
            measures = measure(
                snapshot,
                class_of=class_of,
                held_out=held_out,
                frequencies=[category.frequency for category in categories],
                instances=np.array([category.instance_count for category in categories], np.int64),
            )
        except Exception as problem:  # the picture can be made without
            say(
                f"snapshot {job.snapshot_id} of run {job.run_id} was not measured: "
                f"{type(problem).__name__}, {_line(problem)}"
            )
            return
        self._insist(lambda: store_measures(self._path, job.run_id, job.snapshot_id, measures))

    def _insist(self, write: Callable[[], object]) -> None:
        """Write what was computed, however long the run log is locked or the disk full.

        What was computed for a run log that is gone or was replaced goes with it.
        """
        while identity(self._path) == self._file:
            try:
                write()
            except RunLogError as error:
                self._complain(error)
                time.sleep(_RETRY_SECONDS)
            else:
                return

    def _complain(self, error: RunLogError) -> None:
        if str(error) != self._complaint:
            say(str(error))
        self._complaint = str(error)


def say(text: str) -> None:
    """To the console this was started from."""
    print(f"projector: {text}", file=sys.stderr, flush=True)


def _line(error: Exception) -> str:
    """The first line of what an error says, as the end of a sentence."""
    return (str(error).strip().splitlines() or ["without a word"])[0].rstrip(".") + "."
