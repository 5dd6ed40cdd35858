"""The live component: charts, header, steering, tables and lists that update past Streamlit.

One component is registered; `kind` in its data says what it draws. Its JavaScript lies beside this
file and is served by `app/assets.py`: `poll.js` asks the live route for news, `chart.js` keeps one
Plotly div per chart and redraws it in place, so zoom, hover and legend survive every update.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import streamlit as st
from streamlit.components.v2.bidi_component.state import ComponentResult

from app import assets
from app.figure import FigureSpec

Kind = Literal[
    "ap_table", "chart", "class_table", "diagnosis", "events", "feature_space", "figure", "gallery",
    "header", "heat_map", "run_list", "single_click", "steering",
]  # fmt: skip

# A blob cannot import relative addresses, hence the absolute one.
_BOOT = """
export default async function (component) {
  const { assets } = component.data;
  const { mount } = await import(new URL(assets + "mount.js", document.baseURI).href);
  return mount(component);
}
"""


def live(
    kind: Kind,
    spec: dict[str, Any],
    *,
    key: str,
    run: int | None = None,
    view: dict[str, Any] | None = None,
    **callbacks: Callable[[], None],
) -> ComponentResult:
    """Mount the live component.

    Args:
        kind: what to draw.
        spec: what it shows, e.g. `Chart.to_dict()`.
        key: identity of the component on the page.
        run: id of the run it follows.
        view: how it shows it (x axis, smoothing, pins).
        callbacks: `on_NAME_change` for each value the component sends back.
    """
    base = st.get_option("server.baseUrlPath").strip("/")
    prefix = f"/{base}" if base else ""
    data: dict[str, Any] = {
        "kind": kind,
        "base": prefix,
        "assets": prefix + assets.own_address(),
        "plotly": prefix + assets.plotly_address(),
        "run": run,
        "spec": spec,
        "view": view or {},
    }
    mount: Callable[..., ComponentResult] = st.components.v2.component(
        "fasa_live", html='<div class="fasa-root"></div>', js=_BOOT, isolate_styles=False
    )
    return mount(key=key, data=data, **callbacks)


def figure(
    spec: FigureSpec, *, key: str, run: int, on_pick_change: Callable[[], None] | None = None
) -> ComponentResult:
    """Mount a figure of a run; the result has `pick` where `spec.picks`.

    Args:
        spec: which figure, and the words around it.
        key: identity of the component on the page.
        run: id of the run it shows.
        on_pick_change: called when a point was clicked.
    """
    if not spec.picks:
        return live("figure", spec.to_dict(), key=key, run=run)
    changed = on_pick_change or _ignore
    return live("figure", spec.to_dict(), key=key, run=run, on_pick_change=changed)


def _ignore() -> None:
    """A value is read from the result; nothing is to be done before."""
