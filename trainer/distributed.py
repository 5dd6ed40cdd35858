"""What the processes of one run ("ranks") tell each other: sums, joined rows, objects.

Every method of `Ranks` is collective: all ranks call it, in the same order. With one process it
gives back what it was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as group
from torch import Tensor, nn

T = TypeVar("T")

# A rank that lives but does not answer for so long ends the run. Pauses and full disks do not
# count: the first rank speaks up in them.
TIMEOUT = timedelta(minutes=30)


FIRST_RANK = "FASA_FIRST_RANK"
"""In the environment of a rank that the first one started: the first one's process id."""


class RankLost(RuntimeError):
    """Another rank did not take its part: it is gone, or hangs."""


class Ranks:
    """A process that trains alone.

    Attributes:
        rank: number of this process, from 0.
        world: number of processes.
        local_rank: number of this process among those on its machine.
        local_world: number of processes on this machine.
    """

    rank = 0
    world = 1
    local_rank = 0
    local_world = 1

    @property
    def is_first(self) -> bool:
        """Whether this process makes the decisions and writes the run log."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This rank's part of `items`: the parts of all, in their order, are `items`.

        Their sizes differ by 1 at most; with fewer items than ranks the last ones get none.
        """
        size, left = divmod(len(items), self.world)
        start = self.rank * size + min(self.rank, left)
        return items[start : start + size + (self.rank < left)]

    def sum(self, values: Tensor) -> Tensor:
        """The sum of all ranks' tensors of one shape, in their dtype."""
        return values

    def gather_rows(self, rows: Tensor) -> Tensor:
        """[N, ...] rows of all ranks [n, ...], in the order of the ranks; any n may be 0."""
        return rows

    def sum_gradients(self, parameters: Iterable[nn.Parameter], share: float) -> None:
        """Set every gradient to the sum over the ranks of `share` times their own.

        Args:
            parameters: the same on every rank; a missing gradient is 0.
            share: of this rank in the loss of the joined batch; all ranks' make 1.
        """

    def sum_shares(self, tensors: Sequence[Tensor], share: float) -> None:
        """Set float tensors, of one dtype, to the sum over the ranks of `share` times their own.

        Args:
            tensors: the same on every rank, but for their values.
            share: see `sum_gradients`.
        """

    def make_equal(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors by those of the first rank."""

    def broadcast(self, value: T) -> T:
        """The first rank's object; what the others give does not matter."""
        return value

    def gather_objects(self, value: T) -> list[T]:
        """The objects of all ranks, on every rank."""
        return [value]

    def collect(self, value: T) -> list[T]:
        """The objects of all ranks on the first one, on the others an empty list."""
        return [value]


ALONE = Ranks()


class ProcessGroup(Ranks):
    """One of several processes, joined by torch.distributed's default group.

    Tensors on a GPU travel by NCCL, all others and objects by Gloo. All methods raise `RankLost`
    when another rank is gone.

    Args:
        rank: of this process.
        world: number of processes.
        local_rank: among those on this machine.
        local_world: number of processes on this machine.
    """

    def __init__(self, *, rank: int, world: int, local_rank: int, local_world: int) -> None:
        self.rank = rank
        self.world = world
        self.local_rank = local_rank
        self.local_world = local_world

    def sum(self, values: Tensor) -> Tensor:
        """See `Ranks`."""
        total = values.detach().clone()
        with together():
            group.all_reduce(total)
        return total

    def gather_rows(self, rows: Tensor) -> Tensor:
        """See `Ranks`."""
        own = torch.tensor([len(rows)])
        sizes = [torch.zeros_like(own) for _ in range(self.world)]
        with together():
            group.all_gather(sizes, own)
        lengths = [int(size) for size in sizes]
        most = max(lengths)
        if not most:
            return rows
        padded = rows.new_zeros(most, *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.world)]
        with together():
            group.all_gather(parts, padded)
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    def sum_gradients(self, parameters: Iterable[nn.Parameter], share: float) -> None:
        """See `Ranks`."""
        gradients = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        self.sum_shares(gradients, share)

    def sum_shares(self, tensors: Sequence[Tensor], share: float) -> None:
        """See `Ranks`. One message: all tensors lie in one vector while they travel."""
        if not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with together():
            group.all_reduce(flat.mul_(share))
        parts = flat.split([tensor.numel() for tensor in tensors])  # type: ignore[no-untyped-call]
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def make_equal(self, tensors: Iterable[Tensor]) -> None:
        """See `Ranks`."""
        for tensor in tensors:
            whole = tensor.detach().contiguous()
            with together():
                group.broadcast(whole, src=0)
            tensor.detach().copy_(whole)

    def broadcast(self, value: T) -> T:
        """See `Ranks`."""
        box = [value]
        with together():
            group.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def gather_objects(self, value: T) -> list[T]:
        """See `Ranks`."""
        found: list[T] = [value] * self.world
        with together():
            group.all_gather_object(found, value)
        return found

    def collect(self, value: T) -> list[T]:
        """See `Ranks`."""
        found: list[T] | None = [value] * self.world if self.is_first else None
        with together():
            group.gather_object(value, found, dst=0)
        return found or []


@contextmanager
def together() -> Iterator[None]:
    """A collective operation of torch.distributed, whose errors are of many kinds.

    Raises:
        RankLost: in their place.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise RankLost(str(error).splitlines()[0]) from error
