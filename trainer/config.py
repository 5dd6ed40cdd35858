"""RunConfig: the one definition of every knob of a run, with its bounds, unit and meaning.

The command line's flags, the launch form and the checks on commands are all derived from it.
It imports no torch, so that the dashboard can use it too. The fields of the group "FASA" repeat
the names and defaults of `fasa_core.options.FASAOptions`; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, ValidationError, model_validator

from trainer.config_fields import Count, Positive, knob
from trainer.config_model import Model


class ConfigError(ValueError):
    """A run configuration that breaks a rule; the message is one sentence a person can act on."""


# A fork goes on from a checkpoint: its order of images, its weights and its optimizers' memory.
_FIXED_IN_A_FORK = frozenset((
    "seed", "data", "demo_classes", "data_folder", "coco_lt_list", "coco_lt_part",
    "annotations", "images", "holdout_annotations", "holdout_images", "holdout_share", "drop_empty",
    "skip_unannotated", "train_sampler", "repeat_threshold", "repeat_rounding", "batch_size",
    "detector", "backbone", "backbone_weights", "trainable_layers", "batch_norm", "fpn_channels",
    "feature_dim", "mask_layers", "mask_channels", "class_agnostic_box", "class_agnostic_mask",
    "anchor_sizes", "optimizer", "classifier_optimizer", "spread", "generator", "initial_scale",
    "zero_count", "adapt_on", "probe_objects_per_class", "probe_objects",
))  # fmt: skip


class RunConfig(Model):
    """Everything that decides a run. The defaults are the demo run."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    # Optimisation
    batch_size: Count = knob(8, "Optimisation", "images a step", unit="images")
    optimizer: Literal["sgd", "adamw"] = knob(
        "adamw", "Optimisation", "of everything but the classifier"
    )
    learning_rate: Positive = knob(1e-3, "Optimisation", "of everything but the classifier")
    weight_decay: float = knob(1e-4, "Optimisation", "of everything but the classifier", ge=0)
    classifier_optimizer: Literal["sgd", "adamw"] = knob(
        "sgd", "Optimisation", "of the classifier; the paper trains it with SGD"
    )
    classifier_learning_rate: Positive = knob(0.002, "Optimisation", "of the classifier")
    classifier_weight_decay: float = knob(0.0, "Optimisation", "of the classifier", ge=0)
    momentum: float = knob(0.9, "Optimisation", "of SGD", ge=0, lt=1)
    schedule: Literal["cosine", "steps"] = knob(
        "cosine", "Optimisation", "how the learning rate falls after the warm-up"
    )
    milestones: tuple[Count, ...] = knob(
        (8, 11), "Optimisation", "with schedule=steps: epochs after which it falls to a tenth"
    )
    warmup_steps: int = knob(50, "Optimisation", "steps of linear warm-up", unit="steps", ge=0)
    warmup_ratio: float = knob(
        0.001, "Optimisation", "learning rate at the first step, of the full one", gt=0, le=1
    )
    gradient_clip: float = knob(
        10.0, "Optimisation", "bound on the gradient norm; 0 for none", ge=0
    )

    learning_rate_factor: float = knob(
        1.0, "Optimisation", "on every learning rate, over its schedule", live=True, ge=0, le=100
    )

    # FASA (names and defaults as in fasa_core.options.FASAOptions)
    fasa: bool = knob(True, "FASA", "off: the baseline, without virtual features")
    m: float = knob(0.1, "FASA", "momentum of the prior (Eq. 2)", live=True, gt=0, le=1)
    alpha: float = knob(
        1.1, "FASA", "factor on p_c when the super-group's loss fell", live=True, ge=1, le=10
    )
    beta: float = knob(
        0.9, "FASA", "factor on p_c when the super-group's loss rose", live=True, gt=0, le=1
    )
    virtual_loss_weight: float = knob(
        0.1, "FASA", "weight of the virtual features' loss", live=True, ge=0, le=100
    )
    start_epoch: int = knob(1, "FASA", "first epoch with virtual features, counted from 0", ge=0)
    initial_scale: Positive = knob(1.0, "FASA", "scale s_c of Eq. 4 at the start")
    sampling: Literal["adaptive", "static"] = knob(
        "adaptive", "FASA", "static keeps p_c as Eq. 4 sets it: FA without FS"
    )
    spread: Literal["std", "variance", "ew"] = knob(
        "std", "FASA", "what the prior averages: std (paper), variance (official), or ew"
    )
    unbiased: bool = knob(True, "FASA", "within-batch spread with n - 1 below the line")
    single: Literal["zero", "keep"] = knob(
        "zero", "FASA", "a class seen once in a batch: spread 0 enters the mean, or is left out"
    )
    combine: Literal["separate", "concat"] = knob(
        "separate", "FASA", "virtual loss as a weighted mean of its own, or one mean with the real"
    )
    zero_count: Literal["exclude", "error"] = knob(
        "exclude", "FASA", "classes without instances: p = 0, or refused"
    )
    clamp_negative: bool = knob(False, "FASA", "clamp virtual features at 0")
    clustering: Literal["dbscan", "affinity_propagation", "affinity_propagation_fixed"] = knob(
        "dbscan", "FASA", "how super-groups are found"
    )
    distance: Literal["mean_of_ratios", "ratio_of_sums"] = knob(
        "mean_of_ratios", "FASA", "reduction of the Fisher ratio (Eq. 5) over d"
    )
    floor: float = knob(
        1e-2, "FASA", "added to the Fisher ratio's denominator, of the mean variance", ge=0
    )
    eps_quantile: float = knob(
        0.5, "FASA", "quantile of the k-distances that sets DBSCAN's eps", gt=0, le=1
    )
    largest_share: float = knob(
        0.25, "FASA", "eps shrinks until no super-group holds more of the classes", gt=0, le=1
    )
    min_samples: Count = knob(2, "FASA", "neighbours that make a class a core sample of DBSCAN")
    noise: Literal["nearest", "singleton"] = knob(
        "nearest", "FASA", "DBSCAN's noise joins the nearest super-group, or stays alone"
    )
    cluster_unseen: bool = knob(False, "FASA", "cluster classes that have no prior yet")
    group_statistic: Literal["mean", "sum"] = knob(
        "mean", "FASA", "super-group loss: mean over its classes, or the official sum"
    )
    generator: Literal["own", "global"] = knob(
        "own", "FASA", "random numbers of the draws: FASA's own generator, or torch's"
    )
    prior_sync: Literal["gather", "none"] = knob(
        "gather", "FASA", "with several processes: one prior of all their features, or one each"
    )
    validation_reduce: Literal["sum", "mean"] = knob(
        "sum", "FASA", "with several processes: their validation losses are summed, or averaged"
    )

    # Validation
    adapt_on: Literal["holdout", "test"] = knob(
        "holdout", "Validation",
        "whose loss steers adaptation; test is what the paper does and leaks into the result",
    )  # fmt: skip
    validation_sampler: Literal["uniform", "repeat_factor"] = knob(
        "repeat_factor", "Validation", "sampling of the adaptation set"
    )
    validation_pipeline: Literal["test", "train"] = knob(
        "test", "Validation",
        "test: images as they are, the same RoIs every epoch; train: flips and random RoIs, as "
        "the official code has it",
    )  # fmt: skip
    evaluate_every: Count = knob(1, "Validation", "epochs between two AP evaluations")

    # Log
    snapshot_every: Count = knob(
        10, "Log", "steps between two per-class snapshots in the run log", unit="steps"
    )
    checkpoint_every: Count = knob(1, "Log", "epochs between two checkpoints", unit="epochs")
    keep_checkpoints: Count = knob(3, "Log", "newest checkpoints kept on disk")
    probe_objects_per_class: int = knob(
        8, "Log", "objects of each class, half of them held out, that feature snapshots follow",
        unit="objects", ge=1, le=64,
    )  # fmt: skip
    probe_virtual_per_class: int = knob(
        8, "Log", "virtual features of each class beside them, each with noise that never changes",
        unit="features", ge=1, le=64,
    )  # fmt: skip
    probe_objects: int = knob(
        5000, "Log", "bound on the objects of all classes together, and on their virtual features; "
        "a class keeps 1 object and 4 virtual features", unit="objects", ge=1, le=50_000,
    )  # fmt: skip
    feature_share: float = knob(
        0.02, "Log", "share of the run's time that feature snapshots may take: an epoch that would "
        "exceed it ends without one, unless it is the first or last; 1 for no bound", ge=0, le=1,
    )  # fmt: skip
    feature_megabytes: int = knob(
        500, "Log", "bound on the feature snapshots of a run; beyond it the oldest but the first "
        "are deleted", unit="MB", ge=1, le=1_000_000,
    )  # fmt: skip
    gallery_images: int = knob(
        32, "Log", "test images whose predictions every evaluation keeps, those with rare classes "
        "first; 0 for none", unit="images", ge=0, le=1000,
    )  # fmt: skip
    keep_every: int = knob(
        4, "Log", "keep the checkpoint of every n-th epoch too; 0 for none", unit="epochs", ge=0
    )

    @model_validator(mode="after")
    def _data_has_files(self) -> RunConfig:
        given = self.annotations is not None and self.images is not None
        if self.data != "demo" and self.data_folder is None and not given:
            raise ValueError(
                f"data={self.data} needs a training json and its image folder: "
                "give --annotations FILE and --images FOLDER, or --data-folder FOLDER"
            )
        if self.data == "demo" and self.data_folder is not None:
            raise ValueError(
                "data_folder is set, but data=demo takes no data folder: give --data lvis, coco or "
                "coco_lt with it"
            )
        if self.data == "coco_lt" and self.data_folder is None and self.coco_lt_list is None:
            raise ValueError(
                "data=coco_lt without a data folder needs COCO-LT's official list: give "
                "--coco-lt-list FILE"
            )
        for name in ("holdout", "test"):
            if (getattr(self, f"{name}_annotations") is None) != (
                getattr(self, f"{name}_images") is None
            ):
                raise ValueError(f"--{name}-annotations and --{name}-images go together: give both")
        has_test = self.data == "demo" or self.data_folder or self.test_annotations
        if self.adapt_on == "test" and not has_test:
            raise ValueError("adapt_on=test needs --test-annotations and --test-images")
        if self.image_max_size < self.image_min_size:
            raise ValueError(
                f"image_max_size is {self.image_max_size}, below image_min_size "
                f"{self.image_min_size}: raise it"
            )
        if any(side < 1 or side > self.image_max_size for side in self.train_min_sizes):
            raise ValueError(
                f"train_min_sizes is {', '.join(map(str, self.train_min_sizes))}, but each must "
                f"lie between 1 and image_max_size, {self.image_max_size}: change one of the two"
            )
        if self.batch_size < self.processes:
            raise ValueError(
                f"batch_size is {self.batch_size}, below processes, {self.processes}: every "
                "process needs an image of each batch"
            )
        return self


