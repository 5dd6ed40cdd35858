"""The diagnosis on a page: what is wrong with a run, folded to a line while nothing is."""

from __future__ import annotations

import streamlit as st

from app.live_chart import live

PARAMETER = "diagnosis"  # of the address: open or closed; absent while nobody chose


@st.fragment
def diagnosis_panel(run: int) -> None:
    """Draw the panel of a run. A fragment: folding it redraws nothing else of the page.

    Args:
        run: id of the run.
    """
    key = f"diagnosis-{run}"

    def keep() -> None:
        fold = st.session_state[key].fold
        if fold in ("open", "closed"):
            st.query_params[PARAMETER] = fold

    view = {"fold": st.query_params.get(PARAMETER)}
    live("diagnosis", {}, key=key, run=run, view=view, on_fold_change=keep)
