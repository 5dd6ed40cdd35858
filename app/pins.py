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
    """The pinned classes of one run, kept in the session and in the address.

    The field that chooses them by name is not where they are kept: a browser that has not heard yet
    that a table unpinned a class sends the field as it was with the next thing it says. So there is
    a new field whenever they change elsewhere, and what still comes of the old one is left.
    """

    def __init__(self, run: Run, categories: Sequence[CategoryRow]) -> None:
        self.labels = class_charts.class_labels(categories)
        self.key = f"pin-{run.id}"
        self._fields = f"pin-fields-{run.id}"  # how many fields there were before this one
        self._first = [self.labels[index] for index in class_charts.first_pins(categories)]
        if self.labels and self.key not in st.session_state:
            asked = st.query_params.get_all("pin")
            known = [name for name in dict.fromkeys(asked) if name in self.labels]
            st.session_state[self.key] = known[:MOST_PINS] if asked else self._first

    def choose(self, fields: Sequence[str]) -> str:
        """Draw the two choices above the chart; returns the class field."""
        names, field = st.columns([2, 1], gap="small")
        with names:
            if self.labels:
                place = f"{self.key}-field-{st.session_state.get(self._fields, 0)}"
                if place not in st.session_state:
                    st.session_state[place] = st.session_state[self.key]
                st.session_state[self.key] = st.multiselect(
                    "pinned classes", self.labels, key=place, max_selections=MOST_PINS,
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
        self._pin(pinned)

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
        if before == pinned[:MOST_PINS]:
            return False
        self._pin(pinned[:MOST_PINS])
        return True

    def to_address(self) -> None:
        """Keep the pins in the address unless they are the usual ones."""
        if not self.labels:
            return
        pinned: list[str] = st.session_state[self.key]
        if pinned != self._first:
            st.query_params["pin"] = pinned or [""]  # "" says: none, on purpose
        elif "pin" in st.query_params:
            del st.query_params["pin"]

    def _pin(self, pinned: list[str]) -> None:
        st.session_state[self.key] = pinned
        st.session_state[self._fields] = st.session_state.get(self._fields, 0) + 1


def field_label(name: str) -> str:
    """A class field as people read it."""
    return class_charts.CLASS_FIELDS[name].label
