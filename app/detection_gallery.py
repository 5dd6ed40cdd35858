"""What one evaluation of a run found on the images that are kept, and what became of it.

A moment never changes once it is in the log, so the last few are remembered with their overlaps;
only the matching is done anew for another score.
"""

from __future__ import annotations

import threading
import zlib
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.detection_objects import Objects, overlaps, read_objects
from app.matching import FOUND, Overlaps, Verdict, count_confusions, judge
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import PredictionImage, Run
from trainer.run_log.schema import FINAL_STATUSES

MOST_KEPT = 60_000  # objects of remembered moments, some 50 MB with their masks


@dataclass(frozen=True)
class Seen:
    """One image at one moment; `missing` says that the evaluation left nothing about it."""

    image: PredictionImage
    true: Objects
    detected: Objects
    overlaps: Overlaps
    missing: bool

    def judge(self, least_score: float) -> Verdict:
        """Match it, leaving out detections below that score."""
        judged: Any = self.image.judged  # as foreign as the rest of the log
        if judged is not None:
            listed = judged if isinstance(judged, list) else []
            judged = frozenset(index for index in listed if isinstance(index, int))
        return judge(self.overlaps, least_score=least_score, judged=judged)


class Gallery:
    """The moments of all runs, the last ones remembered; safe to call from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moments: OrderedDict[tuple[str, int, int], Sequence[Seen]] = OrderedDict()

    def moment(self, reader: RunLogReader, run: Run, step: int) -> Sequence[Seen]:
        """The images of the evaluation after `step` steps, by index; empty when there is none."""
        key = (run.uid, run.rewinds, step)
        with self._lock:
            if key in self._moments:
                self._moments.move_to_end(key)
                return self._moments[key]
        found = _read(reader, run.id, step)
        if found:
            with self._lock:
                self._moments[key] = found
                while (
                    len(self._moments) > 1 and sum(map(_size, self._moments.values())) > MOST_KEPT
                ):
                    self._moments.popitem(last=False)
        return found


def _size(seen: Sequence[Seen]) -> int:
    return sum(len(one.true.items) + len(one.detected.items) for one in seen)


def _read(reader: RunLogReader, run_id: int, step: int) -> Sequence[Seen]:
    rows = {row.image_index: row.detections for row in reader.predictions(run_id, step=step)}
    if not rows:
        return ()
    found = []
    for image in reader.prediction_images(run_id):
        size = {"width": image.width, "height": image.height}
        true = read_objects(image.truth, **size)
        detected = read_objects(rows.get(image.index, []), **size)
        found.append(Seen(image, true, detected, overlaps(detected, true),
                          image.index not in rows))  # fmt: skip
    return found


def summary(seen: Sequence[Seen], least_score: float) -> dict[str, Any]:
    """What became of every object, without geometry: enough to filter images and to count.

    Returns:
        images: one an image: index, id, key (see `key_of`), width, height, `objects` [[class,
        word, class it was taken for or -1]] and `detections` [[class, word]]. confusions: [[true
        class, detected class, count]], most often first. objects, detections: how many by word.
        The words are those of `app.matching`.
    """
    verdicts = [one.judge(least_score) for one in seen]
    images = []
    for one, verdict in zip(seen, verdicts, strict=True):
        classes = [item.class_index for item in one.detected.items]
        taken_for = [
            classes[finder] if finder >= 0 and word != FOUND else -1
            for word, finder in zip(verdict.objects, verdict.finders, strict=True)
        ]
        true = [item.class_index for item in one.true.items]
        images.append({
            "index": one.image.index, "id": one.image.image_id, "key": key_of(one),
            "width": one.image.width, "height": one.image.height,
            "objects": list(zip(true, verdict.objects, taken_for, strict=True)),
            "detections": list(zip(classes, verdict.detections, strict=False)),
        })  # fmt: skip
    return {
        "images": images,
        "confusions": count_confusions(verdicts),
        "objects": Counter(word for verdict in verdicts for word in verdict.objects),
        "detections": Counter(word for verdict in verdicts for word in verdict.detections),
    }


def key_of(one: Seen) -> int:
    """A number that two runs share where they keep the same image of the same data.

    Ids alone would not do: those of different data sets coincide.
    """
    image = one.image
    boxes = [item.box for item in one.true.items]
    return zlib.crc32(repr((image.image_id, image.width, image.height, boxes)).encode())


def picture_objects(one: Seen, least_score: float) -> dict[str, Any]:
    """One image with geometry: `true` and `detections` with box, mask, word and IoU, `problem`.

    The IoU is that with the partner; without one, the largest with any object of the other side.
    """
    verdict = one.judge(least_score)
    count, iou = len(verdict.detections), one.overlaps.iou
    crowd = one.overlaps.crowd
    true = []
    for index, item in enumerate(one.true.items):
        column = iou[:count, index]
        finder = verdict.finders[index]
        best = column[finder] if finder >= 0 else column.max(initial=0.0)
        true.append({
            "class": item.class_index, "box": item.box, "mask": item.mask, "crowd": item.crowd,
            "word": verdict.objects[index], "partner": finder, "iou": round(float(best), 4),
        })  # fmt: skip
    detections = []
    for index, item in enumerate(one.detected.items[:count]):
        partner = verdict.partners[index]
        best = iou[index, partner] if partner >= 0 else iou[index, ~crowd].max(initial=0.0)
        detections.append({
            "class": item.class_index, "score": item.score, "box": item.box, "mask": item.mask,
            "word": verdict.detections[index], "partner": partner, "iou": round(float(best), 4),
        })  # fmt: skip
    return {"true": true, "detections": detections, "problem": problem(one)}


def problem(one: Seen) -> str:
    """One sentence on what of an image could not be read; "" when all could."""
    if one.missing:
        return "This evaluation left no detections of this image in the run log."
    lost = one.true.lost + one.detected.lost
    maskless = one.true.maskless + one.detected.maskless
    parts = []
    if lost:
        parts.append(f"{lost} object{'s' * (lost > 1)} could not be read and are left out")
    if maskless:
        parts.append(
            f"{maskless} mask{'s' * (maskless > 1)} could not be read, so boxes are compared there"
        )
    return f"{' and '.join(parts)}." if parts else ""


def waiting_sentence(run: Run, config: Mapping[str, Any]) -> str:
    """Why a run has no detections to show."""
    if config.get("gallery_images", None) == 0:
        return (
            "This run keeps no pictures (gallery_images = 0): start it again with more "
            "to see what it detects."
        )
    if config.get("data", "demo") != "demo" and not config.get("test_annotations"):
        return (
            "This run has no test set, so there is nothing to detect in: start it again with "
            "test_annotations and test_images."
        )
    if run.status in FINAL_STATUSES:
        return f"This run is {run.status} and left no detections: none of its evaluations kept any."
    every = config.get("evaluate_every", 1)
    first = min(every, run.total_epochs or every) if isinstance(every, int) else 1
    return f"No evaluation yet: the first comes after epoch {first} and shows up here by itself."
