"""Made-up test images with true and detected masks, written to a run log by the real writer."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as masks

from trainer.run_log.writer import RunLogWriter

Box = tuple[float, float, float, float]
WIDTH, HEIGHT = 240, 160


def ellipse(box: Box, *, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.bool_]:
    x1, y1, x2, y2 = box
    y, x = np.mgrid[:height, :width] + 0.5
    across, down = (2 * x - x1 - x2) / (x2 - x1), (2 * y - y1 - y2) / (y2 - y1)
    inside: NDArray[np.bool_] = across**2 + down**2 <= 1
    return inside


def compressed(mask: NDArray[np.bool_]) -> dict[str, Any]:
    code = masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode("ascii")}


def thing(label: int, box: Box, **others: Any) -> dict[str, Any]:
    """An ellipse of a class in a box; `score` makes it a detection, `crowd` a region of many."""
    return {"class": label, "box": list(map(float, box)), "mask": compressed(ellipse(box))} | others


def moved(box: Box, x: float, y: float = 0.0) -> Box:
    return (box[0] + x, box[1] + y, box[2] + x, box[3] + y)


def jpeg(shapes: list[tuple[int, Box]], *, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    picture = np.full((height, width, 3), (206, 214, 222), np.uint8)
    for label, box in shapes:
        tint = np.array([90 + 40 * (label % 4), 120 + 25 * (label % 5), 200 - 30 * (label % 6)])
        picture[ellipse(box, width=width, height=height)] = tint
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=85)
    return out.getvalue()


def image(index: int, truth: list[dict[str, Any]], **others: Any) -> dict[str, Any]:
    shapes = [(one["class"], tuple(one["box"])) for one in truth]
    return {
        "index": index, "image_id": 1000 + index, "width": WIDTH, "height": HEIGHT, "truth": truth,
        "judged": None, "picture": jpeg(shapes),
    } | others  # fmt: skip


PLACES: tuple[Box, ...] = ((10, 10, 90, 80), (120, 20, 220, 90), (40, 85, 140, 155))


def small_gallery(writer: RunLogWriter) -> None:
    """Three images at two moments, so few that everything can be counted by hand.

    Classes 0, 1, 2. At step 10 nothing is right but one; at step 20:
    image 0: class 0 found, class 1 taken for class 2.   image 1: class 0 missed, one false alarm.
    image 2: class 2 found, with a broken mask at the detection.
    """
    left, right, low = PLACES
    writer.prediction_images([
        image(0, [thing(0, left), thing(1, right)]),
        image(1, [thing(0, low)]),
        image(2, [thing(2, left)]),
    ])  # fmt: skip
    early = [[thing(0, left, score=0.5)], [], []]
    broken = {"size": [HEIGHT, WIDTH], "counts": "no mask"}
    late = [
        [thing(0, moved(left, 4), score=0.9), thing(2, moved(right, 3), score=0.6)],
        [thing(1, right, score=0.4)],
        [thing(2, moved(left, 2), score=0.8) | {"mask": broken}],
    ]
    for step, found in ((10, early), (20, late)):
        rows = [{"image_index": i, "detections": x} for i, x in enumerate(found)]
        writer.predictions(rows, step=step, epoch=step // 10 - 1)


def large_gallery(
    writer: RunLogWriter, *, classes: int, images: int = 32, moments: int = 3,
    steps_per_epoch: int = 66, seed: int = 0, judged: bool = False,
) -> None:  # fmt: skip
    """Many images whose detections get better from moment to moment."""
    random = np.random.default_rng(seed)
    truths = []
    for _ in range(images):
        boxes = []
        for _ in range(random.integers(2, 6)):
            x, y = random.uniform(0, WIDTH - 90), random.uniform(0, HEIGHT - 70)
            boxes.append((x, y, x + random.uniform(40, 90), y + random.uniform(35, 70)))
        truths.append([thing(int(random.integers(classes)), box) for box in boxes])
    known = [sorted({one["class"] for one in truth}) if judged else None for truth in truths]
    pairs = enumerate(zip(truths, known, strict=True))
    writer.prediction_images([image(i, truth, judged=k) for i, (truth, k) in pairs])
    for moment in range(moments):
        skill = (moment + 1) / (moments + 1)
        rows = [
            {"image_index": index, "detections": guesses(truth, skill, classes, random)}
            for index, truth in enumerate(truths)
        ]
        writer.predictions(rows, step=(moment + 1) * steps_per_epoch, epoch=moment)


def guesses(
    truth: list[dict[str, Any]], skill: float, classes: int, random: np.random.Generator
) -> list[dict[str, Any]]:
    found = []
    for one in truth:
        if random.random() < 0.15:
            continue
        shift = (1 - skill) * random.normal(0, 14, 2)
        x1, y1, x2, y2 = moved(tuple(one["box"]), *shift)
        box = (max(0, x1), max(0, y1), min(WIDTH, x2), min(HEIGHT, y2))
        right = random.random() < 0.3 + 0.65 * skill
        label = one["class"] if right else (one["class"] + 1) % classes
        found.append(thing(label, box, score=round(float(random.uniform(0.2, 0.5 + skill / 2)), 3)))
    x, y = random.uniform(0, WIDTH - 60), random.uniform(0, HEIGHT - 60)
    found.append(thing(int(random.integers(classes)), (x, y, x + 50, y + 50), score=0.35))
    return sorted(found, key=lambda one: -one["score"])
