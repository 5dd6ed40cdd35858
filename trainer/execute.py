"""One run from its row in the run log to its last status: the one place where parts are wired."""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from data.categories import Category
from trainer.acceleration import accelerate
from trainer.backbone_weights import NO_WEIGHTS, with_weights_at_hand
from trainer.checkpoint import CheckpointError
from trainer.checkpoint_files import checkpoints
from trainer.checkpoint_keeper import CheckpointKeeper
from trainer.config import RunConfig, load_config
from trainer.console import Console
from trainer.control import RunControl, Signals, StopRequested
from trainer.distributed import RankLost, Ranks
from trainer.engine import FirstRank, Trainer
from trainer.feature_probe import FeatureProbe
from trainer.inference import evaluate_model
from trainer.knobs import Knobs
from trainer.lifelines import Death
from trainer.model import FASAMaskRCNN, build_model
from trainer.predictions import PredictionGallery
from trainer.process_identity import process_identity
from trainer.rank_device import seed_rank, use_device
from trainer.rank_processes import ONE, Party
from trainer.recorder import Recorder
from trainer.resources import ResourceMonitor
from trainer.run_log.commands import set_process, set_status
from trainer.run_log.history import HISTORY
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.run_log.writer import RunLogWriter
from trainer.runs_folder import RunsFolder
from trainer.schedule import build_optimizers
from trainer.training_data import TrainingData, build_training_data
from trainer.training_step import LossNotFinite, OutOfMemory


@dataclass(frozen=True)
class Log:
    """What the first rank has of its run beside what all have: it alone writes.

    Attributes:
        run: its row.
        writer: of its rows.
        resources: what it takes of its machines.
    """

    run: Run
    writer: RunLogWriter
    resources: ResourceMonitor


def execute(folder: RunsFolder, run_id: int, *, party: Party = ONE) -> str:
    """Train run `run_id` until it ends; returns its final status.

    It goes on from its newest whole checkpoint when there is one. Every rank calls it.

    Args:
        folder: runs and run log; of the first rank, the others use it for data sets alone.
        run_id: the run.
        party: the processes that train it.

    Raises:
        ValueError: when configuration or data break a rule; the run is then marked failed.
        RankLost: another rank was gone; the run is marked crashed, or failed if the rank failed.
        Exception: whatever broke the training; the run is marked failed with the traceback.
    """
    if party.ranks.is_first:
        return _lead(folder, run_id, party)
    return _follow(folder, party)


def _lead(folder: RunsFolder, run_id: int, party: Party) -> str:
    signals = Signals()
    identity = process_identity(os.getpid())
    set_process(folder.run_log, run_id, process_id=os.getpid(), process_identity=identity)
    if party.lifelines is not None:
        party.lifelines.note = partial(note_death, folder, run_id)
    with (
        RunLogWriter(folder.run_log, run_id) as writer,
        Console() as console,
        ResourceMonitor(folder.root, others=party.uses) as resources,
    ):
        try:
            signals.listen()
            with RunLogReader(folder.run_log) as reader:
                run = reader.run(run_id)
                log = Log(run, writer, resources)
                config, warning = _config(run, folder)
                party.ranks.broadcast(config)
                trainer = _build(config, folder, console, signals, party.ranks, log)
                _go_back(trainer, run, reader, writer, console)
                if warning is not None:
                    writer.config(config.model_dump(mode="json"))
                for text in filter(None, (warning, _small_set(trainer))):
                    writer.event("warning", text, step=0, epoch=0)
                    console.say(f"warning: {text}")
            signals.wait_for_moment = True
            writer.status("running")
            writer.flush()  # brings what was asked while the run waited, before its first step
            console.say(f"run {run_id} '{run.name}': step {trainer.at.step}/{trainer.total_steps}")
            trainer.run()
        except StopRequested as stop:
            writer.status(stop.status, error=stop.problem)
            console.say(str(stop))
            return stop.status
        except RankLost as error:
            status, words = party.verdict(error)
            writer.status(status, error=words)
            raise RankLost(words) from None
        except (ValueError, LossNotFinite, OutOfMemory) as error:
            writer.status("failed", error=str(error))
            raise
        except BaseException:
            writer.status("failed", error=traceback.format_exc())
            raise
        writer.status("finished")
        return "finished"


