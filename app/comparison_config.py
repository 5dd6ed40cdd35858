"""Where the configurations of several runs differ, and which knobs were turned while they trained.

Pure. What a configuration holds may be anything (a run log can come from elsewhere): it is shown
as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app import config_knobs
from app.steering import knob_label
from trainer.run_log.rows import Run, ScalarRow

MISSING = "–"
MOST_CHANGES = 3  # told one by one
LONGEST = 80  # characters of one value

Changes = Mapping[str, Sequence[tuple[int, float]]]  # knob to (step, value), in their order


@dataclass(frozen=True)
class Difference:
    """One knob that is not the same in all runs, or was turned in one.

    Attributes:
        unit, meaning: as `RunConfig` says; "" for a knob it does not have.
        values: what each run has, as text.
    """

    knob: str
    unit: str
    meaning: str
    values: tuple[str, ...]


def live_changes(rows: Sequence[ScalarRow]) -> dict[str, list[tuple[int, float]]]:
    """The knobs that were turned in one run: (step, value) from the first value on.

    Args:
        rows: its `knob/*` scalars, oldest first; a value that only repeats is left out.
    """
    values: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        room, _, name = row.name.partition("/")
        if room != "knob":
            continue
        known = values.setdefault(name, [])
        if not known or known[-1][1] != row.value:
            known.append((row.step, row.value))
    return {name: known for name, known in values.items() if len(known) > 1}


def differences(
    configs: Sequence[Mapping[str, Any]], changes: Sequence[Changes] = ()
) -> list[Difference]:
    """The knobs in which runs differ, in the order of `RunConfig`; unknown ones come last.

    FASA's knobs do not count for a run without FASA.

    Args:
        configs: one configuration a run.
        changes: for each run, its `live_changes`.
    """
    turned: Sequence[Changes] = changes or [{} for _ in configs]
    described = config_knobs.knobs()
    names = set().union(*configs, *turned)
    order = [name for name in described if name in names]
    found = []
    for name in [*order, *sorted(names - set(order))]:
        knob = described.get(name)
        of_fasa = knob is not None and knob.group == "FASA" and name != "fasa"
        values, counting = [], set()
        for config, changed in zip(configs, turned, strict=True):
            idle = of_fasa and config.get("fasa") is False
            value = MISSING if idle else _value(name, config, changed)
            values.append(value)
            if not idle:
                counting.add(value)
        if len(counting) > 1 or any(name in changed for changed in turned):
            unit, meaning = (knob.unit, knob.description) if knob else ("", "")
            found.append(Difference(name, unit, meaning, tuple(values)))
    return found


def _value(name: str, config: Mapping[str, Any], changed: Changes) -> str:
    if name in changed:
        return changes_text(changed[name])
    return value_text(config[name]) if name in config else MISSING


def origins(runs: Sequence[Run]) -> list[Difference]:
    """Where each run came from, as one more row; none when no run has a parent."""
    if all(run.parent_run is None for run in runs):
        return []
    values = tuple(origin_text(run) for run in runs)
    return [Difference("origin", "", "the run it was forked or restarted from", values)]


def origin_text(run: Run) -> str:
    """'fork of run 3 after 6 epochs', 'restart of run 3'; a dash for a run without a parent."""
    if run.parent_run is None:
        return MISSING
    if run.parent_step is None:
        return f"restart of run {run.parent_run}"
    return f"fork of run {run.parent_run} after epoch {run.parent_epoch}"


def label(name: str) -> str:
    """A knob as people read it; its name where the symbol alone would not be found in a form."""
    read = knob_label(name)
    return read if read == name.replace("_", " ") else f"{read} ({name})" if len(read) < 2 else read


def value_text(value: Any) -> str:
    """One value of a configuration as text."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "not set"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(value_text(item) for item in value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def changes_text(changes: Sequence[tuple[int, float]]) -> str:
    """'1.1 → 1.3 (step 412)': a knob that was turned while the run trained."""
    first, *later = changes
    if len(later) <= MOST_CHANGES:
        return " → ".join(
            [f"{first[1]:g}", *(f"{value:g} (step {step:,})" for step, value in later)]
        )
    step, value = later[-1]
    return f"{first[1]:g} → … → {value:g} ({len(later)} changes, the last at step {step:,})"
