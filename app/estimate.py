"""What a run will take, before it starts: steps, time, memory, disk; and what that rests on.

steps  = epochs left x ceil(training images of an epoch / batch size)
time   = steps x pace x work + epochs x pause x work between,  of like runs in this log, with
         work = batch x pixels, over that of the like run (likewise for the pause between
         epochs: pixels x images that are validated and evaluated)
memory = program + weights, gradients, optimizer (by arithmetic)
         + images and activations of a like run x work
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.data_check import Sizes, demo_sizes
from app.experience import Experience, differences, same_data
from app.model_size import STAGES, ModelSize, model_size
from trainer.config import RunConfig

PROGRAM_MB = 950.0  # of a trainer on the processor before it has a model: Python, torch, the rest
ASPECT = 4 / 3  # of a usual photo: an input's longer side over its shorter one
# A factor up and down: other work on the machine counts too, on the processor most of all.
LEAST_SPREAD = {"gpu": 1.15, "processor": 1.4}
SPREAD_OF_DOUBLING = 0.15  # more for each doubling of the work, as it is scaled
SPREAD_OF_DIFFERENCE = 0.12  # more for each other knob that differs
MOST_NAMED = 5  # knobs in a sentence

SCALAR_ROWS, SCALAR_BYTES = 12, 75  # a step: rows, bytes of one with its index
VECTORS, BASELINE_VECTORS, VECTOR_BYTES = 13, 6, 90  # a snapshot: fields, bytes besides the values
GALLERY_BYTES = 5_200  # predictions of one image at one evaluation
PICTURE_BYTES = 30_000
PROBE_PICTURE_BYTES = 1_000  # of an object whose features are followed
FEWEST_VIRTUAL = 4  # features of a class in a snapshot of features, however many classes there are


@dataclass(frozen=True)
class Span:
    """A number that is not known exactly: the likely one, and between what it lies."""

    likely: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """What a run will take. None where nothing tells.

    Attributes:
        steps: training steps left.
        steps_basis: where the number of images comes from, or why it is not known; a sentence.
        seconds: from its start to its end.
        seconds_basis: what that rests on and how sure it is; sentences.
        memory_mb: most memory used: of the GPU where the like run was on one.
        memory_basis: likewise.
        model: the parts that arithmetic gives; None while the number of classes is not known.
        checkpoints: how many are on disk at the end.
        log_bytes: what the run log grows by.
        feature_bytes: what of it are snapshots of features.
    """

    steps: int | None
    steps_basis: str
    seconds: Span | None
    seconds_basis: str
    memory_mb: Span | None
    memory_basis: str
    model: ModelSize | None
    checkpoints: int
    log_bytes: float | None
    feature_bytes: float | None


def estimate(
    config: RunConfig, sizes: Sizes, known: Sequence[Experience], *, done_epochs: int = 0
) -> Estimate:
    """What a run will take.

    Args:
        config: of the run.
        sizes: of its data, as far as they were counted.
        known: like runs, best first; may be empty.
        done_epochs: of a fork, that it has not to train.
    """
    epochs = max(0, config.epochs - done_epochs)
    images, steps_basis = _epoch_images(config, sizes, known)
    per_epoch = None if images is None else math.ceil(images / config.batch_size)
    steps = None if per_epoch is None else per_epoch * epochs
    classes = _classes(config, sizes, known)
    model = None if classes is None else model_size(config, classes)
    seconds, seconds_basis = _seconds(config, sizes, known, per_epoch, epochs)
    memory, memory_basis = _memory(config, known, model)
    features = None if classes is None else feature_bytes(config, classes, epochs)
    return Estimate(
        steps, steps_basis, seconds, seconds_basis, memory, memory_basis, model,
        kept_checkpoints(config, done_epochs), _log_bytes(config, steps, classes, epochs),
        features,
    )  # fmt: skip


def _epoch_images(
    config: RunConfig, sizes: Sizes, known: Sequence[Experience]
) -> tuple[int | None, str]:
    for run in known:  # what a run has trained on is surer than a count: RFS repeats images
        if run.epoch_images and same_data(config, run.config):
            if config.train_sampler == "uniform" and sizes.train:
                break
            return run.epoch_images, f"The images of an epoch are those of run {run.run_id}."
    if sizes.train is None:
        return None, "How many images an epoch has is not known yet, so neither is the time."
    basis = f"An epoch has {sizes.train:,} training images"
    if config.train_sampler == "repeat_factor":
        return sizes.train, f"{basis}; those that repeat-factor sampling adds are not counted in."
    if config.data != "demo" and config.holdout_annotations is None and config.adapt_on != "test":
        return sizes.train, f"{basis}, with about {sizes.holdout:,} held out."
    return sizes.train, f"{basis}."


def _classes(config: RunConfig, sizes: Sizes, known: Sequence[Experience]) -> int | None:
    if sizes.classes is not None:
        return sizes.classes
    return next((run.classes for run in known if same_data(config, run.config)), None)


def pixels(config: RunConfig, *, training: bool) -> float:
    """Pixels of an input, of a photo with usual sides; in training the mean over its sizes."""
    sides = (training and config.train_min_sizes) or (config.image_min_size,)
    most = config.image_max_size
    return float(np.mean([min(side, most) * min(most, ASPECT * side) for side in sides]))


def _work(config: RunConfig) -> float:
    return config.batch_size * pixels(config, training=True)


def _work_between(config: RunConfig, sizes: Sizes, run: Experience) -> float:
    """Of validation and evaluation, over that of a run: by images where both counts are known."""
    if same_data(config, run.config):
        own = before = sizes
    else:
        known = run.config.data == "demo"
        own, before = sizes, demo_sizes(run.config.demo_classes) if known else Sizes()
    ratio = pixels(config, training=False) / pixels(run.config, training=False)
    images = _judged(config, own), _judged(run.config, before)
    if images[0] and images[1]:
        return ratio * images[0] / images[1]
    if sizes.train and run.epoch_images:
        ratio *= sizes.train / run.epoch_images
    return ratio * run.config.evaluate_every / config.evaluate_every


def _judged(config: RunConfig, sizes: Sizes) -> float | None:
    """Images validated and evaluated in an epoch, on average."""
    if sizes.holdout is None or sizes.test is None:
        return None
    return sizes.holdout + sizes.test / config.evaluate_every


def _seconds(
    config: RunConfig,
    sizes: Sizes,
    known: Sequence[Experience],
    per_epoch: int | None,
    epochs: int,
) -> tuple[Span | None, str]:
    if not known:
        return None, (
            "No run in this log used this backbone on this device for long enough, so nothing "
            "tells how long a step takes: after its first epoch the live page says the time left."
        )
    if per_epoch is None:
        return None, "The time is not known without the number of images."
    span, *others = (_seconds_after(config, sizes, run, per_epoch, epochs) for run in known)
    for other in others:  # another like run widens the range as far as it disagrees
        span = Span(span.likely, min(span.low, other.likely), max(span.high, other.likely))
    return span, _seconds_words(config, known, span)


def _seconds_after(
    config: RunConfig, sizes: Sizes, run: Experience, per_epoch: int, epochs: int
) -> Span:
    """As one like run has it."""
    work = _work(config) / _work(run.config)
    between = _work_between(config, sizes, run)
    low, likely, high = (
        epochs
        * (
            per_epoch * work * float(np.quantile(run.pace, share))
            + between * (float(np.quantile(run.between, share)) if run.between else 0.0)
        )
        for share in (0.25, 0.5, 0.75)  # a run is a mean over epochs: its spread is less
    )
    factor = _spread(config, run)
    return Span(likely, min(low, likely / factor), max(high, likely * factor))


def _spread(config: RunConfig, run: Experience) -> float:
    """The factor within which a scaled number may lie."""
    least = LEAST_SPREAD["gpu" if run.on_gpu else "processor"]
    doublings = abs(math.log2(_work(config) / _work(run.config)))
    unlike = len(differences(config, run.config))
    return least + SPREAD_OF_DOUBLING * doublings + SPREAD_OF_DIFFERENCE * unlike


def _shown(value: float) -> str:
    """Two digits where it is short, whole seconds where it is long."""
    return f"{value:.2g} s" if value < 10 else f"{value:,.0f} s"


def _seconds_words(config: RunConfig, known: Sequence[Experience], span: Span) -> str:
    first = known[0]
    pace = float(np.median(first.pace))
    words = [f"From {_runs(known)}: run {first.run_id} took {_shown(pace)} a step"]
    if first.between:
        words[0] += f" and {_shown(float(np.median(first.between)))} between epochs"
    work = _work(config) / _work(first.config)
    if abs(math.log2(work)) > 0.01:
        words[0] += f", scaled by {work:.2g} for batch x pixels"
    words[0] += "."
    other = differences(config, first.config)
    if other:
        named = ", ".join(other[:MOST_NAMED]) + (" and more" if len(other) > MOST_NAMED else "")
        words.append(f"It differs in {named}, which is not accounted for.")
    if not first.between:
        words.append("It has not ended an epoch, so validation and evaluation come on top.")
    spread = max(span.high / span.likely, span.likely / span.low) if span.low > 0 else math.inf
    words.append(
        f"Right within a factor of about {spread:.1f} while other work leaves this machine as free "
        "as it was then."
    )
    return " ".join(words)


def _runs(known: Sequence[Experience]) -> str:
    ids = [str(run.run_id) for run in known]
    return f"run {ids[0]}" if len(ids) == 1 else f"runs {', '.join(ids[:-1])} and {ids[-1]}"


def _memory(
    config: RunConfig, known: Sequence[Experience], model: ModelSize | None
) -> tuple[Span | None, str]:
    if model is None:
        return None, "Without the number of classes nothing can be said."
    own = model.training_bytes / 1e6
    parts = f"{own:,.0f} MB weights, gradients and optimizer"
    run = next((run for run in known if run.memory_mb is not None), None)
    if run is None or run.memory_mb is None:
        return None, f"{parts}; how much images and activations add, no run of this log tells yet."
    fixed = 0.0 if run.on_gpu else PROGRAM_MB
    before = model_size(run.config, run.classes).training_bytes / 1e6
    activations = max(0.0, run.memory_mb - fixed - before)
    work = _work(config) / _work(run.config)
    likely = fixed + own + activations * work
    unsure = (_spread(config, run) - 1) * activations * work + 0.05 * likely
    program = "" if run.on_gpu else f"{fixed:,.0f} MB program, "
    words = f"{program}{parts}, {activations * work:,.0f} MB images and activations"
    place = "on its GPU" if run.on_gpu else "on the processor, its loaders included"
    basis = f"Run {run.run_id} used {run.memory_mb:,.0f} MB {place}."
    span = Span(likely, max(fixed + own, likely - unsure), likely + unsure)
    return span, f"{words}. {basis}"


def kept_checkpoints(config: RunConfig, done_epochs: int = 0) -> int:
    """How many checkpoints are on disk when a run has ended: the newest, and every n-th epoch's."""
    ends = [
        epoch
        for epoch in range(done_epochs + 1, config.epochs + 1)
        if epoch % config.checkpoint_every == 0 or epoch == config.epochs
    ]
    old = ends[: -config.keep_checkpoints]
    return (
        len(ends)
        - len(old)
        + sum(bool(config.keep_every) and epoch % config.keep_every == 0 for epoch in old)
    )


