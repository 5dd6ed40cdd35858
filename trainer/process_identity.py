"""Which process is meant: an id alone is handed out again, and a wall clock can be set."""

from __future__ import annotations

from pathlib import Path

import psutil

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_GONE = b"ZXx"  # zombie, dead
_STATE, _START_TICKS = 0, 19  # among the fields of /proc/PID/stat after the command


def process_identity(pid: int) -> str | None:
    """What tells process `pid` from every other, on this machine and after its next start.

    On Linux the kernel's id of this boot and the clock ticks from then to the start of the
    process, so that it stays the same when somebody sets the clock; elsewhere its start time.

    Returns:
        None when there is no such process, or only a zombie that waits for its parent.
    """
    if not _BOOT_ID.exists():
        return _start_time(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:  # gone, also between opening and reading
        return None
    # The command stands in brackets and may hold spaces and brackets itself.
    fields = stat.rpartition(b")")[2].split()
    if fields[_STATE] in _GONE:
        return None
    return f"{_BOOT_ID.read_text().strip()}:{int(fields[_START_TICKS])}"


def _start_time(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return repr(process.create_time())
    except psutil.Error:
        return None
