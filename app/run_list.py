"""The list of runs with its actions; the page Runs, and what a live page shows without a run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import streamlit as st

from app.branch_dialog import branch_dialog
from app.live_chart import live
from app.run_actions import act, answer, edit_dialog, is_run_id
from app.source import run_log_path, source
from trainer.run_log.rows import Run
from trainer.run_log.schema import RunLogError

KEY = "runs"
ANSWER = "runs-answer"
DIALOGS = ("edit", "restart", "fork")
EMPTY = {
    "title": "No runs yet",
    "sentence": "Start one, and it shows up here by itself.",
    "commands": [
        ["fasa up", "the demo and this dashboard"],
        ["fasa train", "a run of your own"],
    ],
}


def run_list() -> None:
    """All runs, live; a click opens a run's page. Says what to do while there are none."""
    # The time makes the list ask for news whenever the page is drawn, after a dialog, say.
    view = {"answer": st.session_state.get(ANSWER), "drawn": time.time()}
    result = live(
        "run_list", {"empty": EMPTY}, key=KEY, view=view,
        on_open_change=lambda: None, on_ask_change=take,
    )  # fmt: skip
    if is_run_id(result.open):
        st.switch_page("pages/live.py", query_params={"run": str(int(result.open))})
    if isinstance(result.ask, Mapping) and result.ask.get("kind") in DIALOGS:
        open_dialog(result.ask)


def take() -> None:
    """Do what the list asked for, and keep the answer for it. (Dialogs are opened afterwards.)"""
    asked: Any = st.session_state[KEY].ask
    if not isinstance(asked, Mapping):
        return
    kind, run_id = asked.get("kind"), asked.get("run")
    sentence = refusal_of(run_id) if kind in DIALOGS else act(run_log_path(), run_id, kind)
    st.session_state[ANSWER] = answer(asked, sentence)


def open_dialog(asked: Mapping[str, Any]) -> None:
    """Open the dialog that was asked for, unless its run is gone."""
    if refusal_of(asked.get("run")):
        return
    run = find(int(asked["run"]))
    if asked["kind"] == "edit":
        edit_dialog(run)
    else:
        branch_dialog(run, asked["kind"])


def refusal_of(run_id: Any) -> str:
    """Why there is no such run to open a dialog on; "" when there is."""
    try:
        find(int(run_id) if is_run_id(run_id) else 0)
    except RunLogError as error:
        return str(error)
    return ""


def find(run_id: int) -> Run:
    """A run as it is now.

    Raises:
        RunLogError: there is no such run, or no run log that can be read.
    """
    reader = source().reader()
    if reader is None:
        raise RunLogError(f"There is no run log at {run_log_path()}: start a run first.")
    return reader.run(run_id)
