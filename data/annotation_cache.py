"""Where what was read of an annotation file is kept, so that it is parsed once: beside the json.

A cache is a column file whose name holds the SHA-256 of the json's content. For a large json its
size, times and inode are noted beside the hash, so that an untouched one need not be hashed again.
Where nothing can be written beside the json, a folder of the user's takes the cache.
"""

import fcntl
import hashlib
import json
import os
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from data.annotations import AnnotationError, opened_json
from data.column_file import Columns, DamagedFileError, read_columns, write_columns

# Raised when the columns of annotation_table.py, or what data/annotations.py refuses, change.
FORMAT = 2

_NOTED_FROM = 16 << 20  # bytes; a smaller json is hashed in no time
# A file changed twice within a tick of its clock may look untouched (FAT counts in 2 seconds).
_SETTLED_NANOSECONDS = 2_000_000_000

Signature = dict[str, int]


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """While one process parses an annotation file, others wait for its cache.

    Where files can't be locked all of them parse, and the last one's cache stays.
    """
    with opened_json(path) as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cache_of(
    path: Path, *, kind: str, build: Callable[[], Columns]
) -> tuple[Path, dict[str, NDArray[Any]]]:
    """The cache file of the annotation file ``path`` and its columns, every byte of them read.

    So its pages are in the memory map of this process, and none belongs to a loader process alone.
    Hold ``one_at_a_time`` meanwhile. ``kind`` tells apart ways to read the json. ``build`` reads
    it, if no intact cache is found.
    Raises AnnotationError if the json changes meanwhile or no folder takes the cache, and what
    ``build`` raises.
    """
    json_file = path.resolve()
    folders = _folders(json_file)
    before, began = _signature(json_file), time.time_ns()
    digest = _noted_digest(json_file, folders, before)
    if digest is None:
        with opened_json(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    name = f"{json_file.name}.{digest[:16]}.v{FORMAT}-{kind}.arrow"
    for folder in folders:
        found = _intact(folder / name, digest)
        if found is not None:
            _note(json_file, folder, before, began, digest)
            return folder / name, found
    columns = build()
    if _signature(json_file) != before:
        raise AnnotationError(
            f"{path} was changed while it was read: start again when it is complete"
        )
    cache, found = _write_where_possible(json_file, folders, name, columns, digest)
    _note(json_file, cache.parent, before, began, digest)
    return cache, found


def hold(cache: Path) -> int:
    """Keep a cache from being removed when its json changes, until the descriptor is closed."""
    descriptor = os.open(cache, os.O_RDONLY)
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return descriptor


def _folders(json_file: Path) -> list[Path]:
    """Where a cache may lie, the best place first."""
    key = hashlib.sha256(os.fsencode(json_file.parent)).hexdigest()[:16]
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    own = [Path(home) / "fasa_live", Path(tempfile.gettempdir()) / f"fasa_live-{os.getuid()}"]
    return [json_file.parent, *(folder / key for folder in own if _is_mine(folder))]


def _is_mine(folder: Path) -> bool:
    """In a folder that all may write, another user may have taken the name."""
    if not folder.is_absolute():  # a user without a home
        return False
    try:
        return folder.stat().st_uid == os.getuid()
    except FileNotFoundError:
        return True
    except OSError:  # below a home that is another user's
        return False


def _signature(json_file: Path) -> Signature:
    """What changes when a file is written or replaced."""
    found = json_file.stat()
    names = ("st_size", "st_mtime_ns", "st_ctime_ns", "st_ino")
    return {name: getattr(found, name) for name in names}


def _note_file(json_file: Path, folder: Path) -> Path:
    return folder / f"{json_file.name}.sha256"


def _noted_digest(json_file: Path, folders: list[Path], now: Signature) -> str | None:
    for folder in folders:
        with suppress(OSError, ValueError, KeyError, TypeError):
            noted = json.loads(_note_file(json_file, folder).read_text())
            if noted["signature"] == now:
                return str(noted["sha256"])
    return None


def _note(json_file: Path, folder: Path, before: Signature, began: int, digest: str) -> None:
    """Note the hash of a json that had the signature ``before`` when hashing ``began``."""
    changed = max(before["st_mtime_ns"], before["st_ctime_ns"])
    # A change since then shows: the clock had moved on since the one before.
    settled = began - changed > _SETTLED_NANOSECONDS
    if before["st_size"] < _NOTED_FROM or not settled or _signature(json_file) != before:
        return
    note = json.dumps({"signature": before, "sha256": digest})
    file = _note_file(json_file, folder)
    with suppress(OSError):
        if _may_write(folder) and not (file.exists() and file.read_text() == note):
            with _replaced(file) as temporary:
                temporary.write_text(note)


def _intact(cache: Path, digest: str) -> dict[str, NDArray[Any]] | None:
    try:
        columns, about = read_columns(cache, verify=True)
    except (OSError, DamagedFileError):
        return None
    return columns if about.get("sha256") == digest else None


def _may_write(folder: Path) -> bool:
    """Root may write everywhere, but a folder without any right to write is meant to stay as is."""
    return bool(folder.stat().st_mode & 0o222) and os.access(folder, os.W_OK)


def _write_where_possible(
    json_file: Path, folders: list[Path], name: str, columns: Columns, digest: str
) -> tuple[Path, dict[str, NDArray[Any]]]:
    reasons: list[str] = []
    for folder in folders:
        try:
            if folder != json_file.parent:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not _may_write(folder):
                raise PermissionError(0, "it is read-only")
            _remove_others(json_file, folder, name)
            with _replaced(folder / name) as temporary, temporary.open("wb") as file:
                with suppress(OSError):
                    fcntl.flock(file, fcntl.LOCK_SH)
                write_columns(file, columns, {"sha256": digest})
            found = _intact(folder / name, digest)
            if found is None:
                raise OSError("what is read there is not what was written")
        except OSError as error:
            reasons.append(f"{folder} ({error.strerror or error})")
            continue
        if reasons:
            warnings.warn(
                f"the cache of {json_file} can't be kept in {', '.join(reasons)}, it is in "
                f"{folder}: make room beside the json, so that others find it too",
                stacklevel=4,
            )
        return folder / name, found
    size = sum(column.nbytes for column in columns.values())
    raise AnnotationError(
        f"no folder takes the cache of {json_file}, {size / 1e6:,.1f} MB: {', '.join(reasons)}: "
        "make room in one, or name another in XDG_CACHE_HOME"
    )


@contextmanager
def _replaced(file: Path) -> Iterator[Path]:
    """A temporary file that takes the place of ``file`` once it is complete."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        yield temporary
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_others(json_file: Path, folder: Path, name: str) -> None:
    """Remove the caches of earlier contents of a json and what a killed writer left."""
    current = name.rpartition("-")[0]
    cache = re.compile(re.escape(json_file.name) + r"\.[0-9a-f]{16}\.v\d+-\w+\.arrow(\.\d+\.part)?")
    for entry in os.scandir(folder):
        found = cache.fullmatch(entry.name)
        if found and (found[1] or not entry.name.startswith(current)):
            with suppress(OSError), open(entry.path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not one that is in use
                os.unlink(entry.path)


def open_cache(cache: Path) -> dict[str, NDArray[Any]]:
    """The columns of a cache that was found intact before; AnnotationError if it is gone."""
    try:
        return read_columns(cache, verify=False)[0]
    except (OSError, DamagedFileError) as error:
        raise AnnotationError(
            f"the annotation cache {cache} can't be opened any more ({error}): start again, "
            "which writes it anew"
        ) from None
