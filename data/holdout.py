"""Choosing training images to hold out, so that no class loses its last image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holdout_indices(
    image_categories: Sequence[Sequence[int]], num_classes: int, *, share: float, seed: int
) -> list[int]:
    """Images to hold out, stratified by class.

    Images are visited in a random order; one is taken when some class of it still lacks
    hold-out images (its wish is `share` of its images, at least one when it has two) and every
    class of it keeps at least one training image. Classes with few images come first, so that
    they get theirs.

    Args:
        image_categories: category indices of each image, each index once.
        num_classes: C.
        share: share of each class's images to hold out, in 0..1.
        seed: of the random order.

    Returns:
        Indices into `image_categories`, ascending.
    """
    images_of: list[list[int]] = [[] for _ in range(num_classes)]
    for index, categories in enumerate(image_categories):
        for category in categories:
            images_of[category].append(index)
    left = np.array([len(images) for images in images_of])
    wish = np.where(left >= 2, np.maximum(1, np.floor(share * left)), 0).astype(int)
    rng = np.random.default_rng(seed)
    held: set[int] = set()
    for category in np.argsort(left, kind="stable"):
        for index in rng.permutation(images_of[category]):
            if wish[category] <= 0:
                break
            classes = list(image_categories[index])
            if index in held or (left[classes] < 2).any():
                continue
            held.add(int(index))
            left[classes] -= 1
            wish[classes] -= 1
    return sorted(held)
