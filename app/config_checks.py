"""What is judged and said of an edited configuration: refusals, changes, the command for it.

Nothing here draws; values are plain json, as the run log keeps them.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.config_knobs import Knob, knobs
from app.source import run_log_path
from trainer.config import ConfigError, RunConfig, load_config
from trainer.data_paths import BACKBONE_WORDS, check_paths, path_knobs

DATA_VARIABLE = "FASA_DATA"  # folders with data a form may name, separated as in PATH
MOST_SHOWN = 120  # characters of one value
USUAL_FOLDER = "runs"  # where the command line keeps runs unless it is told otherwise


def changes_of(values: Mapping[str, Any], edited: Mapping[str, Any]) -> dict[str, Any]:
    """The edited values that differ."""
    return {name: value for name, value in edited.items() if value != values[name]}


def shown(value: Any) -> str:
    """A value as a person reads it, one line and not too long."""
    if isinstance(value, bool):
        return "on" if value else "off"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    text = " ".join(text.split()) if value is not None else "none"
    half = MOST_SHOWN // 2  # both ends of a path say something
    return text if len(text) <= MOST_SHOWN else f"{text[: half - 1]}…{text[-half:]}"


def data_folders() -> list[Path]:
    """Where the paths a browser sends may lead: `FASA_DATA`, and the data sets made here."""
    named = os.environ.get(DATA_VARIABLE, "").split(os.pathsep)
    return [*(Path(folder) for folder in named if folder), run_log_path().parent / "datasets"]


def problems_of(edited: Mapping[str, Any], *, given: Mapping[str, Any]) -> dict[str, str]:
    """Why edited values cannot start a run: knob -> one sentence; empty when they can.

    Each knob that breaks its own rule is named. A rule over several knobs, and the paths, are
    judged when every knob by itself is right. Paths must lead to something inside `data_folders`,
    but for those that were given: no browser chose them.
    """
    described = knobs()
    empty = {
        name: _emptied(described[name])
        for name, value in edited.items()
        if value is None and described[name].kind in ("number", "whole number")
    }
    wrong = empty | _broken_rules({**edited, **{name: given[name] for name in empty}})
    if wrong:
        return wrong
    try:
        config = load_config(dict(edited))
        kept = [name for name in path_knobs() if edited[name] == given[name]]
        chosen = config.model_copy(update=dict.fromkeys(kept))
        check_paths(chosen, data_folders())
    except ConfigError as error:
        return {_knob_named_in(str(error)): str(error)}
    return _missing_files(chosen)


def _emptied(knob: Knob) -> str:
    wanted = f"a {knob.kind}" + (f" {knob.bounds}" if knob.bounds else "")
    return f"{knob.name} is empty, but has to be {wanted}: type one, as {knob.default}"


def _broken_rules(values: Mapping[str, Any]) -> dict[str, str]:
    """The sentence of every knob that breaks a rule of its own."""
    try:
        RunConfig.model_validate(dict(values))
    except ValidationError as error:
        names = {str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}
        right = {name: value for name, value in values.items() if name not in names}
        return {name: _sentence({**right, name: values[name]}) for name in knobs() if name in names}
    return {}


def _sentence(values: dict[str, Any]) -> str:
    try:
        load_config(values)
    except ConfigError as error:
        return str(error)
    return ""


def _knob_named_in(sentence: str) -> str:
    """The knob that a sentence names first, as a knob or as a flag; "" when it names none."""
    text = sentence.replace("-", "_")
    places = {name: text.find(name) for name in knobs() if name in text}
    # Of names that begin at one place, the longest is meant: data, data_folder.
    return min(places, key=lambda name: (places[name], -len(name)), default="")


def _missing_files(config: RunConfig) -> dict[str, str]:
    missing = {}
    for name in path_knobs():
        path = getattr(config, name)
        if path is not None and path not in BACKBONE_WORDS and not os.path.exists(path):
            missing[name] = (
                f"{name} is '{shown(path)}', but nothing is there: check its spelling, or put the "
                "data there"
            )
    return missing


def command_line(words: Sequence[str], changes: Mapping[str, Any]) -> str:
    """The command that does the same, quoted for a shell; it is only ever shown."""
    flags: list[str] = []
    for name, value in changes.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
            continue
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        text = "none" if value is None else text
        flags += [f"--{flag}={text}"] if text.startswith("-") else [f"--{flag}", text]
    return shlex.join([*words, *flags])


def runs_flag() -> list[str]:
    """What tells a command which runs folder is meant; nothing when it is the usual one."""
    folder = run_log_path().parent.absolute()
    return [] if folder == Path(USUAL_FOLDER).absolute() else ["--runs", str(folder)]
