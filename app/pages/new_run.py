"""New run: from presets, or out of another run by a restart or a fork; the address holds it all."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.launch import Launch
from app.notices import notice, readable_log
from app.run_draft import DEFAULTS, Origin, checkpoint_label, usual_checkpoint
from app.run_page import run_label
from app.source import source
from trainer.presets import PRESETS
from trainer.run_log.rows import Run
from trainer.run_log.schema import RunLogError

FIRST_PRESETS = ["demo"]
PARENT, HOW, STEP, PRESET = "parent", "how", "step", "preset"
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
        parent = choose_parent(runs)
        origin = from_presets() if parent is None else from_parent(parent)
    except RunLogError as error:
        notice("This run log cannot be read", str(error))
        return
    if origin is not None:
        of = "new" if parent is None else f"{origin.kind}-{parent.id}"
        Launch(origin, f"launch-{of}").draw()


def choose_parent(runs: Sequence[Run]) -> Run | None:
    """Draw the choice of what the run starts from; None for presets."""
    by_id = {run.id: run for run in reversed(runs)}
    asked = st.query_params.get(PARENT, "")
    number = int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 16 else 0
    if asked and number not in by_id:
        notice("No such run", f"There is no run '{asked[:40]}' to start from: choose another.")
    options = [0, *by_id]
    chosen = st.selectbox(
        "start from", options, index=options.index(number) if number in by_id else 0,
        format_func=lambda run: run_label(by_id[run]) if run else "presets",
        key=f"start-from-{asked[:40]}", width=420,
    )  # fmt: skip
    if not chosen:
        for key in (PARENT, HOW, STEP):
            st.query_params.pop(key, None)
        return None
    if chosen != number:
        st.query_params[PARENT] = str(chosen)
        st.rerun()
    return by_id[chosen]


def from_presets() -> Origin:
    """Draw the choice of presets."""
    if PRESET not in st.session_state:
        asked = st.query_params.get(PRESET)
        names = FIRST_PRESETS if asked is None else asked.split(",")
        st.session_state[PRESET] = [name for name in dict.fromkeys(names) if name in PRESETS]
    chosen = st.multiselect(
        "presets, each laid over those before it", list(PRESETS), key=PRESET,
        placeholder="none: the defaults, which are the paper's", persist_state="page",
    )  # fmt: skip
    for name in chosen or [DEFAULTS]:
        st.caption(f"**{name}**: {PRESETS[name].purpose}")
    if chosen != FIRST_PRESETS:
        st.query_params[PRESET] = ",".join(chosen)
    else:
        st.query_params.pop(PRESET, None)
    return Origin(presets=tuple(chosen))


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
        return Origin(parent=parent)
    return choose_checkpoint(parent)


def choose_checkpoint(parent: Run) -> Origin | None:
    """Draw the choice of the checkpoint; None, and a sentence, when there is nothing chosen."""
    reader = source().reader()
    kept = {row.step: row for row in reader.checkpoints(parent.id)} if reader else {}
    if not kept:
        st.text(
            f"Run {parent.id} has no checkpoint on disk to fork from: wait for its next one, send "
            "it the command checkpoint, or restart it."
        )
        return None
    place, asked = f"from-{parent.id}", st.query_params.get(STEP, "")
    if place not in st.session_state:
        usual = usual_checkpoint(list(kept.values()), parent.config.get("epochs", 0))
        named = [step for step in kept if str(step) == asked]
        st.session_state[place] = named[0] if named else usual.step if usual and not asked else None
    elif st.session_state[place] not in kept:
        st.session_state[place] = None
    step = st.selectbox(
        "from", sorted(kept, reverse=True),
        None if st.session_state[place] is None else 0,
        format_func=lambda step: checkpoint_label(kept[step]),
        key=place, placeholder="choose a checkpoint", filter_mode=None, width=420,
    )  # fmt: skip
    if step is None:
        st.text("The chosen checkpoint is no longer on disk, newer ones came: choose another.")
        return None
    st.query_params[STEP] = str(step)
    return Origin(parent=parent, checkpoint=kept[step])


show()
