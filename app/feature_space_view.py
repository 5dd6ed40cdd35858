"""What the page Feature space shows, as the address says it.

    step=120            the snapshot after that many training steps; else the newest, as it comes
    color=loss          or class, group, frequency, split, first: what the colours mean
    method=pca          or umap_real: how features became a picture; else UMAP of all together
    beside=3            a second run beside the page's own
    hide=virtual        or real; may be repeated
    rest=shown          classes that are not pinned are not dimmed
    prior=group         or none: whose priors are drawn as ellipses; else those of pinned classes
    find=cat            classes whose name holds this stand out
    lasso=o3-9v5        the chosen points, as the component writes them
    at=0.5,-2,40        what is in view: its middle, and pixels a unit

What cannot be read is left out: a link from elsewhere shows what of it there is. Pinned classes
(`pin`) are those of the live page, see `app/pins.py`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

COLORS = ("class", "group", "frequency", "split", "loss", "first")
METHODS = ("umap", "umap_real", "pca")
KINDS = ("real", "virtual")
PRIORS = ("pinned", "group", "none")
KEYS = ("step", "color", "method", "beside", "hide", "rest", "prior", "find", "lasso", "at")
OF_A_RUN = ("step", "beside", "lasso", "at")  # another run starts without them
LONGEST = 2000  # characters of one value


@dataclass(frozen=True)
class FeatureView:
    """What is shown.

    Attributes:
        step: of the snapshot, in training steps; None follows the newest.
        color: one of `COLORS`.
        method: one of `METHODS`.
        beside: id of the second run; None for none.
        hidden: of `KINDS`, what is not drawn.
        dims: whether classes that are not pinned are dimmed.
        prior: one of `PRIORS`.
        find: part of a class name; "" for none.
        lasso: the chosen points; "" for none.
        at: (x, y, scale) in view; None for all.
    """

    step: int | None = None
    color: str = COLORS[0]
    method: str = METHODS[0]
    beside: int | None = None
    hidden: tuple[str, ...] = ()
    dims: bool = True
    prior: str = PRIORS[0]
    find: str = ""
    lasso: str = ""
    at: tuple[float, float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As the component takes it (JSON)."""
        return asdict(self)


def read_view(
    address: Mapping[str, Sequence[str]], run_id: int, runs: Collection[int]
) -> FeatureView:
    """The view that an address asks for.

    Args:
        address: the values of each key.
        run_id: the page's run, which cannot stand beside itself.
        runs: ids of all runs.
    """

    def last(key: str) -> str:
        values = address.get(key) or [""]
        return values[-1][:LONGEST]

    beside, hidden = _whole(last("beside")), address.get("hide", ())
    return FeatureView(
        step=_whole(last("step")),
        color=last("color") if last("color") in COLORS else COLORS[0],
        method=last("method") if last("method") in METHODS else METHODS[0],
        beside=beside if beside in runs and beside != run_id else None,
        # Both hidden would leave nothing to see.
        hidden=tuple(kind for kind in KINDS if kind in hidden)[: len(KINDS) - 1],
        dims=last("rest") != "shown",
        prior=last("prior") if last("prior") in PRIORS else PRIORS[0],
        find=last("find"),
        lasso=last("lasso"),
        at=_place(last("at")),
    )


def read_choice(sent: Any) -> dict[str, list[str]]:
    """What the component sent back for the address; nothing where it is none of ours."""
    if not isinstance(sent, Mapping):
        return {}
    return {
        key: [value[:LONGEST] for value in values if isinstance(value, str)][: len(KINDS)]
        for key in KEYS
        if isinstance(values := sent.get(key), list | tuple)
    }


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None


def _place(text: str) -> tuple[float, float, float] | None:
    try:
        x, y, scale = (float(part) for part in text.split(","))
    except ValueError:
        return None
    return (x, y, scale) if all(map(math.isfinite, (x, y, scale))) and scale > 0 else None
