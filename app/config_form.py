"""A form for a run's configuration, derived from `RunConfig` alone.

A new knob of `RunConfig` needs nothing here: its group, label, unit, choices, bounds and help come
from the field. Values are plain json, as the run log keeps them.
"""

from __future__ import annotations

import functools
import math
import os
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import streamlit as st

from app.source import run_log_path
from trainer.config import (
    ConfigError,
    RunConfig,
    load_config,
)
from trainer.data_paths import BACKBONE_WORDS, check_paths, path_knobs

DATA_VARIABLE = "FASA_DATA"  # folders with data a form may name, separated as in PATH
OPEN_GROUP = "FASA"
LARGEST_IN_BROWSER = 2**53 - 1  # a browser's numbers are exact up to here
MOST_SHOWN = 120  # characters of one value

Kind = Literal["switch", "choice", "whole number", "number", "text"]


@dataclass(frozen=True)
class Knob:
    """One field of `RunConfig` as the form shows it."""

    name: str
    group: str
    unit: str
    description: str
    kind: Kind
    choices: tuple[str, ...]
    bounds: str
    default: Any

    def finds(self, words: str) -> bool:
        """Whether a search for `words` finds it, by name, meaning, unit, group or choice."""
        text = " ".join([self.name, self.description, self.unit, self.group, *self.choices])
        text = f"{text} {text.replace('_', ' ')}".lower()
        return all(word in text for word in words.lower().split())

    def kind_of(self, value: Any) -> Kind:
        """How a value is edited: a number too large for a browser is edited as text."""
        if self.kind == "whole number" and abs(value) > LARGEST_IN_BROWSER:
            return "text"
        return self.kind

    def to_widget(self, value: Any) -> Any:
        """A configuration's value as the widget holds it."""
        if self.kind_of(value) != "text":
            return float(value) if self.kind == "number" else value
        if isinstance(value, list):
            return ", ".join(map(str, value))
        return "" if value is None else str(value)

    def from_widget(self, content: Any) -> Any:
        """What a widget holds as a configuration's value; text that is none is kept as it is."""
        if not isinstance(content, str) or self.kind == "choice":
            return content
        if isinstance(self.default, list):
            return [_whole(part) for part in content.split(",") if part.strip()]
        if self.kind == "whole number":
            return _whole(content)
        text = content.strip()
        return text if text or self.default is not None else None


