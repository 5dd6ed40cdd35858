"""The list of runs with its actions; the page Runs, and what a live page shows without a run."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import streamlit as st

from app.config_checks import runs_flag
from app.list_look import MOST_SELECTED, PARAMETERS, Look, look_of, sent_look
from app.live_chart import live
from app.run_actions import act, answer, edit_dialog, is_run_id, start_demo
from app.source import run_log_path, source
from trainer.run_log.rows import Run
from trainer.run_log.schema import RunLogError

KEY = "runs"
ANSWER = "runs-answer"
EDIT, DEMO = "edit", "demo"
BRANCHES = ("restart", "fork")
FEWEST_COMPARED = 2


def run_list() -> None:
    """All runs, live; a click opens a run's page. Offers the demo while there are none."""
    look = look_of({name: st.query_params.get_all(name) for name in PARAMETERS})
    # The time makes the list ask for news whenever the page is drawn, after a dialog, say.
    view = {
        "answer": st.session_state.get(ANSWER),
        "drawn": time.time(),
        "look": asdict(look),
    }
    result = live(
        "run_list", list_spec(), key=KEY, view=view, on_open_change=lambda: None,
        on_ask_change=take, on_look_change=keep_look, on_compare_change=lambda: None,
    )  # fmt: skip
    if is_run_id(result.open):
        st.switch_page("pages/live.py", query_params={"run": str(int(result.open))})
    compared = sent_look({"select": result.compare}).select
    if len(compared) >= FEWEST_COMPARED:
        st.switch_page(
            "pages/compare.py", query_params={"run": [str(run_id) for run_id in compared]}
        )
    if isinstance(result.ask, Mapping):
        follow(result.ask)


def list_spec() -> dict[str, Any]:
    """What the list says besides runs: while there are none, and while nobody trains them."""
    return {
        "most": MOST_SELECTED,
        "supervise": command("supervise"),
        "empty": {
            "title": "No runs yet",
            "sentence": "Start the demo here, or a run of your own; it shows up here by itself.",
            "button": "Start the demo",
            "commands": [
                [
                    shlex.join(["fasa", "up", *runs_flag()]),
                    "the demo, its baseline, this dashboard",
                ],
                [shlex.join(["fasa", "train", *runs_flag()]), "a run in the terminal"],
            ],
        },
    }


def command(word: str) -> str:
    """A command for the runs folder of this server."""
    return shlex.join(["fasa", word, *runs_flag()])


def take() -> None:
    """Do what the list asked for, and keep the answer for it. (Pages are opened afterwards.)"""
    asked: Any = st.session_state[KEY].ask
    if isinstance(asked, Mapping):
        st.session_state[ANSWER] = answer(asked, done(asked.get("kind"), asked.get("run")))


def done(kind: Any, run_id: Any) -> str:
    """Do one of the list's actions; "" when it is done or can be opened, else why not."""
    if kind == DEMO:
        try:
            reader = source().reader()
            runs = reader.runs(include_deleted=True) if reader else []
        except RunLogError as error:
            return str(error)
        return start_demo(run_log_path(), runs)
    if kind == EDIT or kind in BRANCHES:
        return refusal_of(run_id)
    return act(run_log_path(), run_id, kind)


def keep_look() -> None:
    """The list was searched, ordered, filtered or selected in: the address says so."""
    look: Look = sent_look(st.session_state[KEY].look)
    asked = look.address()
    for name in PARAMETERS:
        if name in asked:
            st.query_params[name] = asked[name]
        elif name in st.query_params:
            del st.query_params[name]


def follow(asked: Mapping[str, Any]) -> None:
    """Open the dialog or the page that was asked for, unless its run is gone."""
    kind = asked.get("kind")
    if kind not in (EDIT, *BRANCHES) or refusal_of(asked.get("run")):
        return
    run = find(int(asked["run"]))
    if kind == EDIT:
        edit_dialog(run)
    else:
        query = {"parent": str(run.id), "how": str(kind)}
        st.switch_page("pages/new_run.py", query_params=query)


def refusal_of(run_id: Any) -> str:
    """Why there is no such run to open something on; "" when there is."""
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
