"""Named sets of values laid over the defaults of `RunConfig`; several can be laid in order.

The defaults themselves are the demo run: a regime like LVIS's in miniature (docs/results.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainer.config import ConfigError


@dataclass(frozen=True)
class Preset:
    """Values that differ from the defaults, and what they are for."""

    purpose: str
    values: dict[str, Any]


PRESETS: dict[str, Preset] = {
    # Few RoIs a step leave many near-dead dimensions, over which the mean of Fisher ratios makes
    # one blob of all classes; the ratio of sums tells groups apart.
    "demo": Preset(
        "60 classes of OpenMoji glyphs with a long tail, with FASA",
        {"distance": "ratio_of_sums"},
    ),
    "demo-baseline": Preset("the same without FASA", {"fasa": False}),
    "demo-adamw": Preset(
        "over demo or demo-baseline: AdamW on the classifier and 32 RoIs an image, where the "
        "baseline's tail does not collapse",
        {
            "classifier_optimizer": "adamw",
            "classifier_learning_rate": 1e-3,
            "classifier_weight_decay": 1e-4,
            "rois_per_image": 32,
        },
    ),
    "paper": Preset("FASA as the paper states it: the defaults", {}),
    "official": Preset(
        "FASA as its published code computes it, mistakes included",
        {
            "spread": "variance",
            "zero_count": "error",
            "clustering": "affinity_propagation",
            "cluster_unseen": True,
            "group_statistic": "sum",
            "generator": "global",
            "adapt_on": "test",
            "validation_sampler": "uniform",
            "validation_pipeline": "train",
        },
    ),
    "static-1": Preset("FA without FS, s = 1", {"sampling": "static", "initial_scale": 1.0}),
    "static-5": Preset("FA without FS, s = 5", {"sampling": "static", "initial_scale": 5.0}),
    "static-15": Preset("FA without FS, s = 15", {"sampling": "static", "initial_scale": 15.0}),
    "photos": Preset(
        "real photos, such as COCO's: larger input, anchors and heads for it",
        {
            "image_min_size": 320,
            "image_max_size": 512,
            "anchor_sizes": (24, 48, 96, 192),
            "canonical_scale": 160,
            "rois_per_image": 32,
            "rpn_batch": 64,
            "proposals_train": 100,
            "proposals_test": 100,
        },
    ),
}


def preset_values(names: list[str]) -> dict[str, Any]:
    """The values of the named presets, later ones over earlier ones.

    Raises:
        ConfigError: for a name that does not exist.
    """
    values: dict[str, Any] = {}
    for name in names:
        if name not in PRESETS:
            raise ConfigError(f"there is no preset '{name}': choose from {', '.join(PRESETS)}")
        values |= PRESETS[name].values
    return values
