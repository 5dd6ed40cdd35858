"""`fasa data`: are the files of a data set there and whole, and how long is its tail."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from trainer.command_line.config_flags import add_config_flags, given_values
from trainer.command_line.parser import Parser, add_command
from trainer.command_line.plain_text import plain
from trainer.command_line.table import print_table
from trainer.config import RunConfig, dataset_title, load_config
from trainer.runs_folder import RunsFolder

if TYPE_CHECKING:
    from data.set_statistics import GroupStatistics, SetStatistics
    from trainer.data_report import CocoLTCheck, DataCheck

_INCOMPLETE = 1  # exit code of `check` when something has to be mended
_NAMED = 10  # classes without objects that are named
_SHOWN = (
    "data", "data_folder", "coco_lt_list", "coco_lt_part", "demo_classes", "annotations", "images",
    "holdout_annotations", "holdout_images", "test_annotations", "test_images", "drop_empty",
    "skip_unannotated", "repeat_threshold",
)  # fmt: skip


def add_commands(commands: Any) -> None:
    """`fasa data check` and `fasa data stats`."""
    text = "a data set before a run: whether its files are whole, and how long its tail is"
    group: Parser = commands.add_parser("data", help=text, description=text, allow_abbrev=False)
    actions = group.add_subparsers(required=True, metavar="ACTION")
    check = add_command(
        actions, "check", _check,
        "what is there, what is missing and where to put it; ends with 1 when something is wrong",
    )  # fmt: skip
    stats = add_command(
        actions, "stats", _stats,
        "images, objects and classes by frequency group, and what repeat-factor sampling repeats",
    )  # fmt: skip
    stats.add_argument("--json", action="store_true", help="print them as one json object")
    for command in (check, stats):
        add_config_flags(command, preset=None, shown=_SHOWN)


def _config(given: argparse.Namespace) -> RunConfig:
    return load_config(given_values(given))


def _check(given: argparse.Namespace) -> int:
    config = _config(given)
    from trainer.data_report import check_data  # torch loads for seconds: not for `--help`

    found = check_data(config, datasets=RunsFolder(given.runs).datasets)
    if found.parts:
        print_table(
            ("part", "holds", "is at"),
            [(p.name, p.text, str(p.path) if p.is_there else "missing") for p in found.parts],
        )
        print()
    if found.sets:
        _print_sets(found)
    if found.coco_lt is not None:
        _print_coco_lt(found.coco_lt)
    for problem in found.problems:
        print(f"problem: {plain(problem)}")
    if found.problems:
        return _INCOMPLETE
    what = "the part of COCO-LT that is there" if config.coco_lt_part else dataset_title(config)
    print(f"{plain(what)} is in order")
    return 0


def _print_sets(found: DataCheck) -> None:
    columns = ("set", "images", "objects", "crowd regions", "without area", "classes",
               "images without file", "images read", "masks drawn")  # fmt: skip
    rows = []
    for name, of_set in found.sets.items():
        numbers = (of_set.images, of_set.objects, of_set.crowds, of_set.without_area,
                   of_set.classes, of_set.without_file)  # fmt: skip
        read = f"{of_set.read:,} of {of_set.sampled:,}"
        rows.append((name, *(f"{number:,}" for number in numbers), read, f"{of_set.masks:,}"))
    print_table(columns, rows)
    print()


def _print_coco_lt(found: CocoLTCheck) -> None:
    from data.coco_lt import IMAGES, INSTANCES

    kept = sum(count.kept for count in found.counts)
    right = sum(count.is_whole and count.is_right for count in found.counts)
    print(
        f"COCO-LT: {found.images:,} of {IMAGES:,} images, {kept:,} of {INSTANCES:,} annotations, "
        f"{right} of {len(found.counts)} classes with the published count"
    )
    wrong = [count for count in found.counts if not count.is_right]
    if wrong:
        columns = ("class", "listed images", "there", "without the class", "annotations",
                   "published")  # fmt: skip
        print_table(
            columns,
            [
                (found.names.get(c.category_id, str(c.category_id)), f"{c.images:,}",
                 f"{c.present:,}", f"{c.unannotated:,}", f"{c.kept:,}", f"{c.published:,}")
                for c in wrong
            ],
        )  # fmt: skip
    print()


def _stats(given: argparse.Namespace) -> int:
    config = _config(given)
    from trainer.data_report import tail_statistics

    found = tail_statistics(config, datasets=RunsFolder(given.runs).datasets)
    if given.json:
        sets = {name: asdict(of_set) for name, of_set in found.sets.items()}
        document = {
            "data": dataset_title(config),
            "repeat_threshold": config.repeat_threshold,
            "sets": sets,
            "without_objects": list(found.without_objects),
        }
        print(json.dumps(document, indent=2))
        return 0
    print(plain(dataset_title(config)))
    for name, of_set in found.sets.items():
        print()
        _print_statistics(name, of_set, config)
    if found.without_objects:
        print()
        print(_without_objects(found.without_objects))
    return 0


def _print_statistics(name: str, of_set: SetStatistics, config: RunConfig) -> None:
    print(f"{name}: {of_set.images:,} images, {of_set.unannotated:,} of them without objects")
    columns = ["group", "classes", "without objects", "images", "objects", "fewest", "median",
               "most", "crowd regions"]  # fmt: skip
    is_sampled = name != "test"  # a test set is never repeated
    if is_sampled:
        columns += ["repeated classes", "largest factor"]
    print_table(columns, [_row(*group, is_sampled) for group in of_set.groups.items()])
    if is_sampled:
        print(
            f"an epoch with repeat-factor sampling (t = {config.repeat_threshold:g}): "
            f"{of_set.epoch_ceil:,} images with factors rounded up, {of_set.epoch_stochastic:,.1f} "
            "expected with factors rounded at random"
        )


def _row(name: str, group: GroupStatistics, is_sampled: bool) -> list[str]:
    counts = (group.classes, group.empty, group.images, group.objects, group.fewest)
    row = [f"bin {name}" if name.isdigit() else name, *(f"{count:,}" for count in counts)]
    row += [f"{group.median:,.5g}", f"{group.most:,}", f"{group.crowds:,}"]
    if is_sampled:
        row += [f"{group.repeated:,}", f"{group.largest_factor:.2f}"]
    return row


def _without_objects(names: Any) -> str:
    shown = ", ".join(plain(name) for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"train shows no object of {len(names):,} classes: {shown}{more}"
