"""A feature snapshot as a zip to be downloaded: for TensorBoard's projector, or for NumPy.

It is made in a temporary folder, one at a time, and the folder is gone before the first byte is
sent: what a person breaks off leaves nothing behind.
"""

from __future__ import annotations

import tempfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from starlette.responses import Response, StreamingResponse

from app.live_answers import NO_STORE
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import FeatureSnapshot, Run
from trainer.run_log.schema import RunLogError

FORMATS = ("tensorboard", "numpy")
PART = 2**18  # bytes sent at once
PACKED = (".png", ".npz")  # compressed already

_lock = threading.Lock()


def download(
    reader: RunLogReader, run: Run, snapshot: FeatureSnapshot, export_format: str
) -> Response:
    """A zip of one of `FORMATS`.

    Raises:
        RunLogError: the snapshot cannot be exported, or there is no room for the zip.
    """
    name = f"fasa-run-{run.id}-step-{snapshot.step}-{export_format}"
    try:
        with _lock, tempfile.TemporaryDirectory(prefix="fasa-export-") as folder:
            made = _export(reader, run, snapshot, export_format, Path(folder) / name)
            packed = _pack(made, Path(folder) / "packed.zip")
    except OSError as error:
        raise RunLogError(
            f"Feature snapshot {snapshot.id} of run {run.id} cannot be packed "
            f"({error.strerror or error}): free some space in the dashboard's folder for "
            "temporary files."
        ) from error
    size = packed.seek(0, 2)
    packed.seek(0)
    return StreamingResponse(
        _parts(packed),
        media_type="application/zip",
        headers={
            **NO_STORE,
            "content-length": str(size),
            "content-disposition": f'attachment; filename="{name}.zip"',
        },
    )


def _export(
    reader: RunLogReader, run: Run, snapshot: FeatureSnapshot, export_format: str, place: Path
) -> Path:
    # Draws pictures: not loaded for all who never export.
    from trainer.feature_export import FeatureExportError, write_numpy, write_tensorboard

    try:
        if export_format == "numpy":
            place.mkdir()
            write_numpy(reader, run, snapshot, place / f"{place.name}.npz")
        else:
            write_tensorboard(reader, run, snapshot, place)
    except FeatureExportError as error:
        raise RunLogError(str(error)) from error
    return place


def _pack(folder: Path, path: Path) -> IO[bytes]:
    """The files of a folder in a zip, open for reading though its name may go."""
    with zipfile.ZipFile(path, "w", compresslevel=1) as archive:
        for file in sorted(folder.iterdir()):
            how = zipfile.ZIP_STORED if file.suffix in PACKED else zipfile.ZIP_DEFLATED
            archive.write(file, f"{folder.name}/{file.name}", compress_type=how)
    return path.open("rb")


def _parts(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while part := file.read(PART):
            yield part
