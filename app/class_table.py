"""The class table: its columns, and how a person arranged it, as the address says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from app.charts import Transform
from app.class_charts import CLASS_FIELDS
from app.looks import FREQUENCY_NAMES


@dataclass(frozen=True)
class Column:
    """A column of a class table: which newest values it shows, and how.

    Attributes:
        want: rows of the live route.
        measure: or a name among the `measures` that come with the table's reasons.
        missing: why a number may be missing, shown where it is.
        weak_below: numbers below it are marked as weak.
    """

    key: str
    label: str
    meaning: str
    want: str = ""
    style: Literal["number", "factor", "group", "percent", "share", "words"] = "number"
    transform: Transform = ""
    measure: str = ""
    missing: str = ""
    weak_below: float = 0.0


PROBABILITY = Column(
    "probability", "p × 1,000", CLASS_FIELDS["probability"].meaning, "latest:probability",
    transform="per_thousand")  # fmt: skip
CHANGE = Column(
    "change", "last change", "factor the last adaptation applied to p", "change:probability",
    "factor")  # fmt: skip
SUPER_GROUP = Column(
    "super_group", "super-group", "super-group of the last clustering", "latest:super_group",
    "group")  # fmt: skip
WEIGHT_NORM = Column(
    "weight_norm", "weight norm", CLASS_FIELDS["weight_norm"].meaning,
    "latest:weight_norm")  # fmt: skip
AP = Column("ap_segm", "AP", CLASS_FIELDS["ap_segm"].meaning, "latest:ap_segm", "percent")
WHY = Column("why", "why", "what moved p in the last adaptation", style="words")

# Columns of every table, which need no want: they come with the classes.
CLASS_COLUMNS = (
    Column("name", "class", "name of the class", style="words"),
    Column("frequency", "freq.", "rare, common or frequent, by training images", style="words"),
    Column("instances", "instances", "instances in the training set"),
)


@dataclass(frozen=True)
class ClassTable:
    """A class table: one row a class, newest values, pins marked.

    `reasons` is the route of what is said of each class in words: `reasons`, `measures` or none.
    """

    columns: tuple[Column, ...]
    caption: str
    reasons: str = ""
    key: str = "classes"
    title: str = "Classes"
    empty: str = "The classes are not known yet: the trainer names them when it starts."

    def to_dict(self) -> dict[str, Any]:
        """The specification as the component takes it (JSON)."""
        return asdict(self)


def class_table(*, fasa: bool) -> ClassTable:
    """The class table; a baseline has no probabilities and no super-groups to show."""
    if fasa:
        return ClassTable(
            (*CLASS_COLUMNS, PROBABILITY, CHANGE, SUPER_GROUP, WEIGHT_NORM, AP, WHY),
            "Newest values of every class. p is given as virtual features to expect in 1,000 "
            "steps; why says what its super-group's hold-out loss did in the last adaptation "
            "(section 3.3). A heading sorts, a row pins its class.",
            reasons="reasons",
        )
    return ClassTable(
        (*CLASS_COLUMNS, WEIGHT_NORM, AP),
        "Newest values of every class. A heading sorts, a row pins its class.",
    )


@dataclass(frozen=True)
class Arrangement:
    """What a person asked of the table: a search, an order, and frequency groups by letter."""

    find: str = ""
    sort: str = "instances"
    down: bool = True
    groups: tuple[str, ...] = tuple(FREQUENCY_NAMES)


def arrangement_of(address: Mapping[str, str], table: ClassTable) -> Arrangement:
    """The arrangement that an address names as `find`, `sort` (up: `-sort`) and `groups`.

    What cannot be read is left as it usually is.
    """
    usual = Arrangement()
    sort = address.get("sort", "")
    key = sort.removeprefix("-")
    known = key in {column.key for column in table.columns}
    groups = tuple(letter for letter in usual.groups if letter in address.get("groups", "rcf"))
    return Arrangement(
        find=address.get("find", "")[:100],
        sort=key if known else usual.sort,
        down=not sort.startswith("-") if known else usual.down,
        groups=groups or usual.groups,
    )


def address_of(arranged: Any, table: ClassTable) -> dict[str, str]:
    """What the address shall say of an arrangement that a browser sent: material to check.

    Only what differs from the usual is named; {} for what is no arrangement.
    """
    if not isinstance(arranged, Mapping):
        return {}
    find, sort, groups = (arranged.get(name) for name in ("find", "sort", "groups"))
    sign = "" if arranged.get("down") else "-"
    chosen = groups if isinstance(groups, list | tuple) else ()
    letters = "".join(letter for letter in FREQUENCY_NAMES if letter in chosen)
    named = {"find": str(find or ""), "sort": f"{sign}{sort}", "groups": letters}
    asked, usual = arrangement_of(named, table), Arrangement()
    address = {"find": asked.find} if asked.find else {}
    if (asked.sort, asked.down) != (usual.sort, usual.down):
        address["sort"] = asked.sort if asked.down else f"-{asked.sort}"
    if asked.groups != usual.groups:
        address["groups"] = "".join(asked.groups)
    return address
