"""The figures of an evaluation, on the terminal and as json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.command_line.table import print_table

if TYPE_CHECKING:
    from trainer.checkpoint_evaluation import Evaluated

_COLUMNS = {"bbox": "boxes", "segm": "masks"}
_UNCAPPED = ("AP_fixed", "AP_pool")  # what only --fixed computes as its authors mean it


def _shown(metrics: Mapping[str, float], fixed: bool) -> dict[str, float]:
    """The figures that mean what their names say."""
    return {
        name: value
        for name, value in metrics.items()
        if fixed or not name.partition("/")[2].startswith(_UNCAPPED)
    }


def print_figures(found: Evaluated, *, fixed: bool, classes: bool) -> None:
    """What was evaluated, all figures, and those of every class if `classes`, in percent."""
    for line in found.about:
        print(line)
    metrics = _shown(found.result.metrics, fixed)
    kinds = [kind for kind in _COLUMNS if kind in found.result.per_class]
    names = dict.fromkeys(name.partition("/")[2] for name in metrics)
    print_table(
        ("", *(_COLUMNS[kind] for kind in kinds)),
        [[name, *(_percent(metrics.get(f"{kind}/{name}")) for kind in kinds)] for name in names],
    )
    if classes:
        print()
        print_table(
            ("class", "frequency", *(_COLUMNS[kind] for kind in kinds)),
            [
                [name, letter, *(_percent(found.result.per_class[k][label].item()) for k in kinds)]
                for label, (_, name, letter) in enumerate(found.classes)
            ],
        )


def _percent(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.2f}"


def write_figures(found: Evaluated, path: Path, *, fixed: bool) -> None:
    """The same as json, for programs.

    Raises:
        OSError: the file cannot be written.
    """
    per_class = found.result.per_class
    figures = {
        **found.sources,
        "detections": len(found.result.records),
        "metrics": _shown(found.result.metrics, fixed),
        "classes": [
            {
                "id": number,
                "name": name,
                "frequency": letter,
                **{kind: _number(values[label].item()) for kind, values in per_class.items()},
            }
            for label, (number, name, letter) in enumerate(found.classes)
        ],
    }
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _number(value: float) -> float | None:
    """NaN is not json."""
    return None if math.isnan(value) else value
