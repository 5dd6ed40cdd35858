"""Which detections find which objects: overlap, then the greedy matching of COCO and LVIS.

Shapes:
    D: detections, sorted by pair of image and category and best first within one.
    G: objects, sorted by pair.
    P: overlaps of a detection with an object of its pair.
    B: pairs matched at once, each with up to d detections and g objects.
    T: IoU thresholds (10).  A: object areas (4: all, small, medium, large).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pycocotools import mask as rle_masks

from trainer.detections import MaskColumn
from trainer.ground_truth import GroundTruth

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Outcomes = npt.NDArray[np.int8]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
AREAS = {"all": 0, "small": 1, "medium": 2, "large": 3}
# Pixels, both ends included: an object of 32 x 32 is small and medium.
_AREA_FROM = np.array([0, 0, 32**2, 96**2], dtype=np.float64)
_AREA_TO = np.array([1e10, 32**2, 96**2, 1e10])

UNMATCHED, MATCHED, IGNORED = 0, 1, 2

_OVERLAPS_AT_ONCE = 500_000
_CELLS_AT_ONCE = 50_000  # B x g, fewer with more than 16 detections; each has 40 states


@dataclass(frozen=True)
class Overlaps:
    """The overlaps that reach the lowest threshold, by detection and then by object.

    Attributes:
        detections, objects: int64[P], rows.
        values: float64[P], intersection over union; over the detection's area for a crowd.
    """

    detections: Integers
    objects: Integers
    values: Floats


def outside(areas: Floats) -> Bools:
    """bool[A, N]: is each of `areas` (pixels) not of that size?"""
    return (areas < _AREA_FROM[:, None]) | (areas > _AREA_TO[:, None])


def overlaps_of(
    geometry: Floats | MaskColumn,
    rows: Integers,
    pairs: Integers,
    truth: GroundTruth,
    between: Callable[[], None],
) -> Overlaps:
    """Overlaps of the detections `rows` of `geometry`, boxes or masks, with the objects.

    Args:
        rows: int64[D], rows of `geometry` in the order asked for above.
        pairs: int64[D], ascending.
        between: called after each 500,000 overlaps or so.
    """
    first = np.searchsorted(truth.pairs, pairs, side="left")
    counts = np.searchsorted(truth.pairs, pairs, side="right") - first
    with_objects = np.flatnonzero(counts)
    parts = [Overlaps(*(np.empty(0, np.int64),) * 2, np.empty(0))]
    for some in _whole_pairs(with_objects, pairs, counts):
        detections = np.repeat(some, counts[some])
        ends = np.cumsum(counts[some])
        within = np.arange(ends[-1]) - np.repeat(ends - counts[some], counts[some])
        objects = np.repeat(first[some], counts[some]) + within
        if isinstance(geometry, MaskColumn):
            values = _mask_overlaps(geometry, rows[some], pairs[some], truth)
        else:
            values = _box_overlaps(geometry[rows[detections]], objects, truth)
        enough = values >= THRESHOLDS[0]
        parts.append(Overlaps(detections[enough], objects[enough], values[enough]))
        between()
    return Overlaps(
        np.concatenate([part.detections for part in parts]),
        np.concatenate([part.objects for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def _whole_pairs(rows: Integers, pairs: Integers, counts: Integers) -> Iterator[Integers]:
    """`rows` in parts of about as many overlaps as are taken at once; no pair is cut in two."""
    if not len(rows):
        return
    total = np.cumsum(counts[rows])
    starts = _starts(pairs[rows])
    part = total[starts] // _OVERLAPS_AT_ONCE
    yield from np.split(rows, starts[1:][np.diff(part) > 0])


def _starts(ascending: Integers) -> Integers:
    """Where each run of equal values begins."""
    return np.flatnonzero(np.diff(ascending, prepend=ascending[:1] - 1))


def _box_overlaps(found: Floats, objects: Integers, truth: GroundTruth) -> Floats:
    """Step for step as pycocotools computes it, so that values are the same to the last bit."""
    true = truth.boxes[objects]
    low = np.maximum(found[:, :2], true[:, :2])
    sides = np.minimum(found[:, :2] + found[:, 2:], true[:, :2] + true[:, 2:]) - low
    common = np.where((sides > 0).all(axis=1), sides[:, 0] * sides[:, 1], 0.0)
    own = found[:, 2] * found[:, 3]
    union = np.where(truth.crowds[objects], own, own + true[:, 2] * true[:, 3] - common)
    return np.divide(common, union, out=np.zeros(len(common)), where=common > 0)


def _mask_overlaps(
    masks: MaskColumn, rows: Integers, pairs: Integers, truth: GroundTruth
) -> Floats:
    """The overlaps of each detection in turn with all objects of its pair."""
    starts = _starts(pairs)
    codes = masks.codes(rows)
    first = np.searchsorted(truth.pairs, pairs[starts], side="left").tolist()
    last = np.searchsorted(truth.pairs, pairs[starts], side="right").tolist()
    crowds = truth.crowds.tolist()
    parts = []
    borders = [*starts.tolist(), len(rows)]
    for start, end, low, high in zip(borders, borders[1:], first, last, strict=False):
        objects = [truth.code(row) for row in range(low, high)]
        parts.append(rle_masks.iou(codes[start:end], objects, crowds[low:high]).ravel())
    return np.concatenate(parts)


def match(
    overlaps: Overlaps,
    pairs: Integers,
    truth: GroundTruth,
    between: Callable[[], None],
) -> Outcomes:
    """Give every detection, best first, the object left that it overlaps most.

    An object that counts comes before any that is ignored, and of equal overlaps the last in the
    file is taken. Pairs do not influence each other, so many are matched at once; nor do
    detections that reach no threshold, so these are left out.

    Args:
        overlaps: of the detections.
        pairs: int64[D].
        between: called after each 50,000 objects or so.

    Returns:
        int8[A, T, D]: UNMATCHED, MATCHED to an object that counts, IGNORED with the object.
    """
    result = np.zeros((len(AREAS), len(THRESHOLDS), len(pairs)), dtype=np.int8)
    ignored = truth.crowds | outside(truth.areas)
    for batch in _batches(overlaps, pairs):
        matched = _match_batch(batch, ignored, truth.crowds)
        real = batch.detections >= 0
        result[:, :, batch.detections[real]] = matched.transpose(1, 2, 0, 3)[:, :, real]
        between()
    return result


@dataclass(frozen=True)
class _Batch:
    """Pairs of about the same size side by side.

    Attributes:
        detections: int64[B, d], rows; -1: none.
        objects: int64[B, g], rows; -1: none.
        values: float64[B, d, g]; -1: below the lowest threshold.
    """

    detections: Integers
    objects: Integers
    values: Floats


def _batches(overlaps: Overlaps, pairs: Integers) -> Iterator[_Batch]:
    if not len(overlaps.values):
        return
    pair_of = pairs[overlaps.detections]
    groups = np.unique(pair_of)
    group = np.searchsorted(groups, pair_of)  # [P]
    d_rows, d_group, d_local, d_count = _numbered(overlaps.detections, group, len(groups))
    g_rows, g_group, g_local, g_count = _numbered(overlaps.objects, group, len(groups))
    # Powers of two, so that padding at most doubles each side.
    d_size = 1 << np.ceil(np.log2(d_count)).astype(np.int64)
    g_size = 1 << np.ceil(np.log2(g_count)).astype(np.int64)
    d_of = np.searchsorted(d_rows, overlaps.detections)
    g_of = np.searchsorted(g_rows, overlaps.objects)
    for d, g in sorted(set(zip(d_size.tolist(), g_size.tolist(), strict=True))):
        same = np.flatnonzero((d_size == d) & (g_size == g))
        cells = len(same) * g * max(1, d // 16)
        for part in np.array_split(same, 1 + cells // _CELLS_AT_ONCE):
            place = np.full(len(groups), -1)
            place[part] = np.arange(len(part))
            detections, objects = np.full((len(part), d), -1), np.full((len(part), g), -1)
            values = np.full((len(part), d, g), -1.0)
            in_d, in_g = place[d_group] >= 0, place[g_group] >= 0
            detections[place[d_group[in_d]], d_local[in_d]] = d_rows[in_d]
            objects[place[g_group[in_g]], g_local[in_g]] = g_rows[in_g]
            here = place[group] >= 0
            cell = place[group[here]], d_local[d_of[here]], g_local[g_of[here]]
            values[cell] = overlaps.values[here]
            yield _Batch(detections, objects, values)


def _numbered(
    rows: Integers, group: Integers, groups: int
) -> tuple[Integers, Integers, Integers, Integers]:
    """The different `rows` ascending, the group of each, its number within it; sizes of groups.

    Rows of one group are neighbours, and groups come in the order of their rows.
    """
    different, at = np.unique(rows, return_index=True)
    of = group[at]
    sizes = np.bincount(of, minlength=groups)
    first = np.cumsum(sizes) - sizes
    return different, of, np.arange(len(different)) - first[of], sizes


def _match_batch(batch: _Batch, ignored: Bools, crowds: Bools) -> Outcomes:
    """int8[B, A, T, d]."""
    size, d, g = batch.values.shape
    counts = ~ignored[:, batch.objects].transpose(1, 0, 2)[:, :, None]  # [B, A, 1, g]
    again = crowds[batch.objects][:, None, None]  # [B, 1, 1, g]
    # The place of each object in the order of overlaps, so that comparisons are exact.
    order = np.argsort(batch.values, axis=2, kind="stable")
    places = np.empty_like(order, dtype=np.int32)
    np.put_along_axis(places, order, np.arange(g, dtype=np.int32)[None, None], axis=2)
    preferred = g * counts.astype(np.int32)
    free = np.ones((size, len(AREAS), len(THRESHOLDS), g), dtype=bool)
    matched = np.zeros((size, len(AREAS), len(THRESHOLDS), d), dtype=np.int8)
    for row in range(d):
        reached = batch.values[:, row, None, :] >= THRESHOLDS[:, None]  # [B, T, g]
        possible = free & reached[:, None]
        choice = np.where(possible, places[:, row, None, None] + preferred, -1)
        best = choice.max(axis=3)
        matched[..., row] = np.where(best >= g, MATCHED, np.where(best >= 0, IGNORED, UNMATCHED))
        taken = possible & (choice == best[..., None])
        free &= ~taken | again
    return matched
