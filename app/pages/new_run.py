"""New run: from presets, or out of another run by a restart or a fork; the address holds it all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from app.launch import Launch
from app.notices import notice, readable_log
from app.preset_picker import FIRST_PRESETS, PRESET, choose_presets
from app.run_draft import Origin, checkpoint_label, usual_checkpoint
from app.run_page import run_label
from app.source import source
from trainer.run_log.rows import CheckpointRow, Run
from trainer.run_log.schema import RunLogError

PARENT, HOW, STEP = "parent", "how", "step"
WAYS = {"restart": "restart with changes", "fork": "fork from an epoch"}


def show() -> None:
    """Draw the page."""
    log = readable_log()
    if log is None:
        return
    try:
        reader = log.reader()
        runs = reader.runs() if reader else []
        st.subheader("New run", anchor=False)
        missing = missing_parent(runs)
        with st.container(horizontal=True, gap="medium"):
            parent = choose_parent(runs)
            origin = None if missing or parent is None else from_parent(parent)
        if missing:
            notice("No such run", missing)
            return
        if parent is None:
            origin = from_presets()
    except RunLogError as error:
        notice("This run log cannot be read", str(error))
        return
    if origin is not None:
        of = "new" if parent is None else f"{origin.kind}-{parent.id}"
        Launch(origin, f"launch-{of}", now=lambda: chosen(parent)).draw()


def chosen(parent: Run | None) -> Origin | None:
    """The origin as it is chosen now; None while a fork has no checkpoint.

    Raises:
        RunLogError: the run log cannot be read.
    """
    if parent is None:
        return Origin(presets=tuple(st.session_state.get(PRESET, FIRST_PRESETS)))
    if st.session_state.get(f"how-{parent.id}") != "fork":
        return Origin(parent=parent)
    rows = kept(parent)
    step = step_in_use(parent, rows)
    return None if step is None else Origin(parent=parent, checkpoint=rows[step])


def step_in_use(parent: Run, rows: Mapping[int, CheckpointRow]) -> int | None:
    """The step of the chosen checkpoint; None when there is none, or it is no longer kept.

    The browser names a choice by its label, and that of a checkpoint written within an epoch
    changes when one is written at the same step at the epoch's end: then the address knows it.
    """
    step: int | None = st.session_state.get(f"from-{parent.id}")
    if step in rows:
        return step
    asked = st.query_params.get(STEP, "")
    return next((known for known in rows if str(known) == asked), None)


def kept(parent: Run) -> dict[int, CheckpointRow]:
    """The checkpoints of a run that are on disk, by step."""
    reader = source().reader()
    return {row.step: row for row in reader.checkpoints(parent.id)} if reader else {}


def missing_parent(runs: Sequence[Run]) -> str:
    """Why the run that the address asks for cannot be a parent; "" when it can, or none is."""
    asked = st.query_params.get(PARENT, "")
    if not asked or any(str(run.id) == asked for run in runs):
        return ""
    return (
        f"There is no run '{asked[:40]}' to start from, or it was deleted: choose another, or undo "
        "the deletion on the page Runs."
    )


def choose_parent(runs: Sequence[Run]) -> Run | None:
    """Draw the choice of what the run starts from; None for presets."""
    by_id = {run.id: run for run in reversed(runs)}
    asked = st.query_params.get(PARENT, "")
    known = next((number for number in by_id if str(number) == asked), 0)
    options = [0, *by_id]
    picked = st.selectbox(
        "start from", options, index=None if asked and not known else options.index(known),
        format_func=lambda run: run_label(by_id[run]) if run else "presets",
        key=f"start-from-{asked[:40]}", width=420,
    )  # fmt: skip
    if picked is None:
        return None
    if not picked:
        if asked:  # let go of a parent
            st.query_params.pop(PARENT)
            st.rerun()
        for key in (HOW, STEP):
            st.query_params.pop(key, None)
        return None
    if picked != known:
        st.query_params[PARENT] = str(picked)
        st.rerun()
    return by_id[picked]


def from_presets() -> Origin | None:
    """Draw the choice of presets; None while there is none to start from."""
    return None if choose_presets() is None else chosen(None)


def from_parent(parent: Run) -> Origin | None:
    """Draw the choice between a restart and a fork, and of the checkpoint; None without one."""
    key = f"how-{parent.id}"
    if key not in st.session_state:
        asked = st.query_params.get(HOW)
        st.session_state[key] = asked if asked in WAYS else "restart"
    how = st.segmented_control(
        f"what becomes of run {parent.id}", list(WAYS), format_func=WAYS.__getitem__, key=key,
        required=True,
    )  # fmt: skip
    st.query_params[HOW] = str(how)
    if how != "fork":
        st.query_params.pop(STEP, None)
        return chosen(parent)
    return choose_checkpoint(parent)


def choose_checkpoint(parent: Run) -> Origin | None:
    """Draw the choice of the checkpoint; None, and a sentence, when there is nothing chosen."""
    rows = kept(parent)
    if not rows:
        st.text(
            f"Run {parent.id} has no checkpoint on disk to fork from: wait for its next one, send "
            "it the command checkpoint, or restart it."
        )
        return None
    place, asked = f"from-{parent.id}", st.query_params.get(STEP, "")
    if place not in st.session_state:
        usual = usual_checkpoint(list(rows.values()), parent.config.get("epochs", 0))
        named = [step for step in rows if str(step) == asked]
        st.session_state[place] = named[0] if named else usual.step if usual and not asked else None
    else:
        st.session_state[place] = step_in_use(parent, rows)
    step = st.selectbox(
        "from", sorted(rows, reverse=True),
        None if st.session_state[place] is None else 0,
        format_func=lambda step: checkpoint_label(rows[step]),
        key=place, placeholder="choose a checkpoint", filter_mode=None, width=420,
    )  # fmt: skip
    if step is None:
        st.text("The chosen checkpoint is no longer on disk, newer ones came: choose another.")
        return None
    st.query_params[STEP] = str(step)
    return chosen(parent)


show()
