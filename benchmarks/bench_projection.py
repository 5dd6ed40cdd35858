"""Claim: UMAP lays out 5,000 points within 20 s and 50,000 within 4 minutes, on 2 cores and warm.

Half the points are real, half virtual, of 256 and 1,024 numbers each. Timed as the projector works:
at a low priority, on one thread, with numba's code compiled by a small picture before. The
first snapshot starts from its PCA, the next one from the picture of the first.

Also printed: trustworthiness (scikit-learn's, 15 neighbours, of 75 classes; 1 is best), and how far
the median point moves from one picture to the next, as a share of the picture's size; of a
picture that starts anew, too.

    python -m benchmarks.bench_projection [POINTS ...]
"""

from __future__ import annotations

import sys
import time

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness

from benchmarks.feature_cloud import FeatureCloud
from trainer.background import step_back
from trainer.projection import Picture, project
from trainer.projection_points import Start, start_from
from trainer.run_log.rows import FeatureSnapshot, Projection

SECONDS = {5_000: 20.0, 50_000: 240.0}
PER_CLASS = 40  # points, real and virtual
LARGEST_LOSS = 0.02  # of trustworthiness, by starting from the last picture
JUDGED, NEIGHBOURS = 3_000, 15


def together(picture: Picture) -> NDArray[np.float32]:
    return np.concatenate([picture.real, picture.virtual])


def trust(cloud: FeatureCloud, snapshot: FeatureSnapshot, picture: Picture) -> float:
    features = np.concatenate([snapshot.real, snapshot.virtual])
    # Whole classes: of some points of each, the nearest neighbours are no neighbours.
    labels = np.concatenate([cloud.class_of, snapshot.virtual_classes])
    chosen = np.flatnonzero(labels < JUDGED // PER_CLASS)
    found = trustworthiness(
        features[chosen].astype(np.float32), together(picture)[chosen], n_neighbors=NEIGHBOURS
    )
    return float(found)


def moved(last: Picture, picture: Picture) -> float:
    size = np.ptp(together(last), axis=0).max()
    return float(np.median(np.linalg.norm(together(picture) - together(last), axis=1)) / size)


def as_start(snapshot: FeatureSnapshot, picture: Picture) -> Start:
    stored = Projection(
        id=1, snapshot_id=snapshot.id, step=0, epoch=0, method="", seconds=0.0, parameters={},
        real=picture.real, virtual=picture.virtual, ellipses=picture.ellipses,
    )  # fmt: skip
    return start_from(snapshot, stored)


def timed(
    cloud: FeatureCloud, snapshot: FeatureSnapshot, method: str, start: Start | None = None
) -> tuple[Picture, float]:
    began = time.perf_counter()
    picture = project(snapshot, method, class_of=cloud.class_of, start=start)
    return picture, time.perf_counter() - began


def bench(points: int, dim: int) -> bool:
    classes = points // PER_CLASS
    per_class = PER_CLASS // 2
    cloud = FeatureCloud(real=points // 2, virtual_per_class=per_class, classes=classes, dim=dim)
    first, second = cloud.snapshot(0, snapshot_id=1), cloud.snapshot(1, snapshot_id=2)
    good = True
    for method in ("pca", "umap", "umap_real"):
        picture, seconds = timed(cloud, first, method)
        following, from_last = timed(cloud, second, method, as_start(first, picture))
        anew, _ = timed(cloud, second, method)
        trusts = trust(cloud, second, following), trust(cloud, second, anew)
        print(
            f"{points:6,} of {dim:5,} numbers, {method:9}: {seconds:5.1f} s, then "
            f"{from_last:5.1f} s; trustworthiness {trusts[0]:.3f} (anew {trusts[1]:.3f}), "
            f"moved {moved(picture, following):.3f} (anew {moved(picture, anew):.3f})",
            flush=True,
        )
        good &= max(seconds, from_last) <= SECONDS.get(points, np.inf)
        good &= method == "pca" or trusts[0] >= trusts[1] - LARGEST_LOSS
    return good


def main() -> int:
    step_back()
    small = FeatureCloud(real=100, virtual_per_class=2, classes=5, dim=16)
    for method in ("umap", "umap_real"):
        _, seconds = timed(small, small.snapshot(), method)
        print(f"libraries loaded and compiled, {method}: {seconds:.1f} s")
    sizes = [int(word) for word in sys.argv[1:]] or list(SECONDS)
    results = [bench(points, dim) for points in sizes for dim in (256, 1024)]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
