"""The route of the diagnosis.

    GET /live/runs/ID/diagnosis   JSON: {"findings": [...], "checked": [...], "not_yet": [...]}

A finding is {"key", "title", "severity": bad | warn | note, "text", "number", "remedy"}, the worst
first.
`checked` and `not_yet` are the words of what was looked at, and of what cannot be judged yet.
It reads only the newest rows, so it costs a few milliseconds however long the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from app.diagnosis import Diagnosis, diagnose
from app.diagnosis_facts import Vector, read_facts, vectors_before
from app.live_answers import NO_STORE, asked_run, endpoint
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import CategoryRow, Run

Before = tuple[tuple[int, int], Mapping[str, Vector]]  # (rewinds, epoch) it holds for, and it


class Diagnoses:
    """Diagnoses of the runs of one log; remembers what does not change within an epoch.

    Args:
        reader: opens the run log as it stands.
        path: of the run log.
    """

    def __init__(self, reader: Callable[[], RunLogReader], path: Path) -> None:
        self._open = reader
        self._path = path
        self._of: RunLogReader | None = None
        self._categories: dict[int, list[CategoryRow]] = {}
        self._before: dict[int, Before] = {}

    def answer(self, request: Request) -> Response:
        """What is wrong with the run in the address."""
        reader = self._open()
        if reader is not self._of:  # another file took the log's place
            self._categories, self._before, self._of = {}, {}, reader
        found = self.of(reader, asked_run(reader, request))
        return JSONResponse(found.to_dict(), headers=NO_STORE)

    def of(self, reader: RunLogReader, run: Run) -> Diagnosis:
        """What is wrong with a run now.

        Raises:
            RunLogError: the run log cannot be read.
        """
        categories = self._categories.get(run.id) or reader.categories(run.id)
        if categories:
            self._categories[run.id] = categories
        moment = (run.rewinds, run.epoch)
        known, before = self._before.get(run.id, (None, {}))
        if known != moment:
            before = vectors_before(reader, run, len(categories))
            self._before[run.id] = moment, before
        facts = read_facts(
            reader, self._path, run, categories=categories, before=before, now=time.time()
        )
        return diagnose(facts)


def diagnosis_routes(reader: Callable[[], RunLogReader], path: Path) -> list[BaseRoute]:
    """The route, to be put beside the other live routes."""
    diagnoses = Diagnoses(reader, path)
    return [Route("/live/runs/{run_id}/diagnosis", endpoint(diagnoses.answer))]
