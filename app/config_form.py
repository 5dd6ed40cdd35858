"""A form for a run's configuration, derived from `RunConfig` alone.

A new knob of `RunConfig` needs nothing here: its group, label, unit, choices, bounds and help come
from the field. Values are plain json, as the run log keeps them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import streamlit as st

from app.config_checks import MOST_SHOWN, changes_of, shown
from app.config_knobs import Knob, knobs

OPEN_GROUP = "FASA"
LONGEST_IN_ADDRESS = 300  # characters of one value; a longer one is left out of the address


def config_form(
    values: Mapping[str, Any],
    *,
    key: str,
    changeable: Collection[str] | None,
    problems: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Draw the form; returns the values as edited, which may break a rule (see `problems_of`).

    Edits survive a search, which hides knobs, and other `values`: an unedited knob follows them.

    Args:
        values: a configuration as json; what is missing has its default.
        key: identity of the form in this session.
        changeable: the knobs that may be edited; None for all.
        problems: knob to the sentence that is said beside it.
    """
    known = knobs()
    form = _Form(values, key, changeable, problems or {})
    wanted = st.text_input(
        "find a knob", type="search", live=True, key=f"{key}-find", label_visibility="collapsed",
        placeholder="find a knob: alpha, learning rate, sampling, px",
    )  # fmt: skip
    if wanted.strip():
        form.draw_found([knob for knob in known.values() if knob.finds(wanted)], wanted)
    else:
        form.draw_groups(list(known.values()))
    return form.edited()


def draw_changes(
    values: Mapping[str, Any], *, key: str, changeable: Collection[str] | None
) -> None:
    """What differs from the given values in the form of that key, each with a way back."""
    _Form(values, key, changeable).draw_changes()


def take_address(
    values: Mapping[str, Any], *, key: str, changeable: Collection[str] | None
) -> None:
    """Set a form that is opened for the first time to the edits that the address holds."""
    names = knobs() if changeable is None else changeable
    places = {f"{key}-knob-{name}": name for name in names}
    if any(place in st.session_state for place in places):
        return
    for place, name in places.items():
        text = st.query_params.get(name)
        if text is None or len(text) > LONGEST_IN_ADDRESS:
            continue
        try:
            content = knobs()[name].from_address(text)
        except ValueError:
            continue  # a mistyped address: the knob keeps its value, and the address loses it
        if knobs()[name].kind_of(values[name]) == knobs()[name].kind:
            st.session_state[place] = content


def keep_in_address(changes: Mapping[str, Any]) -> None:
    """Let the address hold exactly these edits."""
    for name, knob in knobs().items():
        text = knob.to_address(changes[name]) if name in changes else None
        if text is not None and len(text) <= LONGEST_IN_ADDRESS:
            if st.query_params.get(name) != text:
                st.query_params[name] = text
        elif name in st.query_params:
            del st.query_params[name]


def edited_values(
    values: Mapping[str, Any], *, key: str, changeable: Collection[str] | None
) -> dict[str, Any]:
    """What `config_form` returns, without drawing it: for a callback, which runs before it."""
    return _Form(values, key, changeable).edited()