def _follow(folder: RunsFolder, party: Party) -> str:
    """What the other ranks do; the first one says what is to be trained, and how it ends."""
    signals = Signals()
    signals.wait_for_moment = True  # the first rank hears of them at the next moment
    signals.listen()
    ranks = party.ranks
    with ResourceMonitor(folder.root, tell=party.tell_use):
        config: RunConfig = ranks.broadcast(None)  # type: ignore[assignment]
        # Weights come from the first rank: they need not lie on every machine.
        config = config.model_copy(update={"backbone_weights": NO_WEIGHTS})
        trainer = _build(config, folder, Console(quiet=True), signals, ranks, None)
        state, is_fork = ranks.broadcast((None, False))
        if state is not None:
            trainer.state.restore(state)
        try:
            if is_fork:
                trainer.knobs.set_as_configured()
                trainer.keep()
            trainer.run()
        except StopRequested as stop:
            return stop.status
    return "finished"


def note_death(folder: RunsFolder, run_id: int, death: Death) -> None:
    """Note the end of a run by the death of a rank, where nothing else of the run can."""
    set_status(folder.run_log, run_id, death.status, error=str(death))


def _config(run: Run, folder: RunsFolder) -> tuple[RunConfig, str | None]:
    """What a run trains with, and a warning where that is not quite what was asked for."""
    config = load_config(run.config)
    if checkpoints(folder.checkpoints(run.id)):  # they hold the weights
        return config.model_copy(update={"backbone_weights": NO_WEIGHTS}), None
    return with_weights_at_hand(config)


def _small_set(trainer: Trainer) -> str | None:
    """A warning, at the start of a run, where a whole epoch is less than a batch."""
    if trainer.at.step or trainer.total_steps > trainer.config.epochs:
        return None  # not at its start, or several batches an epoch
    asked, images = trainer.config.batch_size, trainer.images_in_epoch(0)
    if images == asked:
        return None
    return (
        f"batch_size is {asked}, and an epoch has {images} images: every step takes all of them. "
        "Lower batch_size, and learning_rate in proportion, for more steps an epoch."
    )


def _build(
    config: RunConfig,
    folder: RunsFolder,
    console: Console,
    signals: Signals,
    ranks: Ranks,
    log: Log | None,
) -> Trainer:
    """A rank's trainer; `log` is the first one's."""
    device = use_device(config, ranks)
    data = _data(config, folder, ranks)
    torch.manual_seed(config.seed)  # torchvision's samplers draw from torch's own generator
    model = build_model(config, class_counts=data.class_counts, ranks=ranks).to(device)
    ranks.make_equal(value for value in model.state_dict().values() if isinstance(value, Tensor))
    accelerate(model, config, device=device)
    seed_rank(config.seed, ranks)
    knobs = Knobs(config, [stage.fasa for stage in model.stages if stage.fasa is not None])
    writer = None if log is None else log.writer
    control = RunControl(writer=writer, knobs=knobs, signals=signals, ranks=ranks)
    return Trainer(
        config=config,
        data=data,
        model=model,
        optimizers=build_optimizers(config, model, model.classifiers),
        evaluate=lambda done, between: evaluate_model(
            model, data, config, device=device, ranks=ranks, batch_done=done, between=between
        ),
        control=control,
        knobs=knobs,
        first=None if log is None else _first(config, folder, console, log, model, data, control),
        console=console,
        device=device,
        ranks=ranks,
    )


