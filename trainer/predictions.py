"""What every evaluation predicts on a few test images, for the gallery of the dashboard.

The images are chosen once; what is stored of them comes from the evaluation that runs anyway, so
that nothing is inferred twice. Boxes are xyxy, boxes and masks in pixels of the original image.
"""

from __future__ import annotations

import heapq
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data.detection import DetectionDataset, ImageAnnotation
from trainer.config import RunConfig
from trainer.detections import Detections
from trainer.run_log.reader import RunLogReader
from trainer.run_log.writer import RunLogWriter
from trainer.training_data import TrainingData

MOST_DETECTIONS = 30  # of an image, the best ones
LEAST_SCORE = 0.05

_LONGEST_SIDE = 640  # pixels of a picture
_JPEG_QUALITY = 85
_BOX_DIGITS, _SCORE_DIGITS = 2, 4


class PredictionGallery:
    """Writes what a run predicts on its `gallery_images` test images to the run log.

    Args:
        config: `gallery_images` and the seed are taken from it.
        data: whose test images are chosen at the first `record`; none without a test set.
        writer: the trainer's door to the run log.
        run_log: where images of an earlier attempt, or of the parent, are found.
        run_id: the run.
    """

    def __init__(
        self,
        *,
        config: RunConfig,
        data: TrainingData,
        writer: RunLogWriter,
        run_log: Path,
        run_id: int,
    ) -> None:
        self._config = config
        self._data = data
        self._writer = writer
        self._run_log = run_log
        self._run_id = run_id
        self._indices: dict[int, int] | None = None  # image id -> image_index

    def record(self, records: Detections, *, step: int, epoch: int) -> None:
        """Write what one evaluation found; the first call of a process also names the images.

        Args:
            records: all its detections.
            step: training steps done.
            epoch: the epoch at work.

        Raises:
            AnnotationError: when an image cannot be read.
        """
        if self._indices is None:
            self._indices = self._name_images()
        if not self._indices:
            return
        found: dict[int, list[Mapping[str, Any]]] = {image_id: [] for image_id in self._indices}
        for record in records.of_images(self._indices):
            if record["score"] >= LEAST_SCORE:
                found[record["image_id"]].append(record)
        label_of = {category.id: category.index for category in self._data.categories}
        rows = [
            {
                "image_index": index,
                "detections": [_detection(record, label_of) for record in _best(found[image_id])],
            }
            for image_id, index in self._indices.items()
        ]
        self._writer.predictions(rows, step=step, epoch=epoch)

    def _name_images(self) -> dict[int, int]:
        """Choose the images and store those that the run log does not have; image id -> index.

        What is stored keeps its index, so that a fork with another number of images, or another
        test set, adds to what it took over from its parent.
        """
        test, count = self._data.test, self._config.gallery_images
        if test is None or not count:
            return {}
        counts = self._data.class_counts
        items = choose_images(test, count=count, class_counts=counts, seed=self._config.seed)
        with RunLogReader(self._run_log) as reader:
            stored = reader.prediction_images(self._run_id)
        index_of = {(image.image_id, repr(image.truth)): image.index for image in stored}
        indices: dict[int, int] = {}
        new: list[dict[str, Any]] = []
        for item in items:
            annotation = test.annotation(item)
            truth = _truth(annotation)
            index = index_of.get((annotation.image_id, repr(truth)))
            if index is None:
                index = len(stored) + len(new)
                new.append(self._row(test, item, annotation, truth) | {"index": index})
            indices[annotation.image_id] = index
        self._writer.prediction_images(new)
        return indices

    def _row(
        self,
        test: DetectionDataset,
        item: int,
        annotation: ImageAnnotation,
        truth: list[dict[str, Any]],
    ) -> dict[str, Any]:
        return {
            "image_id": annotation.image_id,
            "width": annotation.width,
            "height": annotation.height,
            "truth": truth,
            "judged": _judged(annotation) if self._data.federated else None,
            "picture": _picture(test, item),
        }


def choose_images(
    test: DetectionDataset, *, count: int, class_counts: Sequence[int], seed: int
) -> list[int]:
    """Up to `count` items of a test set that show objects, those with rare classes first.

    The classes take turns, the rarest in training first: one that no chosen image shows yet gets
    the image that shows most of such classes, ties in an order drawn from `seed`. Once all are
    shown, the next round begins. So the first items of a longer list are those of a shorter one.

    Args:
        test: the test set.
        count: most items.
        class_counts: [C] training instances of each class.
        seed: the same seed and data give the same items.
    """
    order = np.random.default_rng(seed).permutation(len(test)).tolist()
    showing: dict[int, list[int]] = defaultdict(list)
    for item in sorted(range(len(test)), key=order.__getitem__):
        for label in test.image_categories[item]:
            showing[label].append(item)
    # A class without training instances is never predicted: it comes last.
    rarest_first = sorted(
        showing, key=lambda label: (not class_counts[label], class_counts[label], label)
    )
    chosen: dict[int, None] = {}  # in order
    before = -1
    while before < len(chosen) < count:
        before = len(chosen)
        missing = set(rarest_first)
        for label in rarest_first:
            if label not in missing or len(chosen) == count:
                continue
            left = [item for item in showing[label] if item not in chosen]
            if left:
                item = max(left, key=lambda i: len(missing.intersection(test.image_categories[i])))
                chosen[item] = None
                missing -= set(test.image_categories[item])
    return list(chosen)


def _truth(annotation: ImageAnnotation) -> list[dict[str, Any]]:
    """The objects and crowd regions of an image, as the run log keeps them."""
    return [
        {
            "class": int(label),
            "box": [round(float(corner), _BOX_DIGITS) for corner in box],
            "mask": mask,
            "crowd": int(number >= annotation.num_objects),
        }
        for number, (label, box, mask) in enumerate(
            zip(annotation.labels, annotation.boxes, annotation.masks, strict=True)
        )
    ]


def _judged(annotation: ImageAnnotation) -> list[int]:
    """The classes whose unmatched detections LVIS counts as wrong in this image."""
    known = set(annotation.labels.tolist()) | set(annotation.absent)
    return sorted(known - set(annotation.not_exhaustive))


def _best(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The highest scores first; of equals the first stays first."""
    return heapq.nlargest(MOST_DETECTIONS, records, key=lambda record: float(record["score"]))


def _detection(record: Mapping[str, Any], label_of: Mapping[int, int]) -> dict[str, Any]:
    x, y, width, height = record["bbox"]
    return {
        "class": label_of[record["category_id"]],
        "score": round(record["score"], _SCORE_DIGITS),
        "box": [round(corner, _BOX_DIGITS) for corner in (x, y, x + width, y + height)],
        "mask": record["segmentation"],
    }


def _picture(test: DetectionDataset, item: int) -> bytes:
    pixels, _ = test[item]
    picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()
