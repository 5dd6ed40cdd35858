"""How the live routes answer: off the event loop, about one run, errors as one sentence."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.run_log.schema import RunLogError

NO_STORE = {"cache-control": "no-store"}


class WantError(ValueError):
    """A parameter that cannot be read; the message is one sentence for the caller."""


class NoSuchRunError(LookupError):
    """The run asked for is not in the log; the message is one sentence for the caller."""


def endpoint(answer: Callable[[Request], Response]) -> Callable[[Request], Any]:
    """Run a blocking answer off the event loop and turn its errors into sentences."""

    async def answered(request: Request) -> Response:
        started = time.perf_counter()
        try:
            response = await run_in_threadpool(answer, request)
            taken = 1e3 * (time.perf_counter() - started)
            response.headers["server-timing"] = f"answer;dur={taken:.1f}"  # milliseconds
            return response
        except WantError as error:
            return PlainTextResponse(str(error), 400, headers=NO_STORE)
        except NoSuchRunError as error:
            return PlainTextResponse(str(error), 404, headers=NO_STORE)
        except RunLogError as error:
            return PlainTextResponse(str(error), 503, headers=NO_STORE)

    return answered


def asked_run(reader: RunLogReader, request: Request) -> Run:
    """The run whose id is in the address.

    Raises:
        NoSuchRunError: there is none.
        RunLogError: the log cannot be read.
    """
    text = str(request.path_params["run_id"])
    run_id = int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0
    try:
        return reader.run(run_id)
    except RunLogError:
        if any(run.id == run_id for run in reader.runs()):
            raise
        raise NoSuchRunError(
            f"There is no run '{text[:40]}' in this run log: choose one from the list of runs"
        ) from None


def whole_number(text: str, what: str) -> int:
    """A whole number from 0 on, as a parameter says it.

    Raises:
        WantError: it is none; `what` names the parameter.
    """
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise WantError(f"{what} is '{text[:40]}', but it must be a whole number from 0 on")
    return int(text)
