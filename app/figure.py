"""A figure: Plotly's traces and layout as plain data, with the table behind it. Pure.

Where a chart of lines is fed with new values as they come (`app/charts.py`), a figure is drawn
anew on the server from the run log's rows and fetched whole, when the rows behind it changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from app.looks import Color

Follows = Literal["epoch", "snapshot", "prediction", "feature"]


@dataclass(frozen=True)
class Figure:
    """What is drawn.

    Attributes:
        traces: Plotly's traces; no traces: there is nothing to draw yet.
        layout: what differs from the house layout, which `live_chart/plotly.js` lays under it.
        table: the columns of its CSV, all of one length.
        note: one sentence with the numbers of this moment.
    """

    traces: Sequence[Mapping[str, Any]] = ()
    layout: Mapping[str, Any] = field(default_factory=dict)
    table: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class FigureSpec:
    """Where a figure comes from, and the words around it.

    Attributes:
        name: of its route, see `app/figures.py`.
        title, caption: what it shows; the caption names the paper's figure or equation.
        empty: what is said instead while there are no traces.
        height: pixels.
        follows: which of the run's versions says that it is out of date.
        params: further parameters of its route.
        picks: a click on a point sends its `customdata` back as the value `pick`.
    """

    name: str
    title: str
    caption: str
    empty: str
    height: int = 320
    follows: Follows = "epoch"
    params: Mapping[str, str] = field(default_factory=dict)
    picks: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The specification as the component takes it (JSON)."""
        return asdict(self)


def ground(color: Color, dark: bool) -> str:
    """A colour for the ground it is drawn on."""
    return color.dark if dark else color.light