class _Form:
    """One form in one run of the script; what was edited lives in the session, by knob."""

    def __init__(
        self,
        values: Mapping[str, Any],
        key: str,
        changeable: Collection[str] | None,
        problems: Mapping[str, str] | None = None,
    ) -> None:
        self._values = {name: values.get(name, knob.default) for name, knob in knobs().items()}
        self._key, self._changeable = key, changeable
        self._problems = problems or {}
        self._follow_values()

    def _follow_values(self) -> None:
        """Where the caller's values changed, take the new ones for knobs nobody edited."""
        before: Mapping[str, Any] = st.session_state.get(f"{self._key}-values", {})
        for name, knob in knobs().items():
            if name in before and before[name] != self._values[name]:
                place = self._place(name)
                if st.session_state.get(place) == knob.to_widget(before[name]):
                    st.session_state[place] = knob.to_widget(self._values[name])
        st.session_state[f"{self._key}-values"] = self._values

    def edited(self) -> dict[str, Any]:
        """All values."""
        return {name: self.value(knob) for name, knob in knobs().items()}

    def value(self, knob: Knob) -> Any:
        """The value as edited, or exactly the one given."""
        given = self._values[knob.name]
        unedited = knob.to_widget(given)
        content = st.session_state.get(self._place(knob.name), unedited)
        if content == unedited or not self._may_change(knob.name):
            return given
        return knob.from_widget(content)

    def draw_changes(self) -> None:
        """What differs from the given values, each with a way back."""
        changes = changes_of(self._values, self.edited())
        if not changes:
            st.caption("Nothing is changed yet.")
        for name, value in changes.items():
            with st.container(horizontal=True, gap="small", vertical_alignment="center"):
                new = shown(value) if value is not None or knobs()[name].kind == "text" else "empty"
                st.text(f"{name}  {shown(self._values[name])} → {new}", width="content")
                st.button(
                    f"set {name} back", key=f"{self._key}-back-{name}", type="tertiary",
                    icon=":material/undo:", on_click=self._set_back, args=(name,),
                )  # fmt: skip

    def draw_groups(self, all_knobs: Sequence[Knob]) -> None:
        """Every knob, under its group."""
        for group in dict.fromkeys(knob.group for knob in all_knobs):
            members = [knob for knob in all_knobs if knob.group == group]
            changed = sum(self._is_changed(knob) for knob in members)
            refused = sum(knob.name in self._problems for knob in members)
            counts = [f"{changed} changed"] * bool(changed) + [f"{refused} refused"] * bool(refused)
            label = " · ".join([group, *counts])
            # Once open it stays so: a group does not shut when its last edit or refusal goes.
            place = f"{self._key}-open-{group}"
            is_open = st.session_state.get(place, group == OPEN_GROUP) or bool(changed or refused)
            st.session_state[place] = is_open
            with st.expander(label, expanded=is_open, key=f"{self._key}-in-{group}"):
                if not all(self._may_change(knob.name) for knob in members):
                    st.caption(f"Greyed out is what is {FIXED}")
                self._draw(members)

    def draw_found(self, found: Sequence[Knob], wanted: str) -> None:
        """The knobs a search found, without groups; those that may change come first."""
        if not found:
            st.text(f"No knob has '{wanted[:MOST_SHOWN]}' in its name, meaning or choices.")
        elif not all(self._may_change(knob.name) for knob in found):
            st.caption(f"Greyed out is what is {FIXED}")
        self._draw(sorted(found, key=lambda knob: not self._may_change(knob.name)))

    def _draw(self, members: Sequence[Knob]) -> None:
        with st.grid(2, min_column_width=260):
            for knob in members:
                with st.container(gap="xxsmall"):
                    self._widget(knob)
                    if knob.name in self._problems:
                        with st.container(key=f"{self._key}-refused-{knob.name}"):
                            st.text(self._problems[knob.name])
                    st.caption(_meaning(knob, changed=self._is_changed(knob)))

    def _widget(self, knob: Knob) -> None:
        given = self._values[knob.name]
        place = self._place(knob.name)
        if place not in st.session_state:
            st.session_state[place] = knob.to_widget(given)
        kind = knob.kind_of(given)
        may_change = self._may_change(knob.name)
        common: dict[str, Any] = {
            "label": knob.name,
            "key": place,
            "disabled": not may_change,
            "help": None if may_change else f"This is {FIXED}",
            "persist_state": "page",  # a search hides knobs
        }
        # Bounds are not given to the browser: it would keep a value out of them to itself, and
        # the run would start with the last good one.
        if kind == "switch":
            st.toggle(**common)
        elif kind == "choice":
            st.selectbox(options=knob.choices, filter_mode=None, **common)
        elif kind == "whole number":
            st.number_input(value=None, step=1, **common)
        elif kind == "number":
            st.number_input(value=None, step=_step(knob.default), format="%.10g", **common)
        else:
            st.text_input(placeholder="none", **common)

    def _is_changed(self, knob: Knob) -> bool:
        return bool(self.value(knob) != self._values[knob.name])

    def _may_change(self, name: str) -> bool:
        return self._changeable is None or name in self._changeable

    def _set_back(self, name: str) -> None:
        st.session_state[self._place(name)] = knobs()[name].to_widget(self._values[name])

    def _place(self, name: str) -> str:
        return f"{self._key}-knob-{name}"


FIXED = (
    "fixed in a fork, because the parent's checkpoint rests on it: restart the run to change it."
)


def _meaning(knob: Knob, *, changed: bool) -> str:
    """What a knob does, as small markup; nothing of it comes from a run."""
    unit = f"in {knob.unit}" if knob.unit else ""
    limits = ", ".join(filter(None, [unit, knob.bounds]))
    text = f"{knob.description} · {limits}" if limits else knob.description
    return f"{':primary-background[changed] ' if changed else ''}{_escaped(text)}"


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\`*_[]:$~<>" else letter for letter in text)


def _step(default: float) -> float:
    """A step that changes the second digit: 0.1 for 1.1, 0.0001 for 0.001."""
    return 10.0 ** (math.floor(math.log10(default)) - 1) if default else 0.01
