"""Which classes each image shows, as two arrays: 100,000 lists would be slow and large.

Shapes: I images, K entries of all their lists together, C classes.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


class ClassLists(Sequence[list[int]]):
    """A sequence of I sorted lists of class indices, each index once.

    Attributes:
        classes: int64 [K], the lists one after the other.
        ends: int64 [I+1], list i is ``classes[ends[i]:ends[i + 1]]``.
    """

    def __init__(self, images: Integers, classes: Integers, num_images: int) -> None:
        """``images`` and ``classes``, int64 of one length, are pairs in any order, or repeated."""
        lowest = int(classes.min(initial=0))
        span = int(classes.max(initial=0)) - lowest + 1
        pairs = np.unique(images * span + (classes - lowest))
        self.classes: Integers = pairs % span + lowest
        self.ends: Integers = np.searchsorted(pairs // span, np.arange(num_images + 1))

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> "ClassLists":
        """Of lists in any order, with repetitions; of itself it is the same."""
        if isinstance(lists, ClassLists):
            return lists
        lengths = [len(row) for row in lists]
        classes = np.fromiter((c for row in lists for c in row), dtype=np.int64)
        return cls(np.repeat(np.arange(len(lists)), lengths), classes, len(lists))

    @property
    def images(self) -> Integers:
        """int64 [K], the image of each entry of ``classes``."""
        return np.repeat(np.arange(len(self)), np.diff(self.ends))

    def __len__(self) -> int:
        return len(self.ends) - 1

    @overload
    def __getitem__(self, i: int) -> list[int]: ...
    @overload
    def __getitem__(self, i: slice) -> list[list[int]]: ...
    def __getitem__(self, i: int | slice) -> list[int] | list[list[int]]:
        if isinstance(i, slice):
            return [self[n] for n in range(*i.indices(len(self)))]
        if not -len(self) <= i < len(self):
            raise IndexError(f"image {i} of {len(self)}: use an index from 0 to {len(self) - 1}")
        i %= len(self)
        row: list[int] = self.classes[self.ends[i] : self.ends[i + 1]].tolist()
        return row

    def __iter__(self) -> Iterator[list[int]]:
        flat, ends = self.classes.tolist(), self.ends.tolist()
        return (flat[start:stop] for start, stop in itertools.pairwise(ends))
