"""'Is it on the manifold?': the measures beside the picture, as part of the page Feature space.

The address holds what the figures are of (`of`) and how the table is arranged (`table-find`,
`table-sort`, `table-groups`); pinned classes are the page's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import streamlit as st

from app.class_table import Arrangement, ClassTable, address_of, arrangement_of
from app.feature_figures import panel_height
from app.feature_measures import ACCURACY, FRECHET, NEGATIVE, NEIGHBOURS, Topic
from app.figure import FigureSpec
from app.live_chart import figure, live
from app.looks import FREQUENCY_NAMES
from app.manifold_words import headline
from app.measure_routes import measure_table
from app.notices import readable_log
from app.pins import Pins
from app.view_options import choice, to_address
from trainer.run_log.rows import FEWEST_OBJECTS, CategoryRow, Run
from trainer.run_log.schema import RunLogError

WATCH_SECONDS = 3.0
OF = {"groups": "frequency groups", "pins": "pinned classes"}
FORMULA = "docs/feature_space.md has the formula."
EMPTY = (
    "Nothing has been measured yet: the first measures come with the first snapshot of features, "
    "at the end of an epoch."
)
SIZES = FigureSpec(
    "feature_sizes",
    "What the priors rest on",
    "Effective sample size of each class's prior (Kish; at most its training instances) at the "
    f"newest snapshot, over its training instances; the line would be every instance. Open: weak, "
    f"fewer than {FEWEST_OBJECTS} objects. A click pins a class. {FORMULA}",
    "No prior has been measured yet: the first come with the first snapshot of features.",
    height=280,
    follows="feature",
    picks=True,
)


def draw_manifold(run: Run, categories: Sequence[CategoryRow], pinned: Sequence[int]) -> None:
    """Draw the section of a run.

    Args:
        run: the run.
        categories: its classes.
        pinned: indices of the pinned classes, see `app/pins.py`.
    """
    fasa = bool(run.config.get("fasa", True))
    st.subheader("Is it on the manifold?", anchor=False)
    answer(run, categories)
    of = choice("measures of", "of", OF)
    pins = list(pinned) if of == "pins" else []
    if of == "pins" and not pins:
        st.text("No class is pinned, so the frequency groups are shown: pin one in the table.")
    groups = sum(any(row.frequency == letter for row in categories) for letter in FREQUENCY_NAMES)
    shown = len(pins) or groups

    def put(topic: Topic) -> None:
        spec = topic_spec(topic, pins, shown)
        figure(spec, key=f"{spec.name}-{run.id}", run=run.id)

    left, right = st.columns(2, gap="small")
    with left:
        put(NEIGHBOURS)
    with right:
        put(ACCURACY)
    if fasa:
        left, middle, right = st.columns(3, gap="small")
        with left:
            put(FRECHET)
        with middle:
            put(NEGATIVE)
        with right:
            draw_sizes(run, categories)
    draw_table(run, categories, pinned, measure_table(fasa=fasa))


@st.fragment(run_every=WATCH_SECONDS)
def answer(run: Run, categories: Sequence[CategoryRow]) -> None:
    """The headline: what the newest measures mean. The projector may go on after the run ended."""
    log = readable_log()
    reader = log.reader() if log else None
    if reader is None:
        return
    try:
        newest = reader.features.newest_measures(run.id)
        first, *rest = headline(newest, categories, reader.run(run.id))
    except RunLogError as error:
        st.text(str(error))
        return
    st.text(first)
    for sentence in rest:
        st.caption(sentence)


def topic_spec(topic: Topic, pins: Sequence[int], shown: int) -> FigureSpec:
    """The words around a topic's figure, of pinned classes or else of the frequency groups."""
    params: Mapping[str, str] = {"pins": ",".join(map(str, pins))} if pins else {}
    return FigureSpec(
        topic.figure,
        topic.title,
        f"{topic.caption} {FORMULA}",
        EMPTY,
        height=panel_height(topic, shown),
        follows="feature",
        params=params,
    )


def draw_sizes(run: Run, categories: Sequence[CategoryRow]) -> None:
    """The scatter of effective sample sizes; a click pins a class."""
    key = f"{SIZES.name}-{run.id}"
    figure(
        SIZES, key=key, run=run.id,
        on_pick_change=lambda: pin(run, categories, st.session_state[key].pick),
    )  # fmt: skip


def pin(run: Run, categories: Sequence[CategoryRow], clicked: object) -> None:
    """Pin or unpin a class of the page, by the index that a browser sent."""
    pins = Pins(run, categories)
    pins.toggle(clicked)
    pins.to_address()


def draw_table(
    run: Run, categories: Sequence[CategoryRow], pinned: Sequence[int], table: ClassTable
) -> None:
    """The measures by class, arranged as the address says."""
    key = f"measures-{run.id}"

    def arrange() -> None:
        address = address_of(st.session_state[key].arrange, table)
        for name in ("find", "sort", "groups"):
            to_address(f"table-{name}", address.get(name, ""), "")

    live(
        "class_table", table.to_dict(), key=key, run=run.id,
        view={"pins": list(pinned), "arrangement": asdict(asked_arrangement(table))},
        on_toggle_change=lambda: pin(run, categories, st.session_state[key].toggle),
        on_arrange_change=arrange,
    )  # fmt: skip


def asked_arrangement(table: ClassTable) -> Arrangement:
    """How the address has the table; its names begin with `table-` beside the page's own."""
    named = {
        key.removeprefix("table-"): value
        for key, value in st.query_params.to_dict().items()
        if key.startswith("table-")
    }
    return arrangement_of(named, table)
