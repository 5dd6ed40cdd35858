"""Feature values of any size, for the tests of the run log and of what reads it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer.run_log.rows import FeatureValues


def feature_values(
    *, objects: Sequence[int] = (0, 1), classes: Sequence[int] = (1, 3), per_class: int = 2,
    feature_dim: int = 3, num_classes: int = 5, seed: int = 0, **changes: Any,
) -> FeatureValues:  # fmt: skip
    """Random features of some objects and of the priors of classes; `changes` replace arrays."""
    generator = np.random.default_rng(seed)
    drawn = len(classes) * per_class

    def features(count: int) -> Any:
        return generator.normal(size=(count, feature_dim)).astype(np.float16)

    def losses(count: int) -> Any:
        return generator.random(count, dtype=np.float32)

    def predictions(count: int) -> Any:
        return generator.integers(0, num_classes + 1, count).astype(np.int32)

    arrays: dict[str, Any] = {
        "objects": np.array(objects, np.int32),
        "real": np.abs(features(len(objects))),
        "real_predicted": predictions(len(objects)),
        "real_loss": losses(len(objects)),
        "classes": np.array(classes, np.int32),
        "mean": features(len(classes)),
        "deviation": np.abs(features(len(classes))),
        "prior_size": losses(len(classes)) * 9,
        "virtual": features(drawn),
        "virtual_predicted": predictions(drawn),
        "virtual_loss": losses(drawn),
    }
    return FeatureValues(**arrays | changes)
