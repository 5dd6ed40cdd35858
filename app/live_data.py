"""The live routes: run-log rows past a cursor, as little-endian typed arrays. Read only.

Live numbers flow past Streamlit: a page's components share one poller (`live_chart/poll.js`) that
asks about once a second for what is new and extends the arrays it already holds.

    GET /live/runs                       JSON: the summaries of all runs, newest first
    GET /live/runs/ID?want=...&rewinds=N binary: the run's summary, then one frame a `want`
    GET /live/runs/ID/categories         JSON: name, frequency and counts of the C classes
    GET /live/runs/ID/marks              JSON: what happened in the run, see `app/events.py`
    GET /live/runs/ID/reasons            JSON: why p changed, see `app/class_reasons.py`
    GET /live/runs/ID/measures           JSON: of features by class, see `app/measure_routes.py`
    GET /live/runs/ID/diagnosis          JSON: what is wrong, see `app/diagnosis_route.py`
    GET /live/runs/ID/figures/NAME       JSON or CSV: see `app/figure_routes.py`
    GET /live/runs/ID/detections, ...    see `app/detection_routes.py`
    GET /live/runs/ID/features, ...      see `app/feature_routes.py`

`want` may be repeated (at most 32 times); each is KIND:AFTER:SUBJECT, AFTER being the cursor:

    scalars:120:loss/*,segm/AP   values by name, a trailing * stands for all names that begin so
    groups:88:probability        mean of a class field over rare, common and frequent classes
    bands:88:probability         its 10, 25, 50, 75, 90 % quantiles in each of these groups
    classes:88:score:17,23       a class field of chosen classes
    epochs:88:probability        the last snapshot of each epoch, all C classes; the newest epoch
                                 comes again, to replace what came of it before
    latest:88:weight_norm        the newest snapshot of a class field, all C classes
    change:88:probability        newest snapshot / the last that differs, all C classes

What did not change is not sent: of `latest`, `change` and the newest of `epochs` there is a row
only when it differs from the snapshot at the cursor. Of a curve with very many values the lowest
and highest of equal stretches are sent (see `trainer/run_log/thinning.py`).

The answer (`application/octet-stream`, all numbers little-endian):

    bytes 0-3    the letters FASA
    uint32       version of this layout, 1
    uint32       H, the length of the head
    H bytes      the head: JSON in UTF-8, padded with spaces so that 12 + H divides by 8
    then for each frame in the order of the `want`s, with its S rows and K columns from the head:
      float64[S]    wall time, seconds since 1970
      int32[S]      step
      int32[S]      epoch
      int32[S]      series: index into the frame's names (scalars), else 0
      float32[S*K]  values, row by row; NaN for no data
      zero bytes up to the next multiple of 8

The head holds `now` (server time), `reset`, `run` (the summary, the last `commands` with their
answers, the newest `checkpoint`, `marks`: a text that changes when the marks do, and `versions`:
numbers that grow with a new snapshot, and with a newly adapted or evaluated epoch), and `frames`,
each with `cursor` (to be sent as AFTER next time), `rows`, `columns` and `names`. `rewinds`
is the run's counter as the caller knows it: when the log has another (a resumed run
deleted what lay past its checkpoint), all cursors are taken as 0 and `reset` is true: the caller
drops what it holds first.

Errors are one sentence of plain text: 400 a parameter that cannot be read, 404 no such run,
503 a run log that cannot be read now.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from app.class_reasons import reason_routes
from app.detection_routes import DetectionRoutes
from app.diagnosis_route import diagnosis_routes
from app.events import History
from app.feature_routes import FeatureRoutes
from app.figure_routes import figure_routes
from app.live_answers import NO_STORE, WantError, asked_run, endpoint, whole_number
from app.live_frames import FREQUENCIES, encode, parse_want
from app.live_rows import Answers
from app.measure_routes import measure_routes
from app.run_summary import Summaries
from app.source import Source
from app.sparklines import Sparklines
from trainer.run_log.commands import UNDO_SECONDS
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.run_log.schema import RunLogError

MOST_WANTS = 32


class Groups:
    """Which frequency group each class of a run is in; read once, as classes do not change."""

    def __init__(self, reader: RunLogReader) -> None:
        self._reader = reader
        self._known: dict[int, NDArray[np.int8]] = {}

    def of_class(self, run: Run) -> NDArray[np.int8]:
        """[C] index into `FREQUENCIES`.

        -1 for a letter that is none of them, and for a class without training instances: Eq. 4
        gives it no probability, and its classifier learns nothing.
        """
        group = self._known.get(run.id)
        if group is None:
            rows = self._reader.categories(run.id)
            letters = [row.frequency if row.instance_count else "" for row in rows]
            group = np.array([FREQUENCIES.index(x) if x in FREQUENCIES else -1 for x in letters],
                             np.int8)  # fmt: skip
            if len(group):
                self._known[run.id] = group
        return group


@dataclass(frozen=True)
class Memory:
    """Who remembers what of one run log's file."""

    reader: RunLogReader
    summaries: Summaries
    groups: Groups
    history: History
    sparklines: Sparklines


