"""Feature space: real and virtual features of a run in two dimensions, and how they move."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app.feature_space_look import feature_space_spec, pins_to_show
from app.feature_space_view import KEYS, OF_A_RUN, read_choice, read_view
from app.live_chart import live
from app.manifold_section import draw_manifold
from app.pins import Pins
from app.run_page import RunPage, open_run_page

PINNED = "features-pinned"  # other classes are: the measures below are drawn anew, too
LAST = "features-run"  # of this session: another run starts at its own newest snapshot


def show() -> None:
    """Draw the page."""
    page = open_run_page()
    if page is None:
        return
    if st.session_state.get(LAST, page.run.id) != page.run.id:
        for key in OF_A_RUN:
            st.query_params.pop(key, None)
    st.session_state[LAST] = page.run.id
    space(page)
    pins = Pins(page.run, page.categories)
    draw_manifold(page.run, page.categories, pins.indices())


@st.fragment
def space(page: RunPage) -> None:
    """The picture. A fragment: a choice redraws nothing else, only a pin all of the page."""
    key = f"feature-space-{page.run.id}"
    pins = Pins(page.run, page.categories)

    def take() -> None:
        sent = st.session_state[key].choose
        if isinstance(sent, Mapping) and pins.put(sent.get("pins")):
            st.session_state[PINNED] = True
        for name, values in read_choice(sent).items():
            if values:
                st.query_params[name] = values
            else:
                st.query_params.pop(name, None)

    pins.to_address()
    address = {name: st.query_params.get_all(name) for name in KEYS}
    view = read_view(address, page.run.id, {run.id for run in page.runs})
    live(
        "feature_space", feature_space_spec(page.runs), key=key, run=page.run.id,
        view={**view.to_dict(), "pins": pins_to_show(pins.indices(), page.categories)},
        on_choose_change=take,
    )  # fmt: skip
    if st.session_state.pop(PINNED, False):
        st.rerun()


show()
