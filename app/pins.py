"""The pinned classes of a run: chosen by name, in the table or on the heat map; in the address."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app import class_charts
from app.view_options import from_address, to_address
from trainer.run_log.rows import CategoryRow, Run

MOST_PINS = 8
TOO_MANY = f"At most {MOST_PINS} classes can be pinned: unpin one first."


class Pins:
    """The pinned classes of one run, kept in the session and in the address."""

    def __init__(self, run: Run, categories: Sequence[CategoryRow]) -> None:
        self.labels = class_charts.class_labels(categories)
        self.key = f"pin-{run.id}"
        self._kept = f"kept-pin-{run.id}"  # a widget's state ends with its page, this does not
        self._first = [self.labels[index] for index in class_charts.first_pins(categories)]
        if self.labels and self.key not in st.session_state:
            asked = st.query_params.get_all("pin") or st.session_state.get(self._kept, [])
            known = [name for name in dict.fromkeys(asked) if name in self.labels]
            st.session_state[self.key] = known[:MOST_PINS] if asked else self._first

    def choose(self, fields: Sequence[str]) -> str:
        """Draw the two choices above the chart; returns the class field."""
        names, field = st.columns([2, 1], gap="small")
        with names:
            if self.labels:
                st.multiselect(
                    "pinned classes", self.labels, key=self.key, max_selections=MOST_PINS,
                    placeholder="find classes by name",
                )  # fmt: skip
                self.to_address()
            else:
                st.multiselect("pinned classes", [], disabled=True,
                               placeholder="named when the run starts")  # fmt: skip
        with field:
            from_address("field", fields, fields[0])
            chosen = st.selectbox("field", fields, key="field", format_func=field_label)
            to_address("field", chosen, fields[0])
        return chosen

    def indices(self) -> list[int]:
        """Class indices in the order of pinning."""
        return [self.labels.index(name) for name in st.session_state.get(self.key, [])]

    def toggle(self, clicked: object) -> None:
        """Pin or unpin a class, by the index that a browser sent: material to check."""
        if not isinstance(clicked, int | float) or not 0 <= clicked < len(self.labels):
            return
        label = self.labels[int(clicked)]
        pinned: list[str] = list(st.session_state.get(self.key, []))
        if label in pinned:
            pinned.remove(label)
        elif len(pinned) < MOST_PINS:
            pinned.append(label)
        else:
            st.toast(TOO_MANY)
        st.session_state[self.key] = pinned

    def put(self, wanted: object) -> bool:
        """Pin these classes and no other, by the indices that a browser sent: material to check.

        Returns:
            Whether other classes are pinned now.
        """
        if not isinstance(wanted, list | tuple):
            return False
        known = [int(index) for index in wanted
                 if isinstance(index, int | float) and 0 <= index < len(self.labels)]  # fmt: skip
        pinned = [self.labels[index] for index in dict.fromkeys(known)]
        if len(pinned) > MOST_PINS:
            st.toast(TOO_MANY)
        before = st.session_state.get(self.key, [])
        st.session_state[self.key] = pinned[:MOST_PINS]
        return bool(before != pinned[:MOST_PINS])

    def to_address(self) -> None:
        """Keep the pins for other pages, and in the address unless they are the usual ones."""
        if not self.labels:
            return
        pinned: list[str] = st.session_state[self.key]
        st.session_state[self._kept] = pinned or [""]
        if pinned != self._first:
            st.query_params["pin"] = pinned or [""]  # "" says: none, on purpose
        elif "pin" in st.query_params:
            del st.query_params["pin"]


def field_label(name: str) -> str:
    """A class field as people read it."""
    return class_charts.CLASS_FIELDS[name].label
