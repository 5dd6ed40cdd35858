"""One run from its row in the run log to its last status: the one place where parts are wired."""

from __future__ import annotations

import os
import traceback
from typing import Any

import torch

from data.categories import Category
from trainer.backbone_weights import NO_WEIGHTS, with_weights_at_hand
from trainer.checkpoint import CheckpointError
from trainer.checkpoint_files import checkpoints
from trainer.checkpoint_keeper import CheckpointKeeper
from trainer.config import RunConfig, load_config
from trainer.console import Console
from trainer.control import RunControl, Signals, StopRequested
from trainer.engine import Trainer
from trainer.feature_probe import FeatureProbe
from trainer.inference import evaluate_model
from trainer.knobs import Knobs
from trainer.model import build_model
from trainer.predictions import PredictionGallery
from trainer.process_identity import process_identity
from trainer.recorder import Recorder
from trainer.resources import ResourceMonitor
from trainer.run_log.commands import set_process
from trainer.run_log.history import HISTORY
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.run_log.writer import RunLogWriter
from trainer.runs_folder import RunsFolder
from trainer.schedule import build_optimizers
from trainer.training_data import TrainingData, build_training_data
from trainer.training_step import LossNotFinite, OutOfMemory


def execute(folder: RunsFolder, run_id: int) -> str:
    """Train run `run_id` until it ends; returns its final status.

    It goes on from its newest whole checkpoint when there is one.

    Raises:
        ValueError: when configuration or data break a rule; the run is then marked failed.
        Exception: whatever broke the training; the run is marked failed with the traceback.
    """
    signals = Signals()
    identity = process_identity(os.getpid())
    set_process(folder.run_log, run_id, process_id=os.getpid(), process_identity=identity)
    with (
        RunLogWriter(folder.run_log, run_id) as writer,
        Console() as console,
        ResourceMonitor(folder.root) as resources,
    ):
        try:
            signals.listen()
            with RunLogReader(folder.run_log) as reader:
                run = reader.run(run_id)
                config, warning = _config(run, folder)
                trainer = _build(run, config, folder, writer, console, signals, resources)
                _go_back(trainer, run, reader, writer, console)
                if warning is not None:
                    writer.config(config.model_dump(mode="json"))
                    writer.event("warning", warning, step=0, epoch=0)
                    console.say(f"warning: {warning}")
            signals.wait_for_moment = True
            writer.status("running")
            writer.flush()  # brings what was asked while the run waited, before its first step
            console.say(f"run {run_id} '{run.name}': step {trainer.at.step}/{trainer.total_steps}")
            trainer.run()
        except StopRequested as stop:
            writer.status(stop.status, error=stop.problem)
            console.say(str(stop))
            return stop.status
        except (ValueError, LossNotFinite, OutOfMemory) as error:
            writer.status("failed", error=str(error))
            raise
        except BaseException:
            writer.status("failed", error=traceback.format_exc())
            raise
        writer.status("finished")
        return "finished"


def _config(run: Run, folder: RunsFolder) -> tuple[RunConfig, str | None]:
    """What a run trains with, and a warning where that is not quite what was asked for."""
    config = load_config(run.config)
    if checkpoints(folder.checkpoints(run.id)):  # they hold the weights
        return config.model_copy(update={"backbone_weights": NO_WEIGHTS}), None
    return with_weights_at_hand(config)


def _build(
    run: Run,
    config: RunConfig,
    folder: RunsFolder,
    writer: RunLogWriter,
    console: Console,
    signals: Signals,
    resources: ResourceMonitor,
) -> Trainer:
    if config.threads:
        torch.set_num_threads(config.threads)
    data = build_training_data(config, datasets=folder.datasets)
    writer.register_categories([_row(category) for category in data.categories])
    device = _device(config)
    torch.manual_seed(config.seed)  # torchvision's samplers draw from torch's own generator
    model = build_model(config, class_counts=data.class_counts).to(device)
    knobs = Knobs(config, [stage.fasa for stage in model.stages if stage.fasa is not None])
    control = RunControl(writer=writer, knobs=knobs, signals=signals)
    return Trainer(
        config=config,
        data=data,
        model=model,
        optimizers=build_optimizers(config, model, model.classifiers),
        evaluate=lambda done, between: evaluate_model(
            model, data, config, device=device, batch_done=done, between=between
        ),
        recorder=Recorder(writer=writer, model=model, resources=resources),
        control=control,
        knobs=knobs,
        probe=FeatureProbe(
            config=config,
            data=data,
            model=model,
            writer=writer,
            device=device,
            clock=control.working_seconds,
        ),
        gallery=PredictionGallery(
            config=config, data=data, writer=writer, run_log=folder.run_log, run_id=run.id
        ),
        keeper=CheckpointKeeper(
            folder.checkpoints(run.id), run=run, config=config, writer=writer, console=console
        ),
        console=console,
        device=device,
    )


def _go_back(
    trainer: Trainer, run: Run, reader: RunLogReader, writer: RunLogWriter, console: Console
) -> None:
    """To the newest checkpoint: of the run itself, or of the parent it was forked from."""
    state = trainer.keeper.newest()
    if state is not None:
        trainer.restore(state)
        if trainer.keeper.is_origin(state):
            _begin_fork(trainer, run, state, writer, console)
        else:
            trainer.control.repeat(reader.commands(run.id), applied=state["commands"])
            writer.truncate_after(state["log"], step=trainer.at.step)
            trainer.keeper.take_over(state, reader.checkpoints(run.id))
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
    trainer: Trainer, run: Run, state: dict[str, Any], writer: RunLogWriter, console: Console
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
    trainer.keeper.take_over(state, [])
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


def _device(config: RunConfig) -> torch.device:
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but torch finds no GPU here: use --device auto or cpu")
    return torch.device(config.device)


def _row(category: Category) -> dict[str, object]:
    return {
        "index": category.index,
        "id": category.id,
        "name": category.name,
        "frequency": category.frequency,
        "image_count": category.image_count,
        "instance_count": category.instance_count,
    }
