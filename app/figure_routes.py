"""The routes of the figures: each is drawn from a run's rows when a page asks for it.

    GET /live/runs/ID/figures/NAME?dark=1&...   JSON: {"traces", "layout", "note"}
    GET /live/runs/ID/figures/NAME?format=csv   the table behind it, as CSV

Other parameters are the figure's own. Numbers that are NaN or infinite travel as null.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.figure import Figure
from app.live_answers import NO_STORE, asked_run, endpoint
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import CategoryRow, Run

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Asked:
    """What a figure is drawn from: a run, its classes, the parameters of the request."""

    reader: RunLogReader
    run: Run
    categories: Sequence[CategoryRow]
    params: Mapping[str, str]
    dark: bool


def figure_routes(reader: Callable[[], RunLogReader]) -> list[BaseRoute]:
    """One route a figure of `app/figures.py`; `reader` opens the run log as it stands."""
    from app.figures import FIGURES  # each of them imports `Asked` from here

    return [
        Route(f"/live/runs/{{run_id}}/figures/{name}", endpoint(_answer(build, reader)))
        for name, build in FIGURES
    ]


def _answer(
    build: Callable[[Asked], Figure], reader: Callable[[], RunLogReader]
) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        log = reader()
        run = asked_run(log, request)
        params = dict(request.query_params)
        dark = params.pop("dark", "") == "1"
        wants_table = params.pop("format", "") == "csv"
        figure = build(Asked(log, run, log.categories(run.id), params, dark))
        if wants_table:
            return Response(table_text(figure.table), media_type="text/csv", headers=NO_STORE)
        body = {"traces": figure.traces, "layout": figure.layout, "note": figure.note}
        text = json.dumps(plain(body), separators=(",", ":"), allow_nan=False)
        return Response(text, media_type="application/json", headers=NO_STORE)

    return answer


def plain(value: Any) -> Any:
    """A value as JSON can carry it: arrays as lists, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def table_text(table: Mapping[str, Sequence[Any]]) -> str:
    """A table as CSV; missing numbers are empty.

    A text that a spreadsheet would take for a formula gets an apostrophe in front: class names
    come from people's files.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(table)
    for row in zip(*(plain(list(column)) for column in table.values()), strict=True):
        writer.writerow([_cell(value) for value in row])
    return out.getvalue()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(FORMULA_SIGNS):
        return "'" + value
    return value
