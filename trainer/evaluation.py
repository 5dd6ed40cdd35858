"""Average precision of boxes and masks as LVIS and COCO define it, and what it is computed from.

Shapes:
    N: detections of one image.
    H, W: height and width of that image in pixels.
    C: classes. A label is 0..C-1; `category_ids[label]` is the id the annotation file uses.
    K: categories evaluated together.  T: IoU thresholds (10).  R: recall points (101).
    A: object areas (4: all, small, medium, large).

Every figure is in percent. Average precision is the mean over classes of the precision at IoU 0.50,
0.55 ... 0.95, interpolated at 101 recall points, as in the evaluation code of COCO and LVIS v1.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from faster_coco_eval.core.coco import COCO
from faster_coco_eval.core.faster_eval_api import COCOeval_faster
from pycocotools import mask as rle_masks
from torch import Tensor

Record = dict[str, Any]
"""One detection in the published results format of LVIS and COCO: `image_id`, `category_id`, `bbox`
(x, y, width, height in pixels), `score`, `segmentation` (compressed run lengths)."""

_GEOMETRY = {"bbox": "bbox", "segm": "segmentation"}
_FREQUENCIES = ("r", "c", "f")
_AREAS = {"all": 0, "small": 1, "medium": 2, "large": 3}
_THRESHOLDS = np.linspace(0.5, 0.95, 10)

# The library keeps a Python object for every pair of image and category it is given at once. LVIS
# has 20,000 x 1,203 of them, so categories are taken in groups of about this many pairs: a third of
# the time and a quarter of the memory at 1,000 images.
_PAIRS_AT_ONCE = 20_000


class DetectionCollector:
    """Keeps detections as compressed json records, so that memory does not grow with image size.

    Args:
        category_ids: int[C], the annotation file's id of each class index.
    """

    def __init__(self, category_ids: Sequence[int]) -> None:
        self._category_ids = [int(category_id) for category_id in category_ids]
        self.records: list[Record] = []

    def add(
        self, image_id: int, *, boxes: Tensor, scores: Tensor, labels: Tensor, masks: Tensor
    ) -> None:
        """Keep the detections of one image; may be called several times for parts of an image.

        Args:
            image_id: the annotation file's id of the image.
            boxes: float[N, 4], corners x0, y0, x1, y1 in pixels of the original image.
            scores: float[N].
            labels: int[N], 0..C-1.
            masks: bool[N, H, W], in the original image's size.

        Raises:
            ValueError: the four tensors disagree on N, or a label is not a class.
        """
        count = len(boxes)
        if not len(scores) == len(labels) == len(masks) == count:
            raise ValueError(
                f"boxes, scores, labels and masks of an image must have one length, got {count}, "
                f"{len(scores)}, {len(labels)} and {len(masks)}: pass the same detections to all."
            )
        if count == 0:
            return
        for label in (int(labels.min()), int(labels.max())):
            if not 0 <= label < len(self._category_ids):
                raise ValueError(
                    f"A detection's label must be one of {len(self._category_ids)} classes from 0 "
                    f"on, got {label}: leave the background out before collecting."
                )
        corners = boxes.detach().to("cpu", torch.float64)
        sizes = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], dim=1)
        for label, box, score, mask in zip(
            labels.tolist(), sizes.tolist(), scores.tolist(), _run_lengths(masks), strict=True
        ):
            self.records.append(
                {
                    "image_id": int(image_id),
                    "category_id": self._category_ids[label],
                    "bbox": box,
                    "score": score,
                    "segmentation": mask,
                }
            )


def _run_lengths(masks: Tensor) -> list[dict[str, Any]]:
    """bool[N, H, W] -> N run-length codes that json can hold, in one call for all N."""
    # The encoder wants uint8[H, W, N] with the rows running fastest: the transposed view of
    # [N, W, H] in memory.
    columns = masks.detach().to("cpu", torch.uint8).transpose(1, 2).contiguous().numpy()
    codes: list[dict[str, Any]] = rle_masks.encode(columns.transpose(2, 1, 0))
    return [
        {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode("ascii")}
        for code in codes
    ]


@dataclass(frozen=True)
class EvaluationResult:
    """What `evaluate_detections` found.

    Attributes:
        metrics: percent, under "bbox/AP", "bbox/AP50", "bbox/AP75", "bbox/AP_r", "bbox/AP_c",
            "bbox/AP_f", "bbox/AP_small", "bbox/AP_medium", "bbox/AP_large", and the same for
            "segm/...". A figure with no ground truth to average over is left out.
        per_class: "bbox" and "segm" -> float32[C], percent, NaN for a class without ground truth.
        records: the detections it was computed from.
    """

    metrics: dict[str, float]
    per_class: dict[str, npt.NDArray[np.float32]]
    records: Sequence[Mapping[str, Any]]


def evaluate_detections(
    annotations_path: Path | str,
    category_ids: Sequence[int],
    records: Sequence[Mapping[str, Any]],
    *,
    federated: bool,
    max_detections: int = 300,
    frequencies: Sequence[str] | None = None,
    between: Callable[[], None] = lambda: None,
) -> EvaluationResult:
    """Average precision of `records` against an annotation file; `records` stay as they are.

    Args:
        annotations_path: LVIS v1 or COCO json with the ground truth.
        category_ids: int[C], the file's id of each class index.
        records: detections in the results format, each with `bbox` (boxes are then evaluated),
            `segmentation` (masks are then evaluated) or both. None at all gives AP 0.
        federated: True is LVIS's rule. Each image knows the truth of only some categories:
            detections of the others are dropped, unmatched ones of categories not labelled
            exhaustively are ignored, and the `max_detections` best of an image count over all
            categories. False is COCO's: every category is known everywhere, and `max_detections`
            holds per image and category.
        max_detections: 300 for LVIS, 100 for COCO.
        frequencies: C letters r, c or f, for AP_r, AP_c and AP_f; by default the file's own
            letters. A file without them gives no such figures.
        between: called after each group of categories, about every second; it may raise.

    Raises:
        ValueError: unreadable file, unknown image, unknown letter, record without geometry.
        OSError: the file cannot be opened.
    """
    if max_detections < 1:
        raise ValueError(
            f"max_detections must be at least 1, got {max_detections}: LVIS counts 300, COCO 100."
        )
    truth = _GroundTruth.read(Path(annotations_path), federated=federated)
    letters = truth.letters()
    if frequencies is not None:
        letters |= dict(zip(category_ids, frequencies, strict=True))
    _check(records, truth, letters)
    kept = list(records)
    if federated:
        kept = truth.judgeable(_best_of_each_image(kept, max_detections))
    result = EvaluationResult(metrics={}, per_class={}, records=records)
    for kind, geometry in _GEOMETRY.items():
        if any(geometry not in record for record in kept):
            continue
        precision = _precision(truth, kept, kind, max_detections, between)
        result.metrics.update(_summary(kind, precision, truth.category_ids, letters))
        result.per_class[kind] = _per_class(precision, truth.category_ids, category_ids)
    return result


@dataclass(frozen=True)
class _GroundTruth:
    """An annotation file, its annotations sorted by category."""

    images: dict[int, Record]
    categories: dict[int, Record]
    by_category: Mapping[int, list[Record]]
    federated: bool

    @classmethod
    def read(cls, path: Path, *, federated: bool) -> "_GroundTruth":
        with path.open(encoding="utf-8") as file:
            try:
                content = json.load(file)
                tables = [content[name] for name in ("images", "categories", "annotations")]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path.name} must be a complete LVIS or COCO json with images, categories and "
                    f"annotations, got {error!r}: fetch or write the file again."
                ) from error
        images, categories, annotations = tables
        by_category: dict[int, list[Record]] = defaultdict(list)
        for number, annotation in enumerate(annotations, start=1):
            # The LVIS code reads no annotation of area 0. An id of 0 means "unmatched" to the
            # matcher, so ids are given anew.
            if annotation["area"] > 0 or not federated:
                fields = ("image_id", "category_id", "area", "bbox", "segmentation", "iscrowd")
                kept = {name: annotation[name] for name in fields if name in annotation}
                by_category[annotation["category_id"]].append(kept | {"id": number})
        return cls(
            images={image["id"]: image for image in images},
            categories={category["id"]: category for category in categories},
            by_category=by_category,
            federated=federated,
        )

    @property
    def category_ids(self) -> list[int]:
        return sorted(self.categories)

    def judgeable(self, records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The records whose category is known to be in its image, or known not to be."""
        # The library drops the others too, but fails on an image where nothing else is left.
        known = {
            image_id: set(image.get("neg_category_ids", ()))
            for image_id, image in self.images.items()
        }
        for category_id, annotations in self.by_category.items():
            for annotation in annotations:
                known[annotation["image_id"]].add(category_id)
        return [record for record in records if record["category_id"] in known[record["image_id"]]]

    def letters(self) -> dict[int, str]:
        known = self.categories.values()
        return {entry["id"]: entry["frequency"] for entry in known if "frequency" in entry}


