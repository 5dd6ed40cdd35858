"""What a person can ask of a run that trains: its knobs, and commands on their way to the run log.

What a browser sends is material to check, never trusted; each answer is one sentence, or "" when
the command was written. Only the trainer says whether it took hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app import config_knobs
from trainer.config import ConfigError, check_live, live_knobs, load_config
from trainer.run_log.commands import COMMAND_KINDS, send_command
from trainer.run_log.rows import Run
from trainer.run_log.schema import RunLogError

# In the order they are shown, by the paper's symbols; any other knob goes by its name.
LABELS = {
    "alpha": "α",
    "beta": "β",
    "m": "m",
    "virtual_loss_weight": "virtual loss",
    "learning_rate_factor": "learning rate ×",
}
NOT_UNDERSTOOD = "The server does not understand what this page asked for: reload the page."


@dataclass(frozen=True)
class Knob:
    """A knob as the steering bar shows it; `allowed` is its bounds in words."""

    name: str
    label: str
    unit: str
    meaning: str
    allowed: str


def knob_label(name: str) -> str:
    """A knob as people read it: its symbol where the paper has one."""
    return LABELS.get(name, name.replace("_", " "))


def knobs_of(*, fasa: bool) -> list[Knob]:
    """The knobs of a run that can change while it trains; a baseline has none of FASA's."""
    place = {name: index for index, name in enumerate(LABELS)}
    described = config_knobs.knobs()
    known = [described[name] for name in live_knobs()]
    known.sort(key=lambda knob: place.get(knob.name, len(place)))
    return [
        Knob(knob.name, knob_label(knob.name), knob.unit, knob.description, knob.bounds)
        for knob in known
        if fasa or knob.group != "FASA"
    ]


def steering_spec(run: Run) -> dict[str, Any]:
    """What the steering bar of a run is made of, ready for JSON."""
    fasa = bool(run.config.get("fasa", True))
    return {"knobs": [asdict(knob) for knob in knobs_of(fasa=fasa)]}


def obey(path: Path, run: Run, asked: Any) -> str:
    """Write the command a page asked for; "" when it was, else why not, in one sentence.

    Args:
        path: the run log.
        run: the run it is meant for.
        asked: from the browser: {"kind": one of `COMMAND_KINDS`, "values": knob to text}.
    """
    kind = asked.get("kind") if isinstance(asked, Mapping) else None
    if kind not in COMMAND_KINDS:
        return NOT_UNDERSTOOD
    payload: dict[str, float] = {}
    try:
        if kind == "set":
            values = asked.get("values")
            if not isinstance(values, Mapping):
                return NOT_UNDERSTOOD
            read = {str(name): _number(value) for name, value in values.items()}
            payload = check_live(read, load_config(run.config))
        send_command(path, run.id, kind, payload)
    except (ConfigError, RunLogError) as error:
        return str(error)
    return ""


def _number(text: Any) -> Any:
    """The number a text says, or the text itself: the check's sentence then names it."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return str(text)[:40]


def knob_text(name: str, value: float) -> str:
    """A knob with its value: 'α = 1.3', 'learning rate × 0.5'."""
    label = knob_label(name)
    return f"{label} {value:g}" if label.endswith("×") else f"{label} = {value:g}"


def command_text(kind: str, payload: Mapping[str, Any]) -> str:
    """A command in a few words: 'α = 1.3, m = 0.2', 'snapshot features'."""
    if kind == "set":
        changed = [
            knob_text(name, value)
            for name, value in payload.items()
            if name in live_knobs() and isinstance(value, int | float)
        ]
        return ", ".join(changed) or "set"
    return kind.replace("_", " ")
