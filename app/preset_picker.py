"""The choice of presets on the page New run: by data set, each with what it is for.

The presets chosen live in the session under `PRESET`, and in the address.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.config_checks import MOST_SHOWN
from app.run_draft import DEFAULTS
from trainer.presets import PRESETS, data_set_of

FIRST_PRESETS = ["demo"]
PRESET = "preset"  # in the session and in the address
DATA = "preset-data"  # in the session
DATA_SETS = list(dict.fromkeys(map(data_set_of, PRESETS)))
GENERAL = DATA_SETS[0]  # presets of no published set; they can lie over the rows of one
NOTHING = "none: the defaults, which are the paper's"


def choose_presets() -> list[str] | None:
    """Draw the choice; the presets in order, or None while a published set lacks its row."""
    _take_address()
    data = st.segmented_control(
        "data set", DATA_SETS, key=DATA, required=True, on_change=_start_over
    )
    rows = [name for name in PRESETS if data_set_of(name) == data]
    given = st.session_state[PRESET]
    options = list(dict.fromkeys([*rows, *_of(GENERAL), *given]))
    names = st.multiselect(
        "presets, each laid over those before it", options, key=PRESET,
        format_func=lambda name: name.rpartition("/")[2] if name in rows else name,
        placeholder=NOTHING if data == GENERAL else "take one below",
        persist_state="page",
    )  # fmt: skip
    _to_address(names)
    if data != GENERAL and not set(names) & set(rows):
        _offer(rows)
        return None
    for name in names or [DEFAULTS]:
        st.caption(f"**{name}**: {PRESETS[name].purpose}")
    return names


def _of(data: str) -> list[str]:
    return [name for name in PRESETS if data_set_of(name) == data]


def _take_address() -> None:
    """What the address asks for, when the page is opened."""
    if PRESET not in st.session_state:
        asked = st.query_params.get(PRESET)
        names = FIRST_PRESETS if asked is None else asked.split(",")
        st.session_state[PRESET] = [name for name in dict.fromkeys(names) if name in PRESETS]
    if DATA not in st.session_state:
        published = [data for data in map(data_set_of, st.session_state[PRESET]) if data != GENERAL]
        st.session_state[DATA] = published[0] if published else GENERAL


def _to_address(names: Sequence[str]) -> None:
    if names != FIRST_PRESETS:
        st.query_params[PRESET] = ",".join(names)
    else:
        st.query_params.pop(PRESET, None)


def _start_over() -> None:
    """Another data set: what was chosen for the one before would lie below its rows."""
    st.session_state[PRESET] = FIRST_PRESETS if st.session_state[DATA] == GENERAL else []


def _offer(rows: Sequence[str]) -> None:
    """The rows of a published set that a search finds, each with what it is for, to take one."""
    wanted = st.text_input(
        "find a preset", type="search", live=True, key="preset-find",
        label_visibility="collapsed", placeholder="find a preset: r101 rfs, 12 epochs",
    )  # fmt: skip
    found = [name for name in rows if _finds(name, wanted)]
    if not found:
        st.text(f"No preset of this data set has '{wanted[:MOST_SHOWN]}' in its name or meaning.")
    with st.grid(2, min_column_width=300):
        for name in found:
            with st.container(gap=None):
                st.button(
                    name.rpartition("/")[2], key=f"take-{name}", type="tertiary",
                    on_click=_take, args=(name,),
                )  # fmt: skip
                st.caption(PRESETS[name].purpose)


def _finds(name: str, wanted: str) -> bool:
    """Whether every word of a search is in a preset's name or meaning."""
    text = f"{name} {PRESETS[name].purpose}".lower()
    return all(word in text for word in wanted.lower().split())


def _take(name: str) -> None:
    st.session_state[PRESET] = [name, *st.session_state[PRESET]]