def _first(
    config: RunConfig,
    folder: RunsFolder,
    console: Console,
    log: Log,
    model: FASAMaskRCNN,
    data: TrainingData,
    control: RunControl,
) -> FirstRank:
    run, writer = log.run, log.writer
    writer.register_categories([_row(category) for category in data.categories])
    return FirstRank(
        recorder=Recorder(writer=writer, model=model, resources=log.resources),
        probe=FeatureProbe(
            config=config,
            data=data,
            model=model,
            writer=writer,
            device=next(model.parameters()).device,
            clock=control.working_seconds,
        ),
        gallery=PredictionGallery(
            config=config, data=data, writer=writer, run_log=folder.run_log, run_id=run.id
        ),
        keeper=CheckpointKeeper(
            folder.checkpoints(run.id), run=run, config=config, writer=writer, console=console
        ),
    )


def _data(config: RunConfig, folder: RunsFolder, ranks: Ranks) -> TrainingData:
    """The data sets: the first process of a machine writes what is kept there, the others read."""
    is_first_here = ranks.local_rank == 0
    data = build_training_data(config, datasets=folder.datasets) if is_first_here else None
    ranks.gather_objects(None)
    return data or build_training_data(config, datasets=folder.datasets)


def _go_back(
    trainer: Trainer, run: Run, reader: RunLogReader, writer: RunLogWriter, console: Console
) -> None:
    """To the newest checkpoint: of the run itself, or of the parent it was forked from."""
    assert trainer.first is not None
    keeper = trainer.first.keeper
    state = keeper.newest()
    is_fork = state is not None and keeper.is_origin(state)
    trainer.ranks.broadcast((state, is_fork))
    if state is not None:
        trainer.state.restore(state)
        if is_fork:
            _begin_fork(trainer, keeper, run, state, writer, console)
        else:
            trainer.control.repeat(reader.commands(run.id), applied=state["commands"])
            writer.truncate_after(state["log"], step=trainer.at.step)
            keeper.take_over(state, reader.checkpoints(run.id))
    elif run.parent_step is not None:
        raise CheckpointError(
            f"run {run.id} is a fork, but the checkpoint at step {run.parent_step} it begins from "
            "is not there: fork from one that is kept"
        )
    elif reader.attempts(run.id):  # it died before its first checkpoint
        trainer.control.repeat(reader.commands(run.id), applied=[])
        writer.truncate_after(dict.fromkeys(HISTORY, 0), step=0)
    writer.begin_attempt(from_step=trainer.at.step)


def _begin_fork(
    trainer: Trainer,
    keeper: CheckpointKeeper,
    run: Run,
    state: dict[str, Any],
    writer: RunLogWriter,
    console: Console,
) -> None:
    """Take over the parent's history and checkpoint; from then on the fork needs no parent."""
    at = trainer.at
    if at.epoch >= trainer.config.epochs:
        raise ValueError(
            f"the fork goes on after {at.epoch} epochs, but its epochs is {trainer.config.epochs}: "
            "give it more"
        )
    trainer.knobs.set_as_configured()
    if run.parent_run is None:
        console.say("the parent run was deleted: the curves of this fork begin at the fork")
    else:
        writer.copy_history(run.parent_run, state["log"])
    keeper.take_over(state, [])
    parent = "a deleted run" if run.parent_run is None else f"run {run.parent_run}"
    writer.event(
        "fork", f"fork of {parent} after {at.epoch} epochs", step=at.step, epoch=at.epoch,
        payload={"parent_run": run.parent_run, "parent_step": run.parent_step},
    )  # fmt: skip
    trainer.record_knobs()
    trainer.keep()


def prepare(config: RunConfig, folder: RunsFolder) -> TrainingData:
    """Read the data of a run that is about to be queued, so that mistakes show before it is.

    Raises:
        AnnotationError: when a json or an image folder breaks a rule.
    """
    return build_training_data(config, datasets=folder.datasets)


def _row(category: Category) -> dict[str, object]:
    return {
        "index": category.index,
        "id": category.id,
        "name": category.name,
        "frequency": category.frequency,
        "image_count": category.image_count,
        "instance_count": category.instance_count,
    }
