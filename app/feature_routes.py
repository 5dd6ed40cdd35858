"""The routes of the page Feature space.

    GET /live/runs/ID/features                     JSON, see `app/feature_data.py`: classes, probe
                                                   objects, snapshots with the state of each picture
                                                   of them, cost, first sight, weak classes
    GET /live/runs/ID/features/SNAPSHOT/points?method=pca
                                                   where the points are, see `app/feature_points.py`
    GET /live/runs/ID/features/pictures/OBJECT     the JPEG of a probe object
    GET /live/runs/ID/features/SNAPSHOT/export?format=tensorboard|numpy
                                                   a zip, see `trainer/feature_export.py`

Points are asked for again each time, which costs next to nothing while they are the same (304): a
snapshot can be thinned away, and drawn anew. A picture whose address holds the run's unique id
(`?uid=`, from the JSON) is kept for an hour; without it, another folder's run of the same number
could show the picture of another object.

Errors are one sentence: 400 a parameter that cannot be read, 404 what is not there (any more) or
not yet, 503 a run log that cannot be read or holds what does not fit together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from app.detection_routes import JPEG, PICTURE_HEADERS
from app.feature_data import describe
from app.feature_download import FORMATS, download
from app.feature_points import pack_points
from app.live_answers import NO_STORE, WantError, asked_run, endpoint, whole_number
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import METHODS, Run
from trainer.run_log.schema import RunLogError

ASK_AGAIN = "private, no-cache"
AN_HOUR = "private, max-age=3600"
# Keeps the server from packing random digits: a third less to send, but longer than it is sent.
AS_IT_IS = {"content-encoding": "identity"}


class FeatureRoutes:
    """Answers the routes from the run log that `reader` opens."""

    def __init__(self, reader: Callable[[], RunLogReader]) -> None:
        self._reader = reader

    def routes(self) -> list[BaseRoute]:
        """The Starlette routes."""
        start = "/live/runs/{run_id}/features"
        return [
            Route(start, endpoint(self.overview)),
            Route(start + "/pictures/{index}", endpoint(self.picture)),
            Route(start + "/{snapshot_id}/points", endpoint(self.points)),
            Route(start + "/{snapshot_id}/export", endpoint(self.export)),
        ]

    def overview(self, request: Request) -> Response:
        """What there is of a run's features."""
        reader = self._reader()
        run = asked_run(reader, request)
        with _read_of(run):
            body = describe(reader, run)
            text = json.dumps(body, separators=(",", ":"), allow_nan=False)
        return Response(text, media_type="application/json", headers=NO_STORE)

    def points(self, request: Request) -> Response:
        """The points of one snapshot in one picture, or a sentence why there are none."""
        reader = self._reader()
        run = asked_run(reader, request)
        snapshot_id = _asked_snapshot(request)
        method = request.query_params.get("method", METHODS[0])
        if method not in METHODS:
            known = ", ".join(METHODS)
            raise WantError(f"method is '{method[:40]}', but it must be one of {known}")
        with _read_of(run):
            projection = reader.features.projection(snapshot_id, method)
            labels = reader.features.labels(snapshot_id)
            if labels is None or labels.run_id != run.id:
                return _no_snapshot(run, snapshot_id)
            if projection is None:
                return _not_found(_why_no_picture(reader, run, snapshot_id, method))
            groups = reader.latest_class_vector(run.id, "super_group", step=projection.step)
            version = f"{run.uid}-{projection.id}-{groups.id if groups else 0}"
            headers = {"cache-control": ASK_AGAIN, "etag": f'"{version}"', **AS_IT_IS}
            if _is_known(request, headers["etag"]):
                return Response(status_code=304, headers=headers)
            body = pack_points(
                projection,
                labels,
                groups.values if groups else None,
                num_objects=reader.features.num_objects(run.id),
                num_classes=len(reader.categories(run.id)),
            )
        return Response(body, media_type="application/octet-stream", headers=headers)

    def picture(self, request: Request) -> Response:
        """The JPEG of one probe object, or a sentence."""
        reader = self._reader()
        run = asked_run(reader, request)
        index = whole_number(str(request.path_params["index"]), "the index of an object")
        uid = request.query_params.get("uid")
        picture = reader.features.picture(run.id, index) if uid in (None, run.uid) else None
        if picture is None or not picture.startswith(JPEG):
            return _not_found(f"There is no picture of object {index} of run {run.id} to be shown")
        version = hashlib.sha256(picture).hexdigest()[:16]
        headers = {
            **PICTURE_HEADERS,
            "cache-control": AN_HOUR if uid else ASK_AGAIN,
            "etag": f'"{version}"',
        }
        if _is_known(request, headers["etag"]):
            return Response(status_code=304, headers=headers)
        return Response(picture, media_type="image/jpeg", headers=headers)

    def export(self, request: Request) -> Response:
        """A zip of one snapshot, to be downloaded."""
        reader = self._reader()
        run = asked_run(reader, request)
        snapshot_id = _asked_snapshot(request)
        export_format = request.query_params.get("format", FORMATS[0])
        if export_format not in FORMATS:
            known = ", ".join(FORMATS)
            raise WantError(f"format is '{export_format[:40]}', but it must be one of {known}")
        with _read_of(run):
            labels = reader.features.labels(snapshot_id)
            snapshot = reader.features.snapshot(snapshot_id)
            if labels is None or labels.run_id != run.id or snapshot is None:
                return _no_snapshot(run, snapshot_id)
            return download(reader, run, snapshot, export_format)


def _asked_snapshot(request: Request) -> int:
    return whole_number(str(request.path_params["snapshot_id"]), "the number of a snapshot")


def _no_snapshot(run: Run, snapshot_id: int) -> Response:
    return _not_found(
        f"There is no feature snapshot {snapshot_id} of run {run.id} (any more): choose another "
        "epoch, old snapshots make room for new ones"
    )


def _why_no_picture(reader: RunLogReader, run: Run, snapshot_id: int, method: str) -> str:
    heads = reader.features.projections(run.id)
    head = next((h for h in heads if (h.snapshot_id, h.method) == (snapshot_id, method)), None)
    start = f"The picture {method} of feature snapshot {snapshot_id} of run {run.id}"
    if head is None:
        return f"{start} is not made yet: the projector, which `fasa up` starts, makes it"
    if head.state == "failed":
        return f"{start} could not be made ({head.error or 'the reason is not known'})"
    return f"{start} is being made: wait a moment"


def _not_found(sentence: str) -> Response:
    return PlainTextResponse(sentence, 404, headers=NO_STORE)


def _is_known(request: Request, version: str) -> bool:
    """Whether the browser holds this version already."""
    known = request.headers.get("if-none-match", "").split(",")
    return version in (text.strip().removeprefix("W/") for text in known)


@contextmanager
def _read_of(run: Run) -> Iterator[None]:
    """Turns what a damaged blob or foreign JSON leads to into a sentence."""
    try:
        yield
    except (ValueError, TypeError, LookupError) as error:
        raise RunLogError(
            f"What the run log holds of the features of run {run.id} is damaged ({error}): delete "
            "this run, or put back a copy of the run log."
        ) from error