class LiveData:
    """Answers the live routes from one run log; safe to call from several threads."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._memory: Memory | None = None

    def routes(self) -> list[BaseRoute]:
        """The Starlette routes, to be handed to `streamlit.App`."""
        return [
            Route("/live/runs", endpoint(self.run_list)),
            Route("/live/runs/{run_id}", endpoint(self.run_rows)),
            Route("/live/runs/{run_id}/categories", endpoint(self.run_categories)),
            Route("/live/runs/{run_id}/marks", endpoint(self.run_marks)),
            *figure_routes(lambda: self.open().reader),
            *diagnosis_routes(lambda: self.open().reader, self._source.path),
            *reason_routes(lambda: self.open().reader),
            *measure_routes(lambda: self.open().reader),
            *DetectionRoutes(lambda: self.open().reader).routes(),
            *FeatureRoutes(lambda: self.open().reader).routes(),
        ]

    def run_list(self, request: Request) -> Response:
        """Summaries of all runs, newest first; an empty list while there is no run log yet.

        A deleted run stays in it, with the time it was deleted, for as long as it can be undone.
        """
        now = time.time()
        if self._source.reader() is None:
            return JSONResponse({"now": now, "runs": []}, headers=NO_STORE)
        memory = self.open()
        rows = reversed(memory.reader.runs(include_deleted=True))
        shown = [r for r in rows if r.deleted is None or now - r.deleted < UNDO_SECONDS]
        lines = memory.sparklines
        runs = [{**memory.summaries.of(run, now), "lines": lines.of(run)} for run in shown]
        return JSONResponse({"now": now, "runs": runs}, headers=NO_STORE)

    def run_rows(self, request: Request) -> Response:
        """A run's summary and the rows past the cursors, packed as the module says."""
        wants = [parse_want(text) for text in request.query_params.getlist("want")]
        if len(wants) > MOST_WANTS:
            raise WantError(f"{len(wants)} wants in one request, but at most {MOST_WANTS} may be")
        known = request.query_params.get("rewinds", "")
        if known:
            whole_number(known, "rewinds")
        memory = self.open()
        reader, groups = memory.reader, memory.groups
        run = asked_run(reader, request)
        reset = bool(known) and int(known) != run.rewinds
        answers = Answers(reader, run.id, groups.of_class(run))
        frames = [answers.frame(want, 0 if reset else want.after) for want in wants]
        now = time.time()
        summary = {
            **memory.summaries.of(run, now),
            "classes": len(groups.of_class(run)),
            "commands": memory.history.commands(run),
            "checkpoint": _newest_checkpoint(reader, run),
            "marks": memory.history.version(run),
            "versions": reader.versions(run.id),
        }
        head = {"now": round(now, 3), "reset": reset, "run": summary}
        return Response(encode(head, frames), media_type="application/octet-stream",
                        headers=NO_STORE)  # fmt: skip

    def run_categories(self, request: Request) -> Response:
        """The classes of a run in the order of their indices, column by column."""
        reader = self.open().reader
        rows = reader.categories(asked_run(reader, request).id)
        columns = {
            "names": [row.name for row in rows],
            "frequency": [row.frequency for row in rows],
            "images": [row.image_count for row in rows],
            "instances": [row.instance_count for row in rows],
        }
        return JSONResponse(columns, headers=NO_STORE)

    def run_marks(self, request: Request) -> Response:
        """What happened in a run, in the order of its steps."""
        memory = self.open()
        run = asked_run(memory.reader, request)
        history = memory.history
        answer = {"version": history.version(run), "marks": history.marks(run)}
        return JSONResponse(answer, headers=NO_STORE)

    def open(self) -> Memory:
        """What is remembered of the run log as it stands; a sentence when there is none."""
        reader = self._source.reader()
        if reader is None:
            raise RunLogError(f"There is no run log at {self._source.path} yet: start a run first")
        memory = self._memory
        if memory is None or memory.reader is not reader:  # first call, or another file
            summaries = Summaries(reader)
            history = History(reader, summaries)
            memory = self._memory = Memory(
                reader, summaries, Groups(reader), history, Sparklines(reader)
            )
        return memory


def _newest_checkpoint(reader: RunLogReader, run: Run) -> dict[str, int] | None:
    """From where the run could go on; None when it would have to start again."""
    kept = reader.checkpoints(run.id)
    return {"step": kept[-1].step, "epoch": kept[-1].epoch} if kept else None
