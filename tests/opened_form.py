"""The configuration form opened by itself in Streamlit's AppTest, and how to ask it things."""

from typing import Any

from streamlit.testing.v1 import AppTest

from app.config_checks import changes_of
from app.config_knobs import knobs
from trainer.config import RunConfig

DEFAULTS = RunConfig().model_dump(mode="json")
KNOBS = knobs()
WIDGETS = ("toggle", "selectbox", "number_input", "text_input")


def _page() -> None:
    import streamlit as st

    from app.config_form import config_form, draw_changes

    given, changeable = st.session_state["given"], st.session_state["changeable"]
    summary = st.container()
    st.session_state["edited"] = config_form(given, key="form", changeable=changeable)
    with summary:
        draw_changes(given, key="form", changeable=changeable)


def open_form(values: dict[str, Any] | None = None, changeable: Any = None) -> AppTest:
    page = AppTest.from_function(_page, default_timeout=30)
    page.session_state["given"] = DEFAULTS | (values or {})
    page.session_state["changeable"] = changeable
    return rerun(page)


def rerun(page: AppTest) -> AppTest:
    page.run()
    assert not page.exception
    return page


def edited(page: AppTest) -> dict[str, Any]:
    return dict(page.session_state["edited"])


def changes(page: AppTest) -> dict[str, Any]:
    return changes_of(page.session_state["given"], edited(page))


def widget(page: AppTest, name: str) -> Any:
    [found] = [
        element
        for kind in WIDGETS
        for element in page.get(kind)
        if element.key == f"form-knob-{name}"
    ]
    return found


def find(page: AppTest, words: str) -> AppTest:
    page.text_input(key="form-find").set_value(words)
    return rerun(page)


def texts(page: AppTest) -> list[str]:
    return [element.value for element in page.text]
