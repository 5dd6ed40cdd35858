"""The figures of the page of super-groups: read from the run log, drawn by pure functions.

Parameters of their routes:

    epoch   newest (also without it), or the number of an epoch, from 1
    from    the epoch that is compared with, from 1; without it the one before
    class   index of a class that is marked
    area    of the tree map: classes (also without it) or instances
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.class_charts import class_labels
from app.figure import Figure, FigureSpec
from app.figure_routes import Asked
from app.live_answers import WantError, whole_number
from app.super_group_agreement import stability
from app.super_group_curves import stability_curve
from app.super_group_flow import super_group_flow
from app.super_group_history import Adaptation, at_epoch, before, read_adaptations
from app.super_group_losses import group_losses
from app.super_group_map import super_group_map

NEWEST = "newest"
EMPTY_HEIGHT = 200  # pixels of a figure that has nothing to show yet
NO_GROUPS = "No super-groups yet: the first are formed at the end of the first epoch."
NONE_FORMED = "This epoch formed no super-groups. The first are formed at the end of the first one."


def groups_map(asked: Asked) -> Figure:
    """The groups of an epoch as a tree map."""
    found = _found(asked)
    if found.now is None:
        return Figure()
    area = asked.params.get("area", "classes")
    if area not in ("classes", "instances"):
        raise WantError(f"area is '{area[:40]}', but it must be classes or instances")
    return super_group_map(
        found.now, asked.categories, class_labels(asked.categories),
        chosen=found.chosen, area="instances" if area == "instances" else "classes",
        dark=asked.dark,
    )  # fmt: skip


def groups_flow(asked: Asked) -> Figure:
    """How members moved between two epochs."""
    found = _found(asked)
    if found.now is None or found.earlier is None:
        return Figure()
    return super_group_flow(
        found.earlier, found.now, asked.categories, class_labels(asked.categories),
        chosen=found.chosen, dark=asked.dark,
    )  # fmt: skip


def groups_stability(asked: Asked) -> Figure:
    """Adjusted Rand index from epoch to epoch."""
    history = read_adaptations(asked.reader, asked.run)
    agreements = stability(history, len(asked.categories))
    return stability_curve(agreements, epoch=_epoch(asked.params, "epoch"), dark=asked.dark)


def groups_losses(asked: Asked) -> Figure:
    """The groups' losses before and after, with the factor."""
    found = _found(asked)
    if found.now is None:
        return Figure()
    names = class_labels(asked.categories)
    return group_losses(found.now, names, chosen=found.chosen, dark=asked.dark)


@dataclass(frozen=True)
class _Found:
    now: Adaptation | None
    earlier: Adaptation | None
    chosen: int | None


def _found(asked: Asked) -> _Found:
    """The adaptations and the class that the parameters name.

    Raises:
        WantError: one that cannot be read.
    """
    history = read_adaptations(asked.reader, asked.run)
    now = at_epoch(history, _epoch(asked.params, "epoch"))
    earlier = _epoch(asked.params, "from")
    chosen = asked.params.get("class")
    return _Found(
        now=now,
        earlier=(now and before(history, now)) if earlier is None else at_epoch(history, earlier),
        chosen=None if chosen is None else whole_number(chosen, "class"),
    )


def _epoch(params: Mapping[str, str], name: str) -> int | None:
    value = params.get(name, NEWEST)
    return None if value == NEWEST else whole_number(value, name)


def map_spec(params: Mapping[str, str], height: int = 560) -> FigureSpec:
    """The words around the tree map."""
    return FigureSpec(
        "groups_map",
        "Super-groups",
        "Classes whose features look alike (Eq. 5), clustered after the epoch: a box a group with "
        "its number and size (▲ p raised, ▼ lowered), in it a box a class with its training "
        "instances. Colour and letter say rare, common or frequent; hatched classes are noise of "
        "DBSCAN, attached to the group of their nearest core class. Click a group to open or close "
        "it, a class to ask why.",
        NO_GROUPS,
        height=height,
        params=params,
        picks=True,
    )


def height_of(groups: int) -> int:
    """Pixels of the losses of that many groups, and of what stands beside them."""
    return max(380, 130 + 22 * groups) if groups else EMPTY_HEIGHT


def flow_spec(params: Mapping[str, str], height: int) -> FigureSpec:
    """The words around the flow of members."""
    return FigureSpec(
        "groups_flow",
        "How members moved",
        "Each band is the classes that went from a group at the left to a group at the right; "
        "orange holds the chosen class. Numbers of groups mean nothing from one epoch to the next. "
        "Bands of under 1 % of the classes run through the middle; small groups share a bar, where "
        "the palest bands stayed with most of their group.",
        "Nothing to compare yet: it takes the super-groups of two epochs.",
        height=height,
        params=params,
    )


def stability_spec(params: Mapping[str, str]) -> FigureSpec:
    """The words around the adjusted Rand index."""
    return FigureSpec(
        "groups_stability",
        "Stability from epoch to epoch",
        "Adjusted Rand index between the groups of each epoch and the one before: 1 is the same "
        "groups, 0 what chance gives. Blue takes noise where it was attached, as adaptation does; "
        "orange leaves out what was noise either time. Classes in no group are left out of both.",
        "Nothing to compare yet: it takes the super-groups of two epochs.",
        height=330,
        params=params,
    )


def losses_spec(params: Mapping[str, str], height: int) -> FigureSpec:
    """The words around the losses."""
    return FigureSpec(
        "groups_losses",
        "Group losses and the factor that followed",
        "Validation loss of each super-group before (ring) and after the epoch, over the members "
        "of now. It fell: p of all members is multiplied by alpha (▲). It rose: by beta (▼). "
        "Section 3.3 of the paper.",
        NONE_FORMED,
        height=height,
        params=params,
    )
