"""Which picture is made next: what is cheap first, then what is new, then what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from trainer.run_log.rows import SnapshotStates

AT_ONCE, WHEN_READY = "pca", ("umap", "umap_real")


class Job(NamedTuple):
    """A picture to make; ``start``: the snapshot whose picture it starts from, None for none."""

    run_id: int
    snapshot_id: int
    method: str
    start: int | None


def next_job(snapshots: Sequence[SnapshotStates]) -> Job | None:
    """The picture that is due, or None.

    First PCA of every snapshot, the newest first; then both UMAPs of the newest snapshot of each
    run, the run that moved last first; then those of older ones. So a queue that has fallen behind
    goes on with the newest. No picture is made twice, a failed one neither.

    Args:
        snapshots: of all runs, newest first.
    """
    for snapshot, method in _in_order(snapshots):
        if method not in snapshot.states:
            start = _start(snapshots, snapshot, method)
            return Job(snapshot.run_id, snapshot.snapshot_id, method, start)
    return None


def _in_order(snapshots: Sequence[SnapshotStates]) -> Iterator[tuple[SnapshotStates, str]]:
    yield from ((snapshot, AT_ONCE) for snapshot in snapshots)
    newest = {snapshot.run_id: snapshot for snapshot in reversed(snapshots)}
    latest_first = sorted(newest.values(), key=lambda found: -found.snapshot_id)
    for snapshot in (*latest_first, *snapshots):
        yield from ((snapshot, method) for method in WHEN_READY)


def _start(snapshots: Sequence[SnapshotStates], of: SnapshotStates, method: str) -> int | None:
    """The nearest earlier snapshot of the run with a picture, else the nearest later one."""
    ready = [
        snapshot.snapshot_id
        for snapshot in snapshots
        if snapshot.run_id == of.run_id and snapshot.states.get(method) == "ready"
    ]
    earlier = [found for found in ready if found < of.snapshot_id]
    return max(earlier) if earlier else min(ready, default=None)
