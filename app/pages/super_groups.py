"""Super-groups: which classes move together, how that changes, and why a probability changed.

The address holds the run, the epoch (`epoch`), the one it is compared with (`from`), the class
(`class`, by name) and what the tree map's areas mean (`area`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from app import super_group_figures as words
from app.class_charts import class_labels, first_pins
from app.figure import FigureSpec
from app.live_chart import figure, live
from app.notices import notice
from app.run_page import RunPage, open_run_page
from app.super_group_curves import clustering_chart
from app.super_group_evidence import newest_settled, read_evidence
from app.super_group_history import Adaptation, at_epoch, read_adaptations
from app.super_group_losses import drawn_groups, loss_table
from app.view_options import choice, to_address
from app.why import explain, why_nothing
from app.why_table import member_table
from trainer.run_log.rows import Run
from trainer.run_log.schema import FINAL_STATUSES, RunLogError

NEWEST, PREVIOUS = words.NEWEST, "the one before"
AREAS = {"classes": None, "instances": None}
WATCH_SECONDS = 2.0


def show() -> None:
    """Draw the page."""
    page = open_run_page()
    if page is None:
        return
    if not page.run.config.get("fasa", True):
        notice("A baseline has no super-groups", why_nothing(page.run.config))
        return
    try:
        draw(page, read_adaptations(page.reader, page.run))
    except RunLogError as error:
        notice("This run log cannot be read", str(error))


def draw(page: RunPage, history: Sequence[Adaptation]) -> None:
    """The choices, the figures and the answer to why."""
    run, names = page.run, class_labels(page.categories)
    epochs = [str(one.epoch) for one in reversed(history)]
    with st.container(horizontal=True, gap="small"):
        epoch = one_of("after epoch", "epoch", run, [NEWEST, *epochs], NEWEST)
        earlier = one_of("compared with epoch", "from", run, [PREVIOUS, *epochs], PREVIOUS)
        area = choice("area of a class", "area", AREAS)
    params = {"epoch": epoch}
    place, answer = st.columns([3, 2], gap="small")
    with answer, st.container(border=True, gap="small"):
        chosen = asked_class(page, names)
        if chosen is not None:
            params["class"] = str(chosen)
        why(page, names, history, epoch, chosen)

    def put(spec: FigureSpec) -> None:
        figure(spec, key=f"{spec.name}-{run.id}", run=run.id)

    with place:
        picked = f"groups_map-{run.id}"
        mapped = {**params, "area": area}
        spec = words.map_spec(mapped) if history else words.map_spec(mapped, words.EMPTY_HEIGHT)
        figure(spec, key=picked, run=run.id,
               on_pick_change=lambda: take_pick(picked, run, names))  # fmt: skip
    moved = params if earlier == PREVIOUS else {**params, "from": earlier}
    now = at_epoch(history, None if epoch == NEWEST else int(epoch))
    height = words.height_of(len(drawn_groups(now)) if now else 0)
    left, right = st.columns(2, gap="small")
    with left:
        put(words.losses_spec(params, height))
    with right:
        put(words.flow_spec(moved, height))
    left, right = st.columns(2, gap="small")
    with left:
        put(words.stability_spec(params))
    with right:
        chart = clustering_chart(dbscan=run.config.get("clustering", "dbscan") == "dbscan")
        live("chart", chart.to_dict(), key=f"{chart.key}-{run.id}", run=run.id,
             view={"x": "epoch", "smoothing": 0.0})  # fmt: skip
    if now is not None and now.rows:
        with st.expander("All groups as a table: click a heading to sort"):
            st.dataframe(loss_table(now, names), hide_index=True, column_config=NUMBERS)
    if run.status not in FINAL_STATUSES:
        watch(page, newest_settled(page.reader, run, history))


NUMBERS: dict[str, Any] = {
    name: st.column_config.NumberColumn(format="%.4g")
    for name in ("loss before", "loss now", "change", "p before", "p now")
} | {
    "decided": st.column_config.CheckboxColumn(help="its losses are part of the group's"),
    "noise": st.column_config.Column(help="no core class lies within eps: attached"),
    "clamped": st.column_config.Column(help="p was held at 1"),
}


def asked_class(page: RunPage, names: Sequence[str]) -> int | None:
    """Draw the choice of the class; its index, None while the classes are not named yet."""
    st.markdown("**Why did it change?**")
    if not names:
        return None
    usual = names[(first_pins(page.categories) or [0])[0]]
    name = one_of("class: type to find one by name", "class", page.run, names, usual)
    return names.index(name)


def why(
    page: RunPage, names: Sequence[str], history: Sequence[Adaptation], epoch: str,
    chosen: int | None,
) -> None:  # fmt: skip
    """The paragraph, and the members of the class's group with their losses."""
    now = at_epoch(history, None if epoch == NEWEST else int(epoch))
    if now is None or chosen is None:
        st.text(why_nothing(page.run.config))
        return
    evidence = read_evidence(page.reader, page.run, page.categories, names, history, now)
    found = explain(evidence, chosen)
    st.text(found.paragraph)
    if found.members:
        st.caption("The members of its group: the class itself, then by how far their loss moved. "
                   "p is per 1,000 steps.")  # fmt: skip
        table = member_table(found.members, page.categories, names)
        st.dataframe(table, hide_index=True, height=240, column_config=NUMBERS)


def one_of(label: str, name: str, run: Run, options: Sequence[str], usual: str) -> str:
    """A choice from a list that can be searched, in the address as `name`."""
    key = state_key(name, run)
    if st.session_state.get(key) not in options:
        asked = st.query_params.get(name)
        st.session_state[key] = asked if asked in options else usual
    picked = str(st.selectbox(label, options, key=key, width=260))
    to_address(name, picked, usual)
    return picked


def state_key(name: str, run: Run) -> str:
    """Where the session keeps a choice: another run has other epochs and classes."""
    return f"groups-{name}-{run.id}"


def take_pick(key: str, run: Run, names: Sequence[str]) -> None:
    """A box of the tree map was clicked: ask about its class."""
    picked: Any = st.session_state[key].pick
    if isinstance(picked, int | float) and 0 <= picked < len(names):
        st.session_state[state_key("class", run)] = names[int(picked)]


@st.fragment(run_every=WATCH_SECONDS)
def watch(page: RunPage, known: int) -> None:
    """Draw the page again when another epoch was adapted: the figures do so by themselves."""
    try:
        run = page.reader.run(page.run.id)
        history = read_adaptations(page.reader, run)
        if newest_settled(page.reader, run, history) != known:
            st.rerun()
    except RunLogError:
        return  # the figures say so


show()
