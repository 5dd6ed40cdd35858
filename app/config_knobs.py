"""The fields of `RunConfig` as a form shows them: kind, unit, bounds in words, help.

A new knob of `RunConfig` needs nothing here: all of it comes from the field. Values are plain json,
as the run log keeps them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, get_args, get_origin

from trainer.config import RunConfig

LARGEST_IN_BROWSER = 2**53 - 1  # a browser's numbers are exact up to here

Kind = Literal["switch", "choice", "whole number", "number", "text"]


@dataclass(frozen=True)
class Knob:
    """One field of `RunConfig` as the form shows it."""

    name: str
    group: str
    unit: str
    description: str
    kind: Kind
    choices: tuple[str, ...]
    bounds: str
    default: Any

    def finds(self, words: str) -> bool:
        """Whether a search for `words` finds it, by name, meaning, unit, group or choice."""
        text = " ".join([self.name, self.description, self.unit, self.group, *self.choices])
        text = f"{text} {text.replace('_', ' ')}".lower()
        return all(word in text for word in words.lower().split())

    def kind_of(self, value: Any) -> Kind:
        """How a value is edited: a number too large for a browser is edited as text."""
        is_large = self.kind == "whole number" and value is not None
        if is_large and abs(value) > LARGEST_IN_BROWSER:
            return "text"
        return self.kind

    def to_widget(self, value: Any) -> Any:
        """A configuration's value as the widget holds it; an emptied number is None."""
        if self.kind_of(value) != "text":
            return float(value) if self.kind == "number" and value is not None else value
        if isinstance(value, list):
            return ", ".join(map(str, value))
        return "" if value is None else str(value)

    def from_widget(self, content: Any) -> Any:
        """What a widget holds as a configuration's value; text that is none is kept as it is."""
        if not isinstance(content, str) or self.kind == "choice":
            return content
        if isinstance(self.default, list):
            return [_whole(part) for part in content.split(",") if part.strip()]
        if self.kind == "whole number":
            return _whole(content)
        text = content.strip()
        return text if text or self.default is not None else None

    def to_address(self, value: Any) -> str:
        """A value as the browser's address holds it."""
        if isinstance(value, bool):
            return "on" if value else "off"
        content = self.to_widget(value)
        return "" if content is None else str(content)

    def from_address(self, text: str) -> Any:
        """What a widget holds for a text of the address.

        Raises:
            ValueError: the text is no value of this kind.
        """
        if self.kind == "switch":
            return {"on": True, "off": False}[text] if text in ("on", "off") else _refuse(text)
        if self.kind == "choice":
            return text if text in self.choices else _refuse(text)
        if self.kind == "text":
            return text
        if not text:
            return None
        number = float(text) if self.kind == "number" else int(text)
        if not math.isfinite(number) or abs(number) > LARGEST_IN_BROWSER:
            _refuse(text)
        return number


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text[:40]!r} is no value of this knob")


def _whole(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:  # among them a number of thousands of digits
        return text.strip()


@functools.cache
def knobs() -> dict[str, Knob]:
    """Every field of `RunConfig`, in its order."""
    defaults = RunConfig().model_dump(mode="json")
    return {name: _knob(name, field, defaults[name]) for name, field in _FIELDS.items()}


_FIELDS = RunConfig.model_fields
_KINDS: dict[Any, Kind] = {bool: "switch", int: "whole number", float: "number"}


def _knob(name: str, field: Any, default: Any) -> Knob:
    is_choice = get_origin(field.annotation) is Literal
    return Knob(
        name=name,
        group=field.json_schema_extra["group"],
        unit=field.json_schema_extra["unit"],
        description=field.description,
        kind="choice" if is_choice else _KINDS.get(field.annotation, "text"),
        choices=get_args(field.annotation) if is_choice else (),
        bounds=_bounds(field.metadata),
        default=default,
    )


def _bounds(metadata: Sequence[Any]) -> str:
    """Bounds in words: "1 to 10", "above 0", "at least 0, below 1"."""
    limit = {
        name: getattr(rule, name)
        for rule in metadata
        for name in ("ge", "gt", "le", "lt")
        if hasattr(rule, name)
    }
    if set(limit) == {"ge", "le"}:
        return f"{limit['ge']} to {limit['le']}"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return ", ".join(f"{words[name]} {limit[name]}" for name in words if name in limit)
