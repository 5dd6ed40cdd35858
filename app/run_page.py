"""What the pages about one run share: which run it is, kept in the address and between pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from app.notices import notice, readable_log
from app.run_list import run_list
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import CategoryRow, Run
from trainer.run_log.schema import FINAL_STATUSES, QUEUED, RunLogError

LAST_RUN = "last-run"  # of this session: a page opened from the navigation shows the same run


@dataclass(frozen=True)
class RunPage:
    """The run a page shows, among all runs of the log (oldest first)."""

    reader: RunLogReader
    runs: Sequence[Run]
    run: Run
    categories: Sequence[CategoryRow]


def open_run_page(*, picker: bool = True) -> RunPage | None:
    """The run the address asks for; None after the page said why there is none to show.

    Args:
        picker: draw a choice of the run.
    """
    log = readable_log()
    if log is None:
        return None
    try:
        reader = log.reader()
        runs = reader.runs() if reader else []
        run = chosen_run(runs, st.query_params.get("run"), st.session_state.get(LAST_RUN))
        if reader is None or run is None:
            explain_missing(st.query_params.get("run"), bool(runs))
            return None
        if picker:
            run = pick(runs, run)
        st.query_params["run"] = str(run.id)
        st.session_state[LAST_RUN] = str(run.id)
        return RunPage(reader, runs, run, reader.categories(run.id))
    except RunLogError as error:
        notice("This run log cannot be read", str(error))
        return None


def chosen_run(runs: Sequence[Run], asked: str | None, last: str | None = None) -> Run | None:
    """The run the address asks for; else the last one seen, the newest that trains, the newest."""
    by_id = {str(run.id): run for run in runs}
    if asked is not None:
        return by_id.get(asked)
    if last in by_id:
        return by_id[last]
    training = [run for run in runs if run.status not in (*FINAL_STATUSES, QUEUED)]
    return next(reversed(training or list(runs)), None)


def pick(runs: Sequence[Run], run: Run) -> Run:
    """Draw the choice of the run, set to `run`; returns the chosen one."""
    ids = [other.id for other in reversed(runs)]
    labels = {other.id: run_label(other) for other in runs}
    key = f"run-of-page-{run.id}"  # another address makes another widget, which shows its run
    chosen = st.selectbox("run", ids, index=ids.index(run.id), key=key, width=420,
                          format_func=labels.__getitem__)  # fmt: skip
    return next((other for other in runs if other.id == chosen), run)


def run_label(run: Run) -> str:
    """A run in one line: '3 · demo · finished'."""
    return f"{run.id} · {run.name} · {run.status}"


def explain_missing(asked: str | None, any_runs: bool) -> None:
    """Say why there is nothing to show, and what to do."""
    if asked is not None and any_runs:
        notice("No such run", f"There is no run '{asked[:40]}' here: choose one on the page Runs.")
    else:
        run_list()  # says that there are none, and lists them as soon as there are
