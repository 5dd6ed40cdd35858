"""What goes wrong when runs are carried out of an installation or into one."""

import errno
from pathlib import Path

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class TransferError(ValueError):
    """Runs cannot be exported or imported; the message is one sentence with the remedy."""


def unwritable(path: Path, error: OSError) -> TransferError:
    """The sentence for a path at which the system refuses to write."""
    if error.errno in _NO_SPACE:
        return TransferError(f"The disk that holds {path} is full: free some space on it.")
    return TransferError(
        f"{path} cannot be written ({error.strerror or error}): choose another place, or make "
        "its folder writable."
    )


def unreadable(path: Path, error: object) -> TransferError:
    """The sentence for a file that is no whole run log."""
    why = " ".join(str(error).split())  # SQLite's own report may have several lines
    return TransferError(
        f"{path} is damaged or no SQLite file ({why}): export the runs again and copy the file "
        "whole."
    )


def untakable(path: Path, table: str, error: object) -> TransferError:
    """The sentence for a row that this program does not write."""
    return TransferError(
        f"{path} holds a row of {table} that cannot be taken ({str(error).rstrip('.')}): export "
        "the runs again, changed files are not taken."
    )
