"""Features like those of a box head, for benchmarks and tests: non-negative, in clusters that move.

Before the ReLU, a class is a Gaussian of its own in a subspace that all share, and its objects lie
about it in their own fixed directions. From epoch to epoch the classes drift apart, and the
objects with them. The prior is what the objects of a class have in common; virtual features are
drawn from it with noise fixed per class and k.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from trainer.run_log.rows import FeatureSnapshot

SHARED = 40  # directions in which classes differ
WITHIN = 0.5  # deviation of objects about their class, in that of the classes


class FeatureCloud:
    """Snapshots of the same objects and virtual features, epoch by epoch.

    Args:
        real: number of objects.
        virtual_per_class: K; 0 for a run without FASA.
        classes: of them all have objects, as many each as there can be.
        dim: length of a feature.
        seed: of all that is drawn.
    """

    def __init__(
        self, *, real: int, virtual_per_class: int, classes: int, dim: int, seed: int = 0
    ) -> None:
        draws = np.random.default_rng(seed)
        self.class_of = (np.arange(real) % classes).astype(np.int32)
        self.classes = classes
        self._basis = draws.normal(0, 1 / np.sqrt(SHARED), (SHARED, dim)).astype(np.float32)
        self._centres = draws.normal(0, 1, (classes, SHARED)).astype(np.float32)
        self._drift = draws.normal(0, 1, (classes, SHARED)).astype(np.float32)
        self._objects = draws.normal(0, WITHIN, (real, SHARED)).astype(np.float32)
        self._noise = draws.normal(0, 0.1, (real, dim)).astype(np.float32)
        shape = (classes, virtual_per_class, dim)
        self._virtual_noise = draws.normal(0, 1, shape).astype(np.float32)

    def real(self, epoch: float) -> NDArray[np.float32]:
        """[N, d]: features of the objects; classes part with time, ever more slowly."""
        apart = 1 + np.log1p(epoch)
        turn = min(epoch * 0.05, 1.0)
        centres = apart * ((1 - turn) * self._centres + turn * self._drift)
        inner = centres[self.class_of] + self._objects
        return np.maximum(inner @ self._basis + self._noise, 0)

    def snapshot(self, epoch: int = 0, *, snapshot_id: int = 1) -> FeatureSnapshot:
        """What the trainer would have stored."""
        real = self.real(epoch)
        counts = np.bincount(self.class_of, minlength=self.classes)
        mean, square = (self._sums(values) / counts[:, None] for values in (real, real**2))
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        virtual = mean[:, None] + deviation[:, None] * self._virtual_noise
        virtual = virtual.reshape(-1, real.shape[1])
        with_prior = self.classes if len(virtual) else 0
        return FeatureSnapshot(
            id=snapshot_id,
            step=epoch * 100,
            epoch=epoch,
            wall_time=time.time(),
            objects=np.arange(len(real), dtype=np.int32),
            real=real.astype(np.float16),
            real_predicted=self.class_of,
            real_loss=np.zeros(len(real), np.float32),
            classes=np.arange(with_prior, dtype=np.int32),
            mean=mean[:with_prior].astype(np.float16),
            deviation=deviation[:with_prior].astype(np.float16),
            prior_size=counts[:with_prior].astype(np.float32),
            virtual=virtual.astype(np.float16),
            virtual_predicted=np.zeros(len(virtual), np.int32),
            virtual_loss=np.zeros(len(virtual), np.float32),
        )

    def _sums(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """[C, d]: sums over the objects of each class."""
        sums = np.zeros((self.classes, values.shape[1]), np.float32)
        np.add.at(sums, self.class_of, values)
        return sums
