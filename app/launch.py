"""The page New run: where its values come from, the form, and what starting it will mean.

It serves three ways to a run: from presets, as a restart of a run with changes, and as a fork from
one of a run's checkpoints. What is entered lives in the session and, as edits, in the address.
"""

from __future__ import annotations

import functools
import html
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from app.config_form import (
    config_form,
    draw_changes,
    edited_values,
    keep_in_address,
    take_address,
)
from app.data_check import QUICK, WHOLE, DataCheck, check_data
from app.estimate import estimate
from app.estimate_words import Fact, data_facts, estimate_facts
from app.experience import Memory
from app.live_chart import live
from app.notices import notice
from app.run_draft import Draft, Origin
from app.source import run_log_path, source
from trainer.config import ConfigError, fork_knobs, load_config
from trainer.presets import scaling_advice
from trainer.run_log.schema import RunLogError

NAME = "name"  # in the address
FIND = "find"
START_BUTTON = ".st-key-launch-footer button"

STYLE = """<style>
.stApp :has(.st-key-launch-footer), .st-key-launch-footer { background: inherit; }
.st-key-launch-footer {
  padding: 0.7rem 0 0.9rem;
  border-top: 1px solid color-mix(in srgb, currentColor 20%, transparent);
}
[data-testid="stVerticalBlock"] > div:has(> .st-key-launch-footer) {
  position: sticky; bottom: 0; z-index: 20;
}
:is([class*="-refused-"], .st-key-launch-refusal, .st-key-launch-data-problem)
  [data-testid="stText"] { color: #d0492c; }
[class*="-refused-"] [data-testid="stText"] { font-size: 0.875rem; }
.fasa-facts-table { display: grid; grid-template-columns: max-content 1fr; gap: 3px 14px;
  margin: 0 !important; padding: 0 !important;
  font-size: 0.875rem; line-height: 1.4; font-variant-numeric: tabular-nums; }
.fasa-facts-table dt { opacity: 0.65; margin: 0; }
.fasa-facts-table dd { margin: 0 0 5px !important; padding: 0; overflow-wrap: anywhere; }
.fasa-facts-table small { display: block; opacity: 0.65; font-size: 0.78rem; line-height: 1.35; }
@media (max-width: 640px) {
  .st-key-launch-columns [data-testid="stColumn"]:nth-child(2) { order: -1; }
}
</style>"""


@functools.cache
def memory() -> Memory:
    """What earlier runs taught, shared by all visitors of this server."""
    return Memory()


