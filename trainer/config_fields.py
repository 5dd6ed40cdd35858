"""How a knob of `RunConfig` is written down."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, JsonValue


def knob(
    default: Any, group: str, description: str, *, unit: str = "", live: bool = False, **bounds: Any
) -> Any:
    """A field of `RunConfig`: its default, bounds and what a form or `--help` says of it.

    `live` marks the knobs that can be changed between two steps of a training run.
    """
    extra: dict[str, JsonValue] = {"group": group, "unit": unit, "live": live}
    return Field(default, description=description, json_schema_extra=extra, **bounds)


Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
