"""The probe objects of a run on their way to its box head: what of them never changes.

Shape glossary: H, W height and width of an image. Boxes are xyxy in pixels of the image as it is
stored.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from data.detection import DetectionDataset
from data.transforms import as_input
from trainer.config import RunConfig
from trainer.probe_objects import ProbeImage, Split, choose_objects
from trainer.trainable_model import PreparedBoxes, TrainableModel
from trainer.training_data import TrainingData

MOST_KEPT_BYTES = 256 * 2**20  # of maps, on the model's device

_PICTURE_BYTES = 2048
_PICTURES = ((64, 80), (64, 60), (64, 40), (48, 40), (32, 30))  # (longest side in px, quality)


class ProbeBatches:
    """The images of the probe objects, batch by batch, and what the run log says of the objects.

    A frozen backbone gives the same maps of an image at every snapshot, and they are nearly all of
    a snapshot's work: they are computed once, and kept as far as `MOST_KEPT_BYTES` go. Other images
    are read anew each time.

    Args:
        config: seed, batch size, `probe_objects_per_class` and `probe_objects` are taken from it;
            the bound on all classes lowers that of each, to 1 at least.
        data: whose objects are chosen.
        model: in eval mode, on `device`.
        device: where the model is.
        between: called after each batch; an error it raises ends the preparation.

    Attributes:
        rows: as `RunLogWriter.feature_probes` takes them.
        labels: int64 [N] class of each object, on the CPU.

    Raises:
        AnnotationError: when an image cannot be read.
    """

    def __init__(
        self,
        *,
        config: RunConfig,
        data: TrainingData,
        model: TrainableModel,
        device: torch.device,
        between: Callable[[], None],
    ) -> None:
        self._data = data
        self._model = model
        self._device = device
        per_class = min(
            config.probe_objects_per_class, config.probe_objects // len(data.categories)
        )
        images = choose_objects(data, per_class=max(1, per_class), seed=config.seed)
        size = config.batch_size
        self._batches = [images[i : i + size] for i in range(0, len(images), size)]
        self._kept: list[PreparedBoxes] = []
        self.rows: list[dict[str, Any]] = []
        fits = True
        for batch in self._batches:
            pixels = self._read(batch)
            for image, picture in zip(batch, pixels, strict=True):
                self.rows += self._rows(image, picture)
            if fits:
                prepared = self._prepare(batch, pixels)
                fits = self._kept_bytes() + prepared.num_bytes <= MOST_KEPT_BYTES
                self._kept += [prepared] if fits else []
            between()
        self.labels = torch.tensor([row["class_index"] for row in self.rows], dtype=torch.int64)

    def __iter__(self) -> Iterator[PreparedBoxes]:
        """All batches in order, ready for the box head; their objects are those of `rows`."""
        yield from self._kept
        for batch in self._batches[len(self._kept) :]:
            yield self._prepare(batch, self._read(batch))

    def _kept_bytes(self) -> int:
        return sum(prepared.num_bytes for prepared in self._kept)

    def _read(self, batch: list[ProbeImage]) -> list[Tensor]:
        return [self._dataset(image.split).pixels(image.item) for image in batch]

    def _prepare(self, batch: list[ProbeImage], pixels: list[Tensor]) -> PreparedBoxes:
        boxes = [
            self._dataset(image.split).objects(image.item)[0][image.objects] for image in batch
        ]
        return self._model.prepare_boxes(
            [as_input(picture.to(self._device)) for picture in pixels],
            [box.to(self._device) for box in boxes],
        )

    def _dataset(self, split: Split) -> DetectionDataset:
        return self._data.train if split == "train" else self._data.holdout

    def _rows(self, image: ProbeImage, pixels: Tensor) -> Iterator[dict[str, Any]]:
        """What the run log says of the probe objects of one image: pixels uint8 [3, H, W]."""
        dataset = self._dataset(image.split)
        boxes, labels = dataset.objects(image.item)
        picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        for index, number in enumerate(image.objects, len(self.rows)):
            x1, y1, x2, y2 = boxes[number].tolist()
            yield {
                "object_index": index,
                "class_index": int(labels[number]),
                "split": image.split,
                "image_id": dataset.image_ids[image.item],
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
