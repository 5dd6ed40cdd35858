"""One run from its row in the run log to its last status: the one place where parts are wired."""

from __future__ import annotations

import os
import traceback

import psutil
import torch

from data.categories import Category
from trainer.checkpoint import checkpoints
from trainer.config import RunConfig, load_config
from trainer.console import Console
from trainer.control import RunControl, StopRequested
from trainer.engine import LossNotFinite, Trainer
from trainer.inference import evaluate_model
from trainer.model import build_model
from trainer.recorder import Recorder
from trainer.run_log.commands import set_process
from trainer.run_log.reader import RunLogReader
from trainer.run_log.writer import RunLogWriter
from trainer.runs_folder import RunsFolder
from trainer.schedule import build_optimizers
from trainer.training_data import TrainingData, build_training_data


def execute(folder: RunsFolder, run_id: int) -> str:
    """Train run `run_id` until it ends; returns its final status.

    Raises:
        ValueError: when configuration or data break a rule; the run is then marked failed.
        Exception: whatever broke the training; the run is marked failed with the traceback.
    """
    start = psutil.Process().create_time()
    set_process(folder.run_log, run_id, process_id=os.getpid(), process_start=start)
    with RunLogWriter(folder.run_log, run_id) as writer, Console() as console:
        try:
            run = RunLogReader(folder.run_log).run(run_id)
            trainer, control = _build(load_config(run.config), folder, run_id, writer, console)
            control.listen_to_signals()
            writer.status("running")
            console.say(f"run {run_id} '{run.name}': {trainer.total_steps} steps")
            trainer.run()
        except StopRequested as stop:
            writer.status(stop.status)
            console.say(str(stop))
            return stop.status
        except (ValueError, LossNotFinite) as error:
            writer.status("failed", error=str(error))
            raise
        except BaseException:
            writer.status("failed", error=traceback.format_exc())
            raise
        writer.status("finished")
        return "finished"


def _build(
    config: RunConfig, folder: RunsFolder, run_id: int, writer: RunLogWriter, console: Console
) -> tuple[Trainer, RunControl]:
    if config.threads:
        torch.set_num_threads(config.threads)
    data = build_training_data(config, datasets=folder.datasets)
    writer.register_categories([_row(category) for category in data.categories])
    device = _device(config)
    torch.manual_seed(config.seed)  # torchvision's samplers draw from torch's own generator
    model = build_model(config, class_counts=data.class_counts).to(device)
    control = RunControl(writer=writer, fasa=model.fasa)
    trainer = Trainer(
        config=config,
        data=data,
        model=model,
        optimizers=build_optimizers(config, model, model.classifier),
        evaluate=lambda done: evaluate_model(model, data, config, device=device, batch_done=done),
        recorder=Recorder(writer=writer, model=model),
        control=control,
        console=console,
        checkpoints=folder.checkpoints(run_id),
        device=device,
    )
    kept = checkpoints(folder.checkpoints(run_id))
    if kept:
        trainer.resume(kept[-1])
        writer.truncate_after(trainer.at.step)
    return trainer, control


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