def load_config(values: dict[str, Any]) -> RunConfig:
    """A checked configuration.

    Raises:
        ConfigError: one sentence that names the knob, the value, and what is allowed.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_first_sentence(error)) from None


def live_knobs() -> dict[str, Any]:
    """Name -> pydantic field of the knobs that can be changed while a run trains."""
    return {
        name: field
        for name, field in RunConfig.model_fields.items()
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra["live"]
    }


def check_live(values: Mapping[str, Any], config: RunConfig | None = None) -> dict[str, float]:
    """The values of a `set` command, checked against the bounds of `RunConfig`.

    Args:
        values: knob to value.
        config: of the run, when it is known: a baseline has no knob of FASA.

    Raises:
        ConfigError: for an unknown knob, one that cannot change in a run, or a value out of bounds.
    """
    allowed = live_knobs()
    if config is not None and not config.fasa:
        allowed = {name: knob for name, knob in allowed.items() if not _is_of_fasa(name)}
    unknown = sorted(set(values) - set(allowed))
    if unknown or not values:
        raise ConfigError(
            f"'{', '.join(unknown) or 'nothing'}' cannot be changed while this run trains: "
            f"set one of {', '.join(allowed)}"
        )
    checked = load_config({**RunConfig().model_dump(), **values})
    return {name: float(getattr(checked, name)) for name in values}


def _is_of_fasa(name: str) -> bool:
    extra: Any = RunConfig.model_fields[name].json_schema_extra
    return bool(extra["group"] == "FASA")


def fork_knobs() -> list[str]:
    """The knobs a fork may change; its parent's checkpoint rests on the others."""
    return [name for name in RunConfig.model_fields if name not in _FIXED_IN_A_FORK]