def _whole(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:  # among them a number of thousands of digits
        return text.strip()


@functools.cache
def knobs() -> dict[str, Knob]:
    """Every field of `RunConfig`, in its order."""
    defaults = RunConfig().model_dump(mode="json")
    return {name: _knob(name, field, defaults[name]) for name, field in _FIELDS.items()}


_FIELDS = RunConfig.model_fields
_KINDS: dict[Any, Kind] = {bool: "switch", int: "whole number", float: "number"}


def _knob(name: str, field: Any, default: Any) -> Knob:
    is_choice = get_origin(field.annotation) is Literal
    return Knob(
        name=name,
        group=field.json_schema_extra["group"],
        unit=field.json_schema_extra["unit"],
        description=field.description,
        kind="choice" if is_choice else _KINDS.get(field.annotation, "text"),
        choices=get_args(field.annotation) if is_choice else (),
        bounds=_bounds(field.metadata),
        default=default,
    )


def _bounds(metadata: Sequence[Any]) -> str:
    """Bounds in words: "1 to 10", "above 0", "at least 0, below 1"."""
    limit = {
        name: getattr(rule, name)
        for rule in metadata
        for name in ("ge", "gt", "le", "lt")
        if hasattr(rule, name)
    }
    if set(limit) == {"ge", "le"}:
        return f"{limit['ge']} to {limit['le']}"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return ", ".join(f"{words[name]} {limit[name]}" for name in words if name in limit)


def config_form(
    values: Mapping[str, Any], *, key: str, changeable: Collection[str] | None
) -> dict[str, Any]:
    """Draw the form; returns the values as edited, which may break a rule (see `problem_of`).

    Edits survive a search, which hides knobs, and other `values`: an unedited knob follows them.

    Args:
        values: a configuration as json; what is missing has its default.
        key: identity of the form in this session.
        changeable: the knobs that may be edited; None for all.
    """
    known = knobs()
    form = _Form(values, key, changeable)
    summary = st.container(gap="xsmall")
    wanted = st.text_input(
        "find a knob", type="search", live=True, key=f"{key}-find", label_visibility="collapsed",
        placeholder="find a knob: alpha, learning rate, sampling, px",
    )  # fmt: skip
    if wanted.strip():
        form.draw_found([knob for knob in known.values() if knob.finds(wanted)], wanted)
    else:
        form.draw_groups(list(known.values()))
    with summary:
        form.draw_changes()
    return form.edited()


def edited_values(
    values: Mapping[str, Any], *, key: str, changeable: Collection[str] | None
) -> dict[str, Any]:
    """What `config_form` returns, without drawing it: for a callback, which runs before it."""
    return _Form(values, key, changeable).edited()


class _Form:
    """One form in one run of the script; what was edited lives in the session, by knob."""

    def __init__(
        self, values: Mapping[str, Any], key: str, changeable: Collection[str] | None
    ) -> None:
        self._values = {name: values.get(name, knob.default) for name, knob in knobs().items()}
        self._key, self._changeable = key, changeable
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
                st.text(f"{name}  {shown(self._values[name])} → {shown(value)}", width="content")
                st.button(
                    f"set {name} back", key=f"{self._key}-back-{name}", type="tertiary",
                    icon=":material/undo:", on_click=self._set_back, args=(name,),
                )  # fmt: skip

    def draw_groups(self, all_knobs: Sequence[Knob]) -> None:
        """Every knob, under its group."""
        for group in dict.fromkeys(knob.group for knob in all_knobs):
            members = [knob for knob in all_knobs if knob.group == group]
            changed = sum(self._is_changed(knob) for knob in members)
            label = f"{group} · {changed} changed" if changed else group
            with st.expander(label, expanded=group == OPEN_GROUP, key=f"{self._key}-in-{group}"):
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
            st.number_input(step=1, **common)
        elif kind == "number":
            st.number_input(step=_step(knob.default), format="%.10g", **common)
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


def changes_of(values: Mapping[str, Any], edited: Mapping[str, Any]) -> dict[str, Any]:
    """The edited values that differ."""
    return {name: value for name, value in edited.items() if value != values[name]}


def shown(value: Any) -> str:
    """A value as a person reads it, one line and not too long."""
    if isinstance(value, bool):
        return "on" if value else "off"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    text = " ".join(text.split()) if value is not None else "none"
    half = MOST_SHOWN // 2  # both ends of a path say something
    return text if len(text) <= MOST_SHOWN else f"{text[: half - 1]}…{text[-half:]}"


def data_folders() -> list[Path]:
    """Where the paths a browser sends may lead: `FASA_DATA`, and the data sets made here."""
    named = os.environ.get(DATA_VARIABLE, "").split(os.pathsep)
    return [*(Path(folder) for folder in named if folder), run_log_path().parent / "datasets"]


def problem_of(edited: Mapping[str, Any], *, given: Mapping[str, Any]) -> str | None:
    """Why edited values cannot start a run, in one sentence; None when they can.

    Paths must lead to something inside `data_folders`, but for those that were given: no browser
    chose them.
    """
    try:
        config = load_config(dict(edited))
        kept = [name for name in path_knobs() if edited[name] == given[name]]
        chosen = config.model_copy(update=dict.fromkeys(kept))
        check_paths(chosen, data_folders())
    except ConfigError as error:
        return str(error)
    for name in path_knobs():
        path = getattr(chosen, name)
        if path is not None and path not in BACKBONE_WORDS and not os.path.exists(path):
            return (
                f"{name} is '{shown(path)}', but nothing is there: check its spelling, or put the "
                "data there"
            )
    return None


def command_line(words: Sequence[str], changes: Mapping[str, Any]) -> str:
    """The command that does the same, quoted for a shell; it is only ever shown."""
    flags: list[str] = []
    for name, value in changes.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
            continue
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        text = "none" if value is None else text
        flags += [f"--{flag}={text}"] if text.startswith("-") else [f"--{flag}", text]
    return shlex.join([*words, *flags])
