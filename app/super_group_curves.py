"""Super-groups from epoch to epoch: how stable they are, how much noise, which eps. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.charts import Chart, Line, Panel
from app.figure import Figure, ground
from app.looks import BLUE, GREEN, GREY, ORANGE, Look
from app.super_group_agreement import Agreement

ATTACHED = Look(BLUE, "solid", "square")
WITHOUT_NOISE = Look(ORANGE, "dash", "diamond")


def stability_curve(
    agreements: Sequence[Agreement], *, epoch: int | None = None, dark: bool = False
) -> Figure:
    """Adjusted Rand index between each adaptation and the one before it.

    Args:
        agreements: in order of epochs.
        epoch: is marked.
        dark: the ground it is drawn on.
    """
    if not agreements:
        return Figure()
    epochs = [one.epoch for one in agreements]
    lines: tuple[tuple[str, list[float], list[int], Look], ...] = (
        ("noise in the group it joined", [one.attached for one in agreements],
         [one.grouped for one in agreements], ATTACHED),
        ("without noise", [one.without_noise for one in agreements],
         [one.clean for one in agreements], WITHOUT_NOISE),
    )  # fmt: skip
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": epochs,
            "y": values,
            "text": [f"{number:,} classes" for number in numbers],
            "line": {"color": ground(look.color, dark), "dash": look.dash, "width": 2},
            "marker": {"symbol": look.symbol, "size": 7},
            "hovertemplate": "epoch %{x}: %{y:.3f} over %{text}<extra>" + name + "</extra>",
        }
        for name, values, numbers, look in lines
    ]
    lowest = min([0.0, *(value for _, values, _, _ in lines for value in values if value == value)])
    layout: dict[str, Any] = {
        # Left to itself, plotly puts several ticks between two epochs when there are few.
        "xaxis": {"title": {"text": "epochs done"}, "tickformat": "d",
                  **({"dtick": 1} if epochs[-1] - epochs[0] < 10 else {})},
        "yaxis": {"title": {"text": "adjusted Rand index"}, "range": [lowest - 0.05, 1.05]},
        "shapes": [_rule(ground(GREY, dark), y=0)],
    }  # fmt: skip
    if epoch in epochs:
        layout["shapes"].append(_rule(ground(GREY, dark), x=epoch))
    table: dict[str, Sequence[Any]] = {
        "epoch": epochs,
        "ari_noise_attached": lines[0][1],
        "ari_without_noise": lines[1][1],
        "classes_grouped": lines[0][2],
        "classes_without_noise": lines[1][2],
    }
    return Figure(traces, layout, table, stability_note(agreements, epoch))


def stability_note(agreements: Sequence[Agreement], epoch: int | None) -> str:
    """The numbers of the chosen epoch, else of the newest, and the mean over all."""
    one = next((one for one in agreements if one.epoch == epoch), agreements[-1])
    known = [other.attached for other in agreements if np.isfinite(other.attached)]
    text = (
        f"Epoch {one.epoch} against the one before: {_shown(one.attached)} over {one.grouped:,} "
        f"classes, {_shown(one.without_noise)} over the {one.clean:,} that were noise neither time"
    )
    return f"{text}; mean over all epochs {np.mean(known):.2f}." if known else f"{text}."


def clustering_chart(*, dbscan: bool) -> Chart:
    """Number of groups, and for DBSCAN the share of noise and the radius eps, over the run."""
    want = "scalars:adaptation/groups,adaptation/noise_share,adaptation/eps"
    groups = Line(want, "super-groups", Look(GREEN, "dot", "triangle-up"),
                  series="adaptation/groups", markers=True)  # fmt: skip
    panel = Panel("groups", from_zero=True, number="d", whole=True)
    empty = "No clustering yet: the first comes at the end of an epoch."
    if not dbscan:
        return Chart(
            key="clustering",
            title="Number of super-groups",
            caption="How many groups affinity propagation found; 0 where it did not converge. It "
            "knows no noise and no eps.",
            empty=empty,
            lines=(groups,),
            panels=(panel,),
        )
    return Chart(
        key="clustering",
        title="Noise and eps",
        caption="Share of the clustered classes that DBSCAN called noise, its radius eps in units "
        "of the Fisher ratio (Eq. 5), which is chosen anew each epoch, and the number of groups.",
        empty=empty,
        lines=(
            Line(want, "noise", WITHOUT_NOISE, series="adaptation/noise_share",
                 transform="percent", markers=True),
            Line(want, "eps", ATTACHED, series="adaptation/eps", panel=1, markers=True),
            Line(want, "super-groups", groups.look, series="adaptation/groups", panel=2,
                 markers=True),
        ),
        panels=(Panel("noise, %", from_zero=True, number=".0f"),
                Panel("eps", from_zero=True), panel),
        height=330,
    )  # fmt: skip


def _shown(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "no value (fewer than two classes)"


def _rule(color: str, *, x: float | None = None, y: float | None = None) -> dict[str, Any]:
    """A thin line across the plot."""
    place: dict[str, Any] = {"x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper"}
    if y is not None:
        place = {"x0": 0, "x1": 1, "xref": "paper", "y0": y, "y1": y}
    return {"type": "line", **place, "line": {"color": color, "width": 1, "dash": "dot"}}
