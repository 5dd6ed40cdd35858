"""Restart and fork: the dialog in which a run's successor is named, edited and queued."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import streamlit as st

from app.config_checks import changes_of, command_line, problems_of
from app.config_form import config_form, edited_values
from app.notices import notice
from app.source import run_log_path, source
from trainer.config import (
    ConfigError,
    child_config,
    dataset_title,
    fork_knobs,
    live_knobs,
    load_config,
)
from trainer.run_log.commands import queue_run
from trainer.run_log.rows import CheckpointRow, Run
from trainer.run_log.schema import RunLogError
from trainer.run_log.text import NAME_LENGTH

Kind = Literal["restart", "fork"]

WIDTH = 760  # pixels
KNOB_CURVES = "knob/"  # the curves that tell how the live knobs stood
# The footer stays in view below a form longer than the screen, on the dialog's own ground.
STYLE = """<style>
[data-testid="stDialog"] section:has(.st-key-branch-footer),
[data-testid="stDialog"] section div:has(.st-key-branch-footer) { background: inherit; }
[data-testid="stDialog"] section div:has(> .st-key-branch-footer) {
  position: sticky; bottom: -1.5rem; z-index: 2; padding: 0.75rem 0 1.5rem;
  border-top: 1px solid color-mix(in srgb, currentColor 20%, transparent);
}
</style>"""


def branch_dialog(run: Run, kind: Kind) -> None:
    """Open the dialog; call it once, when its button was pressed.

    Args:
        run: the parent.
        kind: restart from nothing, or fork from one of its kept checkpoints.
    """
    opening = f"{kind}-{run.id}-{secrets.token_hex(4)}"  # every opening starts unedited
    title = f"{kind.capitalize()} run {run.id}"
    st.dialog(title, width=WIDTH, position="right")(branch_form)(run, kind, key=opening)


def branch_form(run: Run, kind: Kind, *, key: str) -> None:
    """What the dialog holds; `key` tells one opening of it from another."""
    _Opening(run, kind, key).draw()


@dataclass(frozen=True)
class _Opening:
    """One opening of the dialog in one run of the script; what was entered lives in the session."""

    run: Run
    kind: Kind
    key: str

    def draw(self) -> None:
        """The form, or once it was started, the way to the new run."""
        started = st.session_state.get(f"{self.key}-started")
        if started is not None:
            _say_started(started)
            return
        st.html(STYLE)
        try:
            if self.kind == "fork" and not self._choose_checkpoint():
                return
            successor = self._successor()
        except (ConfigError, RunLogError) as error:
            notice(f"Run {self.run.id} cannot have a successor", str(error))
            return
        usual = successor.usual_name()
        st.text_input("name", usual, key=f"{self.key}-name", persist_state="page")
        st.code(successor.command(), language=None, wrap_lines=True)
        config_form(successor.values, key=self.key, changeable=self._changeable())
        with st.container(
            key="branch-footer", horizontal=True, gap="small", vertical_alignment="center"
        ):
            st.button("Start", type="primary", key=f"{self.key}-start", on_click=self.start)
            problem = st.session_state.pop(f"{self.key}-refusal", successor.problem())
            if problem:
                st.text(problem, width="stretch")

    def start(self) -> None:
        """The button was pressed: queue the run, once; a double click comes here twice."""
        if f"{self.key}-started" in st.session_state:
            return
        if self.kind == "fork" and st.session_state[f"{self.key}-from"] not in self._kept():
            return  # gone while the form was open, which is said where another can be chosen
        try:
            successor = self._successor()
            if successor.problem() is None:
                st.session_state[f"{self.key}-started"] = successor.queue()
        except (ConfigError, RunLogError) as error:
            st.session_state[f"{self.key}-refusal"] = str(error)

    def _successor(self) -> Successor:
        """The run as entered so far.

        Raises:
            ConfigError: the run log holds a configuration that breaks a rule.
            RunLogError: the run log cannot be read.
        """
        at = None if self.kind == "restart" else self._kept()[st.session_state[f"{self.key}-from"]]
        values = values_at(self.run, at)
        edited = edited_values(values, key=self.key, changeable=self._changeable())
        name = st.session_state.get(f"{self.key}-name")
        return Successor(self.run, self.kind, at, name, values, edited)

    def _changeable(self) -> list[str] | None:
        return fork_knobs() if self.kind == "fork" else None

    def _kept(self) -> dict[int, CheckpointRow]:
        reader = source().reader()
        return {row.step: row for row in reader.checkpoints(self.run.id)} if reader else {}

    def _choose_checkpoint(self) -> bool:
        """Draw the choice; False, and a sentence on the page, when there is nothing chosen."""
        kept, place = self._kept(), f"{self.key}-from"
        if not kept:
            st.text(
                f"Run {self.run.id} has no checkpoint on disk to fork from: wait for its next "
                "one, send it the command checkpoint, or restart it."
            )
            return False
        steps = sorted(kept, reverse=True)
        if place not in st.session_state:  # the newest that leaves epochs to train
            epochs = self.run.config.get("epochs", 0)
            unfinished = [step for step in steps if kept[step].epoch < epochs]
            st.session_state[place] = (unfinished or steps)[0]
        elif st.session_state[place] not in kept:
            st.session_state[place] = None
        step = st.selectbox(
            "from",
            steps,
            None if st.session_state[place] is None else 0,
            format_func=lambda step: checkpoint_label(kept[step]),
            key=place,
            placeholder="choose a checkpoint",
            filter_mode=None,
        )
        if step is None:
            st.text("The chosen checkpoint is no longer on disk, newer ones came: choose another.")
        return step is not None


def _say_started(run_id: int) -> None:
    st.text(f"Run {run_id} is queued and starts as soon as a place to train is free.")
    st.page_link("pages/live.py", label=f"Open run {run_id}", query_params={"run": str(run_id)})


def values_at(run: Run, checkpoint: CheckpointRow | None) -> dict[str, Any]:
    """A run's configuration as json, with its live knobs as they stood at a checkpoint.

    Raises:
        ConfigError: the run log holds a configuration that breaks a rule.
        RunLogError: the run log cannot be read.
    """
    values = dict(run.config)
    reader = source().reader()
    if checkpoint is not None and reader is not None:
        stood = reader.last_scalars(run.id, KNOB_CURVES, step=checkpoint.step)
        values |= {
            name: stood[f"{KNOB_CURVES}{name}"]
            for name in live_knobs()
            if f"{KNOB_CURVES}{name}" in stood
        }
    return load_config(values).model_dump(mode="json")


def checkpoint_label(row: CheckpointRow) -> str:
    """Where a checkpoint stands, and its size: "end of epoch 6 · step 396 · 12.5 MB"."""
    if row.batch:
        place = f"epoch {row.epoch + 1}, after batch {row.batch}"
    else:
        place = f"end of epoch {row.epoch}" if row.epoch else "start"
    return f"{place} · step {row.step} · {row.bytes / 1e6:.1f} MB"


@dataclass(frozen=True)
class Successor:
    """A run about to be queued.

    Attributes:
        parent: the run it comes from.
        kind: what becomes of it.
        checkpoint: where a fork goes on; None for a restart.
        name: what it is to be called; None for the usual name.
        values: the configuration it started from, as json.
        edited: the same with edits.
    """

    parent: Run
    kind: Kind
    checkpoint: CheckpointRow | None
    name: str | None
    values: Mapping[str, Any]
    edited: Mapping[str, Any]

    @property
    def changes(self) -> dict[str, Any]:
        """The knobs that differ."""
        return changes_of(self.values, self.edited)

    def usual_name(self) -> str:
        """What it is called unless somebody says otherwise."""
        return f"{self.parent.name} ({self.kind})"[-NAME_LENGTH:]

    def command(self) -> str:
        """The command that does the same."""
        words = ["fasa", self.kind, str(self.parent.id)]
        if self.checkpoint is not None:
            is_end = self.checkpoint.batch == 0
            place = self.checkpoint.epoch if is_end else self.checkpoint.step
            words += ["--epoch" if is_end else "--step", str(place)]
        is_usual = self.name in (None, self.usual_name())
        return command_line(words, self.changes if is_usual else {"name": self.name} | self.changes)

    def problem(self) -> str | None:
        """Why it cannot start, in one sentence; None when it can."""
        problem = next(iter(problems_of(self.edited, given=self.values).values()), None)
        if problem or self.checkpoint is None:
            return problem
        if self.edited["epochs"] <= self.checkpoint.epoch:
            return (
                f"epochs is {self.edited['epochs']}, but the fork starts after "
                f"{self.checkpoint.epoch}: raise epochs, or fork from an earlier checkpoint"
            )
        return None

    def queue(self) -> int:
        """Queue it; returns its id.

        Raises:
            ConfigError: an edit that no fork can take.
            RunLogError: a name that cannot be, or the run log cannot be written.
        """
        at = self.checkpoint
        config = child_config(self.values, self.changes, fork=at is not None)
        return queue_run(
            run_log_path(),
            name=self.usual_name() if self.name is None else self.name,
            config=config.model_dump(mode="json"),
            dataset=dataset_title(config) if at is None else self.parent.dataset,
            parent_run=self.parent.id,
            parent_epoch=at.epoch if at else None,
            parent_step=at.step if at else None,
        )
