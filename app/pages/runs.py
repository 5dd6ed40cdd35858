"""Runs: every run of the folder, newest first, with how it goes."""

from __future__ import annotations

import streamlit as st

from app.live_chart import live
from app.notices import readable_log

EMPTY = (
    "No runs yet.\n"
    "`fasa train` starts one here, and `fasa up` starts the demo; it will show up by itself."
)


def show() -> None:
    """Draw the page."""
    st.html("<h1 class='sr-only' style='position:absolute;left:-9999px'>Runs</h1>")
    if readable_log() is None:
        return
    result = live("run_list", {"empty": EMPTY.replace("`", "")}, key="runs",
                  on_open_change=lambda: None)  # fmt: skip
    if result.open is not None:
        st.switch_page("pages/live.py", query_params={"run": str(int(result.open))})


show()