def _check(
    records: Sequence[Mapping[str, Any]], truth: _GroundTruth, letters: Mapping[int, str]
) -> None:
    for category_id, letter in letters.items():
        if letter not in _FREQUENCIES:
            raise ValueError(
                f"A category's frequency must be r, c or f, got {letter!r} for category "
                f"{category_id}: mend the annotation file."
            )
    for record in records:
        if record["image_id"] not in truth.images:
            raise ValueError(
                f"A detection's image must be in the annotation file, got image id "
                f"{record['image_id']}: evaluate against the file the images came from."
            )
        if not any(geometry in record for geometry in _GEOMETRY.values()):
            raise ValueError(
                f"A detection needs a bbox or a segmentation, got the fields {sorted(record)}: "
                "use the results format of LVIS."
            )


def _best_of_each_image(
    records: Sequence[Mapping[str, Any]], count: int
) -> list[Mapping[str, Any]]:
    """The `count` highest scores of every image, over all categories; of equals the first stay."""
    by_image: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        by_image[record["image_id"]].append(record)
    return [
        record
        for same_image in by_image.values()
        for record in sorted(same_image, key=lambda entry: -entry["score"])[:count]
    ]


def _precision(
    truth: _GroundTruth,
    records: Sequence[Mapping[str, Any]],
    kind: str,
    max_detections: int,
    between: Callable[[], None],
) -> npt.NDArray[np.float64]:
    """float64[T, R, K, A] for all categories of the file, ascending by id; -1: no ground truth."""
    by_category: dict[int, list[Record]] = defaultdict(list)
    for number, record in enumerate(records, start=1):
        detection = _detection(record, kind, number)
        # The LVIS code reads no annotation of area 0, and a detection is one too.
        if detection["area"] > 0 or not truth.federated:
            by_category[record["category_id"]].append(detection)
    blocks = []
    for group in _category_groups(truth.category_ids, len(truth.images)):
        truths = [entry for member in group for entry in truth.by_category.get(member, [])]
        found = [entry for member in group for entry in by_category.get(member, [])]
        blocks.append(_evaluate_group(truth, group, truths, found, kind, max_detections))
        between()
    return np.concatenate(blocks, axis=2)


