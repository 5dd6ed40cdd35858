"""The choices above a page's charts; each lives in the address, so a link shows the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import streamlit as st


def choice(label: str, key: str, options: Mapping[str, str | None], first: str = "") -> str:
    """One of a few, in the address as `key`; the first one unless another is named."""
    first = first or next(iter(options))
    from_address(key, options, first)
    picked = st.segmented_control(
        label, list(options), format_func=lambda option: options[option] or option,
        required=True, key=key,
    )  # fmt: skip
    to_address(key, str(picked), first)
    return str(picked)


def from_address(key: str, options: Collection[str], first: str) -> None:
    """Set a widget to what the address says. (Streamlit's own binding would put labels there.)"""
    if key not in st.session_state:
        asked = st.query_params.get(key)
        st.session_state[key] = asked if asked in options else first


def to_address(key: str, value: str, first: str) -> None:
    """Keep a widget's value in the address, unless it is the usual one."""
    if value != first:
        st.query_params[key] = value
    elif key in st.query_params:
        del st.query_params[key]
