"""Named sets of values laid over the defaults of `RunConfig`; several can be laid in order.

Each is a file below `preset_files`, named by its path there: a first comment line that says what it
is for, and knobs of `RunConfig` in TOML. The defaults themselves are the demo run.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from trainer.config import ConfigError, RunConfig

_FOLDER = Path(__file__).with_name("preset_files")
_SUFFIX = ".toml"


@dataclass(frozen=True)
class Preset:
    """Values that differ from the defaults, and what they are for.

    Attributes:
        purpose: one line.
        values: knob to value as json has it, each within its bounds; a complete preset may still
            need the folder of its data to make a run.
        text: the file, whose comments say where values come from.
    """

    purpose: str
    values: dict[str, Any]
    text: str


class PresetFolder(Mapping[str, Preset]):
    """The presets of a folder by name, those of its own before those of its folders.

    A file is read when its preset is asked for.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        paths = (path.relative_to(folder) for path in folder.rglob(f"*{_SUFFIX}"))
        names = (path.with_suffix("").as_posix() for path in paths)
        self._names = sorted(names, key=lambda name: ("/" in name, _natural(name)))

    def __getitem__(self, name: str) -> Preset:
        if name not in self._names:
            raise KeyError(name)
        return read_preset(self._folder / f"{name}{_SUFFIX}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _natural(name: str) -> list[str | int]:
    """Numbers in it by size: r50 before r101."""
    parts = re.split(r"(\d+)", name)  # every second one is a number
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


@functools.cache
def read_preset(path: Path) -> Preset:
    """The preset of a file.

    Raises:
        ConfigError: one sentence that names the file, when it cannot be read, is no TOML, does not
            begin with a comment, or sets what `RunConfig` has no such knob or value for.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(
            f"the preset {path} cannot be read ({error.strerror}): check that it is there"
        ) from None
    except ValueError as error:  # not UTF-8, or not TOML
        raise ConfigError(f"the preset {path} is no TOML: mend it ({error})") from None
    first = text.partition("\n")[0]
    purpose = first.removeprefix("#").strip()
    if not first.startswith("#") or not purpose:
        raise ConfigError(
            f"the preset {path} does not begin with a comment: say in its first line what it is for"
        )
    checked = {name: _checked(path, name, value) for name, value in values.items()}
    return Preset(purpose, checked, text)


def _checked(path: Path, name: str, value: Any) -> Any:
    """The value of one knob as json has it."""
    if name not in RunConfig.model_fields:
        meant = difflib.get_close_matches(name, RunConfig.model_fields, n=1)
        remedy = f"did you mean {meant[0]}?" if meant else "`fasa train --help` lists the knobs"
        raise ConfigError(f"the preset {path} sets '{name}', which is no knob: {remedy}")
    try:
        kind = _kind(name)
        # As json, so that a list can be a tuple and a text a path, but "1" is no number.
        checked = kind.validate_json(json.dumps(value), strict=True)
    except TypeError:  # TOML has dates, json has none
        raise ConfigError(
            f"the preset {path} sets {name} to a date or time: give a value"
        ) from None
    except ValidationError as error:
        rule = error.errors()[0]["msg"]
        raise ConfigError(
            f"the preset {path} sets {name} to {value!r}, but {rule[0].lower()}{rule[1:]}"
        ) from None
    return kind.dump_python(checked, mode="json")


@functools.cache
def _kind(name: str) -> TypeAdapter[Any]:
    """What checks a knob alone; rules between knobs hold only for a whole configuration."""
    field = RunConfig.model_fields[name]
    return TypeAdapter(Annotated[field.annotation, field])  # type: ignore[arg-type]


PRESETS: Mapping[str, Preset] = PresetFolder(_FOLDER)


_DATA_SETS = {"": "Demo, photos and variants of FASA", "coco_lt": "COCO-LT", "lvis_v1": "LVIS v1"}


def data_set_of(name: str) -> str:
    """What a preset is for, as a heading: a data set; that of the presets in no folder else."""
    folder = name.rpartition("/")[0]
    return _DATA_SETS.get(folder, folder)


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ConfigError: there is none, or its file breaks a rule.
    """
    if name not in PRESETS:
        meant = difflib.get_close_matches(name, PRESETS, n=3, cutoff=0.5)
        remedy = f"did you mean {' or '.join(meant)}? " if meant else ""
        raise ConfigError(f"there is no preset '{name}': {remedy}`fasa presets` lists them")
    return PRESETS[name]


def preset_values(names: list[str]) -> dict[str, Any]:
    """The values of the named presets, later ones over earlier ones.

    Raises:
        ConfigError: for a name that does not exist, or a file that breaks a rule.
    """
    values: dict[str, Any] = {}
    for name in names:
        values |= find_preset(name).values
    return values


def scaling_advice(given: Mapping[str, Any], chosen: Mapping[str, Any]) -> str:
    """What the linear scaling rule says of another batch size at the same rates of SGD; else "".

    The rule: `k` times the images a step want `k` times the learning rate. Nothing scales by
    itself.

    Args:
        given: knob to value of the presets; one that states no rate and batch size is no recipe.
        chosen: knob to value of the run.
    """
    rates = ("learning_rate", "classifier_learning_rate")
    stated = ("batch_size", "optimizer", *rates)
    if not all(name in given for name in stated) or chosen["optimizer"] != "sgd":
        return ""
    factor = chosen["batch_size"] / given["batch_size"]
    if factor == 1 or any(chosen[name] != given[name] for name in rates):
        return ""
    scaled = " and ".join(f"{name} {given[name] * factor:g}" for name in rates)
    return (
        f"learning_rate {given['learning_rate']:g} is for batches of {given['batch_size']} images; "
        f"for {chosen['batch_size']} the linear scaling rule has {scaled}: set them"
    )