def _category_groups(category_ids: Sequence[int], images: int) -> Iterator[Sequence[int]]:
    size = max(1, _PAIRS_AT_ONCE // max(1, images))
    for start in range(0, len(category_ids), size):
        yield category_ids[start : start + size]


def _detection(record: Mapping[str, Any], kind: str, number: int) -> Record:
    """The record with the fields the matcher reads; `area` is the mask's for masks."""
    geometry = record[_GEOMETRY[kind]]
    area = geometry[2] * geometry[3] if kind == "bbox" else float(rle_masks.area(geometry))
    return {
        "id": number,
        "image_id": record["image_id"],
        "category_id": record["category_id"],
        "score": record["score"],
        "area": area,
        "iscrowd": 0,
        _GEOMETRY[kind]: geometry,
    }


def _evaluate_group(
    truth: _GroundTruth,
    group: Sequence[int],
    truths: list[Record],
    found: list[Record],
    kind: str,
    max_detections: int,
) -> npt.NDArray[np.float64]:
    """float64[T, R, K, A] of one group of categories; categories do not influence each other."""
    # An image without truth or detections of these categories adds nothing.
    image_ids = sorted({entry["image_id"] for entry in (*truths, *found)})
    if not image_ids:
        return np.full((len(_THRESHOLDS), 101, len(group), len(_AREAS)), -1.0)
    images = [truth.images[image_id] for image_id in image_ids]
    # The library asks for a letter, but the groups r, c, f are averaged here, over all categories.
    categories = [{"id": category_id, "frequency": "f"} for category_id in group]
    tables = {"images": images, "categories": categories}
    evaluation = COCOeval_faster(
        COCO(tables | {"annotations": truths}, print_function=_silent),
        COCO(tables | {"annotations": found}, print_function=_silent),
        kind,
        print_function=_silent,
        lvis_style=truth.federated,
    )
    evaluation.params.maxDets = [max_detections]
    evaluation.evaluate()
    evaluation.accumulate()
    precision: npt.NDArray[np.float64] = evaluation.eval["precision"][..., 0]
    return precision


def _silent(*_: object) -> None:
    """In the place of the library's print function."""


def _summary(
    kind: str,
    precision: npt.NDArray[np.float64],
    evaluated: Sequence[int],
    letters: Mapping[int, str],
) -> dict[str, float]:
    every_size = precision[..., _AREAS["all"]]
    parts = {"AP": every_size, "AP50": every_size[:1], "AP75": every_size[5:6]}
    for letter in _FREQUENCIES:
        members = [k for k, member in enumerate(evaluated) if letters.get(member) == letter]
        parts[f"AP_{letter}"] = every_size[:, :, members]
    for name in ("small", "medium", "large"):
        parts[f"AP_{name}"] = precision[..., _AREAS[name]]
    return {
        f"{kind}/{name}": 100.0 * float(part[part > -1].mean())
        for name, part in parts.items()
        if (part > -1).any()
    }


def _per_class(
    precision: npt.NDArray[np.float64], evaluated: Sequence[int], category_ids: Sequence[int]
) -> npt.NDArray[np.float32]:
    """float32[C], percent: the mean over T and R; NaN for a class without ground truth."""
    position = {category_id: k for k, category_id in enumerate(evaluated)}
    values = np.full(len(category_ids), np.nan, dtype=np.float32)
    for label, category_id in enumerate(category_ids):
        if category_id in position:
            part = precision[:, :, position[category_id], _AREAS["all"]]
            if (part > -1).any():
                values[label] = 100.0 * part[part > -1].mean()
    return values
