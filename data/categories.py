"""What a class is called and how often the training set shows it.

Inside the library a class is its index 0..C-1; ``id`` is the number the annotation file uses.
"""

from dataclasses import dataclass
from typing import Literal, cast, get_args

Frequency = Literal["r", "c", "f"]

_RARE_UP_TO = 10
_COMMON_UP_TO = 100


@dataclass(frozen=True)
class Category:
    """One class of a data set.

    ``index`` is 0..C-1, ``id`` the annotation file's own number, ``frequency`` rare, common or
    frequent, ``image_count`` how many training images show the class, ``instance_count`` how many
    training objects there are of it (N_c of the paper).
    """

    index: int
    id: int
    name: str
    frequency: Frequency
    image_count: int
    instance_count: int


def frequency_from_image_count(image_count: int) -> Frequency:
    """The LVIS v1 letter: rare up to 10 training images, common up to 100, frequent above.

    A class without any image counts as rare. Raises ValueError for a negative count.
    """
    if image_count < 0:
        raise ValueError(f"an image count is 0 or more, got {image_count}: count the images again")
    if image_count <= _RARE_UP_TO:
        return "r"
    return "c" if image_count <= _COMMON_UP_TO else "f"


def is_frequency(letter: object) -> bool:
    """Whether ``letter`` is one of LVIS's three frequency letters r, c and f."""
    return letter in get_args(Frequency)


def as_frequency(letter: str) -> Frequency:
    """``letter`` as a Frequency; ValueError if it is none of r, c and f."""
    if not is_frequency(letter):
        raise ValueError(f"a frequency is 'r', 'c' or 'f', got {letter!r}: use one of these three")
    return cast(Frequency, letter)
