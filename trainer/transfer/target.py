"""A new file or folder that appears whole or not at all, and never over an old one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from trainer.transfer.errors import TransferError, unwritable


@contextmanager
def new_target(to: Path) -> Iterator[Path]:
    """Hands out a path to make a file or a folder at; it gets the name ``to`` when all is written.

    The draft lies in a hidden folder beside ``to``, which is removed in any case.

    Raises:
        TransferError: ``to`` exists, its folder does not, or the disk is full.
    """
    _refuse_existing(to)
    if not to.parent.is_dir():
        raise TransferError(
            f"The folder {to.parent} is not there: create it, or choose another place."
        )
    try:
        with TemporaryDirectory(prefix=".fasa-export-", dir=to.parent) as place:
            draft = Path(place) / "draft"
            yield draft
            for path in sorted(draft.iterdir()) if draft.is_dir() else [draft]:
                _sync(path)
            _publish(draft, to)
            _sync(to.parent)
    except OSError as error:
        raise unwritable(to, error) from error


def _refuse_existing(to: Path) -> None:
    if os.path.lexists(to):
        raise TransferError(
            f"{to} is there already and an export overwrites nothing: name a new place, or remove "
            "it first."
        )


def _publish(draft: Path, to: Path) -> None:
    _refuse_existing(to)  # it may have come up while the draft was written
    if draft.is_file():
        try:
            os.link(draft, to)  # unlike a renaming it never replaces what came up just now
            return
        except FileExistsError:
            _refuse_existing(to)
        except OSError:
            pass  # a file system without hard links
    draft.rename(to)


def _sync(path: Path) -> None:
    """Have the disk confirm a file, or the names in a folder."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
