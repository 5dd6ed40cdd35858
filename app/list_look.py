"""How the list of runs is looked at: search, order, filters, selection; all of it in the address.

What comes from an address or a browser is material to check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Columns the list can be ordered by; the first one, newest first, is the usual order.
COLUMNS = (
    "run", "name", "status", "progress", "left", "speed", "AP", "AP_r", "alpha", "beta", "m",
    "parent", "dataset",
)  # fmt: skip
LONGEST = 100  # characters of a text
MOST = 50  # texts of a list
MOST_SELECTED = 8


@dataclass(frozen=True)
class Look:
    """What the list shows and how.

    Attributes:
        search: words that a run's name, tags, note, data set or number must hold.
        sort: one of `COLUMNS`.
        ascending: the order.
        status: only runs in these states; empty for all.
        tags: only runs with all of these tags.
        archived: archived runs too.
        select: ids of the runs to compare.
    """

    search: str = ""
    sort: str = COLUMNS[0]
    ascending: bool = False
    status: Sequence[str] = ()
    tags: Sequence[str] = ()
    archived: bool = False
    select: Sequence[int] = ()

    def address(self) -> dict[str, str | list[str]]:
        """As parameters of an address; what is usual is left out."""
        found: dict[str, str | list[str]] = {
            "search": self.search,
            "sort": self.sort if self.sort != COLUMNS[0] else "",
            "order": "ascending" if self.ascending else "",
            "status": list(self.status),
            "tag": list(self.tags),
            "archived": "shown" if self.archived else "",
            "select": [str(run) for run in self.select],
        }
        return {name: value for name, value in found.items() if value}


PARAMETERS = ("search", "sort", "order", "status", "tag", "archived", "select")


def look_of(asked: Mapping[str, Sequence[str]]) -> Look:
    """The look an address asks for; what it says and nobody understands is passed over.

    Args:
        asked: parameter to all its values.
    """
    first = {name: values[-1] for name, values in asked.items() if values}
    ids = [int(text) for text in asked.get("select", ())
           if text.isascii() and text.isdecimal() and len(text) < 16]  # fmt: skip
    return Look(
        search=first.get("search", "")[:LONGEST],
        sort=first["sort"] if first.get("sort") in COLUMNS else COLUMNS[0],
        ascending=first.get("order") == "ascending",
        status=_texts(asked.get("status", ())),
        tags=_texts(asked.get("tag", ())),
        archived=first.get("archived") == "shown",
        select=tuple(dict.fromkeys(ids))[:MOST_SELECTED],
    )


def sent_look(sent: Any) -> Look:
    """The look a browser sent, as the fields of `Look`."""
    if not isinstance(sent, Mapping):
        return Look()
    lists = {name: sent.get(field) for name, field in
             (("status", "status"), ("tag", "tags"), ("select", "select"))}  # fmt: skip
    asked = {
        name: [_text(value) for value in values] if isinstance(values, list) else []
        for name, values in lists.items()
    }
    asked["search"], asked["sort"] = [_text(sent.get("search"))], [_text(sent.get("sort"))]
    asked["order"] = ["ascending"] if sent.get("ascending") is True else []
    asked["archived"] = ["shown"] if sent.get("archived") is True else []
    return look_of(asked)


def _texts(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text and len(text) <= LONGEST))[:MOST]


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a browser's numbers may come as floats
    return str(value) if isinstance(value, str | int) else ""
