"""`fasa evaluate`: the figures of a checkpoint, or of a file of detections, on a test set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.command_line.branching import chosen_checkpoint
from trainer.command_line.evaluation_tables import print_figures, write_figures
from trainer.command_line.parser import add_command
from trainer.command_line.run_list import find_run
from trainer.config import ConfigError, load_config
from trainer.lineage import CheckpointMissing, checkpoint_file
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import CheckpointRow, Run
from trainer.runs_folder import RunsFolder

if TYPE_CHECKING:
    from trainer.checkpoint_evaluation import Evaluated

_CHECKPOINT = ".pt"
_FEDERATED = ("demo", "lvis")  # data whose AP_fixed and AP_pool are known
_UNREAD = Path()  # in the place of training files, which an evaluation does not need
_INFERENCE = (
    "device",
    "precision",
    "batch_size",
    "workers",
    "threads",
    "score_threshold",
    "detections_per_image",
)


def add_commands(commands: Any) -> None:
    """`fasa evaluate`."""
    command = add_command(
        commands, "evaluate", _evaluate, "AP of a run, a checkpoint or a file of detections"
    )
    command.add_argument(
        "which", metavar="RUN|CHECKPOINT", nargs="?",
        help="a run's id or name, or the path of a checkpoint file",
    )  # fmt: skip
    place = command.add_mutually_exclusive_group()
    place.add_argument("--epoch", type=int, metavar="E", help="the run's checkpoint after E epochs")
    place.add_argument("--step", type=int, metavar="S", help="the run's checkpoint after S steps")
    place.add_argument(
        "--best", action="store_true",
        help="the kept checkpoint with the highest mask AP in the run log (default: the newest)",
    )  # fmt: skip
    _add_data(command)
    _add_inference(command)
    _add_output(command)


def _add_data(command: Any) -> None:
    data = command.add_argument_group("test set", "the run's own, unless another one is named")
    data.add_argument(
        "--data", choices=("lvis", "coco", "coco_lt"),
        help="lvis: evaluated as a federated set; coco, coco_lt: as exhaustively annotated "
        "(default: as the run's; for --results what the json looks like)",
    )  # fmt: skip
    data.add_argument(
        "--data-folder", type=Path, metavar="FOLDER", help="holds the set as it is published"
    )
    data.add_argument("--annotations", type=Path, metavar="FILE", help="json of the test set")
    data.add_argument("--images", type=Path, metavar="FOLDER", help="of its images")
    data.add_argument(
        "--results", type=Path, metavar="FILE",
        help="evaluate these detections, in the published results format, against --annotations; "
        "no model runs",
    )  # fmt: skip


def _add_inference(command: Any) -> None:
    inference = command.add_argument_group("inference", "as the run has it, unless said otherwise")
    inference.add_argument(
        "--fixed", action="store_true",
        help="AP_fixed and AP_pool too: inference keeps all detections down to a score of 1e-7 "
        "that are among the 10,000 best of their class, whatever their image has",
    )  # fmt: skip
    inference.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where the model runs")
    inference.add_argument(
        "--precision", choices=("float32", "bfloat16", "float16"), help="of the forward pass"
    )
    for name, meaning in (("batch-size", "images at once"), ("workers", "loader processes")):
        inference.add_argument(f"--{name}", type=int, metavar="N", help=meaning)
    inference.add_argument("--threads", type=int, metavar="N", help="processor threads; 0: torch's")
    inference.add_argument("--score-threshold", type=float, metavar="S", help="lowest score kept")
    inference.add_argument(
        "--detections-per-image", type=int, metavar="N", help="most detections kept of an image"
    )


def _add_output(command: Any) -> None:
    output = command.add_argument_group("output")
    output.add_argument("--classes", action="store_true", help="AP of every class too")
    output.add_argument(
        "--output", type=Path, metavar="FILE",
        help="write the detections there, in the results format of LVIS and COCO",
    )  # fmt: skip
    output.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures there, for programs"
    )


def _evaluate(given: argparse.Namespace) -> int:
    _check(given)
    from trainer import checkpoint_evaluation, results_file  # torch: not for `--help`

    if given.results is not None:
        found = checkpoint_evaluation.evaluate_results(
            given.results, given.annotations, data=given.data
        )
    else:
        found = _evaluate_checkpoint(given)
    print_figures(found, fixed=given.fixed, classes=given.classes)
    if given.json is not None:
        write_figures(found, given.json, fixed=given.fixed)
    if given.output is not None:
        results_file.write_results(found.result.records, given.output)
        print(f"{len(found.result.records):,} detections in {given.output}")
    return 0


def _check(given: argparse.Namespace) -> None:
    """What goes together; raises ConfigError, one sentence."""
    if (given.which is None) == (given.results is None):
        raise ConfigError("evaluate one thing: give a run, a checkpoint file, or --results FILE")
    chooses = given.best or given.epoch is not None or given.step is not None
    if chooses and (given.results is not None or Path(given.which).suffix == _CHECKPOINT):
        raise ConfigError("--epoch, --step and --best choose a checkpoint of a run: give a run")
    if given.results is not None and given.annotations is None:
        raise ConfigError("--results needs the truth it is compared with: give --annotations FILE")
    if given.results is None and (given.annotations is None) != (given.images is None):
        raise ConfigError("--annotations and --images go together: give both")
    if given.data_folder is not None and given.annotations is not None:
        raise ConfigError("--data-folder and --annotations both name a test set: give one of them")
    if given.data_folder is not None and given.data is None:
        raise ConfigError("--data-folder needs to know what it holds: give --data lvis or coco")
    if given.data is not None and given.data_folder is None and given.annotations is None:
        raise ConfigError(
            "--data says how a named test set is read: give --data-folder or --annotations too"
        )
    for path in (given.output, given.json):
        if path is not None and not path.absolute().parent.is_dir():
            raise ConfigError(f"{path} cannot be written, its folder is not there: make it first")


def _evaluate_checkpoint(given: argparse.Namespace) -> Evaluated:
    from trainer.checkpoint import read_checkpoint
    from trainer.checkpoint_evaluation import evaluate_checkpoint
    from trainer.console import Console

    folder = RunsFolder(given.runs)
    if Path(given.which).suffix == _CHECKPOINT:
        path = Path(given.which)
        folder = _folder_of(path) or folder
        state = read_checkpoint(_there(path))
        with RunLogReader(folder.run_log) as reader:
            run = _run_of(path, state, reader)
            categories = reader.categories(run.id)
    else:
        with RunLogReader(folder.run_log) as reader:
            run = find_run(reader, given.which)
            row = _row(given, run, reader)
            path = checkpoint_file(folder, run.id, row.step)
            categories = reader.categories(run.id)
        state = read_checkpoint(_there(path))
    config = load_config({**run.config, "processes": 1, **_edits(given, run)})
    if given.fixed and config.data not in _FEDERATED:
        raise ConfigError(
            f"--fixed is for sets annotated as LVIS is, got data={config.data}: leave it out, or "
            "name such a set with --data lvis"
        )
    with Console() as console:
        console.phase("evaluation")
        return evaluate_checkpoint(
            path,
            state,
            config,
            [_category(row) for row in categories],
            datasets=folder.datasets,
            fixed=given.fixed,
            batch_done=lambda total: console.advance(total=total),
        )


def _row(given: argparse.Namespace, run: Run, reader: RunLogReader) -> CheckpointRow:
    kept = reader.checkpoints(run.id)
    if not given.best:
        return chosen_checkpoint(run, kept, epoch=given.epoch, step=given.step)
    reached = {value.step: value.value for value in reader.scalars(run.id, ["segm/AP"])}
    evaluated = [row for row in kept if row.step in reached]
    if not evaluated:
        raise ConfigError(
            f"run {run.id} keeps no checkpoint with a mask AP in the run log: leave --best out, "
            "or give --epoch E"
        )
    return max(evaluated, key=lambda row: reached[row.step])


def _folder_of(path: Path) -> RunsFolder | None:
    """The runs folder a checkpoint file lies in, where it still does."""
    folder = RunsFolder(path.absolute().parent.parent.parent)
    return folder if folder.run_log.is_file() else None


def _run_of(path: Path, state: dict[str, Any], reader: RunLogReader) -> Run:
    """The run that wrote a checkpoint: it has the configuration."""
    for run in reader.runs(include_deleted=True):
        if run.uid == state.get("uid"):
            return run
    raise ConfigError(
        f"the run of {path} is not in this run log, and only there is its configuration: "
        "give --runs FOLDER, the runs folder it comes from"
    )


def _there(path: Path) -> Path:
    if not path.is_file():
        raise CheckpointMissing(f"the checkpoint {path} is gone: evaluate another one")
    return path


def _edits(given: argparse.Namespace, run: Run) -> dict[str, Any]:
    """What the command line says otherwise than the run's configuration."""
    edits = {name: getattr(given, name) for name in _INFERENCE}
    edits = {name: value for name, value in edits.items() if value is not None}
    if given.data_folder is None and given.annotations is None:
        return edits
    kind = run.config.get("data", "demo")
    return edits | {
        "data": given.data or ("lvis" if kind == "demo" else kind),
        "data_folder": given.data_folder,
        "test_annotations": given.annotations,
        "test_images": given.images,
        "annotations": _UNREAD,
        "images": _UNREAD,
    }


def _category(row: Any) -> Any:
    from data.categories import Category, as_frequency

    return Category(
        index=row.index,
        id=row.id,
        name=row.name,
        frequency=as_frequency(row.frequency),
        image_count=row.image_count,
        instance_count=row.instance_count,
    )
