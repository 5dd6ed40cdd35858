"""Repeat-factor sampling (RFS): images that show rare classes are seen more often in an epoch.

1. f_c = images that show class c / images
2. r_c = max(1, sqrt(t / f_c))
3. r_I = max of r_c over the classes c of image I; 1 for an image that shows none

(Gupta, Dollar and Girshick, "LVIS", 2019, section 5.) A factor becomes a number of repetitions by
rounding up, the same in every epoch (``ceil``, as mmdetection does), or by rounding down and adding
one with the probability of the remainder, drawn anew in every epoch (``stochastic``, as detectron2
does).

Shapes: I images, C classes.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from data.class_lists import ClassLists

Rounding = Literal["ceil", "stochastic"]


def repeat_factors(
    image_categories: Sequence[Sequence[int]], num_classes: int, threshold: float = 1e-3
) -> NDArray[np.float64]:
    """How often each image ought to be seen in an epoch: float64 [I], each at least 1.

    ``image_categories[i]`` lists the class indices 0..C-1 that image i shows; naming one twice
    changes nothing. ``threshold`` is t: a class in fewer than this share of the images is repeated.
    Raises ValueError for a class outside 0..C-1 or a threshold outside [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise ValueError(
            f"the repeat threshold is a share of the images between 0 and 1, got {threshold}: "
            "LVIS uses 0.001"
        )
    shown = ClassLists.of(image_categories)
    classes = shown.classes
    if classes.size and (classes.min() < 0 or classes.max() >= num_classes):
        wrong = classes.min() if classes.min() < 0 else classes.max()
        raise ValueError(
            f"class indices run from 0 to {num_classes - 1}, got {wrong}: "
            "pass the number of classes the images were labelled with"
        )
    images_with = np.bincount(classes, minlength=num_classes)
    of_class = class_repeat_factors(images_with, len(shown), threshold)
    factors = np.ones(len(shown))
    np.maximum.at(factors, shown.images, of_class[classes])
    return factors


def class_repeat_factors(
    images_with: NDArray[np.int64], num_images: int, threshold: float = 1e-3
) -> NDArray[np.float64]:
    """r_c float64 [C], from how many of ``num_images`` show each class; 1 for a class in none."""
    share = np.divide(images_with, num_images, out=np.ones(len(images_with)), where=images_with > 0)
    return np.maximum(1.0, np.sqrt(threshold / share))


def epoch_indices(
    factors: NDArray[np.float64], *, epoch: int, seed: int, rounding: Rounding = "ceil"
) -> list[int]:
    """The image indices of one epoch, each repeated as ``factors`` [I] asks, in shuffled order.

    The same (seed, epoch) gives the same list. Raises ValueError for an unknown ``rounding``.
    """
    generator = _epoch_generator(seed, epoch)
    if rounding == "ceil":
        repetitions = np.ceil(factors)
    elif rounding == "stochastic":
        whole = np.floor(factors)
        repetitions = whole + (generator.random(len(factors)) < factors - whole)
    else:
        raise ValueError(f"rounding is one of {get_args(Rounding)}, got {rounding!r}: choose one")
    indices = np.repeat(np.arange(len(factors)), repetitions.astype(np.int64))
    generator.shuffle(indices)
    return [int(i) for i in indices]


def uniform_indices(n: int, *, epoch: int, seed: int) -> list[int]:
    """Every image index 0..n-1 once, shuffled; the same (seed, epoch) gives the same list."""
    return [int(i) for i in _epoch_generator(seed, epoch).permutation(n)]


def _epoch_generator(seed: int, epoch: int) -> np.random.Generator:
    return np.random.default_rng([seed, epoch])
