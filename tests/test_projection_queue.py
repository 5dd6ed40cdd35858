"""In which order pictures are made, and from which they start."""

import pytest

from trainer.projection_queue import Job, next_job
from trainer.run_log.rows import SnapshotStates

METHODS = ("pca", "umap", "umap_real")
DONE = dict.fromkeys(METHODS, "ready")


def snapshot(
    snapshot_id: int, states: dict[str, str] | None = None, run: int = 1
) -> SnapshotStates:
    return SnapshotStates(run, snapshot_id, states or {})


def worked_off(snapshots: list[SnapshotStates]) -> list[Job]:
    """All jobs in their order, each of them done at once."""
    done = []
    while (job := next_job(snapshots)) is not None:
        done.append(job)
        states = next(s.states for s in snapshots if s.snapshot_id == job.snapshot_id)
        assert job.method not in states
        states[job.method] = "ready"
    return done


def test_pca_of_all_then_umap_of_the_newest_then_the_gaps() -> None:
    jobs = worked_off([snapshot(3), snapshot(2), snapshot(1)])
    assert [(job.snapshot_id, job.method) for job in jobs] == [
        (3, "pca"), (2, "pca"), (1, "pca"),
        (3, "umap"), (3, "umap_real"),
        (2, "umap"), (2, "umap_real"),
        (1, "umap"), (1, "umap_real"),
    ]  # fmt: skip
    assert [job.start for job in jobs] == [None, 3, 2, None, None, 3, 3, 2, 2]


def test_the_run_that_moved_last_comes_first() -> None:
    jobs = worked_off([snapshot(4, run=2), snapshot(3, run=1), snapshot(2, run=2)])
    umaps = [(job.run_id, job.snapshot_id) for job in jobs if job.method == "umap"]
    assert umaps == [(2, 4), (1, 3), (2, 2)]
    assert all(job.start != 3 for job in jobs if job.run_id == 2)


def test_what_is_new_goes_before_the_gaps() -> None:
    gap = [snapshot(2, dict(DONE)), snapshot(1, {"pca": "ready"})]
    assert next_job(gap) == Job(1, 1, "umap", 2)
    assert next_job([snapshot(9), *gap]) == Job(1, 9, "pca", 2)
    assert next_job([snapshot(9, {"pca": "ready"}), *gap]) == Job(1, 9, "umap", 2)


def test_a_gap_starts_from_the_nearest_earlier_picture() -> None:
    snapshots = [
        snapshot(5, dict(DONE)),
        snapshot(4),
        snapshot(3, dict(DONE)),
        snapshot(1, dict(DONE)),
    ]
    assert next_job(snapshots) == Job(1, 4, "pca", 3)


def test_a_failed_picture_is_not_tried_again_and_nothing_starts_from_it() -> None:
    snapshots = [
        snapshot(3, {"pca": "ready", "umap": "failed"}),
        snapshot(2, {"pca": "ready", "umap": "ready", "umap_real": "ready"}),
    ]
    assert next_job(snapshots) == Job(1, 3, "umap_real", 2)
    snapshots[0].states["umap_real"] = "failed"
    assert next_job(snapshots) is None
    assert next_job([snapshot(4, {"pca": "ready"}), *snapshots]) == Job(1, 4, "umap", 2)


@pytest.mark.parametrize("snapshots", [[], [snapshot(1, dict(DONE))]])
def test_nothing_to_do(snapshots: list[SnapshotStates]) -> None:
    assert next_job(snapshots) is None
