"""What a person does to runs from their list: start, stop, take up, name, put away, delete.

What a browser sends is material to check. Every function answers with one sentence why it was not
done, or "" when it was. Texts are stored as they are; whoever shows them shows text, not markup.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from app.source import run_log_path
from app.steering import NOT_UNDERSTOOD
from trainer.config import RunConfig, dataset_title
from trainer.presets import preset_values
from trainer.run_log.commands import (
    mark_deleted,
    queue_run,
    rename_run,
    requeue_run,
    send_command,
    set_archived,
    set_note,
    set_tags,
)
from trainer.run_log.rows import Run
from trainer.run_log.schema import RunLogError

DEMO = "demo"  # the preset, and what its run is called

ACTIONS: dict[str, Callable[[Path, int], object]] = {
    "stop": lambda path, run_id: send_command(path, run_id, "stop"),
    "resume": requeue_run,
    "archive": lambda path, run_id: set_archived(path, run_id, True),
    "bring_back": lambda path, run_id: set_archived(path, run_id, False),
    "delete": lambda path, run_id: mark_deleted(path, run_id, True),
    "undo": lambda path, run_id: mark_deleted(path, run_id, False),
}


def act(path: Path, run_id: Any, kind: Any) -> str:
    """Do one of `ACTIONS` to a run; "" when it is done, else why not."""
    if not isinstance(kind, str) or kind not in ACTIONS or not is_run_id(run_id):
        return NOT_UNDERSTOOD
    try:
        ACTIONS[kind](path, int(run_id))
    except RunLogError as error:
        return str(error)
    return ""


def start_demo(path: Path, runs: Sequence[Run]) -> str:
    """Queue the demo as the first run of a log; "" when it is there, else why not.

    The folder of the runs is made when it is missing; a run that is there already stays the only
    one, so that a double click starts one demo.
    """
    if runs:
        return ""
    config = RunConfig(**preset_values([DEMO]))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        values = config.model_dump(mode="json")
        queue_run(path, name=DEMO, config=values, dataset=dataset_title(config))
    except RunLogError as error:
        return str(error)
    except OSError as error:
        return (
            f"The runs folder {path.parent} cannot be made ({error.strerror}): make it writable, "
            "or start the dashboard with another --runs."
        )
    return ""


def is_run_id(value: Any) -> bool:
    """Whether a value from a browser (numbers come as int or float) can be the id of a run."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 < value < 2**53
        and value == int(value)
    )


def tags_of(text: str) -> list[str]:
    """The tags a person typed, divided by commas."""
    return [tag.strip() for tag in text.split(",") if tag.strip()]


def describe(path: Path, run: Run, *, name: str, tags: str, note: str) -> str:
    """Store what a person wrote on a run; "" when it is stored, else why not.

    Only what differs is written. The first text that breaks a rule ends it, and the dialog that
    asked stays open.
    """
    try:
        if name.strip() != run.name:
            rename_run(path, run.id, name)
        if tags_of(tags) != run.tags:
            set_tags(path, run.id, tags_of(tags))
        if note != run.note:
            set_note(path, run.id, note)
    except RunLogError as error:
        return str(error)
    return ""


def edit_dialog(run: Run) -> None:
    """Ask for name, tags and note of a run, and store them; call it once, when asked to."""
    opening = f"edit-{run.id}-{secrets.token_hex(4)}"  # every opening starts with what is stored
    st.dialog("Name, tags and note")(edit_form)(run, key=opening)


def edit_form(run: Run, *, key: str) -> None:
    """What the dialog holds; `key` tells one opening of it from another."""
    name = st.text_input("name", run.name, key=f"{key}-name")
    tags = st.text_input("tags, divided by commas", ", ".join(run.tags), key=f"{key}-tags")
    note = st.text_area("note", run.note, height=160, key=f"{key}-note")
    if st.button("Save", type="primary", key=f"{key}-save"):
        refusal = describe(run_log_path(), run, name=name, tags=tags, note=note)
        if refusal:
            st.text(refusal)
        else:
            st.rerun()


def answer(asked: Mapping[str, Any], sentence: str) -> dict[str, str]:
    """What the page tells the component that asked: "" for done, else why not."""
    return {"nonce": str(asked.get("nonce"))[:64], "sentence": sentence}
