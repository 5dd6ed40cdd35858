"""What pages share: what a page says instead of its contents.

Texts that may hold anything are shown as text, never as markup.
"""

from __future__ import annotations

import streamlit as st

from app.source import Source, source
from trainer.run_log.schema import RunLogError


def notice(title: str, sentence: str) -> None:
    """A quiet box with a title of ours and a sentence that may hold anything."""
    with st.container(border=True, gap="xsmall"):
        st.markdown(f"**{title}**")
        st.text(sentence)


def readable_log() -> Source | None:
    """The run log's source when it can be read or is not there yet; else say so, and None."""
    log = source()
    try:
        log.reader()
    except RunLogError as error:
        notice("This run log cannot be read", str(error))
        return None
    return log