def feature_bytes(config: RunConfig, classes: int, epochs: int) -> float:
    """What the snapshots of features take in the run log, where every class has objects enough.

    A snapshot: features, means and deviations as float16; index, judgement and loss of each
    feature; its three pictures.
    """
    objects = classes * max(1, min(config.probe_objects_per_class, config.probe_objects // classes))
    virtual = classes * min(
        config.probe_virtual_per_class, max(FEWEST_VIRTUAL, config.probe_objects // classes)
    )
    priors = 2 * classes
    if not config.fasa:
        virtual = priors = 0
    each = 2 * config.feature_dim * (objects + virtual + priors) + 36 * (objects + virtual)
    return min(each * epochs, 1e6 * config.feature_megabytes) + objects * PROBE_PICTURE_BYTES


def _log_bytes(
    config: RunConfig, steps: int | None, classes: int | None, epochs: int
) -> float | None:
    if steps is None or classes is None:
        return None
    stages = STAGES[config.detector]
    fields = stages * (VECTORS if config.fasa else BASELINE_VECTORS)
    snapshots = steps / config.snapshot_every + epochs
    vector = 4 * classes + VECTOR_BYTES
    judged = epochs / config.evaluate_every * 2 + epochs * stages * (2 if config.fasa else 1)
    gallery = config.gallery_images
    return (
        steps * SCALAR_ROWS * SCALAR_BYTES
        + (snapshots * fields + judged) * vector
        + gallery * (PICTURE_BYTES + GALLERY_BYTES * epochs / config.evaluate_every)
        + feature_bytes(config, classes, epochs)
    )
