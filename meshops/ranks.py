"""Several processes of one run, as ``torchrun`` starts them: what each does, what must be equal, means over all.

Everything here works in a single process too and then does nothing: no process group is made, means are plain means.

A loss that is a mean over what is counted (graphs, nodes that are known) must not become a mean of means of ranks.
Inside :func:`averaging` a mean is therefore the sum of this rank times ``ranks / (count of all ranks)``: its average
over ranks, which is what DDP and FSDP make of gradients, is the mean over everything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from meshops.errors import InputError, MeshopsError

T = TypeVar("T")
PATIENCE = timedelta(hours=12)  # the first rank may write, or the last one judge, while the others wait
_averaging = False


def rank() -> int:
    """Number of this process."""
    return dist.get_rank() if is_joined() else int(os.environ.get("RANK", "0"))


def count() -> int:
    """Number of processes that work together."""
    return dist.get_world_size() if is_joined() else 1


def is_first() -> bool:
    """Whether this process writes and speaks."""
    return rank() == 0


def is_joined() -> bool:
    """Whether there is a process group."""
    return dist.is_available() and dist.is_initialized()


def started() -> int:
    """Processes that ``torchrun`` started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined() -> Iterator[None]:
    """Inside, the processes that ``torchrun`` started know each other (gloo, for tensors on GPUs NCCL)."""
    if started() == 1 or is_joined():
        yield
        return
    if gpus := torch.cuda.device_count():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % gpus)
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


# ---- what is done by one, by each, by all


def gathered(value: T) -> list[T]:
    """The values of all ranks, on every rank; they travel pickled between processes of one run."""
    if count() == 1:
        return [value]
    out: list[T | None] = [None] * count()
    dist.all_gather_object(out, value)
    return cast("list[T]", out)


def by_first(work: Callable[[], T]) -> T:
    """What ``work`` gives on the first rank, which alone does it; its error is raised on all."""
    found = _agreed(work if is_first() else None)
    return found[0] if found else cast(T, None)  # nobody did: a process that is not the first and knows no other


def by_all(work: Callable[[], T]) -> T:
    """``work`` of this rank, once all have done theirs; an error of one is raised on all."""
    made: list[T] = []
    _agreed(lambda: made.append(work()))
    return made[0]


def in_turn(work: Callable[[], T]) -> T:
    """``work`` on the first rank, then on the others, which find what it has left on the disk."""
    kept: list[T] = []
    by_first(lambda: kept.append(work()))
    return by_all(lambda: kept[0] if kept else work())


def wait() -> None:
    """Until all ranks are here."""
    gathered(None)


def shared_out(numbers: Iterable[int], work: Callable[[int], T]) -> list[T]:
    """``work`` of all numbers, each done by one rank; the results in the order of the numbers, on every rank."""
    mine, total = {}, 0

    def do() -> dict[int, T]:
        nonlocal total
        for place, number in enumerate(numbers):
            total = place + 1
            if place % count() == rank():
                mine[place] = work(number)
        return mine

    found = {place: made for part in _agreed(do) for place, made in part.items()}
    return [found[place] for place in range(total)]


def _agreed(work: Callable[[], T] | None) -> list[T]:
    """Results of the ranks that work; the error of one of them is raised on all, so that none waits for it."""
    made: list[T] = []
    error: MeshopsError | None = None
    if work is not None:
        if count() == 1:
            return [work()]
        try:
            made.append(work())
        except MeshopsError as caught:
            error = caught
    told = gathered((made, error))
    for _, caught_there in told:
        if caught_there is not None:
            raise caught_there
    return [value for values, _ in told for value in values]


def any_of(flag: bool) -> bool:
    """Whether a flag is raised on any rank."""
    if count() == 1:
        return flag
    found = torch.tensor(int(flag))
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return bool(found)


def largest(number: int) -> int:
    """The largest number of all ranks."""
    if count() == 1:
        return number
    found = torch.tensor(number)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return int(found)


def check_same(what: dict[str, str]) -> None:
    """See that every rank has the same checksums.

    Raises:
        InputError: One has others; says what differs and where.
    """
    told = gathered(what)
    for name in what:
        values = [there.get(name) for there in told]
        others = [str(i) for i, value in enumerate(values) if value != values[0]]
        if others:
            raise InputError(
                f"the processes of this run do not see the same {name}: the checksum of rank {', '.join(others)} of "
                f"{len(told)} differs from that of rank 0; give all machines the same files, settings and versions"
            )


# ---- batches


def balanced(sizes: Sequence[int], ranks: int) -> list[list[int]]:
    """Places of a batch for each rank, its nodes shared as evenly as a simple rule does: largest first, to the least.

    Equal sizes are cut into runs in their order. No rank is left without, if there are as many places as ranks.

    Example:
        >>> balanced([10, 90, 50, 40], 2)
        [[0, 1], [2, 3]]
    """
    if len(set(sizes)) <= 1:
        bounds = [len(sizes) * r // ranks for r in range(ranks + 1)]
        return [list(range(low, high)) for low, high in pairwise(bounds)]
    parts: list[list[int]] = [[] for _ in range(ranks)]
    loads = [0] * ranks
    for place in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        least = min(range(ranks), key=lambda r: (loads[r], len(parts[r])))
        parts[least].append(place)
        loads[least] += sizes[place]
    return [sorted(part) for part in parts]


# ---- means of a loss


@contextmanager
def averaging() -> Iterator[None]:
    """Inside, :func:`mean` and :func:`ratio` are over all ranks; every rank must then call them equally often."""
    global _averaging
    before, _averaging = _averaging, count() > 1
    try:
        yield
    finally:
        _averaging = before


def is_averaging() -> bool:
    """Whether means are over all ranks, so that each must take part."""
    return _averaging


def mean(values: Tensor) -> Tensor:
    """Mean of all values; inside :func:`averaging` what averages over ranks to the mean of the values of all."""
    return ratio(values.sum(), values.numel()) if _averaging else values.mean()


def ratio(total: Tensor, number: int | Tensor) -> Tensor:
    """``total / number``, at least 1; inside :func:`averaging` ``ranks * total / (number of all ranks)``."""
    if not _averaging:
        return total / (max(number, 1) if isinstance(number, int) else number.clamp(min=1))
    counted = torch.as_tensor(number, dtype=torch.float64, device=total.device).detach().clone()
    dist.all_reduce(counted)
    return total * (count() / counted.clamp(min=1)).to(total.dtype)


def weight(number: int) -> float:
    """By what to multiply a mean of ``number`` things for :func:`mean` over those of all ranks; 1 in one process."""
    if not _averaging:
        return 1.0
    counted = torch.tensor(float(number), dtype=torch.float64)
    dist.all_reduce(counted)
    return count() * number / float(counted)


def means_of(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Mean over ranks of numbers by name; one that a rank has not counts as zero there."""
    own = {name: value.detach() for name, value in parts.items()}
    if count() == 1:
        return own
    told = gathered({name: float(value) for name, value in own.items()})
    names = dict.fromkeys(name for there in told for name in there)
    return {name: torch.tensor(sum(there.get(name, 0.0) for there in told) / len(told)) for name in names}