def child_config(parent: Mapping[str, Any], edits: Mapping[str, Any], *, fork: bool) -> RunConfig:
    """The configuration of a restarted or forked run: its parent's with edits.

    Args:
        parent: the parent's configuration; for a fork, with the live knobs as they stood there.
        edits: knob to new value.
        fork: whether the run goes on from a checkpoint of its parent.

    Raises:
        ConfigError: one sentence, for a value out of bounds or an edit that no fork can take.
    """
    child = load_config({**parent, **edits})
    if fork:
        before = load_config(dict(parent))
        fixed = [n for n in _FIXED_IN_A_FORK if getattr(child, n) != getattr(before, n)]
        if fixed:
            raise ConfigError(
                f"a fork cannot change {', '.join(sorted(fixed))}, because its parent's checkpoint "
                "rests on it: restart the run instead"
            )
    return child


def dataset_title(config: RunConfig) -> str:
    """What the run log calls the data set of a run."""
    if config.data == "demo":
        return f"demo ({config.demo_classes} classes)"
    if config.data == "coco_lt" or config.annotations is None:
        return {"lvis": "LVIS v1", "coco": "COCO 2017", "coco_lt": "COCO-LT"}[config.data]
    return config.annotations.stem


def _first_sentence(error: ValidationError) -> str:
    problem = error.errors()[0]
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"there is no setting '{name}': `fasa train --help` lists them all"
    rule = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{name} is {problem['input']!r}, but {rule}"