class Launch:
    """One opening of the page for one origin; what was entered lives in the session, by `key`."""

    def __init__(self, origin: Origin, key: str, *, now: Callable[[], Origin | None]) -> None:
        """`now` tells the origin as it is chosen when it is called, as `origin` was at first."""
        self.origin = origin
        self.key = key
        self._now = now
        self._values: dict[str, Any] | None = None

    def draw(self) -> None:
        """The form with what surrounds it; once it was started, the way to the new run."""
        started = st.session_state.pop(f"{self.key}-started", None)
        if started is not None:
            st.switch_page("pages/live.py", query_params={"run": str(started)})
        st.html(STYLE)
        try:
            draft = self.draft()
        except (ConfigError, RunLogError) as error:
            notice("This run cannot be the start of another", str(error))
            return
        self._name()
        take_address(draft.values, key=self.key, changeable=self._changeable())
        draft = self.draft()  # with the address's edits
        problems = draft.problems()
        with st.container(key="launch-columns"):
            form, summary = st.columns([3, 2], gap="medium")
        with form:
            self._form(draft, problems)
        with summary:
            self._summary(draft, problems)
        keep_in_address(draft.changes)
        self._footer(problems)

    def draft(self) -> Draft:
        """The run as entered so far.

        Raises:
            ConfigError: there is no such preset, or the run log holds a configuration that breaks
                a rule.
            RunLogError: the run log cannot be read.
        """
        if self._values is None:
            self._values = self.origin.values()
        edited = edited_values(self._values, key=self.key, changeable=self._changeable())
        name = st.session_state.get(f"{self.key}-name")
        return Draft(self.origin, name, self._values, edited)

    def start(self) -> None:
        """The button was pressed: queue the run; `single_click.js` lets one click in at a time."""
        st.session_state[self._presses] = st.session_state.get(self._presses, 0) + 1
        try:
            # A choice may come with the click, and a checkpoint may have gone meanwhile.
            origin = self._now()
            if origin is None or origin.kind != self.origin.kind:
                return
            self.origin, self._values = origin, None
            self._follow_origin()
            draft = self.draft()
            if not draft.problems() and not self._check(draft).problem:
                st.session_state[f"{self.key}-started"] = draft.queue()
        except (ConfigError, RunLogError, OSError) as error:
            st.session_state[f"{self.key}-refusal"] = str(error)

    @property
    def _presses(self) -> str:
        return f"{self.key}-presses"

    def _changeable(self) -> list[str] | None:
        return fork_knobs() if self.origin.kind == "fork" else None

    def _follow_origin(self) -> None:
        """The name follows the presets until somebody writes one."""
        place, usual = f"{self.key}-name", self.origin.usual_name()
        before = st.session_state.get(f"{self.key}-usual-name")
        if place not in st.session_state:
            st.session_state[place] = st.query_params.get(NAME, usual)
        elif st.session_state[place] == before:
            st.session_state[place] = usual
        st.session_state[f"{self.key}-usual-name"] = usual

    def _name(self) -> None:
        self._follow_origin()
        name = st.text_input("name", key=f"{self.key}-name", persist_state="page")
        _to_address(NAME, name, self.origin.usual_name())

    def _form(self, draft: Draft, problems: dict[str, str]) -> None:
        place = f"{self.key}-find"
        if place not in st.session_state:
            st.session_state[place] = st.query_params.get(FIND, "")
        config_form(draft.values, key=self.key, changeable=self._changeable(), problems=problems)
        _to_address(FIND, st.session_state[place], "")

    def _summary(self, draft: Draft, problems: dict[str, str]) -> None:
        with st.container(border=True, gap="small"):
            st.markdown("**Changes**")
            draw_changes(draft.values, key=self.key, changeable=self._changeable())
        if problems:
            with st.container(border=True, gap="small"):
                st.markdown("**Data, time and memory**")
                st.caption("Checked and estimated once no value is refused.")
            return
        advice = scaling_advice(draft.values, draft.edited)
        if advice:
            st.info(advice)
        check = self._check(draft)
        with st.container(border=True, gap="small"):
            st.markdown("**Data**")
            self._data(check)
        with st.container(border=True, gap="small"):
            st.markdown("**What it will take**")
            _facts(self._estimate(draft, check))
        with st.container(border=True, gap="small"):
            st.markdown("**The same on the command line**")
            st.code(draft.command(), language=None, wrap_lines=True)

    def _check(self, draft: Draft) -> DataCheck:
        seconds = WHOLE if st.session_state.get(f"{self.key}-read-all") else QUICK
        config = load_config(dict(draft.edited))
        return check_data(config, datasets=run_log_path().parent / "datasets", seconds=seconds)

    def _data(self, check: DataCheck) -> None:
        facts = data_facts(check)
        if facts:
            _facts(facts)
        if check.note:
            st.caption(check.note)
        if check.problem:
            with st.container(key="launch-data-problem"):
                st.text(check.problem)
        if check.is_partial:
            st.button("Read it to the end", key=f"{self.key}-read", on_click=self._read_all)

    def _read_all(self) -> None:
        st.session_state[f"{self.key}-read-all"] = True

    def _estimate(self, draft: Draft, check: DataCheck) -> list[Fact]:
        config = draft.config()
        reader = source().reader()
        known = memory().best(reader, config) if reader else []
        at = self.origin.checkpoint
        done = at.epoch if at else 0
        found = estimate(config, check.sizes, known, done_epochs=done)
        return estimate_facts(found, config.epochs - done)

    def _footer(self, problems: dict[str, str]) -> None:
        with st.container(
            key="launch-footer", horizontal=True, gap="small", vertical_alignment="center"
        ):
            label = {"new": "Start", "restart": "Start again", "fork": "Start the fork"}
            st.button(
                label[self.origin.kind], type="primary", key=f"{self.key}-start",
                on_click=self.start,
            )  # fmt: skip
            answered = st.session_state.get(self._presses, 0)
            live("single_click", {"button": START_BUTTON}, key=f"{self.key}-once",
                 view={"answered": answered})  # fmt: skip
            sentence = st.session_state.pop(f"{self.key}-refusal", None)
            sentence = sentence or next(iter(problems.values()), "")
            with st.container(key="launch-refusal"):
                st.text(sentence)


def _to_address(key: str, value: str, usual: str) -> None:
    if value != usual and len(value) <= 300:
        st.query_params[key] = value
    elif key in st.query_params:
        del st.query_params[key]


def _facts(facts: Sequence[Fact]) -> None:
    """A list of facts; all of it is escaped."""
    rows = (
        f"<dt>{html.escape(fact.label)}</dt><dd>{html.escape(fact.value)}"
        + (f"<small>{html.escape(fact.basis)}</small>" if fact.basis else "")
        + "</dd>"
        for fact in facts
    )
    st.html(f"<dl class='fasa-facts-table'>{''.join(rows)}</dl>")
