"""The losses of the super-groups before and after an epoch, and the factor that followed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.figure import Figure, ground
from app.looks import GREY, INK, PURPLE, Color
from app.super_group_history import Adaptation, within
from app.super_group_map import arrow
from app.why_words import count
from trainer.run_log.rows import AdaptationRow

MOST_GROUPS = 24  # drawn, the largest ones; the table has all

OUTCOMES: tuple[tuple[str, str, Color], ...] = (  # name, marker, colour
    ("now: fell, p raised", "triangle-up", PURPLE),
    ("now: rose, p lowered", "triangle-down", INK),
    ("now: p left as it was", "circle", GREY),
)


def group_losses(
    adaptation: Adaptation, names: Sequence[str], *, chosen: int | None = None, dark: bool = False
) -> Figure:
    """A line from the loss before to the loss now for each super-group.

    Args:
        adaptation: whose groups.
        names: [C] unique names.
        chosen: a class whose group is marked.
        dark: the ground it is drawn on.
    """
    rows = drawn_groups(adaptation)
    if not rows:
        return Figure()
    places = {row.id: len(rows) - 1 - place for place, row in enumerate(rows)}
    traces = [_connections(rows, places, dark), _before(rows, places, dark)]
    for which, (name, symbol, color) in enumerate(OUTCOMES):
        members = [row for row in rows if _outcome(row) == which]
        if members:
            style = {"symbol": symbol, "size": 11, "color": ground(color, dark)}
            traces.append(_points(members, places, name, "loss_after", style))
    traces.append(_words(rows, places, dark))
    layout = {
        "xaxis": {"title": {"text": "validation loss of the group"}},
        "yaxis": {
            "tickvals": [places[row.id] for row in rows],
            "ticktext": [_tick(row, chosen) for row in rows],
            "range": [-0.6, len(rows) - 0.4],
            "showgrid": False,
        },
        "hovermode": "closest",
        "margin": {"l": 44, "r": 70, "t": 6, "b": 36},
    }
    return Figure(traces, layout, loss_table(adaptation, names), losses_note(adaptation))


def drawn_groups(adaptation: Adaptation) -> list[AdaptationRow]:
    """The largest groups, by how far their loss moved: fallen furthest first."""
    largest = sorted(adaptation.rows, key=lambda row: (-len(row.members), row.super_group))
    return sorted(largest[:MOST_GROUPS], key=lambda row: _change(row) or 0.0)


def loss_table(adaptation: Adaptation, names: Sequence[str]) -> dict[str, list[Any]]:
    """One row a super-group with all that was written of it."""
    rows = adaptation.rows
    return {
        "group": [row.super_group for row in rows],
        "p": [f"{arrow(row.factor)} ×{row.factor:g}" for row in rows],
        "reason": [row.reason for row in rows],
        "loss before": [row.loss_before for row in rows],
        "loss now": [row.loss_after for row in rows],
        "change": [_change(row) for row in rows],
        "classes": [len(row.members) for row in rows],
        "with data": [len(row.with_data) for row in rows],
        "noise": [len(row.noise_members) for row in rows],
        "clamped": [len(row.clamped) for row in rows],
        "members": [
            ", ".join(names[index] for index in within(row.members, len(names))) for row in rows
        ],
    }


def losses_note(adaptation: Adaptation) -> str:
    """How many groups went which way, in a sentence."""
    counts = [sum(_outcome(row) == which for row in adaptation.rows) for which in range(3)]
    clamped = sum(len(row.clamped) for row in adaptation.rows)
    text = (
        f"After epoch {adaptation.epoch} p was raised in {count(counts[0], 'group')}, lowered "
        f"in {counts[1]:,} and left in {counts[2]:,}; {count(clamped, 'class')} clamped at 1."
    )
    hidden = len(adaptation.rows) - MOST_GROUPS
    if hidden > 0:
        text += f" The {MOST_GROUPS} largest groups are drawn, the table has {hidden:,} more."
    return text


def _outcome(row: AdaptationRow) -> int:
    return 0 if row.factor > 1 else 1 if row.factor < 1 else 2


def _change(row: AdaptationRow) -> float | None:
    if row.loss_before is None or row.loss_after is None:
        return None
    return row.loss_after - row.loss_before


def _tick(row: AdaptationRow, chosen: int | None) -> str:
    text = f"group {row.super_group} · {len(row.members):,}"
    return f"<b>→ {text}</b>" if chosen is not None and chosen in row.members else text


def _connections(
    rows: Sequence[AdaptationRow], places: dict[int, int], dark: bool
) -> dict[str, Any]:
    known = [row for row in rows if _change(row) is not None]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [x for row in known for x in (row.loss_before, row.loss_after, None)],
        "y": [y for row in known for y in (places[row.id], places[row.id], None)],
        "line": {"color": ground(GREY, dark), "width": 2},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _before(rows: Sequence[AdaptationRow], places: dict[int, int], dark: bool) -> dict[str, Any]:
    style = {"symbol": "circle-open", "size": 9, "color": ground(INK, dark)}
    known = [row for row in rows if row.loss_before is not None]
    return _points(known, places, "before", "loss_before", style)


def _points(
    rows: Sequence[AdaptationRow], places: dict[int, int], name: str, field: str,
    marker: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [getattr(row, field) for row in rows],
        "y": [places[row.id] for row in rows],
        "text": [
            f"group {row.super_group}: {len(row.members):,} classes, {len(row.with_data):,} with "
            f"data, {len(row.noise_members):,} noise"
            for row in rows
        ],
        "marker": marker,
        "hovertemplate": f"%{{text}}<br>{name}: %{{x:.4~g}}<extra></extra>",
    }


def _words(rows: Sequence[AdaptationRow], places: dict[int, int], dark: bool) -> dict[str, Any]:
    """The factor at the right end of each line, and why where p did not move."""
    losses = [one for row in rows for one in (row.loss_before, row.loss_after) if one is not None]
    left = min(losses, default=0.0)
    words = []
    for row in rows:
        text = f"{arrow(row.factor)} ×{row.factor:g}"
        if row.factor == 1:
            text = {"no validation data": "no data"}.get(row.reason, row.reason[:20]) + ", ×1"
        words.append(f"{text}, {len(row.clamped):,} clamped" if row.clamped else text)
    own = [(row.loss_before, row.loss_after) for row in rows]
    return {
        "type": "scatter",
        "mode": "text",
        "x": [max((x for x in pair if x is not None), default=left) for pair in own],
        "y": [places[row.id] for row in rows],
        "text": [f"   {word}" for word in words],
        "textposition": "middle right",
        "textfont": {"size": 11, "color": ground(INK, dark)},
        "cliponaxis": False,
        "hoverinfo": "skip",
        "showlegend": False,
    }
