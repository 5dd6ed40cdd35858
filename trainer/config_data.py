"""The knobs of `RunConfig` that say where a run trains, and on which data."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from trainer.config_fields import Count, Positive, knob


class RunAndData(BaseModel):
    """The groups "Run" and "Data"."""

    # Run
    seed: int = knob(
        0, "Run", "seed of initialisation, sampling and virtual features", ge=0, lt=2**63
    )
    epochs: Count = knob(12, "Run", "passes over the training set", unit="epochs", le=1_000_000)
    device: Literal["auto", "cpu", "cuda"] = knob(
        "auto", "Run", "where to train; auto takes a GPU when there is one"
    )
    threads: int = knob(
        0, "Run", "processor threads of a training step; 0 leaves the choice to torch", ge=0
    )
    processes: Count = knob(
        1, "Run", "trainer processes that share every batch, each on a GPU of its own where there "
        "are GPUs; torchrun overrules it", unit="processes", le=1024,
    )  # fmt: skip
    precision: Literal["float32", "bfloat16", "float16"] = knob(
        "float32", "Run", "numbers of forward passes in training, validation and tests; the "
        "shorter ones are automatic mixed precision (weights, prior and losses stay float32), made "
        "for GPUs: a processor gains by bfloat16 if it has instructions for it, by float16 never",
    )  # fmt: skip
    channels_last: bool = knob(
        False, "Run", "keep maps with their channels innermost, which convolutions are faster on"
    )
    compile: bool = knob(
        False, "Run", "compile backbone and heads with torch.compile: slow to start, then faster"
    )

    # Data
    data: Literal["demo", "lvis", "coco", "coco_lt"] = knob(
        "demo",
        "Data",
        "demo: composed here from OpenMoji glyphs; lvis: any LVIS v1 json, evaluated as a "
        "federated set; coco: any COCO json, evaluated as exhaustively annotated; coco_lt: COCO "
        "2017 cut down to the official long-tailed list",
    )
    data_folder: Path | None = knob(
        None, "Data", "folder that holds the set as it is published (fasa data check lists it), "
        "instead of the json files and image folders below"
    )  # fmt: skip
    coco_lt_list: Path | None = knob(
        None, "Data", "COCO-LT's official list, class_to_imageid_and_inscount_coco_sampled.pt; "
        "left out, it is looked for in the data folder"
    )  # fmt: skip
    coco_lt_part: bool = knob(
        False, "Data", "allow a training json with a part of COCO-LT's images, for trials"
    )
    demo_classes: int = knob(60, "Data", "classes of the demo set", unit="classes", ge=2, le=1203)
    annotations: Path | None = knob(None, "Data", "training json")
    images: Path | None = knob(None, "Data", "folder of the training images")
    holdout_annotations: Path | None = knob(
        None, "Data", "json whose validation loss steers adaptation; else a share is held out"
    )
    holdout_images: Path | None = knob(None, "Data", "folder of the hold-out images")
    holdout_share: float = knob(
        0.05, "Data", "share of training images held out when no hold-out json is given",
        gt=0, le=0.5,
    )  # fmt: skip
    test_annotations: Path | None = knob(None, "Data", "json on which AP is reported")
    test_images: Path | None = knob(None, "Data", "folder of the test images")
    drop_empty: bool = knob(
        False,
        "Data",
        "leave out annotations without area, not refuse them; always done in a data folder's own "
        "files, as COCO's hold two",
    )
    skip_unannotated: bool = knob(False, "Data", "leave out training images that show no object")
    train_min_sizes: tuple[int, ...] = knob(
        (), "Data", "shorter sides an image is resized to in training, one drawn each time it is "
        "seen; empty: always image_min_size", unit="px",
    )  # fmt: skip
    train_sampler: Literal["uniform", "repeat_factor"] = knob(
        "uniform", "Data", "plain shuffle, or repeat-factor sampling (RFS)"
    )
    repeat_threshold: Positive = knob(1e-3, "Data", "threshold t of repeat-factor sampling")
    repeat_rounding: Literal["ceil", "stochastic"] = knob(
        "ceil", "Data", "how a repeat factor becomes a number of repeats"
    )
    flip_probability: float = knob(0.5, "Data", "share of images flipped left-right", ge=0, le=1)
    workers: int = knob(0, "Data", "loader processes; 0 loads in the trainer itself", ge=0, le=64)
