"""The routes of the page Detections.

    GET /live/runs/ID/detections?step=newest&score=0.3   JSON: what became of every object at one
                                                         moment, see `detection_gallery.summary`,
                                                         with step, epoch, moments and a sentence
    GET /live/runs/ID/detections/objects?step=120&score=0.3&images=3,7
                                                         JSON: {image index: boxes, masks, IoU}
    GET /live/runs/ID/pictures/UID/INDEX                 the JPEG of an image that is kept
    GET /live/runs/ID/ap?before=120                      JSON: AP of each class, see `detection_ap`

`step` names a moment by the training steps done, `score` leaves out detections below it. A picture
never changes while the run has its unique id, so browsers keep it for good.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from app.detection_ap import class_precision
from app.detection_gallery import Gallery, picture_objects, summary, waiting_sentence
from app.figure_routes import plain
from app.live_answers import NO_STORE, WantError, asked_run, endpoint, whole_number
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run

NEWEST = "newest"
MOST_PICTURES = 64  # images of one request for objects
JPEG = b"\xff\xd8\xff"
# Kept for good by the browser it was shown in, not by a cache between. What is no picture does
# nothing when it is opened by itself.
PICTURE_HEADERS = {
    "cache-control": "private, max-age=31536000, immutable",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
}


class DetectionRoutes:
    """Answers the routes from the run log that `reader` opens."""

    def __init__(self, reader: Callable[[], RunLogReader]) -> None:
        self._reader = reader
        self._gallery = Gallery()

    def routes(self) -> list[BaseRoute]:
        """The Starlette routes."""
        start = "/live/runs/{run_id}"
        return [
            Route(start + "/detections", endpoint(self.moment)),
            Route(start + "/detections/objects", endpoint(self.objects)),
            Route(start + "/pictures/{uid}/{index}", endpoint(self.picture)),
            Route(start + "/ap", endpoint(self.precision)),
        ]

    def moment(self, request: Request) -> Response:
        """What became of every object at one moment; with a sentence when there is none."""
        reader = self._reader()
        run = asked_run(reader, request)
        least_score = _score(request)
        moments = reader.prediction_moments(run.id)
        asked = request.query_params.get("step", NEWEST)
        answer = {"uid": run.uid, "moments": moments, "step": None, "epoch": None, "sentence": "",
                  "newest": asked == NEWEST}  # fmt: skip
        steps = {str(step): (step, epoch) for step, epoch in moments}
        chosen = moments[-1] if moments and asked == NEWEST else steps.get(asked)
        if chosen is None:
            sentence = waiting_sentence(run, run.config) if not moments else (
                f"Nothing is kept of an evaluation at step {asked[:20]} of this run: choose "
                "another one."
            )  # fmt: skip
            return _json({**answer, **summary((), least_score), "sentence": sentence})
        seen = self._gallery.moment(reader, run, chosen[0])
        body = {**answer, "step": chosen[0], "epoch": chosen[1]}
        return _json({**body, **summary(seen, least_score)})

    def objects(self, request: Request) -> Response:
        """Boxes and masks of some images at one moment."""
        reader = self._reader()
        run = asked_run(reader, request)
        least_score = _score(request)
        step = whole_number(request.query_params.get("step", ""), "step")
        listed = request.query_params.get("images", "").split(",")
        indices = {whole_number(text, "an index of images") for text in listed}
        if len(indices) > MOST_PICTURES:
            raise WantError(
                f"{len(indices)} images in one request, but at most {MOST_PICTURES} may be"
            )
        seen = self._gallery.moment(reader, run, step)
        return _json({
            str(one.image.index): picture_objects(one, least_score)
            for one in seen if one.image.index in indices
        })  # fmt: skip

    def picture(self, request: Request) -> Response:
        """The JPEG of one image, or a sentence."""
        reader = self._reader()
        run = asked_run(reader, request)
        index = whole_number(str(request.path_params["index"]), "the index of an image")
        if request.path_params["uid"] != run.uid:
            return _no_picture(run, index)
        picture = reader.prediction_picture(run.id, index)
        if picture is None or not picture.startswith(JPEG):
            return _no_picture(run, index)
        return Response(picture, media_type="image/jpeg", headers=PICTURE_HEADERS)

    def precision(self, request: Request) -> Response:
        """AP of each class at the newest evaluation, and its change since another one."""
        reader = self._reader()
        run = asked_run(reader, request)
        before = request.query_params.get("before", "")
        step = whole_number(before, "before") if before else None
        return _json(class_precision(reader, run.id, before=step))


def _no_picture(run: Run, index: int) -> Response:
    sentence = f"There is no picture {index} of run {run.id} that can be shown"
    return PlainTextResponse(sentence, 404, headers=NO_STORE)


def _score(request: Request) -> float:
    text = request.query_params.get("score", "0")
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not 0 <= score <= 1:
        raise WantError(f"score is '{text[:40]}', but it must be a number from 0 to 1")
    return score


def _json(body: object) -> Response:
    text = json.dumps(plain(body), separators=(",", ":"), allow_nan=False)
    return Response(text, media_type="application/json", headers=NO_STORE)
