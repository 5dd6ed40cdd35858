"""The words of the page Detections: titles, captions, what is said while there is nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.figure import FigureSpec
from app.looks import FREQUENCY_LOOKS
from app.run_page import run_label
from trainer.run_log.rows import Run

GALLERY_CAPTION = (
    "Boxes and filled masks are detections in the colour of their class's frequency group (r rare, "
    "c common, f frequent), dashes and black-and-white outlines are the truth. An object is found "
    "by a detection of its class at IoU 0.5 or more, as in AP50; ≠ taken for another class, ✕ "
    "false alarm. Kept are the 30 best detections of an image, from score 0.05 on. Filters keep an "
    "image when any column holds what is asked for; a click or Enter enlarges."
)
FEDERATED = (
    " LVIS labels each image with some categories only: a detection of any other one is not "
    "judged (?), neither right nor wrong."
)


def gallery_spec(run: Run, runs: Sequence[Run]) -> dict[str, Any]:
    """What the gallery of a run says, and which runs it offers beside it."""
    federated = run.config.get("data") == "lvis"
    return {
        "key": "gallery",
        "title": "Detections on test images",
        "caption": GALLERY_CAPTION + FEDERATED * federated,
        "runs": [{"id": other.id, "label": run_label(other)} for other in reversed(runs)],
        # Pictures are a ground of their own, light theme or dark: the brighter shade shows on both.
        "looks": {letter: look.color.dark for letter, look in FREQUENCY_LOOKS.items()},
    }


def ap_table_spec(run: Run) -> dict[str, Any]:
    """What the table of AP by class says."""
    every = run.config.get("evaluate_every", 1)
    return {
        "key": "ap_table",
        "title": "Average precision by class",
        "caption": "AP over IoU 0.50 to 0.95 in percent at the newest evaluation, and how many "
        "points the mask AP gained since the chosen one; – for a class without test objects. A "
        "click on a class shows its pictures.",
        "empty": f"No evaluation yet: the first comes after epoch {every}.",
    }


def ap_figure(measure: str) -> FigureSpec:
    """AP of each class against its training instances."""
    return FigureSpec(
        name="ap_against_instances",
        title="AP against training instances",
        caption="Each point is a class; the line is the running median over half a decade of "
        "instances. A long tail that learns lifts the left end. A click shows the pictures.",
        empty="No evaluation yet: points come with the first average precision.",
        height=430,
        params={"measure": measure},
        picks=True,
    )
