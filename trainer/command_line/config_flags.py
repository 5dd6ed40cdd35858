"""A flag for every knob of `RunConfig`; pydantic converts and checks the values."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from trainer.command_line.parser import Parser
from trainer.config import RunConfig
from trainer.presets import preset_values

_NO_PATH = "none"


def add_config_flags(
    command: Parser, *, preset: str | None, shown: Collection[str] | None = None
) -> None:
    """`--preset`, `--name` and all knobs.

    Args:
        command: gets them.
        preset: the one to start from; None where a run is the start.
        shown: knobs named in `--help`; None for all. The others are understood all the same, so
            that the refusal can say why.
    """
    command.add_argument("--name", help="what the run is called")
    command.add_argument(
        "--preset",
        default=preset,
        help="values to start from; several, separated by commas, are laid over one another",
    )
    groups: dict[str, Any] = {}
    for name, field in RunConfig.model_fields.items():
        extra: Any = field.json_schema_extra
        group = groups.get(extra["group"])
        if group is None:
            group = groups[extra["group"]] = command.add_argument_group(extra["group"])
        unit = f" [{extra['unit']}]" if extra["unit"] else ""
        text = f"{field.description}{unit}"
        if preset is not None:
            text += f" (default {_shown(field.default)})"
        text = text.replace("%", "%%")
        if shown is not None and name not in shown:
            text = argparse.SUPPRESS
        flag = f"--{name.replace('_', '-')}"
        if isinstance(field.default, bool):
            group.add_argument(flag, default=None, action=argparse.BooleanOptionalAction, help=text)
        else:
            group.add_argument(flag, default=None, metavar=_values(field.annotation), help=text)


def given_values(given: argparse.Namespace) -> dict[str, Any]:
    """The presets' values and over them those of the flags; unchecked.

    Raises:
        ConfigError: for a preset that does not exist.
    """
    values = preset_values(given.preset.split(",")) if given.preset is not None else {}
    for name, field in RunConfig.model_fields.items():
        value = getattr(given, name)
        if value is None:
            continue
        if isinstance(field.default, tuple):
            value = value.split(",") if value else ()
        elif field.annotation == Path | None and value == _NO_PATH:
            value = None
        values[name] = value
    return values


def _values(kind: Any) -> str:
    """What stands behind a flag in `--help`: the words that a knob can be, where it takes words."""
    return f"{{{','.join(get_args(kind))}}}" if get_origin(kind) is Literal else "VALUE"


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "''"
    return str(value)
