"""Average precision and recall of boxes and masks as LVIS and COCO define them.

Shapes:
    D: detections.  C: classes. A label is 0..C-1; `category_ids[label]` is the file's id.
    K: categories of the annotation file.  T: IoU thresholds (10).  R: recall points (101).
    A: object areas (4: all, small, medium, large).

Every figure is in percent. Average precision is the mean over classes of the precision at IoU 0.50,
0.55 ... 0.95, interpolated at 101 recall points, as in the evaluation code of COCO and LVIS v1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as rle_masks

from data.annotation_table import AnnotationTable, open_annotations
from trainer.average_precision import Curves, Matches, curves_by_category, pooled_precision
from trainer.chosen_detections import FIXED_DETECTIONS, Chosen, choose
from trainer.detections import Detections, MaskColumn
from trainer.ground_truth import FREQUENCIES, GroundTruth, among
from trainer.matching import (
    AREAS,
    IGNORED,
    UNMATCHED,
    Outcomes,
    match,
    outside,
    overlaps_of,
)

_MASKS_AT_ONCE = 255  # pycocotools' area takes no more with NumPy 2

Between = Callable[[], None]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class EvaluationResult:
    """What `evaluate_detections` found.

    Attributes:
        metrics: percent, under "bbox/NAME" and "segm/NAME", where NAME is AP, AP50, AP75,
            AP_small, AP_medium, AP_large, AR, AR_small, AR_medium, AR_large; AP_r, AP_c, AP_f with
            letters; AP_fixed and AP_pool, each also with _r, _c and _f, of a federated file; AP_1
            to AP_4 with bins. A figure with no ground truth to average over is left out.
        per_class: "bbox" and "segm" -> float32[C], percent, NaN for a class without ground truth.
        records: the detections it was computed from.
    """

    metrics: dict[str, float]
    per_class: dict[str, npt.NDArray[np.float32]]
    records: Detections


def evaluate_detections(
    annotations: AnnotationTable | Path,
    category_ids: Sequence[int],
    records: Sequence[Mapping[str, Any]],
    *,
    federated: bool,
    max_detections: int = 300,
    fixed_detections: int = FIXED_DETECTIONS,
    score_threshold: float = -np.inf,
    frequencies: Sequence[str] | None = None,
    bins: Sequence[int] | None = None,
    between: Between = lambda: None,
) -> EvaluationResult:
    """Average precision of `records` against an annotation file; `records` stay as they are.

    Args:
        annotations: ground truth, an LVIS v1 or COCO json; a file is parsed the first time only.
        category_ids: int[C], the file's id of each class index.
        records: detections in the results format, each with `bbox` (boxes are then evaluated),
            `segmentation` (masks are then evaluated) or both. None at all gives AP 0.
        federated: True is LVIS's rule. Each image knows the truth of only some categories:
            detections of the others are dropped, unmatched ones of categories not labelled
            exhaustively are ignored, and the `max_detections` best of an image count over all
            categories. False is COCO's: every category is known everywhere, and `max_detections`
            holds per image and category.
        max_detections: 300 for LVIS, 100 for COCO.
        fixed_detections: of each class over all images, for AP_fixed and AP_pool. These know no
            limit per image: they mean what their authors mean when `records` have none either.
        score_threshold: detections that score no higher count for AP_fixed and AP_pool alone.
        frequencies: C letters r, c or f, for AP_r, AP_c and AP_f; by default the file's own
            letters. A file without them gives no such figures.
        bins: C numbers 1..4 for AP_1 to AP_4, as `data.coco_lt.instance_bin` gives them.
        between: called about every second; it may raise.

    Raises:
        AnnotationError: the annotation file cannot be used.
        ValueError: unknown image, unknown letter, record without geometry.
    """
    if not isinstance(annotations, AnnotationTable):
        annotations = open_annotations(annotations, drop_empty=True)
    truth = GroundTruth.of(annotations, federated=federated)
    found = Detections.of(records)
    letters = dict(truth.letters)
    if frequencies is not None:
        letters |= dict(zip(category_ids, frequencies, strict=True))
    bin_of = dict(zip(category_ids, bins, strict=True)) if bins is not None else {}
    groups = _Groups.of(truth, _checked(letters), bin_of)
    chosen = choose(found, truth, max_detections, fixed_detections, score_threshold)
    result = EvaluationResult(metrics={}, per_class={}, records=found)
    for kind, geometry in (("bbox", found.boxes), ("segm", found.masks)):
        if geometry is None:
            continue
        counted, matches = _matches(geometry, found.scores, chosen, truth, between)
        curves = curves_by_category(matches, counted.capped, between)
        figures = _figures(curves, groups)
        if federated:
            figures |= _fixed_figures(matches, counted, curves, groups, between)
        result.metrics.update({f"{kind}/{name}": value for name, value in figures.items()})
        result.per_class[kind] = _per_class(curves, truth.category_ids, category_ids)
    return result


def _checked(letters: Mapping[int, str]) -> Mapping[int, str]:
    for category_id, letter in letters.items():
        if letter not in FREQUENCIES:
            raise ValueError(
                f"A category's frequency must be r, c or f, got {letter!r} for category "
                f"{category_id}: mend the annotation file."
            )
    return letters


@dataclass(frozen=True)
class _Groups:
    """Sets of categories to average over, bool[K] each: by letter, and by instance bin."""

    by_letter: dict[str, Bools]
    by_bin: dict[int, Bools]

    @classmethod
    def of(
        cls, truth: GroundTruth, letters: Mapping[int, str], bins: Mapping[int, int]
    ) -> "_Groups":
        ids = truth.category_ids.tolist()
        return cls(
            {letter: np.array([letters.get(c) == letter for c in ids]) for letter in FREQUENCIES},
            {number: np.array([bins.get(c) == number for c in ids]) for number in (1, 2, 3, 4)},
        )


def _matches(
    geometry: Floats | MaskColumn,
    scores: Floats,
    chosen: Chosen,
    truth: GroundTruth,
    between: Between,
) -> tuple[Chosen, Matches]:
    """What became of the chosen detections, and which of them have an area at all."""
    areas = _areas(geometry, chosen.rows, between)
    if truth.federated:  # the LVIS code reads no annotation of area 0, and a detection is one too
        chosen, areas = chosen.only(areas > 0), areas[areas > 0]
    overlaps = overlaps_of(geometry, chosen.rows, chosen.pairs, truth, between)
    outcomes = match(overlaps, chosen.pairs, truth, between)
    _forgive(outcomes, outside(areas) | among(chosen.pairs, truth.partial))
    k = len(truth.category_ids)
    to_find = ~(truth.crowds | outside(truth.areas))
    of_category = truth.categories_of(truth.pairs)
    positives = [np.bincount(of_category[row], minlength=k) for row in to_find]
    return chosen, Matches(
        outcomes=outcomes,
        categories=truth.categories_of(chosen.pairs),
        images=truth.images_of(chosen.pairs),
        scores=scores[chosen.rows],
        positives=np.stack(positives, axis=1),
    )


def _forgive(outcomes: Outcomes, forgiven: Bools) -> None:
    """Ignore unmatched detections where `forgiven`, bool[A, D]."""
    for row, free in zip(outcomes, forgiven, strict=True):
        row[(row == UNMATCHED) & free] = IGNORED


def _areas(geometry: Floats | MaskColumn, rows: Integers, between: Between) -> Floats:
    """float64[D], pixels: of a box, or of a mask itself."""
    if not isinstance(geometry, MaskColumn):
        boxes = geometry[rows]
        return np.asarray(boxes[:, 2] * boxes[:, 3])
    areas = np.empty(len(rows))
    for start in range(0, len(rows), _MASKS_AT_ONCE):
        part = slice(start, start + _MASKS_AT_ONCE)
        areas[part] = rle_masks.area(geometry.codes(rows[part]))
        if start % (100 * _MASKS_AT_ONCE) == 0:
            between()
    return areas


def _figures(curves: Curves, groups: _Groups) -> dict[str, float]:
    every_size = curves.precision[..., AREAS["all"]]
    parts = {"AP": every_size, "AP50": every_size[:1], "AP75": every_size[5:6]}
    for letter, members in groups.by_letter.items():
        parts[f"AP_{letter}"] = every_size[:, :, members]
    for number, members in groups.by_bin.items():
        parts[f"AP_{number}"] = every_size[:, :, members]
    parts["AR"] = curves.recall[..., AREAS["all"]]
    for size in ("small", "medium", "large"):
        parts[f"AP_{size}"] = curves.precision[..., AREAS[size]]
        parts[f"AR_{size}"] = curves.recall[..., AREAS[size]]
    return _means(parts)


def _fixed_figures(
    matches: Matches, counted: Chosen, curves: Curves, groups: _Groups, between: Between
) -> dict[str, float]:
    """AP_fixed and AP_pool; `curves` are those of the detections within the limit per image."""
    if not np.array_equal(counted.capped, counted.fixed):
        curves = curves_by_category(matches.of_every_size(), counted.fixed, between)
    every_size = curves.precision[..., AREAS["all"]]
    everything = np.ones(every_size.shape[2], dtype=bool)
    parts = {}
    for name, members in {"": everything, **groups.by_letter}.items():
        suffix = f"_{name}" if name else ""
        parts[f"AP_fixed{suffix}"] = every_size[:, :, members]
        parts[f"AP_pool{suffix}"] = pooled_precision(matches, counted.fixed, members)
        between()
    return _means(parts)


def _means(parts: Mapping[str, Floats]) -> dict[str, float]:
    """Percent; what has no ground truth to average over is left out."""
    return {
        name: 100.0 * float(part[part > -1].mean())
        for name, part in parts.items()
        if (part > -1).any()
    }


def _per_class(
    curves: Curves, evaluated: Integers, category_ids: Sequence[int]
) -> npt.NDArray[np.float32]:
    """float32[C], percent: the mean over T and R; NaN for a class without ground truth."""
    position = {category_id: k for k, category_id in enumerate(evaluated.tolist())}
    values = np.full(len(category_ids), np.nan, dtype=np.float32)
    for label, category_id in enumerate(category_ids):
        if category_id in position:
            part = curves.precision[:, :, position[category_id], AREAS["all"]]
            if (part > -1).any():
                values[label] = 100.0 * part[part > -1].mean()
    return values
