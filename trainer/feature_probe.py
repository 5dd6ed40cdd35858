"""The fixed objects and the fixed noise whose features a run's snapshots follow.

Points of two snapshots can be joined only if they stand for the same thing: the same ground-truth
box each time, or the same noise in its class's prior.

Shape glossary: C foreground classes, N probe objects, d feature length, K features of a class,
H, W height and width of an image. Boxes are xyxy in pixels of the image as it is stored.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from data.detection import DetectionDataset
from data.transforms import collate
from fasa_core.fasa import FASA
from trainer.config import RunConfig
from trainer.probe_objects import ProbeImage, Split, choose_objects
from trainer.run_log.writer import RunLogWriter
from trainer.trainable_model import TrainableModel
from trainer.training_data import TrainingData

_PICTURE_BYTES = 2048
_PICTURES = ((64, 80), (64, 60), (64, 40), (48, 40), (32, 30))  # (longest side in px, quality)


class FeatureProbe:
    """Writes the features of a run's probe objects, and of fixed virtual ones, to the run log.

    Real: the classifier's input for the ground-truth box itself, in eval mode. Virtual (with FASA
    alone): x = mu_c + sigma_c * eps (Eq. 3) with as many eps a class as objects, that never change;
    a class without a prior has none. The run itself notices nothing: no random number of torch's
    or FASA's is drawn, no buffer changes, and the model gets its mode back.

    Args:
        config: seed, batch size, `probe_objects_per_class` and `probe_objects` are taken from it;
            the bound on all classes lowers that of each, to 1 at least.
        data: whose objects are chosen at the first `take`.
        model: on `device`.
        writer: the trainer's door to the run log.
        device: where the model is.
    """

    def __init__(
        self,
        *,
        config: RunConfig,
        data: TrainingData,
        model: TrainableModel,
        writer: RunLogWriter,
        device: torch.device,
    ) -> None:
        self._config = config
        self._data = data
        self._model = model
        self._writer = writer
        self._device = device
        self._per_class = max(
            1, min(config.probe_objects_per_class, config.probe_objects // len(data.categories))
        )
        self._images: list[ProbeImage] = []
        self._named = False

    def take(
        self, *, step: int, epoch: int, batch_done: Callable[[int], None] = lambda total: None
    ) -> None:
        """Write one snapshot; the first call of a process also writes what the objects are.

        Args:
            step: training steps done.
            epoch: the epoch at work.
            batch_done: called after each batch with the number of batches there are; an error it
                raises ends the snapshot, of which nothing is written then.

        Raises:
            AnnotationError: when an image cannot be read.
        """
        if not self._named:
            self._images = choose_objects(
                self._data, per_class=self._per_class, seed=self._config.seed
            )
        rows, real = self._real(batch_done)
        if not self._named:
            self._writer.feature_probes(rows)
            self._named = True
        where = {"step": step, "epoch": epoch}
        if len(real):
            subjects = np.arange(len(real), dtype=np.int32)
            self._writer.feature_snapshot("real", subjects, real, **where)
        if self._model.fasa is not None:
            subjects, virtual = self._virtual(self._model.fasa)
            if len(subjects):
                self._writer.feature_snapshot("virtual", subjects, virtual, **where)

    def _real(
        self, batch_done: Callable[[int], None]
    ) -> tuple[list[dict[str, Any]], NDArray[np.float16]]:
        """The rows of the objects (none once they are stored) and their features [N, d]."""
        size = self._config.batch_size
        batches = [self._images[i : i + size] for i in range(0, len(self._images), size)]
        rows: list[dict[str, Any]] = []
        features = [torch.empty(0, self._config.feature_dim, dtype=torch.float16)]
        was_training = self._model.training
        self._model.eval()
        try:
            for batch in batches:
                items = [self._dataset(image.split)[image.item] for image in batch]
                boxes = [
                    target["boxes"][image.objects]
                    for image, (_, target) in zip(batch, items, strict=True)
                ]
                found = self._model.box_features(
                    [pixels.to(self._device) for pixels in collate(items)[0]],
                    [box.to(self._device) for box in boxes],
                )
                features.append(found.to("cpu", torch.float16))
                if not self._named:
                    for image, item in zip(batch, items, strict=True):
                        rows += _rows(image, *item, first_index=len(rows))
                batch_done(len(batches))
        finally:
            if was_training:
                self._model.train()
        return rows, torch.cat(features).numpy()

    def _dataset(self, split: Split) -> DetectionDataset:
        return self._data.train if split == "train" else self._data.holdout

    @torch.no_grad()
    def _virtual(self, fasa: FASA) -> tuple[NDArray[np.int32], NDArray[np.float16]]:
        """The class of each virtual feature, rising, and the features [classes * K, d]."""
        with_prior = torch.where(fasa.n_seen > 0)[0]
        shape = (self._per_class, fasa.mean.shape[1])
        noise = np.array(
            [fixed_noise(self._config.seed, label, shape) for label in with_prior.tolist()],
            np.float32,
        ).reshape(-1, *shape)
        deviation = fasa.prior.standard_deviation(with_prior)
        x = fasa.mean[with_prior, None] + deviation[:, None] * torch.from_numpy(noise).to(
            self._device
        )
        if fasa.options.clamp_negative:
            x.clamp_(min=0)
        subjects = with_prior.to("cpu", torch.int32).numpy().repeat(self._per_class)
        return subjects, x.flatten(0, 1).to("cpu", torch.float16).numpy()


def fixed_noise(seed: int, label: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """[K, d] the eps of a class's virtual features: the same ones at every call."""
    return np.random.default_rng([seed, label]).standard_normal(shape, np.float32)


def _rows(
    image: ProbeImage, pixels: Tensor, target: Mapping[str, Any], *, first_index: int
) -> Iterator[dict[str, Any]]:
    """What the run log says of the probe objects of one image: pixels uint8 [3, H, W]."""
    picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    for index, number in enumerate(image.objects, first_index):
        x1, y1, x2, y2 = target["boxes"][number].tolist()
        yield {
            "object_index": index,
            "class_index": int(target["labels"][number]),
            "split": image.split,
            "image_id": int(target["image_id"]),
            "x1": x1,
            "y1": y1,
            "x2": x2,
            "y2": y2,
            "picture": _jpeg(_crop(picture, (x1, y1, x2, y2))),
        }


def _crop(picture: Image.Image, box: tuple[float, float, float, float]) -> Image.Image:
    """All pixels a box touches; at least one, though the box may be thinner."""
    left, top = min(int(box[0]), picture.width - 1), min(int(box[1]), picture.height - 1)
    return picture.crop(
        (left, top, max(left + 1, math.ceil(box[2])), max(top + 1, math.ceil(box[3])))
    )


def _jpeg(picture: Image.Image) -> bytes:
    """The picture, made smaller and coarser until it fits into `_PICTURE_BYTES`."""
    for side, quality in _PICTURES:
        small = picture.copy()
        small.thumbnail((side, side))
        file = io.BytesIO()
        small.save(file, "JPEG", quality=quality, optimize=True)
        if file.tell() <= _PICTURE_BYTES:
            break
    return file.getvalue()
