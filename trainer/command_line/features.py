"""`fasa features`: the feature snapshots of a run, listed, and one of them for other tools."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.command_line.parser import Parser, add_command, add_run
from trainer.command_line.plain_text import plain
from trainer.command_line.run_list import find_run
from trainer.command_line.table import print_table
from trainer.config import ConfigError
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import METHODS, FeatureSnapshotHead, MeasureRow, Run
from trainer.runs_folder import RunsFolder

_NAMED = 12  # snapshots that an error names
# Column -> the measures it shows of all classes together.
_MEASURES = {
    "frechet virtual / real": ("frechet_distance", "frechet_distance_real"),
    "neighbours virtual / real": ("neighbours_virtual", "neighbours_holdout"),
    "accuracy virtual / real": ("accuracy_virtual", "accuracy_holdout"),
    "negative": ("negative_share",),
    "prior size": ("effective_sample_size",),
}
_NUMBERS = (
    "frechet_distance",
    "frechet_distance_real",
    "effective_sample_size",
)  # the other measures are shares
_COLUMNS = ("snapshot", "epoch", "step", "objects", "virtual", "MB", *METHODS, *_MEASURES)


def add_commands(commands: Any) -> None:
    """`fasa features list` and `fasa features export`."""
    text = "the snapshots of real and virtual features: list them, or export one"
    group: Parser = commands.add_parser("features", help=text, description=text, allow_abbrev=False)
    actions = group.add_subparsers(required=True, metavar="ACTION")
    add_run(add_command(actions, "list", _list, "what a run's snapshots hold, a line each"))
    export = add_command(
        actions, "export", _export, "one snapshot for TensorBoard's embedding projector or NumPy"
    )
    add_run(export)
    place = export.add_mutually_exclusive_group()
    place.add_argument(
        "--epoch", type=int, metavar="E",
        help="the last snapshot of epoch E, the first being 1 (default: the newest snapshot)",
    )  # fmt: skip
    place.add_argument("--snapshot", type=int, metavar="S", help="the snapshot with this number")
    export.add_argument(
        "--format", choices=("tensorboard", "numpy"), default="tensorboard",
        help="tensorboard: for `tensorboard --logdir FOLDER`; numpy: one features.npz",
    )  # fmt: skip
    export.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="the new folder")


def _list(given: argparse.Namespace) -> int:
    with RunLogReader(RunsFolder(given.runs).run_log) as reader:
        run = find_run(reader, given.which)
        heads = reader.features.heads(run.id)
        pictures: dict[int, dict[str, str]] = {head.id: {} for head in heads}
        for row in reader.features.projections(run.id):
            pictures.setdefault(row.snapshot_id, {})[row.method] = row.state
        measures: dict[int, dict[str, MeasureRow]] = {head.id: {} for head in heads}
        for measure in reader.features.measures(run.id):
            measures.setdefault(measure.snapshot_id, {})[measure.name] = measure
    if heads:
        print_table(_COLUMNS, [_row(head, pictures[head.id], measures[head.id]) for head in heads])
    else:
        print(_none_yet(run))
    return 0


def _row(
    head: FeatureSnapshotHead, pictures: Mapping[str, str], measures: Mapping[str, MeasureRow]
) -> list[str]:
    return [
        str(head.id),
        str(head.epoch + 1),
        str(head.step),
        str(head.num_objects),
        str(head.num_virtual),
        f"{head.bytes / 1e6:.1f}",
        *(pictures.get(method, "") for method in METHODS),
        *(_shown(names, measures) for names in _MEASURES.values()),
    ]


def _shown(names: Sequence[str], measures: Mapping[str, MeasureRow]) -> str:
    """Of all classes together; a dash where a measure is not to be judged."""
    if not any(name in measures for name in names):
        return ""
    return " / ".join(_value(name, measures.get(name)) for name in names)


def _value(name: str, row: MeasureRow | None) -> str:
    value = None if row is None else row.groups.get("all")
    if value is None or not math.isfinite(value):
        return "-"
    if name not in _NUMBERS:
        return f"{100 * value:.0f} %"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _export(given: argparse.Namespace) -> int:
    from trainer.feature_export import write_numpy, write_tensorboard  # Pillow takes a moment
    from trainer.transfer.target import new_target

    with RunLogReader(RunsFolder(given.runs).run_log) as reader:
        run = find_run(reader, given.which)
        head = _chosen(run, reader.features.heads(run.id), given.epoch, given.snapshot)
        snapshot = reader.features.snapshot(head.id)
        if snapshot is None:
            raise ConfigError(f"snapshot {head.id} was deleted just now: choose a newer one")
        with new_target(given.to) as draft:
            if given.format == "tensorboard":
                write_tensorboard(reader, run, snapshot, draft)
            else:
                draft.mkdir()
                write_numpy(reader, run, snapshot, draft / "features.npz")
    for path in sorted(given.to.iterdir()):
        print(path)
    return 0


def _chosen(
    run: Run, heads: Sequence[FeatureSnapshotHead], epoch: int | None, snapshot: int | None
) -> FeatureSnapshotHead:
    """The snapshot a person means, the newest when none is named."""
    if not heads:
        raise ConfigError(_none_yet(run))
    if epoch is not None:
        found = [head for head in heads if head.epoch + 1 == epoch]
        missing, there = f"of epoch {epoch}", sorted({head.epoch + 1 for head in heads})
    elif snapshot is not None:
        found = [head for head in heads if head.id == snapshot]
        missing, there = f"{snapshot}", [head.id for head in heads]
    else:
        return heads[-1]
    if not found:
        what = "epoch" if epoch is not None else "snapshot"
        raise ConfigError(
            f"run {run.id} has no feature snapshot {missing}: choose --{what} from {_few(there)}"
        )
    return found[-1]


def _few(numbers: Sequence[int]) -> str:
    """Numbers, and where there are many the first and the last of them."""
    if len(numbers) <= _NAMED:
        return ", ".join(map(str, numbers))
    first = ", ".join(map(str, numbers[: _NAMED - 1]))
    return f"{first} ... {numbers[-1]} (`fasa features list` shows all {len(numbers)})"


def _none_yet(run: Run) -> str:
    return (
        f"run {run.id} '{plain(run.name)}' has no feature snapshot: it takes one at the end of "
        f"each epoch, and `fasa snapshot {run.id}` asks for one while it trains"
    )
